package export

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"callbackd"
	"callbackd/internal/system"
)

// File is an export in a file. A later run continues it.
type File struct {
	Events      int64             // that it had when it was opened
	First, Last callbackd.EventID // of those; 0 when there are none
	Cut         int64             // bytes of a torn last line that were removed
	Size        int64             // in bytes
	Key         string            // the API key of its events; empty for several, or for none

	f    *os.File
	sums hash.Hash
}

// OpenFile opens or creates the file of an export, for its owner only. It verifies the
// lines that the file has, and removes a torn last one. A file that is no export is left as
// it is.
func OpenFile(path string) (_ *File, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, callbackd.Errorf(callbackd.KindSetting, "the export cannot be written: %v", err)
	}
	out := &File{f: f, sums: sha256.New()}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, callbackd.Errorf(callbackd.KindSetting, "%s is not a regular file; leave --out away to write to standard output", path)
	}
	if err := system.Lock(f, true); err != nil {
		return nil, callbackd.Errorf(callbackd.KindConflict, "another export writes to %s; wait for its end, or choose another file", path)
	}
	if err := out.read(path); err != nil {
		return nil, err
	}
	if out.Cut > 0 {
		if err := f.Truncate(out.Size); err != nil {
			return nil, err
		}
	}
	if _, err := f.Seek(out.Size, io.SeekStart); err != nil {
		return nil, err
	}
	return out, system.SyncDir(filepath.Dir(path))
}

// lineHead begins every line.
const lineHead = `{"api_key":"`

// headBytes is how many bytes of a line have its API key and its id.
const headBytes = 1 << 10

// read reads the lines of the file.
func (o *File) read(path string) error {
	in := bufio.NewReaderSize(o.f, 256<<10)
	for n := 1; ; n++ {
		head, size, whole, err := o.nextLine(in)
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if !whole {
			if o.Cut = size; o.Events == 0 && !begins(head) {
				return callbackd.Errorf(callbackd.KindSetting, "%s is not an export; it was left as it is, choose another file", path)
			}
			return nil
		}
		key, id, ok := readHead(head)
		if !ok || id <= o.Last {
			return callbackd.Errorf(callbackd.KindSetting, "line %d of %s is not a line of an export; the file was left as it is, choose another one", n, path)
		}
		if o.Events == 0 {
			o.First, o.Key = id, key
		} else if o.Key != key {
			o.Key = ""
		}
		o.Events, o.Last, o.Size = o.Events+1, id, o.Size+size
	}
}

// begins reports whether a line may have begun with head.
func begins(head []byte) bool {
	n := min(len(head), len(lineHead))
	return string(head[:n]) == lineHead[:n]
}

// nextLine reads a line. It returns its first bytes and its size; whole says that it has an
// end. Whole lines go into the hash.
func (o *File) nextLine(in *bufio.Reader) (head []byte, size int64, whole bool, err error) {
	before, _ := o.sums.(interface{ MarshalBinary() ([]byte, error) }).MarshalBinary()
	for {
		part, err := in.ReadSlice('\n')
		head = append(head, part[:min(len(part), headBytes-len(head))]...)
		size += int64(len(part))
		o.sums.Write(part)
		switch {
		case err == nil:
			return head, size, true, nil
		case err == io.EOF:
			restored := o.sums.(interface{ UnmarshalBinary([]byte) error }).UnmarshalBinary(before)
			return head, size, false, restored
		case err != bufio.ErrBufferFull:
			return nil, 0, false, err
		}
	}
}

// readHead reads the API key and the id from the beginning of a line.
func readHead(head []byte) (key string, id callbackd.EventID, ok bool) {
	if !begins(head) {
		return "", 0, false
	}
	dec := json.NewDecoder(bytes.NewReader(head))
	var words [5]json.Token
	for i := range words {
		word, err := dec.Token()
		if err != nil {
			return "", 0, false
		}
		words[i] = word
	}
	key, isText := words[2].(string)
	text, isID := words[4].(string)
	id, ok = callbackd.ParseEventID(text)
	return key, id, ok && isText && isID && words[3] == "id"
}

// Write appends to the file.
func (o *File) Write(b []byte) (int, error) {
	n, err := o.f.Write(b)
	o.sums.Write(b[:n])
	o.Size += int64(n)
	return n, err
}

// Sum returns the SHA-256 of the whole file.
func (o *File) Sum() []byte { return o.sums.Sum(nil) }

// Sync makes what was written durable.
func (o *File) Sync() error { return o.f.Sync() }

// Close syncs and closes the file.
func (o *File) Close() error { return errors.Join(o.f.Sync(), o.f.Close()) }

package archive

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"callbackd"

	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory that a file can make its reader use: what a file of ours
// needs, several times.
const maxWindow = 64 << 20

// maxLine bounds the memory that a line takes: a small file can be unpacked to a line without
// an end. An event with thousands of attempts is far below it.
const maxLine = 1 << 30

// Fault says what is wrong with a file.
type Fault struct {
	File    string `json:"file"`
	Message string `json:"message"`
}

// Report is what Verify found.
type Report struct {
	Files int `json:"files"`
	Counts
	Bytes  int64   `json:"bytes"`
	Faults []Fault `json:"faults"`
	// Unfinished names files that have more than their manifest says, from a write that was
	// interrupted. That is no fault: the events are still in the store.
	Unfinished []string `json:"unfinished"`
}

// names returns the names of the files of an archive without their ends, in order: those
// that have a manifest, and those without one.
func names(dir string) (known, unknown []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, callbackd.Errorf(callbackd.KindSetting, "the archive cannot be read: %v; give the directory of `callbackd serve --archive`; the server makes it when retention first removes an event", err)
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), manifestEnd); ok {
			known = append(known, name)
		}
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), fileEnd); ok && !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	return known, unknown, nil
}

// Verify checks every file of an archive against its manifest: its hash, its counts, its
// first and last ID, and that each line is one event as JSON. It tells how many of the files it
// has checked; tell may be nil.
func Verify(ctx context.Context, dir string, tell func(done, total int64)) (*Report, error) {
	known, unknown, err := names(dir)
	if err != nil {
		return nil, err
	}
	r := &Report{Faults: []Fault{}, Unfinished: []string{}}
	for i, name := range known {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if tell != nil {
			tell(int64(i), int64(len(known)))
		}
		m, err := readManifest(filepath.Join(dir, name+manifestEnd))
		if err != nil {
			r.fault(name+manifestEnd, err)
			continue
		}
		r.Files++
		var have Manifest
		err = each(ctx, dir, m, func(l *line) error {
			have.note(Added{l.counts(), l.id, l.id})
			return nil
		})
		if errors.Is(err, errStopped) {
			return nil, err
		}
		if err == nil && (have.Counts != m.Counts || have.First != m.First || have.Last != m.Last) {
			err = fmt.Errorf("has %d events, %d deliveries and %d attempts from %q to %q, and its manifest says %d, %d and %d from %q to %q",
				have.Events, have.Deliveries, have.Attempts, have.First, have.Last, m.Events, m.Deliveries, m.Attempts, m.First, m.Last)
		}
		if err != nil {
			r.fault(m.File, err)
		}
		r.add(have.Counts)
		r.Bytes += m.Bytes
		// Of a damaged file nobody knows what the rest is.
		if info, stat := os.Stat(filepath.Join(dir, m.File)); err == nil && stat == nil && info.Size() > m.Bytes {
			r.Unfinished = append(r.Unfinished, m.File)
		}
	}
	for _, name := range unknown {
		r.fault(name+fileEnd, errors.New("has no manifest: it is missing"))
	}
	return r, nil
}

func (r *Report) fault(file string, err error) {
	r.Faults = append(r.Faults, Fault{file, err.Error()})
}

// line is one event of an archive.
type line struct {
	APIKey     string    `json:"api_key"`
	ID         string    `json:"id"`
	Accepted   time.Time `json:"accepted_at"`
	Deliveries []struct {
		History []json.RawMessage `json:"history"`
	} `json:"deliveries"`

	id  callbackd.EventID
	raw []byte
}

func (l *line) counts() Counts {
	c := Counts{Events: 1, Deliveries: int64(len(l.Deliveries))}
	for _, d := range l.Deliveries {
		c.Attempts += int64(len(d.History))
	}
	return c
}

// each calls f with each line of a file. It reads the file to its end also when it is
// damaged, so that its hash is known.
func each(ctx context.Context, dir string, m *Manifest, f func(*line) error) error {
	file, err := os.Open(filepath.Join(dir, m.File))
	if errors.Is(err, fs.ErrNotExist) {
		if m.Bytes == 0 { // a crash came before its first event
			return nil
		}
		return errors.New("is missing")
	}
	if err != nil {
		return err
	}
	defer file.Close()
	sums := sha256.New()
	in := io.TeeReader(io.LimitReader(file, m.Bytes), sums)
	err = lines(ctx, in, f)
	if errors.Is(err, errStopped) {
		return err
	}
	if _, rest := io.Copy(io.Discard, in); rest != nil {
		return rest
	}
	info, statErr := file.Stat()
	switch {
	case statErr != nil:
		return statErr
	case info.Size() < m.Bytes:
		return fmt.Errorf("has %d bytes, and its manifest says %d: its end is missing", info.Size(), m.Bytes)
	case hex.EncodeToString(sums.Sum(nil)) != m.SHA256:
		return errors.Join(errors.New("has another SHA-256 than its manifest says: it was changed or damaged"), err)
	}
	return err
}

// errStopped wraps the error of the caller of each.
var errStopped = errors.New("stopped")

// lines calls f with each line of a compressed file.
func lines(ctx context.Context, in io.Reader, f func(*line) error) error {
	d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return err
	}
	defer d.Close()
	text := bufio.NewReaderSize(d, 256<<10)
	for n := 1; ; n++ {
		raw, err := readLine(text, maxLine)
		switch {
		case errors.Is(err, errTooLong):
			return fmt.Errorf("line %d has more than %d MiB, which no event has", n, maxLine>>20)
		case err == io.EOF && len(raw) == 0:
			return nil
		case err == io.EOF:
			return fmt.Errorf("line %d has no end", n)
		case err != nil:
			return fmt.Errorf("cannot be decompressed after line %d: %w", n-1, err)
		}
		l := line{raw: raw}
		if err := json.Unmarshal(raw, &l); err != nil {
			return fmt.Errorf("line %d is not JSON: %w", n, err)
		}
		var ok bool
		if l.id, ok = callbackd.ParseEventID(l.ID); !ok || l.APIKey == "" {
			return fmt.Errorf("line %d is not an event", n)
		}
		if err := errors.Join(ctx.Err(), f(&l)); err != nil {
			return errors.Join(errStopped, err)
		}
	}
}

// errTooLong is the error of a line that is longer than it may be.
var errTooLong = errors.New("the line is too long")

// readLine reads a line of up to most bytes with its end. Without an end it returns what there
// is, and why.
func readLine(in *bufio.Reader, most int) (line []byte, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if len(line)+len(part) > most {
			return nil, errTooLong
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// Filter chooses events of an archive. A member without a value chooses all.
type Filter struct {
	Since, Until time.Time // accepted at or after the first, and before the second
	Key          string    // the API key
}

// Cat writes the lines of the events that a filter chooses, file by file. An event that was
// archived twice is written twice. It fails at the end when a file was damaged, and writes
// what can be read of it.
func Cat(ctx context.Context, dir string, q Filter, to io.Writer) error {
	known, unknown, err := names(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range unknown {
		errs = append(errs, fmt.Errorf("%s has no manifest and is left out", name+fileEnd))
	}
	for _, name := range known {
		m, err := readManifest(filepath.Join(dir, name+manifestEnd))
		if err == nil {
			err = each(ctx, dir, m, func(l *line) error {
				if q.Key != "" && l.APIKey != q.Key || !q.Since.IsZero() && l.Accepted.Before(q.Since) || !q.Until.IsZero() && !l.Accepted.Before(q.Until) {
					return nil
				}
				_, err := io.Copy(to, bytes.NewReader(l.raw))
				return err
			})
		}
		if errors.Is(err, errStopped) {
			return err
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

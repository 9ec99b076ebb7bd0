package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/system"

	"github.com/klauspost/compress/zstd"
)

// Added says what one call of [Writer.Add] wrote.
type Added struct {
	Counts
	First, Last callbackd.EventID
}

// Writer adds to an archive. It is used by one goroutine at a time.
type Writer struct {
	dir  string
	node func() string

	f        *os.File // that of today; nil before the first use and after a failure
	sums     hash.Hash
	manifest Manifest
	encoder  *zstd.Encoder
}

// NewWriter returns a writer to a directory, which it makes when it is missing. node names
// this process in the names of files. Nothing is done before the first call of Add.
func NewWriter(dir string, node func() string) *Writer { return &Writer{dir: dir, node: node} }

// Add writes what rows writes to the file of the day of at, which it syncs with its manifest.
// After an error nothing of it counts: what was written is cut off before the next use.
func (w *Writer) Add(at time.Time, rows func(io.Writer) (Added, error)) (err error) {
	if err := w.open(at); err != nil {
		return fmt.Errorf("archive %s: %w", w.dir, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("archive %s: %w", w.dir, errors.Join(err, w.giveUp()))
		}
	}()
	out := &counted{to: io.MultiWriter(w.f, w.sums)}
	w.encoder.Reset(out)
	added, err := rows(w.encoder)
	if err = errors.Join(err, w.encoder.Close()); err != nil {
		return err
	}
	if err := w.f.Sync(); err != nil {
		return err
	}
	next := w.manifest
	next.note(added)
	next.Bytes += out.n
	next.SHA256, next.Written = hex.EncodeToString(w.sums.Sum(nil)), at.UTC().Truncate(time.Millisecond)
	if err := next.write(w.dir); err != nil {
		return err
	}
	w.manifest = next
	return nil
}

// counted counts the bytes that pass.
type counted struct {
	to io.Writer
	n  int64
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.to.Write(b)
	c.n += int64(n)
	return n, err
}

// giveUp cuts off what was written after the last manifest, so that a full disk has room
// again, and closes the file. It reads that manifest, because a failure after it was replaced
// leaves the new one.
func (w *Writer) giveUp() error {
	m, err := readManifest(w.manifest.path(w.dir))
	if err == nil {
		err = w.f.Truncate(m.Bytes)
	}
	return errors.Join(err, w.Close())
}

// Close closes the file of the day. A later Add opens it again.
func (w *Writer) Close() error {
	if w.f == nil {
		return nil
	}
	err := w.f.Close()
	w.f = nil
	return err
}

// open makes sure that the file of a day is open.
func (w *Writer) open(at time.Time) error {
	day, node := at.UTC().Format(time.DateOnly), w.node()
	if w.f != nil && w.manifest.Day == day && w.manifest.Node == node {
		return nil
	}
	if err := w.Close(); err != nil {
		return err
	}
	if w.encoder == nil {
		var err error
		if w.encoder, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true)); err != nil {
			return err
		}
	}
	if err := system.MakeDir(w.dir); err != nil {
		return err
	}
	path := filepath.Join(w.dir, day+"."+node+fileEnd)
	m, err := begun(path, day, node)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	sums, err := resume(f, m)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	w.f, w.sums, w.manifest = f, sums, *m
	return system.SyncDir(w.dir)
}

// begun returns the manifest of a file. A new file gets one before it exists, so that a file
// without a manifest is always a fault.
func begun(path, day, node string) (*Manifest, error) {
	manifest := strings.TrimSuffix(path, fileEnd) + manifestEnd
	known, err := exists(manifest)
	if err != nil {
		return nil, err
	}
	if known {
		m, err := readManifest(manifest)
		if err != nil {
			return nil, fmt.Errorf("%s %w. Move the manifest and its file to another folder", filepath.Base(manifest), err)
		}
		return m, nil
	}
	if there, err := exists(path); err != nil || there {
		return nil, errors.Join(err, fmt.Errorf("%s has no manifest. Move the file to another folder", filepath.Base(path)))
	}
	empty := sha256.Sum256(nil)
	m := &Manifest{Format: Format, File: filepath.Base(path), Day: day, Node: node, SHA256: hex.EncodeToString(empty[:]), Written: time.Now().UTC().Truncate(time.Millisecond)}
	return m, m.write(filepath.Dir(path))
}

// resume locks a file, checks that it is what its manifest says, and cuts off the rest: it
// is from a write that was interrupted, and still in the store. It returns the hash so far.
func resume(f *os.File, m *Manifest) (hash.Hash, error) {
	if err := system.Lock(f, true); err != nil {
		return nil, fmt.Errorf("another server writes to %s. Give each server a folder of its own", m.File)
	}
	sums := sha256.New()
	n, err := io.Copy(sums, io.LimitReader(f, m.Bytes))
	if err != nil {
		return nil, err
	}
	if n < m.Bytes || hex.EncodeToString(sums.Sum(nil)) != m.SHA256 {
		return nil, fmt.Errorf("%s is not as its manifest says: it is damaged. Move both to another folder, and look at them with `callbackd archive verify`", m.File)
	}
	if err := f.Truncate(m.Bytes); err != nil {
		return nil, err
	}
	_, err = f.Seek(m.Bytes, io.SeekStart)
	return sums, err
}

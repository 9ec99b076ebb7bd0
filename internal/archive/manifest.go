// Package archive writes the events that retention removes to files, before they are
// removed, and reads and verifies these files. A day of a node has one file: JSON lines as
// an export has them, compressed with Zstandard. Beside it is a manifest with counts and
// the SHA-256 of the file.
//
// The manifest is written after its file was synced, and events are removed after that. So
// what a manifest names is durable, and what a file has beyond it is still in the store. A
// crash in between makes events stand in an archive twice; it loses none.
package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/system"
)

// Format is the version of the files. A reader refuses later ones.
const Format = 1

// The ends of the names of files and manifests.
const (
	fileEnd     = ".jsonl.zst"
	manifestEnd = ".manifest.json"
)

// Counts says how much an archive or a file of it has.
type Counts struct {
	Events     int64 `json:"events"`
	Deliveries int64 `json:"deliveries"`
	Attempts   int64 `json:"attempts"`
}

func (c *Counts) add(more Counts) {
	c.Events += more.Events
	c.Deliveries += more.Deliveries
	c.Attempts += more.Attempts
}

// Manifest describes a file of an archive.
type Manifest struct {
	Format int    `json:"format"`
	File   string `json:"file"`
	Day    string `json:"day"`  // on which the events were removed, in UTC
	Node   string `json:"node"` // that removed them
	Counts
	First   string    `json:"first"` // the lowest ID of its events; empty without events
	Last    string    `json:"last"`  // the highest one
	Bytes   int64     `json:"bytes"` // of the file. What it has beyond them does not count
	SHA256  string    `json:"sha256"`
	Written time.Time `json:"written_at"`
}

// note adds what was written.
func (m *Manifest) note(added Added) {
	if added.Events == 0 {
		return
	}
	m.add(added.Counts)
	first, _ := callbackd.ParseEventID(m.First)
	last, _ := callbackd.ParseEventID(m.Last)
	if m.First == "" || added.First < first {
		m.First = added.First.String()
	}
	if m.Last == "" || added.Last > last {
		m.Last = added.Last.String()
	}
}

// readManifest reads a manifest and checks what it says of itself.
func readManifest(path string) (*Manifest, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var m Manifest
	switch err := json.Unmarshal(raw, &m); {
	case err != nil:
		return nil, fmt.Errorf("is not a manifest: %w", err)
	case m.Format > Format:
		return nil, fmt.Errorf("has the format %d, and this version of callbackd reads up to %d: use a later version", m.Format, Format)
	case m.Format < 1 || m.Bytes < 0 || m.File != m.Day+"."+m.Node+fileEnd || filepath.Base(m.path("")) != filepath.Base(path):
		return nil, errors.New("is not the manifest of the file beside it")
	}
	return &m, nil
}

// path returns where the manifest is in the folder of its archive.
func (m *Manifest) path(dir string) string {
	return filepath.Join(dir, strings.TrimSuffix(m.File, fileEnd)+manifestEnd)
}

// write replaces the manifest on the disk. It is durable when write returns nil.
func (m *Manifest) write(dir string) error {
	raw, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	path := m.path(dir)
	next := path + ".next"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	return system.SyncDir(dir)
}

// exists reports whether there is a file.
func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

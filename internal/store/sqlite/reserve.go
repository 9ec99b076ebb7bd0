package sqlite

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"callbackd"
	"callbackd/internal/system"

	"github.com/ncruces/go-sqlite3"
)

// reserveFile occupies space that is released when the disk is full. With this space a
// server can start on a full volume, record outcomes and let retention remove old events.
const reserveFile = "callbackd.reserve"

// reserveSize is the size of the reserve in bytes. It is enough for a log of
// checkpointPages and a large commit, which must be moved into the database file before
// anything else can be written. When the reserve is made, another quarter of this must
// stay free.
const reserveSize = 12 << 20

// unusedEnough is how many bytes of the database file retention must have freed before
// events are accepted again on a full disk.
const unusedEnough = 4 << 20

// lowSpace is how many bytes a start needs at most besides the content of the log: for
// the log and its index.
const lowSpace = 256 << 10

// fullCheckpointPages replaces checkpointPages from when the disk was full until there is
// a reserve again. The log must fit into the space of the released reserve.
const fullCheckpointPages = 200

var errFull = callbackd.Errorf(callbackd.KindUnavailable, "the disk is full: nothing was accepted; free some space (more than %d MiB) and try again", reserveSize>>20)

// reserve is the reserved space of a directory. Without a directory it reserves nothing.
type reserve struct {
	dir  string
	mu   sync.Mutex
	held bool
}

// find uses the reserve that an earlier server has made.
func (r *reserve) find(dir string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dir = dir
	path := filepath.Join(dir, reserveFile)
	have := size(path)
	if have > 0 && have < reserveSize && available(dir) >= reserveSize {
		os.Remove(path) // an earlier version made it, smaller; hold makes a new one
		have = 0
	}
	r.held = have > 0
}

func (r *reserve) has() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held
}

// free releases the space, and reports whether it did: only once, and not when the file
// cannot be removed.
func (r *reserve) free() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.held {
		return false
	}
	r.held = false
	return os.Remove(filepath.Join(r.dir, reserveFile)) == nil
}

// hold makes the reserve when there is enough space, and reports whether there is one.
// The bytes are random, so that no file system can compress them.
func (r *reserve) hold() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held || r.dir == "" || available(r.dir) < reserveSize+reserveSize/4 {
		return r.held
	}
	path := filepath.Join(r.dir, reserveFile)
	os.Remove(path)
	if createLike(path, filepath.Join(r.dir, dbFile)) != nil {
		return false
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = io.CopyN(f, rand.NewChaCha8([32]byte{}), reserveSize)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		os.Remove(path)
	}
	r.held = err == nil
	return r.held
}

// available is onVolume. Tests replace it to fill the disk.
var available = onVolume

// onVolume returns how many bytes this user may still use on the volume.
func onVolume(dir string) uint64 {
	free, _, err := system.Space(dir)
	if err != nil {
		return 0
	}
	return free
}

// startOnFullDisk releases the reserve before a start when the volume is full, or has
// less space than the log needs, which a start moves into the database file.
func (s *Store) startOnFullDisk(dir string) {
	s.reserve.find(dir)
	log := uint64(max(0, size(filepath.Join(dir, dbFile+"-wal"))))
	if available(dir) < lowSpace+log && s.reserve.free() {
		s.w.diskFull, s.w.shortLog = true, true
		s.refusals.Refuse(0, errFull)
	}
}

// fillDisk releases the reserve. The writer calls it when the disk is full. From then on
// commands that need space are refused, and the others use the space of the reserve.
func (s *Store) fillDisk() {
	s.w.diskFull, s.w.shortLog = s.reserve.free() || s.w.diskFull, true
	s.awaitCheckpoint()             // while one runs, the next line would copy nothing
	s.checkpointed(passive(s.w.db)) // so that the log starts over in the space that it has
}

// checkSpace returns an error for commands that need space while the disk is full.
func (t *tx) checkSpace() error {
	s := t.s
	if !s.w.diskFull || s.reserve.hold() {
		s.w.diskFull = false
		return nil
	}
	var unused int64
	err := t.query("SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size", func(st *sqlite3.Stmt) error {
		unused = st.ColumnInt64(0)
		return nil
	})
	if err == nil && unused >= unusedEnough { // retention has made room in the file
		s.w.diskFull = false
	} else if err == nil {
		s.refusals.Refuse(1, errFull)
		err = errFull
	}
	return err
}

// Ready is part of [store.Store].
func (s *Store) Ready(ctx context.Context) error {
	if err := s.refusals.Probe(ctx, s.probe); err != nil {
		return err
	}
	return s.write(ctx, func(t *tx) error { return t.query("SELECT 1", nil) })
}

// probe makes a write to find out whether that is possible.
func (s *Store) probe(ctx context.Context) error {
	return s.write(ctx, func(t *tx) error {
		if err := t.checkSpace(); err != nil {
			return err
		}
		return t.query("UPDATE meta SET mark = mark", nil)
	})
}

// Guard checks the files: that they exist, that space is reserved, and whether a store
// that refused a write can write again. It is called each second.
func (s *Store) Guard(ctx context.Context) {
	s.checkFiles()
	if s.failure() != nil {
		return
	}
	s.reserve.hold()
	s.refusals.Probe(ctx, s.probe)
}

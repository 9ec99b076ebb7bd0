package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/ncruces/go-sqlite3"
)

// fullDisk is a store on a volume whose free space the test sets.
type fullDisk struct {
	*Store
	key   callbackd.KeyID
	dir   string
	space uint64
	taken int // calls of Hooks.Taken
}

// newFullDisk opens a store that has its reserve, and fills the disk.
func newFullDisk(t *testing.T) *fullDisk {
	t.Helper()
	d := &fullDisk{dir: t.TempDir(), space: 1 << 40}
	d.Store = open(t, Options{Dir: d.dir, Hooks: store.Hooks{Taken: func() { d.taken++ }}})
	available = func(string) uint64 { return d.space }
	t.Cleanup(func() {
		d.Close()
		available = onVolume
	})
	k, err := d.CreateKey(t.Context(), callbackd.Key{APIKey: "k", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	d.key = k.ID
	if d.held() {
		t.Fatal("there is a reserve before the first call of Guard, want none")
	}
	d.Guard(t.Context())
	if !d.held() {
		t.Fatal("there is no reserve after a call of Guard")
	}
	d.space = 0
	if err := d.write(t.Context(), func(*tx) error { return sqlite3.FULL }); callbackd.KindOf(err) != callbackd.KindUnavailable {
		t.Fatalf("a write on the full disk: the error is %v, want Unavailable", err)
	}
	return d
}

// held reports whether the reserve is on the disk.
func (d *fullDisk) held() bool { return size(filepath.Join(d.dir, reserveFile)) == reserveSize }

func (d *fullDisk) accept(t *testing.T) error {
	_, err := d.Accept(t.Context(), store.Batch{Key: d.key, At: time.Now(), Events: []store.NewEvent{{Type: callbackd.Complete, Session: "S", Data: []byte("{}")}}})
	return err
}

// A full disk refuses what takes space, and the store is not ready.
func TestAFullDiskRefusesWhatTakesSpace(t *testing.T) {
	d := newFullDisk(t)
	if d.held() {
		t.Error("the reserve still exists on the full disk, want it released")
	}
	for what, err := range map[string]error{
		"an event":    d.accept(t),
		"a session":   d.CreateSession(t.Context(), &callbackd.Session{Key: d.key, SessionKey: "A", CreatedAt: time.Now()}, nil),
		"being ready": d.Ready(t.Context()),
	} {
		if !errors.Is(err, errFull) {
			t.Errorf("%s: the error is %v, want %v", what, err, errFull)
		}
	}
}

// Commands that free space or end deliveries succeed on a full disk, and do not make the
// store ready.
func TestTheReserveIsForWhatMakesRoom(t *testing.T) {
	d := newFullDisk(t)
	if err := d.ChangeKey(t.Context(), "k", func(k *callbackd.Key) error {
		k.Revoke(time.Now())
		return nil
	}); err != nil {
		t.Errorf("a key is revoked: %v", err)
	}
	if _, err := d.Sweep(t.Context(), store.Sweep{Before: time.Now().Add(-time.Hour), Limit: 100}); err != nil {
		t.Errorf("old events are removed: %v", err)
	}
	if d.refusals.Err() == nil {
		t.Error("the store is ready after writes that free space, want it still not ready")
	}
	if d.taken != 0 {
		t.Errorf("Hooks.Taken was called %d times, want 0", d.taken)
	}
}

// When there is space for the reserve and some more, the reserve is made again.
func TestTheReserveIsMadeAgain(t *testing.T) {
	d := newFullDisk(t)
	d.space = reserveSize + reserveSize/4 - 1
	if err := d.accept(t); !errors.Is(err, errFull) {
		t.Errorf("an event when the reserve would leave no space: the error is %v, want %v", err, errFull)
	}
	d.space++
	if err := d.accept(t); err != nil {
		t.Errorf("an event when there is space: %v", err)
	}
	if !d.held() {
		t.Error("there is no reserve when there is space again")
	}
	if d.taken != 1 {
		t.Errorf("Hooks.Taken was called %d times, want 1", d.taken)
	}
	if err := d.Ready(t.Context()); err != nil {
		t.Errorf("the store is not ready: %v", err)
	}
}

// Pages of the file that retention has freed count as space too.
func TestUnusedPagesAreRoom(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	defer s.Close()
	available = func(string) uint64 { return 0 }
	defer func() { available = onVolume }()
	room := func(bytes int) error {
		if err := s.write(t.Context(), func(t *tx) error {
			t.s.w.diskFull = true
			return t.query("CREATE TABLE ballast AS SELECT zeroblob(?) AS x", nil, bytes)
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.write(t.Context(), func(t *tx) error { return t.query("DROP TABLE ballast", nil) }); err != nil {
			t.Fatal(err)
		}
		return s.write(t.Context(), (*tx).checkSpace)
	}
	if err := room(unusedEnough / 2); !errors.Is(err, errFull) {
		t.Errorf("half of what is needed: %v", err)
	}
	if err := room(unusedEnough + unusedEnough/8); err != nil {
		t.Errorf("enough: %v", err)
	}
}

// A start on a volume without any space releases the reserve first.
func TestAStartOnAFullDiskTakesTheReserve(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	s.Guard(t.Context())
	s.Close()
	path := filepath.Join(dir, reserveFile)
	if size(path) != reserveSize {
		t.Fatal("there is no reserve")
	}
	available = func(string) uint64 { return lowSpace - 1 }
	defer func() { available = onVolume }()
	s = open(t, Options{Dir: dir})
	defer s.Close()
	if _, err := os.Stat(path); err == nil {
		t.Error("the reserve is kept")
	}
	if err := s.Ready(t.Context()); !errors.Is(err, errFull) {
		t.Errorf("ready: %v", err)
	}
}

// A start moves the log into the database file. When there is less space than the log
// needs, it releases the reserve, which is larger than a log.
func TestAStartWithALongLogTakesTheReserve(t *testing.T) {
	if log := checkpointPages * 4096; reserveSize < log*5/4 {
		t.Errorf("the reserve has %d bytes, and a log %d and more", reserveSize, log)
	}
	dir, copied := t.TempDir(), t.TempDir()
	s := open(t, Options{Dir: dir})
	defer s.Close()
	s.Guard(t.Context())
	if _, err := s.CreateKey(t.Context(), callbackd.Key{APIKey: "k", CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil { // as a kill leaves it
		t.Fatal(err)
	}
	log := size(filepath.Join(copied, dbFile+"-wal"))
	if log == 0 {
		t.Fatal("there is no log")
	}
	for space, kept := range map[int64]bool{lowSpace + log: true, lowSpace + log - 1: false} {
		to := t.TempDir()
		if err := os.CopyFS(to, os.DirFS(copied)); err != nil {
			t.Fatal(err)
		}
		available = func(string) uint64 { return uint64(space) }
		again, err := Open(t.Context(), Options{Dir: to})
		available = onVolume
		if err != nil {
			t.Fatal(err)
		}
		if held := size(filepath.Join(to, reserveFile)) == reserveSize; held != kept {
			t.Errorf("with %d bytes for a log of %d, the reserve is held: %v", space, log, held)
		}
		again.Close()
	}
}

// The smaller reserve of an earlier version is replaced when there is space, and is
// released like any other when there is not.
func TestASmallerReserveIsReplaced(t *testing.T) {
	for _, space := range []uint64{1 << 40, reserveSize - 1} {
		dir := t.TempDir()
		path := filepath.Join(dir, reserveFile)
		if err := os.WriteFile(path, make([]byte, 4<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		available = func(string) uint64 { return space }
		var r reserve
		r.find(dir)
		if space < reserveSize {
			if !r.has() {
				t.Error("a small reserve is not used")
			}
			if !r.free() || size(path) != 0 {
				t.Error("a small reserve is not released")
			}
		} else if r.has() || size(path) != 0 {
			t.Error("a small reserve is kept where there is space for a whole one")
		}
		available = onVolume
	}
}

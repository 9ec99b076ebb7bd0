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

// When the disk is full the reserve is given back. From then on what takes
// space is refused, what gives space back or ends deliveries is not, and the
// store is not ready; when there is space the reserve is made again.
func TestTheReserveIsForWhatMakesRoom(t *testing.T) {
	dir := t.TempDir()
	taken := 0
	s := open(t, Options{Dir: dir, Hooks: store.Hooks{Taken: func() { taken++ }}})
	defer s.Close()
	space := uint64(1 << 40)
	available = func(string) uint64 { return space }
	defer func() { available = onVolume }()
	held := func() bool { return size(filepath.Join(dir, reserveFile)) == reserveSize }
	k, err := s.CreateKey(t.Context(), callbackd.Key{APIKey: "k", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	accept := func() error {
		_, err := s.Accept(t.Context(), store.Batch{Key: k.ID, At: time.Now(), Events: []store.NewEvent{{Type: callbackd.Complete, Session: "S", Data: []byte("{}")}}})
		return err
	}
	session := func(key string) error {
		return s.CreateSession(t.Context(), &callbackd.Session{Key: k.ID, SessionKey: key, CreatedAt: time.Now()})
	}
	if err := accept(); err != nil || held() {
		t.Fatalf("%v; a reserve before the first second: %v", err, held())
	}
	s.Guard(t.Context())
	if !held() {
		t.Fatal("there is no reserve")
	}
	space = 0
	if err := s.write(t.Context(), func(*tx) error { return sqlite3.FULL }); callbackd.KindOf(err) != callbackd.KindUnavailable {
		t.Fatal(err)
	}
	if held() {
		t.Error("the reserve is kept on a full disk")
	}
	if err := accept(); !errors.Is(err, errFull) {
		t.Errorf("an event: %v", err)
	}
	if err := session("A"); !errors.Is(err, errFull) {
		t.Errorf("a session: %v", err)
	}
	if err := s.Ready(t.Context()); !errors.Is(err, errFull) && callbackd.KindOf(err) != callbackd.KindUnavailable {
		t.Errorf("ready: %v", err)
	}
	if err := s.ChangeKey(t.Context(), "k", func(k *callbackd.Key) error {
		k.Revoke(time.Now())
		return nil
	}); err != nil {
		t.Errorf("a key is revoked: %v", err)
	}
	if _, _, _, err := s.Sweep(t.Context(), time.Now().Add(-time.Hour), 0, 100); err != nil {
		t.Errorf("old events are removed: %v", err)
	}
	if s.refusals.Err() == nil || taken != 0 {
		t.Error("it is ready because something else was written")
	}
	space = reserveSize + reserveSize/4 - 1
	if err := accept(); !errors.Is(err, errFull) {
		t.Errorf("an event, with no room beside the reserve: %v", err)
	}
	space++
	if err := accept(); err != nil || !held() || taken != 1 {
		t.Errorf("an event when there is space: %v; the reserve is held: %v; told %d times", err, held(), taken)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// Space that retention has made within the file is room too.
func TestUnusedPagesAreRoom(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	defer s.Close()
	available = func(string) uint64 { return 0 }
	defer func() { available = onVolume }()
	room := func(bytes int) error {
		if err := s.write(t.Context(), func(t *tx) error {
			t.s.diskFull = true
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

// A start with nothing left gives the reserve back first.
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

// A start moves the log into the database file, so it takes the reserve when
// there is less space than the log is long; the reserve is larger than a log.
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

// The smaller reserve of an earlier version is made anew where there is space,
// and is given back like any other where there is not.
func TestASmallerReserveIsMadeAnew(t *testing.T) {
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
			if !r.has() || !r.free() || size(path) != 0 {
				t.Error("a small reserve is not given back")
			}
		} else if r.has() || size(path) != 0 {
			t.Error("a small reserve is kept where there is space for a whole one")
		}
		available = onVolume
	}
}

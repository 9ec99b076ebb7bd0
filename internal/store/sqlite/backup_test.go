package sqlite

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// largeEvent is the size of the event in stopped.
const largeEvent = 1 << 18

// stopped returns a data directory with one large event, and no server.
func stopped(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s := open(t, Options{Dir: dir})
	_, err := s.Accept(t.Context(), store.Batch{Key: 1, At: time.Now(), Events: []store.NewEvent{{Type: callbackd.Complete, Session: "S", Data: make([]byte, largeEvent)}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A backup that is interrupted or fails leaves nothing behind.
func TestAFailedBackupLeavesNothing(t *testing.T) {
	dir, copies := stopped(t), t.TempDir()
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		what, want string
		ctx        context.Context
		o          Options
	}{
		{"an interrupted backup", "interrupted", interrupted, Options{Dir: dir}},
		{"a backup without the keyset", "copy the keyset", t.Context(), Options{Dir: dir, KeysetFile: filepath.Join(dir, "none")}},
		{"a backup of another directory", "is not a data directory", t.Context(), Options{Dir: copies}},
	} {
		_, err := Backup(c.ctx, c.o, filepath.Join(copies, "copy"), true)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, want %q", c.what, err, c.want)
		}
		left, err := os.ReadDir(copies)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) > 0 {
			t.Errorf("%s leaves %v, want nothing", c.what, left)
		}
	}
}

func TestABackupHasTheDatabaseAndTheKeyset(t *testing.T) {
	copied := filepath.Join(t.TempDir(), "copy")
	var done, total int64
	ctx := store.WithProgress(t.Context(), func(d, t int64) { done, total = d, t })
	size, err := Backup(ctx, Options{Dir: stopped(t)}, copied, true)
	if err != nil {
		t.Fatal(err)
	}
	if done == 0 || done > total || total > 2*size {
		t.Errorf("at the end the backup told of %d of %d bytes, and the copy has %d", done, total, size)
	}
	if size < largeEvent {
		t.Errorf("the backup has %d bytes, want %d or more", size, largeEvent)
	}
	for _, name := range []string{dbFile, KeysetFile} {
		info, err := os.Stat(filepath.Join(copied, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %v, want 0600", name, info.Mode())
		}
	}
}

// The backup finds a damaged database, so that it is not found at the restore.
func TestABackupOfADamagedDatabaseFails(t *testing.T) {
	dir, copied := stopped(t), filepath.Join(t.TempDir(), "copy")
	path := filepath.Join(dir, dbFile)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(raw[len(raw)/2:], strings.Repeat("\xff", len(raw)/2)) // some of these pages are in use
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Backup(t.Context(), Options{Dir: dir}, copied, true); err == nil {
		t.Error("the backup of a damaged database succeeds, want an error")
	}
	if _, err := os.Stat(copied); !os.IsNotExist(err) {
		t.Errorf("there is a backup (%v), want none", err)
	}
}

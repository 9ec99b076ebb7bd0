package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// A backup that is broken off or fails leaves nothing under its name.
func TestABackupIsWholeOrNotThere(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	if _, err := s.Accept(t.Context(), store.Batch{Key: 1, At: time.Now(), Events: []store.NewEvent{{Type: callbackd.Complete, Session: "S", Data: make([]byte, 1<<18)}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	copies := t.TempDir()
	fails := func(what, want string, ctx context.Context, o Options) {
		t.Helper()
		_, err := Backup(ctx, o, filepath.Join(copies, "copy"), true)
		if left, glob := os.ReadDir(copies); err == nil || !strings.Contains(err.Error(), want) || glob != nil || len(left) > 0 {
			t.Errorf("%s: %v, want %q; there is %v", what, err, want, left)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fails("broken off", "interrupted", ctx, Options{Dir: dir})
	fails("no keyset", "copy the keyset", t.Context(), Options{Dir: dir, KeysetFile: filepath.Join(dir, "none")})
	fails("no data directory", "is not a data directory", t.Context(), Options{Dir: copies})

	size, err := Backup(t.Context(), Options{Dir: dir}, filepath.Join(copies, "copy"), true)
	if err != nil || size < 1<<18 {
		t.Fatalf("%d bytes, %v", size, err)
	}
	for _, name := range []string{dbFile, KeysetFile} {
		if info, err := os.Stat(filepath.Join(copies, "copy", name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}

	// Pages of the event are damaged: it is said now, and not at the restore.
	path := filepath.Join(dir, dbFile)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(raw[len(raw)/2:], strings.Repeat("\xff", 8192))
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Backup(t.Context(), Options{Dir: dir}, filepath.Join(copies, "damaged"), true); err == nil {
		t.Error("a damaged file is backed up without a word")
	}
	if _, err := os.Stat(filepath.Join(copies, "damaged")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

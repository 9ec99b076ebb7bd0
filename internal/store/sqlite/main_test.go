package sqlite

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"callbackd/internal/store/storetest"
)

// shared is a directory with the data directories that tests copy.
var shared string

func TestMain(m *testing.M) {
	flag.Set("test.parallel", "8") // parallel tests wait for the disk more than for a processor
	var err error
	if shared, err = os.MkdirTemp("", "callbackd-sqlite"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(shared)
	os.Exit(code)
}

// prepared returns a function that copies a data directory. The first call makes
// the directory.
func prepared(name string, make func(t *testing.T, s *Store)) func(t *testing.T, to string) {
	var mu sync.Mutex
	done := false
	return func(t *testing.T, to string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		dir := filepath.Join(shared, name)
		if !done {
			s := open(t, Options{Dir: dir})
			make(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			done = true
		}
		if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
}

var (
	// copyEmpty copies the directory of a new store.
	copyEmpty = prepared("empty", func(*testing.T, *Store) {})
	// copyUsed copies the directory of a store that storetest has used.
	copyUsed = prepared("used", func(t *testing.T, s *Store) { storetest.Use(t, s, 3, 60) })
)

// used returns a data directory of a store that was used and stopped.
func used(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "used")
	copyUsed(t, dir)
	return dir
}

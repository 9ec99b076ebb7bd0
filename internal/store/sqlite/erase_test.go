package sqlite

import (
	"os"
	"path/filepath"
	"testing"

	"callbackd/internal/store/storetest"
)

// TestAnErasureLeavesNoTrace reads the database and its log as they are on the disk.
func TestAnErasureLeavesNoTrace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	defer s.Close()
	storetest.Traces(t, s, func() (all []byte) {
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, raw...)
		}
		return all
	})
}

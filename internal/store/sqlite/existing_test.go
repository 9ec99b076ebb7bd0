package sqlite

import (
	"path/filepath"
	"testing"

	"callbackd/internal/store"
	"callbackd/internal/store/storetest"

	"github.com/google/go-cmp/cmp"
)

// This version reads the same from a directory of an earlier version as that version did,
// also after a restart.
func TestExistingDirectoryIsRead(t *testing.T) {
	dir := t.TempDir()
	want := storetest.ExistingDirectory(t, dir)
	for _, when := range []string{"at the first start", "at the second start"} {
		s := open(t, Options{Dir: dir})
		if diff := cmp.Diff(want, storetest.Inventory(t, s)); diff != "" {
			t.Errorf("%s: -earlier version +this version\n%s", when, diff)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The counts of a directory whose version did not count, or lost counts, are corrected at the
// next start.
func TestCountsOfAnEarlierVersionAreRecounted(t *testing.T) {
	dir := t.TempDir()
	storetest.ExistingDirectory(t, dir)
	storetest.Recounts(t, func() store.Store { return open(t, Options{Dir: dir}) }, map[string][]string{
		"were lost":    {"DELETE FROM delivery_counts"},
		"became wrong": {"UPDATE delivery_counts SET n = n + 7 WHERE what = 'found'", "INSERT INTO delivery_counts VALUES ('recount', 0)"},
	}, func(sql string) error {
		d, err := openDB("file:" + filepath.Join(dir, dbFile))
		if err != nil {
			return err
		}
		defer d.close()
		return d.query(sql, nil)
	})
}

// A backup takes a directory of an earlier version without an upgrade, and the
// copy can be served.
func TestExistingDirectoryIsBackedUp(t *testing.T) {
	dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	want := storetest.ExistingDirectory(t, dir)
	if _, err := Backup(t.Context(), Options{Dir: dir}, copied, true); err != nil {
		t.Fatal(err)
	}
	for what, dir := range map[string]string{"the copy": copied, "the original": dir} {
		s := open(t, Options{Dir: dir})
		if diff := cmp.Diff(want, storetest.Inventory(t, s)); diff != "" {
			t.Errorf("%s: -earlier version +this version\n%s", what, diff)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

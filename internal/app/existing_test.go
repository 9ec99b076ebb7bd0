package app

import (
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/storetest"

	"github.com/google/go-cmp/cmp"
)

// A directory of an earlier version is moved as it is, and the database goes
// on with it.
func TestExistingDirectoryIsMoved(t *testing.T) {
	t.Parallel()
	dir, to := t.TempDir(), target(t)
	want := storetest.ExistingDirectory(t, dir)
	if err := Move(t.Context(), dir, to, silent); err != nil {
		t.Fatal(err)
	}
	s := openPlace(t, to)
	defer closeStore(t, s)
	if diff := cmp.Diff(want, storetest.Inventory(t, s)); diff != "" {
		t.Errorf("-SQLite +PostgreSQL\n%s", diff)
	}
	accepted, err := s.Accept(t.Context(), store.Batch{Key: 1, At: time.Now(), Events: []store.NewEvent{{Type: callbackd.StatusChange, Session: "S1", Data: []byte("{}")}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := accepted[0].Targets; len(got) == 0 {
		t.Error("the next event has no targets, want the callbacks that were moved")
	}
	if r, err := s.Check(t.Context()); err != nil || r.FaultN > 0 {
		t.Errorf("fsck: %v, %v; want no faults", r.Faults, err)
	}
}

package sqlite

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/ncruces/go-sqlite3"
)

func (s *Store) pages(t *testing.T) (n int64) {
	t.Helper()
	err := s.write(t.Context(), func(t *tx) error {
		return t.query("PRAGMA page_count", func(st *sqlite3.Stmt) error { n = st.ColumnInt64(0); return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The space of removed events is used again: after many retention periods the
// file is as large as after one. Pending deliveries stay.
func TestSweptSpaceIsUsedAgain(t *testing.T) {
	t.Parallel()
	r := &rig{ctx: t.Context(), acked: map[callbackd.EventID]*ackedEvent{}}
	s := open(t, Options{Dir: t.TempDir()})
	defer s.Close()
	if err := r.begin(s); err != nil {
		t.Fatal(err)
	}
	const periods, batches = 6, 40
	var sizes []int64
	at := time.Now().Add(-100 * time.Hour)
	for range periods {
		for range batches {
			r.deliverAllButOne(t, s, at)
		}
		at = at.Add(time.Hour)
		sweepAll(t, s, at)
		sizes = append(sizes, s.pages(t))
	}
	// A page and a half for each event that waits.
	if most, grown := int64(periods-1)*batches*3/2, sizes[periods-1]-sizes[0]; grown > most {
		t.Errorf("the file grows by %d pages, want %d at most: %d", grown, most, sizes)
	}
	report, err := s.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if report.FaultN > 0 {
		t.Errorf("fsck finds %q, want no faults", report.Faults)
	}
	// The newest event of the session stays as long as earlier ones do.
	if want := int64(periods * batches); report.Events != want+1 || report.Callbacks[0].Pending != want {
		t.Errorf("%d events and %d pending deliveries are left, want %d and %d", report.Events, report.Callbacks[0].Pending, want+1, want)
	}
}

// deliverAllButOne accepts ten events and ends the deliveries of nine.
func (r *rig) deliverAllButOne(t *testing.T, s *Store, at time.Time) {
	t.Helper()
	b := store.Batch{Key: r.key, At: at}
	for range 10 {
		b.Events = append(b.Events, store.NewEvent{Type: callbackd.Complete, Session: "S", Data: bytes.Repeat([]byte{'x'}, 2_000)})
	}
	evs, err := s.Accept(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	var records sync.WaitGroup
	for _, ev := range evs[1:] {
		r.acked[ev.ID] = &ackedEvent{ev: *ev}
	}
	for _, ev := range evs[1:] {
		records.Go(func() {
			if err := r.record(s, ev.ID); err != nil {
				t.Error(err)
			}
		})
	}
	records.Wait()
}

// sweepAll removes the events from before a time in steps, and checks that no
// step was too long.
func sweepAll(t *testing.T, s *Store, before time.Time) {
	t.Helper()
	steps := 0
	for q, done := (store.Sweep{Before: before, Limit: 50}), false; !done; steps++ {
		swept, err := s.Sweep(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		q.After, done = swept.Next, swept.Done
	}
	if steps < 8 {
		t.Errorf("400 events are swept in %d steps of 50, want 8 or more", steps)
	}
}

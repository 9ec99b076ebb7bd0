package sqlite

import (
	"bytes"
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

// What is removed leaves its space to what comes: over many times --retention the
// file is as large as one of them needs. What is pending stays.
func TestSweptSpaceIsUsedAgain(t *testing.T) {
	r := &rig{ctx: t.Context(), acked: map[callbackd.EventID]*owed{}}
	s := open(t, Options{Dir: t.TempDir()})
	defer s.Close()
	if err := r.begin(s); err != nil {
		t.Fatal(err)
	}
	var waits []callbackd.EventID
	var sizes []int64
	at := time.Now().Add(-100 * time.Hour)
	for range 6 {
		for range 40 {
			b := store.Batch{Key: r.key, At: at}
			for range 10 {
				b.Events = append(b.Events, store.NewEvent{Type: callbackd.Complete, Session: "S", Data: bytes.Repeat([]byte{'x'}, 2_000)})
			}
			evs, err := s.Accept(t.Context(), b)
			if err != nil {
				t.Fatal(err)
			}
			for _, ev := range evs[1:] {
				r.acked[ev.ID] = &owed{ev: *ev}
				if err := r.record(s, ev.ID); err != nil {
					t.Fatal(err)
				}
			}
			waits = append(waits, evs[0].ID)
		}
		at = at.Add(time.Hour)
		var after callbackd.EventID
		slices := 0
		for done := false; !done; slices++ {
			var err error
			if after, _, done, err = s.Sweep(t.Context(), at, after, 50); err != nil {
				t.Fatal(err)
			}
		}
		if slices < 8 {
			t.Errorf("400 events went in %d slices of 50", slices)
		}
		sizes = append(sizes, s.pages(t))
	}
	// One page and a half for each of the events that wait.
	if grown := sizes[5] - sizes[0]; grown > 5*40*3/2 {
		t.Errorf("the file grows: %d pages", sizes)
	}
	report, err := s.Check(t.Context())
	if err != nil || report.FaultN > 0 || report.Events != int64(len(waits)) || report.Callbacks[0].Pending != int64(len(waits)) {
		t.Errorf("%+v, %v; %d events wait", report, err, len(waits))
	}
}

package sqlite

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// accepting is a store that accepts events, ends some of their deliveries, and
// flushes them to the tables.
type accepting struct {
	*Store
	key callbackd.KeyID
	cb  callbackd.CallbackID
	// accepted counts the acknowledged events, ended the oldest of them whose
	// deliveries may have ended.
	accepted, ended atomic.Int64
}

func newAccepting(t *testing.T) *accepting {
	t.Helper()
	s := &accepting{Store: open(t, Options{Dir: t.TempDir(), flushAt: 3})}
	t.Cleanup(func() { s.Close() })
	k, err := s.CreateKey(t.Context(), callbackd.Key{Account: "a", APIKey: "k", Secret: "s", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	cb, _, err := s.CreateCallback(t.Context(), callbackd.Callback{Key: k.ID, Event: callbackd.Complete, Name: "default", URL: "https://a.example/", Payload: []byte("{}")}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s.key, s.cb = k.ID, cb.ID
	return s
}

// run accepts n events. After every third one it ends the oldest pending
// delivery: one that was flushed has a row, the others have none.
func (s *accepting) run(t *testing.T, n int) error {
	var pending []*callbackd.Event
	for i := range n {
		evs, err := s.Accept(t.Context(), store.Batch{Key: s.key, At: time.Now(), Events: []store.NewEvent{{Type: callbackd.Complete, Session: "S", Data: []byte("{}")}}})
		if err != nil {
			return err
		}
		pending = append(pending, evs[0])
		s.accepted.Add(1)
		if i%3 < 2 {
			continue
		}
		s.ended.Add(1)
		o := callbackd.Outcome{Delivery: untriedDelivery(pending[0], s.cb), Attempt: callbackd.Attempt{Version: 1, Decision: callbackd.Decision{State: callbackd.Delivered}}}
		if _, err := s.Record(t.Context(), &o); err != nil {
			return err
		}
		pending = pending[1:]
	}
	return nil
}

// A reader gets each event that was accepted before the read, and each pending delivery,
// exactly once, whatever is flushed during the read.
func TestReadsDuringFlushesMissNothing(t *testing.T) {
	t.Parallel()
	const n = 400
	s := newAccepting(t)
	done := make(chan error, 1)
	go func() { done <- s.run(t, n) }()
	for finished := false; !finished; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			finished = true
		default:
		}
		s.readEvents(t, "")
		s.readEvents(t, "S")
		s.readFirstAttempts(t)
		s.readPending(t)
	}
	r, err := s.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.FaultN > 0 {
		t.Errorf("fsck finds %q, want no faults", r.Faults)
	}
	if got, want := r.Callbacks[0].Pending, int64(n-n/3); got != want {
		t.Errorf("%d deliveries are pending, want %d", got, want)
	}
}

func (s *accepting) readEvents(t *testing.T, session string) {
	want := s.accepted.Load()
	if got := allEvents(t, s.Store, store.EventQuery{Key: s.key, Session: session}); int64(len(got)) < want {
		t.Fatalf("%d events of session %q are listed, want %d or more", len(got), session, want)
	}
}

func (s *accepting) readFirstAttempts(t *testing.T) {
	accepted := s.accepted.Load()
	ds, _, err := s.Pending(t.Context(), callbackd.PendingRead{Callback: s.cb, Limit: 4000})
	if err != nil {
		t.Fatal(err)
	}
	if least := accepted - s.ended.Load(); int64(len(ds)) < least {
		t.Fatalf("%d first attempts, want %d or more", len(ds), least)
	}
	if !slices.IsSortedFunc(ds, func(a, b callbackd.Delivery) int { return int(a.Sequence - b.Sequence) }) {
		t.Fatal("the first attempts are not in the order of their sequence numbers")
	}
}

func (s *accepting) readPending(t *testing.T) {
	accepted := s.accepted.Load()
	page, err := s.ListDeliveries(t.Context(), store.DeliveryQuery{Key: s.key, State: callbackd.Pending, Limit: store.MaxPage})
	if err != nil {
		t.Fatal(err)
	}
	if least := min(accepted-s.ended.Load(), store.MaxPage); int64(len(page.Deliveries)) < least {
		t.Fatalf("%d pending deliveries are listed, want %d or more", len(page.Deliveries), least)
	}
}

// allEvents reads every page and fails when an event comes twice.
func allEvents(t *testing.T, s *Store, q store.EventQuery) (ids []callbackd.EventID) {
	t.Helper()
	q.Limit = 50
	for {
		page, err := s.ListEvents(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range page.Events {
			if len(ids) > 0 && ev.ID >= ids[len(ids)-1] {
				t.Fatalf("event %s comes after %s, want the newest first", ev.ID, ids[len(ids)-1])
			}
			ids = append(ids, ev.ID)
		}
		if q.After = page.Next; q.After == 0 {
			return ids
		}
	}
}

package sqlite

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// A reader meets every event that was accepted before it began, once,
// whatever is folded meanwhile; and so it does every pending delivery.
func TestReadsDuringFoldsMissNothing(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), flushAt: 3})
	defer s.Close()
	k, err := s.CreateKey(t.Context(), callbackd.Key{Account: "a", APIKey: "k", Secret: "s", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	cb, _, err := s.CreateCallback(t.Context(), callbackd.Callback{Key: k.ID, Event: callbackd.Complete, Name: "default", URL: "https://a.example/", Payload: []byte("{}")}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	const n = 400
	var accepted atomic.Int64 // events whose acceptance was acknowledged
	var ended atomic.Int64    // of those, the oldest ones that may have ended
	done := make(chan error, 1)
	go func() {
		var evs []*callbackd.Event
		for i := range n {
			out, err := s.Accept(t.Context(), store.Batch{Key: k.ID, At: time.Now(), Events: []store.NewEvent{{Type: callbackd.Complete, Session: "S", Data: []byte("{}")}}})
			if err != nil {
				done <- err
				return
			}
			evs = append(evs, out[0])
			accepted.Store(int64(i + 1))
			if i%3 == 2 { // the oldest ends; what was folded has a row, what was not has none
				ended.Add(1)
				o := callbackd.Outcome{Delivery: untriedDelivery(evs[0], cb.ID), Attempt: callbackd.Attempt{Version: 1, Decision: callbackd.Decision{State: callbackd.Delivered}}}
				if _, err := s.Record(t.Context(), o); err != nil {
					done <- err
					return
				}
				evs = evs[1:]
			}
		}
		done <- nil
	}()
	for finished := false; !finished; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			finished = true
		default:
		}
		want := accepted.Load()
		for _, session := range []string{"", "S"} {
			if got := allEvents(t, s, store.EventQuery{Key: k.ID, Session: session}); int64(len(got)) < want {
				t.Fatalf("session %q: %d of %d events are listed", session, len(got), want)
			}
		}
		want = accepted.Load()
		fresh, err := s.FirstAttempts(t.Context(), cb.ID, 0, 10*n)
		if err != nil {
			t.Fatal(err)
		}
		if least := want - ended.Load(); int64(len(fresh)) < least {
			t.Fatalf("%d fresh deliveries, at least %d wait", len(fresh), least)
		}
		if !slices.IsSortedFunc(fresh, func(a, b callbackd.Delivery) int { return int(a.Sequence - b.Sequence) }) {
			t.Fatal("fresh deliveries are not in order")
		}
		want = accepted.Load()
		page, err := s.ListDeliveries(t.Context(), store.DeliveryQuery{Key: k.ID, State: callbackd.Pending, Limit: store.MaxPage})
		if err != nil {
			t.Fatal(err)
		}
		if least := min(want-ended.Load(), store.MaxPage); int64(len(page.Deliveries)) < least {
			t.Fatalf("%d pending deliveries are listed, at least %d wait", len(page.Deliveries), least)
		}
	}
	if r, err := s.Check(t.Context()); err != nil || r.FaultN > 0 || r.Callbacks[0].Pending != n-n/3 {
		t.Errorf("%+v, %v", r, err)
	}
}

// allEvents reads every page and fails on an event that comes twice.
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
				t.Fatalf("%s comes after %s", ev.ID, ids[len(ids)-1])
			}
			ids = append(ids, ev.ID)
		}
		if q.After = page.Next; q.After == 0 {
			return ids
		}
	}
}

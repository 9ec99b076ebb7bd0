package sqlite

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/ncruces/go-sqlite3"
)

// On a full disk without a reserve the rows of the buffer cannot be written. Reads
// answer all the same, with everything that was acknowledged.
func TestReadsAnswerOnAFullDisk(t *testing.T) {
	r := newRig(t, 1, "FULL")
	r.o.flushAt = 1000
	s := open(t, r.o)
	defer s.Close()
	if err := r.begin(s); err != nil {
		t.Fatal(err)
	}
	evs, err := r.accept(s, "S", 5, 100)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.record(s, evs[0].ID); err != nil {
		t.Fatal(err)
	}
	reads := bufferedReads(t.Context(), r, s, evs[0].ID)
	r.setFault((&planned{op: "write", file: "-wal", n: 1, err: sqlite3.FULL}).fault)
	if _, err := r.accept(s, "S", 1, 100); callbackd.KindOf(err) != callbackd.KindUnavailable {
		t.Errorf("an event on a full disk: the error is %v; want Unavailable", err)
	}
	for _, c := range reads {
		c.check(t, "on a full disk", c.want)
	}
	if n := s.buffer.len(); n != 5 {
		t.Errorf("%d events are in the buffer after the reads; want 5", n)
	}
	if s.refusals.Err() == nil {
		t.Error("a read has ended the refusal of writes")
	}
	r.setFault(nil)
	if _, err := r.accept(s, "S", 1, 100); err != nil {
		t.Errorf("an event when there is space again: %v", err)
	}
	for _, c := range reads {
		c.check(t, "when there is space again", c.next)
	}
	r.verify(s, true)
	for _, l := range r.violations {
		t.Error(l)
	}
}

// bufferedRead is a read that counts something of what the buffer has.
type bufferedRead struct {
	name string
	want int // with five events
	next int // with one more
	read func() (int, error)
}

func (c *bufferedRead) check(t *testing.T, when string, want int) {
	t.Helper()
	if got, err := c.read(); got != want || err != nil {
		t.Errorf("%s %s: got %d, %v; want %d", c.name, when, got, err, want)
	}
}

// bufferedReads returns a read of each kind. The rig has five events of session S,
// of which one is delivered.
func bufferedReads(ctx context.Context, r *rig, s *Store, delivered callbackd.EventID) []bufferedRead {
	return []bufferedRead{
		{"events", 5, 6, func() (int, error) {
			page, err := s.ListEvents(ctx, store.EventQuery{Key: r.key, Limit: 10})
			return len(page.Events), err
		}},
		{"events after a cursor", 5, 6, func() (int, error) {
			page, err := s.EventsAfter(ctx, store.EventQuery{Key: r.key, Limit: 10})
			return len(page.Events), err
		}},
		{"pending deliveries", 4, 5, func() (int, error) {
			page, err := s.ListDeliveries(ctx, store.DeliveryQuery{Key: r.key, State: callbackd.Pending, Limit: 10})
			return len(page.Deliveries), err
		}},
		{"delivered deliveries", 1, 1, func() (int, error) {
			page, err := s.ListDeliveries(ctx, store.DeliveryQuery{Key: r.key, State: callbackd.Delivered, Limit: 10})
			return len(page.Deliveries), err
		}},
		{"attempts of the first delivery", 1, 1, func() (int, error) {
			d, err := s.Delivery(ctx, r.key, callbackd.DeliveryID{Event: delivered, Callback: r.cb}, 0)
			if err != nil {
				return 0, err
			}
			return len(d.History), nil
		}},
		{"events of the session", 5, 6, func() (int, error) {
			evs, err := s.SessionEvents(ctx, store.SessionEventQuery{Key: r.key, Session: "S", Limit: 10})
			return len(evs), err
		}},
		{"the newest events of the session", 3, 3, func() (int, error) {
			id := store.SessionID{Key: r.key, SessionKey: "S"}
			latest, err := s.LatestEvents(ctx, []store.SessionID{id}, 3)
			return len(latest[id]), err
		}},
		{"the count of pending deliveries", 4, 5, func() (int, error) {
			health, err := s.Health(ctx, r.cb, store.PendingQuery{Limit: 10})
			return health.Pending, err
		}},
		{"the backlog in the overview", 4, 5, func() (int, error) {
			page, err := s.ListHealth(ctx, store.HealthQuery{CallbackQuery: store.CallbackQuery{Key: r.key}})
			if err != nil || len(page.Callbacks) != 1 {
				return -1, err
			}
			return page.Callbacks[0].Pending, nil
		}},
	}
}

// A row that a constraint refuses fails its own command. The others of its group
// are committed, and the store goes on.
func TestARefusedRowFailsItsCommandOnly(t *testing.T) {
	ctx := t.Context()
	r := newRig(t, 2, "FULL")
	s := open(t, r.o)
	defer s.Close()
	if err := r.begin(s); err != nil {
		t.Fatal(err)
	}
	evs, err := r.accept(s, "S", 2, 10)
	if err != nil {
		t.Fatal(err)
	}
	// The writer waits until all commands are in its queue, so that they share a
	// commit.
	entered, release := make(chan struct{}), make(chan struct{})
	enter, results := sync.OnceFunc(func() { close(entered) }), make(chan error, 1)
	go func() {
		results <- s.write(ctx, func(*tx) error { // it is run again after the refusal
			enter()
			<-release
			return nil
		})
	}()
	<-entered
	bad, before, after := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	send := func(to chan<- error, queued int, f func() error) {
		go func() { to <- f() }()
		for len(s.queues.jobs)+len(s.queues.outcomes) < queued {
			runtime.Gosched()
		}
	}
	send(before, 1, func() error { return r.record(s, evs[0].ID) })
	send(bad, 2, func() error {
		_, err := s.Record(ctx, &callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: evs[1].ID, Callback: r.cb}},
			Attempt: callbackd.Attempt{Version: 1, Result: callbackd.Result{StartedAt: time.Now()}, Decision: callbackd.Decision{State: "no such state", Due: time.Now()}}})
		return err
	})
	send(after, 3, func() error { _, err := r.accept(s, "S", 1, 10); return err })
	close(release)
	for _, c := range []struct {
		name string
		err  error
	}{{"the command that waited", <-results}, {"the command before", <-before}, {"the command after", <-after}} {
		if c.err != nil {
			t.Errorf("%s: %v", c.name, c.err)
		}
	}
	if err := <-bad; callbackd.KindOf(err) != callbackd.KindInternal {
		t.Errorf("the command with the refused row: the error is %v; want Internal", err)
	}
	if err := s.Ready(ctx); err != nil {
		t.Errorf("the store is not ready afterwards: %v", err)
	}
	r.verify(s, true)
	for _, l := range r.violations {
		t.Error(l)
	}
}

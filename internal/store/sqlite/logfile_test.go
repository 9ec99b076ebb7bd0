package sqlite

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
)

// logRig returns a rig with an open store, and a function that returns what was done to
// the log since the call before.
func logRig(t *testing.T) (*rig, *Store, func() []string) {
	r := newRig(t, rand.Uint64(), "FULL")
	r.o.flushAt = 100
	s := open(t, r.o)
	if err := r.begin(s); err != nil {
		t.Fatal(err)
	}
	var ops []string
	r.setFault(func(op, file string) error {
		if strings.HasSuffix(file, "-wal") {
			ops = append(ops, op)
		}
		return nil
	})
	return r, s, func() []string {
		r.disk.mu.Lock()
		defer r.disk.mu.Unlock()
		done := ops
		ops = nil
		return done
	}
}

func mustAccept(t *testing.T, r *rig, s *Store, n int) []*callbackd.Event {
	t.Helper()
	evs, err := r.accept(s, "S", n, 3_000)
	if err != nil {
		t.Fatal(err)
	}
	return evs
}

func mustRecord(t *testing.T, r *rig, s *Store, id callbackd.EventID) {
	t.Helper()
	if err := r.record(s, id); err != nil {
		t.Fatal(err)
	}
}

// delivered reports whether the store has the outcome of an event.
func (r *rig) delivered(t *testing.T, s *Store, id callbackd.EventID) bool {
	t.Helper()
	d, err := s.Delivery(r.ctx, r.key, callbackd.DeliveryID{Event: id, Callback: r.cb}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return d.State == callbackd.Delivered
}

// cutAndOpen takes the power away and starts the machine again.
func (r *rig) cutAndOpen(t *testing.T, s *Store) *Store {
	t.Helper()
	r.disk.mu.Lock()
	r.disk.cut()
	r.disk.fault = nil
	r.disk.mu.Unlock()
	s.Close()
	r.disk.power()
	return open(t, r.o)
}

// A commit is written in one piece. It is synced, unless it has nothing but outcomes.
func TestACommitIsOneWriteAndOutcomesAreNotSynced(t *testing.T) {
	r, s, ops := logRig(t)
	defer s.Close()
	evs := mustAccept(t, r, s, 5)
	for _, step := range []struct {
		name string
		do   func() error
		want []string
	}{
		{"an event", func() error { mustAccept(t, r, s, 1); return nil }, []string{"write", "sync"}},
		{"a batch", func() error { mustAccept(t, r, s, 20); return nil }, []string{"write", "sync"}},
		{"an outcome", func() error { mustRecord(t, r, s, evs[0].ID); return nil }, []string{"write"}},
		{"another outcome", func() error { mustRecord(t, r, s, evs[1].ID); return nil }, []string{"write"}},
		{"an outcome that pauses the callback", func() error {
			_, err := s.Record(r.ctx, &callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: evs[2].ID, Callback: r.cb}},
				Attempt: callbackd.Attempt{Version: 1, Result: callbackd.Result{StartedAt: time.Now(), Status: 410}, Decision: callbackd.Decision{State: callbackd.Failed}},
				Change:  callbackd.CallbackChange{Version: 1, Pause: callbackd.PausedGone}})
			return err
		}, []string{"write", "sync"}},
		{"an event after outcomes", func() error { mustAccept(t, r, s, 1); return nil }, []string{"write", "sync"}},
		{"a setting", func() error {
			_, err := s.ChangeCallback(r.ctx, r.key, callbackd.Complete, "default", func(c *callbackd.Callback) error { c.URL = "https://b.example/"; return nil })
			return err
		}, []string{"write", "sync"}},
		{"a session", func() error {
			return s.CreateSession(r.ctx, &callbackd.Session{Key: r.key, SessionKey: "S-1", CreatedAt: time.Now(), UpdatedAt: time.Now(), Status: callbackd.StatusProcess}, nil)
		}, []string{"write", "sync"}},
		{"a flush", func() error { return seam{s}.Flush(r.ctx) }, []string{"write"}},
	} {
		ops()
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := ops(); !slices.Equal(got, step.want) {
			t.Errorf("%s makes %q of the log; want %q", step.name, got, step.want)
		}
	}
}

// Events are flushed in small pieces, and first in commits for which nobody waits.
func TestEventsAreFlushedInSmallPieces(t *testing.T) {
	r := newRig(t, rand.Uint64(), "FULL")
	r.o.flushAt = 800
	s := open(t, r.o)
	defer s.Close()
	if err := r.begin(s); err != nil {
		t.Fatal(err)
	}
	evs := mustAccept(t, r, s, 800)
	mustAccept(t, r, s, 100)
	if n := s.buffer.len(); n != 900 {
		t.Errorf("%d events are in the buffer; want all 900, because the next outcome can flush", n)
	}
	mustRecord(t, r, s, evs[0].ID)
	if n := s.buffer.len(); n != 900-flushBatch {
		t.Errorf("%d events are in the buffer after an outcome; want %d", n, 900-flushBatch)
	}
	mustAccept(t, r, s, 400) // and the event after them finds too many
	mustAccept(t, r, s, 1)
	if n, want := s.buffer.len(), 900-2*flushBatch+401; n != want {
		t.Errorf("%d events are in the buffer without another outcome; want %d", n, want)
	}
}

// A kill loses no outcome, synced or not: what was written is the kernel's.
func TestAKillKeepsOutcomesThatWereNotSynced(t *testing.T) {
	r, s, _ := logRig(t)
	id := mustAccept(t, r, s, 1)[0].ID
	mustRecord(t, r, s, id)
	r.disk.kill()
	s.Close()
	r.disk.power()
	s = open(t, r.o)
	defer s.Close()
	if !r.delivered(t, s, id) {
		t.Error("the delivery is pending after a kill; want delivered")
	}
}

// A power cut can lose outcomes until the next event is accepted, or a quarter of a second
// has passed. Their attempts are then made again.
func TestOutcomesAloneAreSyncedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s, ops := logRig(t)
		ids := mustAccept(t, r, s, 3)
		mustRecord(t, r, s, ids[0].ID)
		ops()
		time.Sleep(syncWithin)
		synctest.Wait()
		if got := ops(); !slices.Equal(got, []string{"sync"}) {
			t.Errorf("after %v the log has got %q; want one sync", syncWithin, got)
		}
		mustRecord(t, r, s, ids[1].ID)
		mustAccept(t, r, s, 1)
		ops()
		time.Sleep(2 * syncWithin)
		synctest.Wait()
		if got := ops(); len(got) > 0 {
			t.Errorf("the log has got %q though an event's sync has included the outcome; want nothing", got)
		}
		s = r.cutAndOpen(t, s)
		for _, ev := range ids[:2] {
			if !r.delivered(t, s, ev.ID) {
				t.Errorf("event %s is not delivered after a power cut, and its outcome was synced", ev.ID)
			}
		}
		if r.delivered(t, s, ids[2].ID) {
			t.Errorf("event %s is delivered without an outcome", ids[2].ID)
		}
		s.Close()
	})
}

// A stop syncs the outcomes.
func TestAStopSyncsOutcomes(t *testing.T) {
	r, s, _ := logRig(t)
	id := mustAccept(t, r, s, 1)[0].ID
	mustRecord(t, r, s, id)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = r.cutAndOpen(t, s)
	defer s.Close()
	if !r.delivered(t, s, id) {
		t.Error("the delivery is pending after a stop and a power cut; want delivered")
	}
}

package sqlite

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
)

// What a commit does to the log.
var (
	synced   = []string{"write", "sync"}
	unsynced = []string{"write"}
)

// recordLater records the outcomes of events, which can wait, and returns at once.
func recordLater(r *rig, s *Store, ids ...callbackd.EventID) (done *sync.WaitGroup) {
	done = new(sync.WaitGroup)
	for _, id := range ids {
		done.Go(func() {
			s.Record(r.ctx, &callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: id, Callback: r.cb}},
				Attempt: callbackd.Attempt{Version: 1, Result: callbackd.Result{StartedAt: time.Now(), Status: 200}, Decision: callbackd.Decision{State: callbackd.Delivered}},
				CanWait: true})
		})
	}
	return done
}

func idsOf(evs []*callbackd.Event) (ids []callbackd.EventID) {
	for _, ev := range evs {
		ids = append(ids, ev.ID)
	}
	return ids
}

func TestOutcomesThatCanWaitShareACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s, ops := logRig(t)
		defer s.Close()
		ids := idsOf(mustAccept(t, r, s, 2*minOutcomes))
		want := func(what string, want []string) {
			t.Helper()
			synctest.Wait()
			if got := ops(); !slices.Equal(got, want) {
				t.Errorf("%s: the log got %q; want %q", what, got, want)
			}
		}
		ops()
		recordLater(r, s, ids[:3]...)
		time.Sleep(outcomeWait - time.Microsecond)
		want("before their time is over", nil)
		time.Sleep(time.Microsecond)
		want("when it is over", unsynced)

		recordLater(r, s, ids[3])
		want("one that waits", nil)
		mustRecord(t, r, s, ids[4])
		want("and another one that something waits for", unsynced)
		recordLater(r, s, ids[5])
		want("one that waits", nil)
		mustAccept(t, r, s, 1)
		want("and an event", synced)
		time.Sleep(outcomeWait)
		want("when nothing is left", nil)
		for _, id := range ids[:6] {
			if !r.delivered(t, s, id) {
				t.Errorf("event %s is not delivered", id)
			}
		}

		ops()
		time.Sleep(syncWithin)
		want("a quarter of a second later", []string{"sync"})
		recordLater(r, s, ids[6:6+minOutcomes-1]...)
		want("many that wait", nil)
		recordLater(r, s, ids[6+minOutcomes])
		want("and one more", unsynced)
	})
}

// More outcomes than a group has room for are all written in time.
func TestNoOutcomeWaitsForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s, _ := logRig(t)
		defer s.Close()
		ids := idsOf(mustAccept(t, r, s, 2*maxGroup))
		from := time.Now()
		recordLater(r, s, ids...).Wait()
		if took := time.Since(from); took > outcomeWait {
			t.Errorf("they were written after %v; want %v or less", took, outcomeWait)
		}
	})
}

// A kill loses an outcome that waits, and the outcome was not acknowledged.
func TestAKillLosesAnOutcomeThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s, _ := logRig(t)
		r.o.flushAt = 1000
		id := mustAccept(t, r, s, 1)[0].ID
		told := false
		go func() {
			recordLater(r, s, id).Wait()
			told = !r.disk.isOff()
		}()
		synctest.Wait()
		r.disk.kill()
		s.Close()
		synctest.Wait()
		if told {
			t.Error("the outcome was recorded though it waited at the kill")
		}
		r.disk.power()
		s = open(t, r.o)
		defer s.Close()
		if r.delivered(t, s, id) {
			t.Error("the delivery has ended without an outcome")
		}
	})
}

func TestAStopRecordsOutcomesThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s, _ := logRig(t)
		id := mustAccept(t, r, s, 1)[0].ID
		recordLater(r, s, id)
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = r.cutAndOpen(t, s)
		defer s.Close()
		if !r.delivered(t, s, id) {
			t.Error("the delivery is pending after a stop; want delivered")
		}
	})
}

// Events that come in quick succession share commits. A client that sends its events one
// after the other does not wait for others each time.
func TestEventsShareCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s, ops := logRig(t)
		defer s.Close()
		s.write(r.ctx, func(*tx) error { s.queues.pace = pace{}; return nil })
		time.Sleep(time.Second)
		from := time.Now()
		ops()
		mustAccept(t, r, s, 1)
		if took := time.Since(from); took != 0 {
			t.Errorf("a lone event is accepted after %v; want at once", took)
		}
		var done sync.WaitGroup
		for range fullPace {
			done.Go(func() { mustAccept(t, r, s, 1) })
			time.Sleep(commitPace / 10)
		}
		done.Wait()
		if took := time.Since(from); took != commitPace {
			t.Errorf("events that came one after the other are accepted after %v; want %v", took, commitPace)
		}
		if got, want := ops(), slices.Concat(synced, synced); !slices.Equal(got, want) {
			t.Errorf("the log got %q; want %q", got, want)
		}
		time.Sleep(time.Second)
		from = time.Now()
		for range 100 {
			mustAccept(t, r, s, 1)
		}
		if took, most := time.Since(from), 7*commitPace; took > most {
			t.Errorf("a hundred events of one client take %v; want %v or less", took, most)
		}
	})
}

// Large events share a commit only up to a number of bytes.
func TestTheBytesOfAGroupAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s, ops := logRig(t)
		defer s.Close()
		hold := make(chan struct{})
		go s.write(r.ctx, func(*tx) error { <-hold; return nil })
		synctest.Wait()
		for range 4 {
			go r.accept(s, "S", 1, maxBytes/2)
		}
		synctest.Wait()
		ops()
		close(hold)
		time.Sleep(2 * commitPace) // the second commit may wait
		synctest.Wait()
		syncs := 0
		for _, op := range ops() {
			if op == "sync" {
				syncs++
			}
		}
		if syncs != 2 {
			t.Errorf("four events of %d bytes make %d commits; want 2", maxBytes/2, syncs)
		}
	})
}

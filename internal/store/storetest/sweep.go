package storetest

import (
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var sweepTests = map[string]func(*suite){
	"Sweep":                                 (*suite).sweep,
	"TheNewestEventOfASessionIsRemovedLast": (*suite).sweepNewest,
	"SweepLooksBeforeItRemoves":             (*suite).sweepLooks,
	"SweepOfOneKey":                         (*suite).sweepKey,
}

// A sweep of one key removes its events only, each by the time of its type. What is pending
// stays, and so does the newest event of a session of which an earlier one stays.
func (s *suite) sweepKey() {
	other := s.newKey("k2")
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(other, ev1, "A")
	of1 := s.publish(s.key, ev1, "A", "B", "C") // A is removed, B is pending
	of2 := s.publish(s.key, ev2, "C", "D")      // nobody gets them; of the other type
	for _, d := range s.fresh(cb.ID) {
		if d.Session != "B" {
			s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
		}
	}
	sweep := func(q store.Sweep) (removed int) {
		q.Key, q.Limit = s.key.ID, 2
		for {
			swept, err := s.Sweep(s.ctx(), q)
			s.must(err)
			removed += swept.Removed
			if q.After = swept.Next; swept.Done {
				return removed
			}
		}
	}
	later, never := s.at.Add(time.Hour), time.Time{}
	s.equal("events that are too new", sweep(store.Sweep{Before: s.at.Add(-time.Hour)}), 0)
	s.equal("events of a type that has no event", sweep(store.Sweep{Before: never, Types: map[callbackd.EventType]time.Time{callbackd.NoteInsert: later}}), 0)
	s.equal("events of one type", sweep(store.Sweep{Before: never, Types: map[callbackd.EventType]time.Time{ev1: later}}), 2)
	for i, want := range []bool{false, true, false} {
		if err := second(s.Event(s.ctx(), s.key.ID, of1[i].ID)); (err == nil) != want {
			s.Errorf("event %d of the type: %v, want it to be there: %v", i, err, want)
		}
	}
	s.must(second(s.Event(s.ctx(), s.key.ID, of2[0].ID)))
	s.reopen()
	s.equal("the number after a gap", s.publish(s.key, ev2, "C")[0].Sequence, int64(3))
	s.equal("the others, but for a type that stays", sweep(store.Sweep{Before: later, Types: map[callbackd.EventType]time.Time{ev1: s.at.Add(-time.Hour)}}), 3)
	s.must(second(s.Event(s.ctx(), s.key.ID, of1[1].ID)))
	s.outcome(s.fresh(cb.ID)[0], callbackd.Delivered, time.Time{}, time.Time{})
	s.equal("what was pending", sweep(store.Sweep{Before: later}), 1)
	s.equal("events of the other key", s.sweepAll(later), 1)
}

// A session whose newest event has ended and whose first one is pending goes on with the
// next number, also after a restart.
func (s *suite) sweepNewest() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "A", "A", "A")
	for _, d := range s.fresh(cb.ID)[1:] {
		s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
	}
	later := s.at.Add(time.Hour)
	s.equal("events that were removed", s.sweepAll(later), 1)
	s.equal("events that were removed later", s.sweepAll(later), 0)
	s.reopen()
	s.equal("the next number", s.publish(s.key, ev1, "A")[0].Sequence, int64(4))
	for _, d := range s.fresh(cb.ID) {
		s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
	}
	s.equal("events that were removed at the end", s.sweepAll(s.at.Add(2*time.Hour)), 3)
}

// What a look returned is removed, unless it was attempted again since then.
func (s *suite) sweepLooks() {
	cb := s.newCallback(s.key, ev1, "default")
	evs := s.publish(s.key, ev1, "A", "B", "C", "D")
	for _, d := range s.fresh(cb.ID)[:3] {
		s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
	}
	later := s.at.Add(time.Hour)
	look, err := s.Sweep(s.ctx(), store.Sweep{Before: later, Limit: 10, Look: true})
	s.must(err)
	s.equal("what a look returns", look, store.Swept{Next: evs[3].ID, Events: map[callbackd.EventID]int{evs[0].ID: 1, evs[1].ID: 1, evs[2].ID: 1}})
	d, err := s.Resend(s.ctx(), s.key.ID, callbackd.DeliveryID{Event: evs[1].ID, Callback: cb.ID}, s.at)
	s.must(err)
	s.outcome(*d, callbackd.Delivered, time.Time{}, time.Time{})
	delete(look.Events, evs[2].ID)
	swept, err := s.Sweep(s.ctx(), store.Sweep{Before: later, Limit: 10, Only: look.Events})
	s.must(err)
	s.equal("what was removed", swept, store.Swept{Next: evs[3].ID, Removed: 1})
	for i, want := range []callbackd.Kind{callbackd.KindNotFound, 0, 0, 0} {
		if err := second(s.Event(s.ctx(), s.key.ID, evs[i].ID)); callbackd.KindOf(err) != want && want != 0 || err != nil && want == 0 {
			s.Errorf("event %d: %v", i, err)
		}
	}
}

func (s *suite) sweep() {
	cb := s.newCallback(s.key, ev1, "default")
	old := s.publish(s.key, ev1, "A", "B", "C")
	repeatable := s.one("A", "{}")
	repeatable.Idempotency, repeatable.Events[0].Type = "x", ev2
	s.must(second(s.Accept(s.ctx(), repeatable)))
	s.at = s.at.Add(time.Hour)
	recent := s.publish(s.key, ev1, "A")
	for _, d := range s.fresh(cb.ID) {
		if d.Session != "B" {
			s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
		}
	}
	s.equal("events that were removed", s.sweepAll(s.at.Add(-time.Minute)), 3)
	for _, id := range []callbackd.EventID{old[0].ID, old[2].ID} {
		s.kind(second(s.Event(s.ctx(), s.key.ID, id)), callbackd.KindNotFound)
	}
	s.must(second(s.Event(s.ctx(), s.key.ID, old[1].ID))) // its delivery is pending
	s.must(second(s.Event(s.ctx(), s.key.ID, recent[0].ID)))
	s.equal("the sequence number, which continues", s.publish(s.key, ev1, "A")[0].Sequence, int64(4))
}

package storetest

import (
	"time"

	"callbackd"
)

var sweepTests = map[string]func(*suite){
	"Sweep": (*suite).sweep,
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
	removed, after := 0, callbackd.EventID(0)
	for done := false; !done; {
		var n int
		var err error
		after, n, done, err = s.Sweep(s.ctx(), s.at.Add(-time.Minute), after, 2)
		s.must(err)
		removed += n
	}
	s.equal("events that were removed", removed, 3)
	for _, id := range []callbackd.EventID{old[0].ID, old[2].ID} {
		s.kind(second(s.Event(s.ctx(), s.key.ID, id)), callbackd.KindNotFound)
	}
	s.must(second(s.Event(s.ctx(), s.key.ID, old[1].ID))) // its delivery is pending
	s.must(second(s.Event(s.ctx(), s.key.ID, recent[0].ID)))
	s.equal("the sequence number, which continues", s.publish(s.key, ev1, "A")[0].Sequence, int64(4))
}

package storetest

import (
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var clockTests = map[string]func(*suite){
	"AClockThatRanAhead": (*suite).ranAhead, "AClockThatWasBehind": (*suite).wasBehind,
}

// listed is the ids of the events that a list finds, oldest first, whichever
// way it is asked.
func (s *suite) listed(q store.EventQuery) []callbackd.EventID {
	s.Helper()
	q.Key, q.Limit = s.key.ID, 100
	page, err := s.ListEvents(s.ctx(), q)
	s.must(err)
	up, err := s.EventsAfter(s.ctx(), q)
	s.must(err)
	ids := func(evs []*callbackd.Event) (out []callbackd.EventID) {
		for _, ev := range evs {
			out = append(out, ev.ID)
		}
		return out
	}
	got := ids(page.Events)
	slices.Reverse(got)
	if other := ids(up.Events); !slices.Equal(got, other) {
		s.Errorf("newest first %v, oldest first %v", got, other)
	}
	return got
}

func (s *suite) sweepAll(before time.Time) (removed int) {
	s.Helper()
	after := callbackd.EventID(0)
	for done := false; !done; {
		var n int
		var err error
		after, n, done, err = s.Sweep(s.ctx(), before, after, 2)
		s.must(err)
		removed += n
	}
	return removed
}

// One start with a clock ten years ahead: what is accepted after it was set
// right is of today, is found by time, and goes when it is old, and so does what
// was accepted with the wrong clock.
func (s *suite) ranAhead() {
	cb := s.newCallback(s.key, ev2, "waits")
	today := s.at
	before := s.publish(s.key, ev1, "A")
	s.at = today.AddDate(10, 0, 0)
	ahead := s.publish(s.key, ev1, "A", "B")
	s.at = today.Add(time.Second)
	after := slices.Concat(s.publish(s.key, ev1, "A", "C", "A"), s.publish(s.key, ev2, "A"))
	for reopened := range 2 {
		at := func(ids []callbackd.EventID) (out []time.Time) {
			for _, id := range ids {
				ev, err := s.Event(s.ctx(), s.key.ID, id)
				s.must(err)
				out = append(out, ev.Accepted())
			}
			return out
		}
		ids := func(evs ...*callbackd.Event) (out []callbackd.EventID) {
			for _, ev := range evs {
				out = append(out, ev.ID)
			}
			return out
		}
		if !slices.IsSorted(ids(slices.Concat(before, ahead, after)...)) {
			s.Error("ids do not grow")
		}
		for _, when := range at(ids(after...)) {
			if !when.Equal(s.at) {
				s.Errorf("an event of %v was accepted at %v", s.at, when)
			}
		}
		if when := at(ids(ahead...))[0]; !when.Equal(today.AddDate(10, 0, 0)) {
			s.Errorf("what the clock said then was %v", when)
		}
		hour := store.EventQuery{Since: today.Add(-time.Hour), Until: today.Add(time.Hour)}
		if got, want := s.listed(hour), ids(slices.Concat(before, after)...); !slices.Equal(got, want) {
			s.Errorf("of today: %v, want %v", got, want)
		}
		if got, want := s.listed(store.EventQuery{Session: "C", Since: hour.Since, Until: hour.Until}), ids(after[1]); !slices.Equal(got, want) {
			s.Errorf("of today, of a session: %v, want %v", got, want)
		}
		if got, want := s.listed(store.EventQuery{Until: s.at}), ids(before...); !slices.Equal(got, want) {
			s.Errorf("before it was set right: %v, want %v", got, want)
		}
		if got, want := s.listed(store.EventQuery{Since: today.AddDate(1, 0, 0)}), ids(ahead...); !slices.Equal(got, want) {
			s.Errorf("of the future: %v, want %v", got, want)
		}
		for _, state := range []callbackd.State{"", callbackd.Pending} {
			page, err := s.ListDeliveries(s.ctx(), store.DeliveryQuery{Key: s.key.ID, State: state, Since: hour.Since, Until: hour.Until, Limit: 10})
			s.must(err)
			if len(page.Deliveries) != 1 || !page.Deliveries[0].Since.Equal(s.at) {
				s.Errorf("deliveries of today (%q): %+v", state, page.Deliveries)
			}
		}
		if reopened == 0 {
			s.reopen()
		}
	}
	if next := s.publish(s.key, ev1, "A"); next[0].Sequence != 6 {
		s.Errorf("the session goes on with %d", next[0].Sequence)
	}
	if n := s.sweepAll(today.Add(-time.Hour)); n != 0 {
		s.Errorf("%d events were removed that are not old", n)
	}
	if n := s.sweepAll(today.Add(time.Minute)); n != 7 { // all but the one that waits
		s.Errorf("%d events were removed, want 7", n)
	}
	s.outcome(s.fresh(cb.ID)[0], callbackd.Delivered, time.Time{}, time.Time{})
	if n := s.sweepAll(today.Add(time.Minute)); n != 1 || len(s.listed(store.EventQuery{})) != 0 {
		s.Errorf("%d events were removed, want the last one", n)
	}
}

// A start with a clock that was never set: what it says is shown, and nothing is
// removed for it, while it is wrong or afterwards.
func (s *suite) wasBehind() {
	today := s.at
	s.publish(s.key, ev1, "A")
	s.at = time.Unix(1000, 0)
	early := s.publish(s.key, ev1, "A")
	if !early[0].Accepted().Equal(s.at) {
		s.Errorf("it shows %v", early[0].Accepted())
	}
	if n := s.sweepAll(s.at.Add(-time.Hour)); n != 0 {
		s.Errorf("%d events were removed while the clock was wrong", n)
	}
	s.at = today.Add(time.Second)
	s.publish(s.key, ev1, "A")
	if n := s.sweepAll(today.Add(-time.Hour)); n != 0 {
		s.Errorf("%d events were removed after it was set", n)
	}
	if n := s.sweepAll(today.Add(time.Minute)); n != 3 {
		s.Errorf("%d events were removed when they were old, want 3", n)
	}
}

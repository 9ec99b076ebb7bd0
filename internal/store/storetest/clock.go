package storetest

import (
	"fmt"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// clockTests are about a server that ran for a while with a wrong clock.
var clockTests = map[string]func(*suite){
	"AClockThatRanAhead":                     (*suite).ranAhead,
	"AClockThatRanAheadAndARestart":          (*suite).ranAheadAndRestarted,
	"DeliveriesAfterAClockThatRanAhead":      (*suite).ranAheadDeliveries,
	"SequenceNumbersAfterAClockThatRanAhead": (*suite).ranAheadSequence,
	"RetentionAfterAClockThatRanAhead":       (*suite).ranAheadSweep,
	"AClockThatWasBehind":                    (*suite).wasBehind,
	"RetentionWithAClockThatWasBehind":       (*suite).wasBehindSweep,
}

// listed returns the events that a list finds, oldest first, and checks that
// EventsAfter finds the same.
func (s *suite) listed(q store.EventQuery) []callbackd.EventID {
	s.Helper()
	q.Key, q.Limit = s.key.ID, 100
	page, err := s.ListEvents(s.ctx(), q)
	s.must(err)
	got := eventIDs(page.Events)
	slices.Reverse(got)
	up, err := s.EventsAfter(s.ctx(), q)
	s.must(err)
	s.equal(fmt.Sprintf("events of %+v by EventsAfter, compared with ListEvents", q), eventIDs(up.Events), got)
	return got
}

// sweepAll removes the events from before a time and returns how many it removed.
func (s *suite) sweepAll(before time.Time) (removed int) {
	s.Helper()
	for q := (store.Sweep{Before: before, Limit: 2}); ; {
		swept, err := s.Sweep(s.ctx(), q)
		s.must(err)
		removed += swept.Removed
		if q.After = swept.Next; swept.Done {
			return removed
		}
	}
}

// aheadEvents are events that were accepted before the clock ran ten years
// ahead, meanwhile, and after it was set right.
type aheadEvents struct {
	today                time.Time
	before, ahead, after []*callbackd.Event
	cb                   *callbackd.Callback // of the last event, which is pending
}

func (s *suite) ahead() (e aheadEvents) {
	s.Helper()
	e.cb = s.newCallback(s.key, ev2, "waits")
	e.today = s.at
	e.before = s.publish(s.key, ev1, "A")
	s.at = e.today.AddDate(10, 0, 0)
	e.ahead = s.publish(s.key, ev1, "A", "B")
	s.at = e.today.Add(time.Second)
	e.after = slices.Concat(s.publish(s.key, ev1, "A", "C", "A"), s.publish(s.key, ev2, "A"))
	return e
}

// acceptedAt returns when stored events were accepted.
func (s *suite) acceptedAt(evs []*callbackd.Event) (times []time.Time) {
	s.Helper()
	for _, ev := range evs {
		stored, err := s.Event(s.ctx(), s.key.ID, ev.ID)
		s.must(err)
		times = append(times, stored.Accepted())
	}
	return times
}

func (s *suite) ranAhead() { s.aheadLists(s.ahead()) }

func (s *suite) ranAheadAndRestarted() {
	e := s.ahead()
	s.reopen()
	s.aheadLists(e)
}

// aheadLists checks that lists show the time of the clock and find events by it.
func (s *suite) aheadLists(e aheadEvents) {
	s.Helper()
	if all := eventIDs(slices.Concat(e.before, e.ahead, e.after)); !slices.IsSorted(all) {
		s.Errorf("the IDs are %v; want IDs that grow", all)
	}
	s.equal("when the events after the wrong clock were accepted", s.acceptedAt(e.after), slices.Repeat([]time.Time{s.at}, 4))
	s.equal("when the events with the wrong clock were accepted", s.acceptedAt(e.ahead), slices.Repeat([]time.Time{e.today.AddDate(10, 0, 0)}, 2))
	since, until := e.today.Add(-time.Hour), e.today.Add(time.Hour)
	for _, c := range []struct {
		what string
		q    store.EventQuery
		want []*callbackd.Event
	}{
		{"events of today", store.EventQuery{Since: since, Until: until}, slices.Concat(e.before, e.after)},
		{"events of today of a session", store.EventQuery{Session: "C", Since: since, Until: until}, e.after[1:2]},
		{"events from before the clock was set right", store.EventQuery{Until: s.at}, e.before},
		{"events of the future", store.EventQuery{Since: e.today.AddDate(1, 0, 0)}, e.ahead},
	} {
		s.equal(c.what, s.listed(c.q), eventIDs(c.want))
	}
}

func (s *suite) ranAheadDeliveries() {
	e := s.ahead()
	for _, state := range []callbackd.State{"", callbackd.Pending} {
		ds := s.allDeliveries(store.DeliveryQuery{Key: s.key.ID, State: state, Since: e.today.Add(-time.Hour), Until: e.today.Add(time.Hour), Limit: 10})
		if len(ds) != 1 {
			s.Fatalf("%d deliveries of today in state %q, want 1", len(ds), state)
		}
		s.equal("when its wait began", ds[0].Since, s.at)
	}
}

func (s *suite) ranAheadSequence() {
	s.ahead()
	s.equal("the next sequence number of the session", s.publish(s.key, ev1, "A")[0].Sequence, int64(6))
}

// ranAheadSweep shows that events are removed when they are old, also those of the wrong
// clock.
func (s *suite) ranAheadSweep() {
	e := s.ahead()
	s.equal("events that were removed while none is old", s.sweepAll(e.today.Add(-time.Hour)), 0)
	s.equal("events that were removed of seven, one of them pending", s.sweepAll(e.today.Add(time.Minute)), 6)
	s.deliverAll(s.fresh(e.cb.ID))
	s.equal("events that were removed of the one that was pending", s.sweepAll(e.today.Add(time.Minute)), 1)
	s.equal("events that are left", s.listed(store.EventQuery{}), []callbackd.EventID(nil))
}

// behind publishes an event with the correct clock, one with a clock that was never set,
// and one after it was set.
func (s *suite) behind() (today, wrong time.Time, early *callbackd.Event) {
	s.Helper()
	today, wrong = s.at, time.Unix(1000, 0)
	s.publish(s.key, ev1, "A")
	s.at = wrong
	early = s.publish(s.key, ev1, "A")[0]
	s.at = today.Add(time.Second)
	s.publish(s.key, ev1, "A")
	return today, wrong, early
}

func (s *suite) wasBehind() {
	_, wrong, early := s.behind()
	s.equal("the answered time", early.Accepted(), wrong)
	s.equal("the stored time", s.acceptedAt([]*callbackd.Event{early}), []time.Time{wrong})
}

// wasBehindSweep shows that a wrong clock removes nothing, neither while it is
// wrong nor afterwards.
func (s *suite) wasBehindSweep() {
	today, wrong, _ := s.behind()
	s.equal("events that were removed with the wrong clock", s.sweepAll(wrong.Add(-time.Hour)), 0)
	s.equal("events that were removed after it was set", s.sweepAll(today.Add(-time.Hour)), 0)
	s.equal("events that were removed when they were old", s.sweepAll(today.Add(time.Minute)), 3)
}

package storetest

import (
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// sessionEventTests are about the events of a session as its page shows them.
var sessionEventTests = map[string]func(*suite){
	"LatestEvents":                      (*suite).latestEvents,
	"LatestEventsOfAnotherKey":          (*suite).latestOfOtherKey,
	"SessionEventsNewestFirst":          (*suite).newestFirst,
	"SessionEventsOldestFirst":          (*suite).sessionEvents,
	"SessionEventsWithTheirDeliveries":  (*suite).sessionDeliveries,
	"SessionEventsWithTheirLastAttempt": (*suite).sessionLastAttempt,
	"SessionEventsOfAnotherKey":         (*suite).sessionEventsOfOtherKey,
}

// latest returns the sequence numbers of the newest n events of sessions of a
// key, newest first.
func (s *suite) latest(key callbackd.Key, n int, sessions ...string) map[string][]int64 {
	s.Helper()
	var ids []store.SessionID
	for _, name := range sessions {
		ids = append(ids, store.SessionID{Key: key.ID, SessionKey: name})
	}
	got, err := s.LatestEvents(s.ctx(), ids, n)
	s.must(err)
	out := map[string][]int64{}
	for id, evs := range got {
		s.equal("the key of session "+id.SessionKey, id.Key, key.ID)
		for _, ev := range evs {
			s.equal("the session of event "+ev.ID.String(), ev.Session, id.SessionKey)
			out[id.SessionKey] = append(out[id.SessionKey], ev.Sequence)
		}
	}
	return out
}

// latestEvents shows that a session's newest events do not depend on how many
// events of others came later.
func (s *suite) latestEvents() {
	s.publish(s.key, ev1, "S1", "S1", "S1", "S2")
	for range 30 {
		s.publish(s.key, ev2, "NOISE", "NOISE", "NOISE", "NOISE", "NOISE", "NOISE", "NOISE", "NOISE", "NOISE", "NOISE")
	}
	want := map[string][]int64{"S1": {3, 2}, "S2": {1}, "NOISE": {300, 299}}
	s.equal("the newest two of each", s.latest(s.key, 2, "S1", "S2", "NOISE", "NONE"), want)
	s.reopen()
	s.equal("the newest two of each after a restart", s.latest(s.key, 2, "S1", "S2", "NOISE", "NONE"), want)
}

func (s *suite) latestOfOtherKey() {
	s.publish(s.key, ev1, "S1")
	s.equal("events of the other key", s.latest(s.newKey("k2"), 2, "S1"), map[string][]int64{})
}

// eventsOfSession reads the events of a session in pages.
func (s *suite) eventsOfSession(q store.SessionEventQuery) (all []store.SessionEvent) {
	s.Helper()
	for {
		page, err := s.SessionEvents(s.ctx(), q)
		s.must(err)
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		if last := page[len(page)-1].Sequence; q.Newest {
			q.Before = last
		} else {
			q.After = last
		}
	}
}

func sequences(evs []store.SessionEvent) (numbers []int64) {
	for _, ev := range evs {
		numbers = append(numbers, ev.Sequence)
	}
	return numbers
}

func (s *suite) newestFirst() {
	s.publish(s.key, ev1, "S1", "S1", "S1")
	s.reopen()
	s.publish(s.key, ev1, "S1", "S2", "S1", "S1", "S1")
	got := s.eventsOfSession(store.SessionEventQuery{Key: s.key.ID, Session: "S1", Newest: true, Limit: 3})
	s.equal("sequence numbers", sequences(got), []int64{7, 6, 5, 4, 3, 2, 1})
}

// inspected is a session with seven events: two of a type that has the
// callbacks a and b, its first and its last one, and five of another. The first
// event was delivered to a and failed once at b, and then a was deleted.
func (s *suite) inspected() (session *callbackd.Session, retryDue time.Time) {
	s.Helper()
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev1, "b")
	x := s.newSession(s.key, nil)
	s.start(x)
	for range 4 {
		s.publish(s.key, ev2, x.SessionKey)
	}
	s.apply(x, func(x *callbackd.Session) ([]callbackd.Fired, error) {
		return x.AddPhoto(callbackd.Photo{Code: 4, URL: "u", Approved: true}, s.at.UTC())
	})
	retryDue = s.at.Add(time.Minute)
	s.outcome(s.fresh(a.ID)[0], callbackd.Delivered, time.Time{}, time.Time{})
	s.outcome(s.fresh(b.ID)[0], callbackd.Pending, retryDue, time.Time{})
	s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, ev1, "a", s.at)))
	return x, retryDue
}

func (s *suite) sessionEvents() {
	x, _ := s.inspected()
	got := s.eventsOfSession(store.SessionEventQuery{Key: s.key.ID, Session: x.SessionKey, Limit: 3})
	s.equal("sequence numbers", sequences(got), []int64{1, 2, 3, 4, 5, 6, 7})
	for _, ev := range got {
		if len(ev.Data) == 0 {
			s.Errorf("event %d of the session has no data; want its data", ev.Sequence)
		}
	}
}

func (s *suite) sessionDeliveries() {
	x, retryDue := s.inspected()
	type delivery struct {
		Callback string
		State    callbackd.State
		Due      time.Time
		Attempts int
	}
	got := map[int64][]delivery{}
	for _, ev := range s.eventsOfSession(store.SessionEventQuery{Key: s.key.ID, Session: x.SessionKey, Limit: 3}) {
		for _, d := range ev.Deliveries {
			got[ev.Sequence] = append(got[ev.Sequence], delivery{d.Callback.Name, d.State, d.Due, d.Attempts})
		}
	}
	s.equal("deliveries by the sequence number of their event", got, map[int64][]delivery{
		1: {{"a", callbackd.Delivered, time.Time{}, 1}, {"b", callbackd.Pending, retryDue, 1}},
		7: {{"a", callbackd.Canceled, time.Time{}, 0}, {"b", callbackd.Pending, time.Time{}, 0}},
	})
}

func (s *suite) sessionLastAttempt() {
	_, ds := s.pending("S1", "S1")
	s.failed(ds[0], callbackd.Pending, callbackd.FaultTimeout, 0, s.at)
	s.reopen()
	evs := s.eventsOfSession(store.SessionEventQuery{Key: s.key.ID, Session: "S1", Newest: true, Limit: 3})
	s.equal("the last attempt of a delivery that was not tried", evs[0].Deliveries[0].Last, (*callbackd.Attempt)(nil))
	last := evs[1].Deliveries[0].Last
	if last == nil {
		s.Fatal("the delivery that failed comes without its last attempt")
	}
	s.equal("the fault of the last attempt", last.Fault, callbackd.FaultTimeout)
}

func (s *suite) sessionEventsOfOtherKey() {
	x, _ := s.inspected()
	got := s.eventsOfSession(store.SessionEventQuery{Key: s.newKey("k2").ID, Session: x.SessionKey, Limit: 10})
	s.equal("events of the other key", sequences(got), []int64(nil))
}

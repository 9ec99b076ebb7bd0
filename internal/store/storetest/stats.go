package storetest

import (
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var statsTests = map[string]func(*suite){
	"Stats":                      (*suite).statsByInterval,
	"StatsAreAdded":              (*suite).statsAdded,
	"LatencyQuantiles":           (*suite).statsLatency,
	"StatsOfOtherKeys":           (*suite).otherKeysStats,
	"StatsArePruned":             (*suite).statsPruned,
	"ReceiversResults":           (*suite).receivers,
	"HealthOfCallbacks":          (*suite).healthList,
	"PendingBelowAnEvent":        (*suite).pendingBelow,
	"CallbacksThatNeedAttention": (*suite).attention,
}

// counters returns counters of a minute of the current hour: delivered attempts that
// succeeded, each of which took slow, and one that failed.
func (s *suite) counters(cb *callbackd.Callback, minute int, delivered int64, slow time.Duration) store.MinuteCounters {
	c := store.MinuteCounters{
		Callback: cb.ID, Key: s.key.ID, Minute: s.at.Truncate(time.Hour).Add(time.Duration(minute) * time.Minute),
		Counters: store.Counters{Delivered: delivered, Attempts: delivered + 1, Faults: 1, Repeats: 2},
	}
	for range delivered {
		c.Latency.Add(slow)
	}
	c.ByFault[callbackd.FailureKind(callbackd.FaultStatus, 503)] = 1
	if slow < time.Second {
		c.ByFault[callbackd.FailureKind(callbackd.FaultAuth, 0)] = 70_000
	}
	return c
}

// added adds counters of two callbacks: of the first minute in two parts, and of
// the next hour.
func (s *suite) added() (a *callbackd.Callback) {
	s.Helper()
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev2, "b")
	s.must(s.AddCounters(s.ctx(), []store.MinuteCounters{s.counters(a, 1, 10, 10*time.Millisecond), s.counters(b, 1, 5, time.Second)}))
	s.must(s.AddCounters(s.ctx(), []store.MinuteCounters{s.counters(a, 1, 3, 10*time.Millisecond), s.counters(a, 61, 1, time.Millisecond)}))
	s.reopen()
	return a
}

// statsOf reads the stats of the current hour and the next one.
func (s *suite) statsOf(q store.StatsQuery) []store.Bucket {
	s.Helper()
	q.Since = s.at.Truncate(time.Hour)
	q.Until = q.Since.Add(2 * time.Hour)
	out, err := s.ListStats(s.ctx(), q)
	s.must(err)
	return out
}

func (s *suite) statsByInterval() {
	a := s.added()
	for _, c := range []struct {
		q    store.StatsQuery
		want []int64
	}{
		{store.StatsQuery{Callback: a.ID, Interval: store.Minute}, []int64{13, 1}},
		{store.StatsQuery{Callback: a.ID, Key: s.key.ID, Interval: store.Hour}, []int64{13, 1}},
		{store.StatsQuery{Key: s.key.ID, Interval: store.Hour}, []int64{18, 1}},
		{store.StatsQuery{Interval: store.Minute}, []int64{18, 1}},
	} {
		var got []int64
		for _, b := range s.statsOf(c.q) {
			got = append(got, b.Delivered)
		}
		s.equal(fmt.Sprintf("delivered, of %+v", c.q), got, c.want)
	}
}

func (s *suite) statsAdded() {
	s.added()
	got := s.statsOf(store.StatsQuery{Interval: store.Hour})[0]
	s.equal("attempts", got.Attempts, int64(21))
	s.equal("faults", got.Faults, int64(3))
	s.equal("repeats", got.Repeats, int64(6))
	s.equal("measured latencies", got.Latency.Count(), int64(18))
	var want [callbackd.NumFailureKinds]uint32
	want[callbackd.FailureKind(callbackd.FaultStatus, 500)] = 3
	want[callbackd.FailureKind(callbackd.FaultAuth, 0)] = 140_000
	s.equal("failed attempts by kind", got.ByFault, want)
}

func (s *suite) statsLatency() {
	s.added()
	latency := s.statsOf(store.StatsQuery{Interval: store.Hour})[0].Latency
	for _, c := range []struct {
		quantile    float64
		least, most time.Duration
	}{
		{0.5, 10 * time.Millisecond, 15 * time.Millisecond},
		{0.99, time.Second, 1500 * time.Millisecond},
	} {
		if got := latency.Quantile(c.quantile); got < c.least || got > c.most {
			s.Errorf("the quantile %g is %v, want %v to %v", c.quantile, got, c.least, c.most)
		}
	}
}

func (s *suite) otherKeysStats() {
	a := s.added()
	s.kind(second(s.ListStats(s.ctx(), store.StatsQuery{Key: s.newKey("k2").ID, Callback: a.ID, Interval: store.Hour})), callbackd.KindNotFound)
}

func (s *suite) statsPruned() {
	s.added()
	hour := s.at.Truncate(time.Hour)
	s.must(second(s.Prune(s.ctx(), store.Prune{Minutes: hour.Add(time.Hour), Hours: hour}, 100)))
	s.equal("minutes that are left", len(s.statsOf(store.StatsQuery{Interval: store.Minute})), 1)
	s.equal("hours that are left", len(s.statsOf(store.StatsQuery{Interval: store.Hour})), 2)
}

// heard stores a failure and then a success of a receiver, and returns the merged result.
func (s *suite) heard(cb *callbackd.Callback) store.Receiver {
	s.Helper()
	r := store.Receiver{LastFailure: s.at.UTC(), LastFault: callbackd.FaultStatus, LastStatus: 503, CertNotAfter: s.at.Add(24 * time.Hour).UTC()}
	for _, part := range []store.Receiver{r, {LastSuccess: s.at.UTC()}} {
		s.must(s.AddCounters(s.ctx(), []store.MinuteCounters{{Callback: cb.ID, Key: s.key.ID, Minute: s.at.Truncate(time.Minute), Receiver: part}}))
	}
	r.LastSuccess = s.at.UTC()
	return r
}

func (s *suite) receivers() {
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev2, "b")
	want := s.heard(a)
	s.reopen()
	got, err := s.Health(s.ctx(), a.ID, store.PendingQuery{})
	s.must(err)
	s.equal("the health of a, without a count", got, store.Health{Receiver: want})
	evs := s.publish(s.key, ev1, "S")
	got, err = s.Health(s.ctx(), a.ID, store.PendingQuery{Limit: 1})
	s.must(err)
	s.equal("the health of a with a pending delivery", got, store.Health{Receiver: want, Backlog: store.Backlog{Pending: 1, Since: evs[0].ID.Time()}})
	got, err = s.Health(s.ctx(), b.ID, store.PendingQuery{Limit: 1})
	s.must(err)
	s.equal("the health of b, which was not sent anything", got, store.Health{})
	s.kind(second(s.Health(s.ctx(), b.ID+1, store.PendingQuery{})), callbackd.KindNotFound)
	s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, a.Event, a.Name, s.at)))
	got, err = s.Health(s.ctx(), a.ID, store.PendingQuery{Limit: 1})
	s.must(err)
	s.equal("the health of a after it was deleted", got, store.Health{Receiver: want})
}

// healthOf returns the health of a key's callbacks.
func (s *suite) healthOf(key callbackd.Key, overdueBefore time.Time) []store.CallbackHealth {
	s.Helper()
	page, err := s.ListHealth(s.ctx(), store.HealthQuery{CallbackQuery: store.CallbackQuery{Key: key.ID}, OverdueBefore: overdueBefore})
	s.must(err)
	s.equal("the cursor after the health of all callbacks of a key", page.Next, callbackd.CallbackID(0))
	return page.Callbacks
}

func (s *suite) healthList() {
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev2, "b")
	evs := s.publish(s.key, ev1, "S1", "S2")
	receiver := s.heard(a)
	type health struct {
		Callback callbackd.CallbackID
		Receiver store.Receiver
		Backlog  store.Backlog
	}
	var got []health
	for _, h := range s.healthOf(s.key, time.Time{}) {
		got = append(got, health{h.Callback.ID, h.Receiver, h.Backlog})
	}
	s.equal("the health of both", got, []health{{a.ID, receiver, store.Backlog{Pending: 2, Since: evs[0].ID.Time()}}, {Callback: b.ID}})
}

func (s *suite) pendingBelow() {
	cb := s.newCallback(s.key, ev1, "a")
	evs := s.publish(s.key, ev1, "S1", "S2")
	got, err := s.Health(s.ctx(), cb.ID, store.PendingQuery{Below: evs[1].ID, OverdueBefore: s.at.Add(time.Second), Limit: 100})
	s.must(err)
	s.equal("pending deliveries before the second event", got.Backlog, store.Backlog{Pending: 1, Overdue: 1, Since: evs[0].ID.Time()})
}

func (s *suite) attention() {
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev2, "b")
	s.heard(a)
	needAttention := func(certBefore time.Time) (ids []callbackd.CallbackID) {
		s.Helper()
		page, err := s.ListHealth(s.ctx(), store.HealthQuery{Attention: true, CertBefore: certBefore})
		s.must(err)
		for _, h := range page.Callbacks {
			ids = append(ids, h.Callback.ID)
		}
		return ids
	}
	s.equal("callbacks while none needs attention", needAttention(s.at), []callbackd.CallbackID(nil))
	s.equal("callbacks whose certificate ends within two days", needAttention(s.at.Add(48*time.Hour)), []callbackd.CallbackID{a.ID})
	s.pause(b, s.at)
	s.equal("callbacks when b is paused", needAttention(s.at), []callbackd.CallbackID{b.ID})
}

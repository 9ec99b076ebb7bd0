package storetest

import (
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var queueTests = map[string]func(*suite){
	"PendingCallbacks":            (*suite).pendingCallbacks,
	"FirstAttempts":               (*suite).firstAttempts,
	"Lanes":                       (*suite).lanes,
	"EarlierInASession":           (*suite).earlier,
	"EarlierThanWhatHoldsNothing": (*suite).earlierThanWhatHoldsNothing,
	"RetriesSoonestDue":           (*suite).dueRetries,
	"BlockedLanes":                (*suite).blocked,
	"BacklogSinceAResendOrReplay": (*suite).backlogOfResent,
	"BacklogSinceAFailedAttempt":  (*suite).backlogOfRetry,
}

func (s *suite) pendingCallbacks() {
	other := s.newKey("other")
	a, b, c := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev2, "b"), s.newCallback(other, ev2, "c")
	check := func(callbacks ...*callbackd.Callback) {
		s.Helper()
		var want []callbackd.PendingCallback
		for _, cb := range callbacks {
			want = append(want, callbackd.PendingCallback{Key: cb.Key, Callback: cb.ID})
		}
		got, err := s.PendingCallbacks(s.ctx())
		s.must(err)
		s.equal("callbacks with a backlog", got, want)
	}
	check()
	s.publish(s.key, ev1, "S1", "S2")
	check(a)
	s.publish(s.key, ev2, "S1")
	check(a, b)
	s.publish(other, ev2, "S1")
	check(a, b, c)
}

// twoLanes publishes ten events in each of two sessions, in turn, and returns
// the deliveries.
func (s *suite) twoLanes() (cb *callbackd.Callback, all []callbackd.Delivery) {
	s.Helper()
	cb = s.newCallback(s.key, ev1, "a")
	for range 10 {
		s.publish(s.key, ev1, "S1", "S2")
	}
	all = s.fresh(cb.ID)
	if len(all) != 20 {
		s.Fatalf("%d deliveries wait for their first attempt, want 20", len(all))
	}
	return cb, all
}

func (s *suite) firstAttempts() {
	cb, all := s.twoLanes()
	page, _, err := s.Pending(s.ctx(), callbackd.PendingRead{Callback: cb.ID, Limit: 7})
	s.must(err)
	rest, _, err := s.Pending(s.ctx(), callbackd.PendingRead{Callback: cb.ID, After: page[6].ID.Event, Limit: 100})
	s.must(err)
	s.equal("two pages", append(page, rest...), all)
	for i, d := range all {
		if d.Sequence != int64(i/2+1) {
			s.Errorf("place %d has sequence %d, want %d", i, d.Sequence, i/2+1)
		}
		if d.Event == nil || d.Event.ID != d.ID.Event {
			s.Errorf("place %d has event %+v, want event %d", i, d.Event, d.ID.Event)
		}
	}
}

func (s *suite) lanes() {
	cb, all := s.twoLanes()
	got, _, err := s.Pending(s.ctx(), callbackd.PendingRead{Callback: cb.ID, Lanes: []callbackd.LaneCursor{{Session: "S2", After: all[1].ID.Event}, {Session: "none"}, {Session: "S1"}}, Limit: 4})
	s.must(err)
	want := []callbackd.Delivery{all[3], all[5], all[7], all[9], all[0], all[2], all[4], all[6]}
	s.equal("four of each lane, after its cursor", got, want)
}

func (s *suite) earlier() {
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev2, "b")
	s.newCallback(s.key, ev2, "deleted")
	other := s.newKey("other")
	s.newCallback(other, ev1, "a")
	s.publish(other, ev1, "S1")
	first := s.publish(s.key, ev1, "S1", "S2", "S1", "S1")
	last := s.publish(s.key, ev2, "S1", "S1")
	_, err := s.DeleteCallback(s.ctx(), s.key.ID, ev2, "deleted", s.at)
	s.must(err)
	of := func(ev *callbackd.Event, cb *callbackd.Callback) callbackd.DeliveryID {
		return callbackd.DeliveryID{Event: ev.ID, Callback: cb.ID}
	}
	check := func(what string, at time.Time, want ...[]callbackd.DeliveryID) {
		s.Helper()
		var before []callbackd.SessionEvent
		for _, ev := range []*callbackd.Event{last[1], last[0], first[0]} {
			before = append(before, callbackd.SessionEvent{Session: "S1", Event: ev.ID})
		}
		got, err := s.Earlier(s.ctx(), callbackd.EarlierRead{Key: s.key.ID, Before: before, At: at})
		s.must(err)
		var ids [][]callbackd.DeliveryID
		for _, ds := range got {
			ids = append(ids, deliveryIDs(ds))
		}
		s.equal(what, ids, want)
	}
	check("the newest of each callback", s.at, []callbackd.DeliveryID{of(first[3], a), of(last[0], b)}, []callbackd.DeliveryID{of(first[3], a)}, nil)
	ds := s.fresh(a.ID)
	s.outcome(ds[3], callbackd.Delivered, time.Time{}, time.Time{})
	s.outcome(ds[2], callbackd.Pending, s.at.Add(time.Second), s.at.Add(time.Minute))
	check("one that failed and blocks its lane", s.at, []callbackd.DeliveryID{of(first[2], a), of(last[0], b)}, []callbackd.DeliveryID{of(first[2], a)}, nil)
	check("one that blocks no longer", s.at.Add(time.Minute), []callbackd.DeliveryID{of(first[0], a), of(last[0], b)}, []callbackd.DeliveryID{of(first[0], a)}, nil)
}

// What holds nothing does not hide the earlier delivery of its session that does.
func (s *suite) earlierThanWhatHoldsNothing() {
	a := s.newCallback(s.key, ev1, "a")
	s.newCallback(s.key, ev2, "b")
	accept := func(ev store.NewEvent) *callbackd.Event {
		s.Helper()
		ev.Session, ev.Data = "S", []byte("{}")
		evs, err := s.Accept(s.ctx(), store.Batch{Key: s.key.ID, At: s.at, Events: []store.NewEvent{ev}})
		s.must(err)
		return evs[0]
	}
	holds := accept(store.NewEvent{Type: ev1})
	accept(store.NewEvent{Type: ev1, ExpiresAt: s.at.Add(time.Second)})
	accept(store.NewEvent{Type: ev1, DeliverAt: s.at.Add(time.Hour)})
	last := accept(store.NewEvent{Type: ev2})
	got, err := s.Earlier(s.ctx(), callbackd.EarlierRead{Key: s.key.ID, Before: []callbackd.SessionEvent{{Session: "S", Event: last.ID}}, At: s.at.Add(time.Second)})
	s.must(err)
	s.equal("what is before the last event", deliveryIDs(got[0]), []callbackd.DeliveryID{{Event: holds.ID, Callback: a.ID}})
}

// retried lets the first six of twoLanes fail: later ones are due sooner, and
// every other one blocks its lane.
func (s *suite) retried() (cb *callbackd.Callback, all []callbackd.Delivery) {
	cb, all = s.twoLanes()
	for i, d := range all[:6] {
		blocked := time.Time{}
		if i%2 == 0 {
			blocked = s.at.Add(time.Duration(10-i) * time.Minute)
		}
		s.outcome(d, callbackd.Pending, s.at.Add(time.Duration(6-i)*time.Second), blocked)
	}
	return cb, all
}

func (s *suite) dueRetries() {
	cb, all := s.retried()
	ds, next, err := s.Pending(s.ctx(), callbackd.PendingRead{Callback: cb.ID, Source: callbackd.Retries, At: s.at.Add(4 * time.Second), Limit: 3})
	s.must(err)
	s.equal("what is due, soonest first", deliveryIDs(ds), []callbackd.DeliveryID{all[5].ID, all[4].ID, all[3].ID})
	s.equal("when the next is due", next.Equal(s.at.Add(4*time.Second)), true)
	ds, next, err = s.Pending(s.ctx(), callbackd.PendingRead{Callback: cb.ID, Source: callbackd.Retries, At: s.at, Limit: 3})
	s.must(err)
	s.equal("what is due now", deliveryIDs(ds), []callbackd.DeliveryID(nil))
	s.equal("when the first is due", next.Equal(s.at.Add(time.Second)), true)
}

func (s *suite) blocked() {
	cb, all := s.retried()
	ds, _, err := s.Pending(s.ctx(), callbackd.PendingRead{Callback: cb.ID, Source: callbackd.Heads, At: s.at.Add(7 * time.Minute), Limit: 10})
	s.must(err)
	s.equal("deliveries that block their lanes, soonest first", deliveryIDs(ds), []callbackd.DeliveryID{all[2].ID, all[0].ID})
}

// backlog counts the pending deliveries of a callback: overdue are those that
// had been waiting at now for longer than OverdueAfter.
func (s *suite) backlog(cb callbackd.CallbackID, now time.Time) store.Backlog {
	s.Helper()
	before := now.Add(-callbackd.OverdueAfter)
	health, err := s.Health(s.ctx(), cb, store.PendingQuery{OverdueBefore: before, Limit: 1000})
	s.must(err)
	b := health.Backlog
	s.equal("the backlog in the list of health", s.healthOf(s.key, before)[0].Backlog, b)
	s.equal("the backlog by the list of deliveries", s.listedBacklog(cb, before), b)
	return b
}

// listedBacklog counts the pending deliveries that are listed. Since is
// [callbackd.Delivery.WaitsSince] there; the store's count has that rule in SQL.
func (s *suite) listedBacklog(cb callbackd.CallbackID, overdueBefore time.Time) (b store.Backlog) {
	s.Helper()
	page, err := s.ListDeliveries(s.ctx(), store.DeliveryQuery{Key: s.key.ID, Callback: cb, State: callbackd.Pending, Limit: store.MaxPage})
	s.must(err)
	for _, d := range page.Deliveries {
		b.Pending++
		if d.Since.Before(overdueBefore) {
			b.Overdue++
		}
		if b.Since.IsZero() || d.Since.Before(b.Since) {
			b.Since = d.Since
		}
	}
	return b
}

// failedLongAgo accepts two events three days ago, whose deliveries failed.
func (s *suite) failedLongAgo() (cb *callbackd.Callback, ids []callbackd.DeliveryID) {
	s.Helper()
	cb = s.newCallback(s.key, ev1, "a")
	now := s.at
	s.at = now.Add(-72 * time.Hour)
	evs := s.publish(s.key, ev1, "S1", "S2")
	accepted := store.Backlog{Pending: 2, Overdue: 2, Since: evs[0].ID.Time()}
	s.equal("an hour after the events were accepted", s.backlog(cb.ID, s.at.Add(time.Hour)), accepted)
	s.at = now
	for _, d := range s.fresh(cb.ID) {
		s.failed(d, callbackd.Failed, callbackd.FaultStatus, 500, time.Time{})
		ids = append(ids, d.ID)
	}
	s.equal("when both have failed", s.backlog(cb.ID, s.at), store.Backlog{})
	return cb, ids
}

// backlogOfResent shows that the wait of a resent or replayed delivery begins then, and
// not when its event was accepted.
func (s *suite) backlogOfResent() {
	cb, ids := s.failedLongAgo()
	s.must(second(s.Resend(s.ctx(), s.key.ID, ids[0], s.at)))
	s.step(s.replay(callbackd.ReplayFilter{States: []callbackd.State{callbackd.Failed}}, 0), s.at)
	s.equal("a second later", s.backlog(cb.ID, s.at.Add(time.Second)), store.Backlog{Pending: 2, Since: s.at})
	s.equal("an hour later", s.backlog(cb.ID, s.at.Add(time.Hour)), store.Backlog{Pending: 2, Overdue: 2, Since: s.at})
}

// backlogOfRetry shows that the wait of a resent delivery that fails begins with its
// first failure, and not when its event was accepted.
func (s *suite) backlogOfRetry() {
	cb, ids := s.failedLongAgo()
	s.must(second(s.Resend(s.ctx(), s.key.ID, ids[0], s.at)))
	s.failed(s.dueOf(callbackd.Retries, cb.ID)[0], callbackd.Pending, callbackd.FaultStatus, 500, s.at.Add(5*time.Hour))
	got := s.backlog(cb.ID, s.at.Add(time.Hour))
	s.atMostLater("since when it waits", got.Since, s.at)
	s.equal("an hour later", got, store.Backlog{Pending: 1, Overdue: 1, Since: got.Since})
	d, err := s.Delivery(s.ctx(), s.key.ID, ids[0], 0)
	s.must(err)
	s.equal("since when it waits, by itself", d.Since, got.Since)
}

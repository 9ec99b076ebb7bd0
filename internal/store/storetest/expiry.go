package storetest

import (
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var expiryTests = map[string]func(*suite){
	"WhatIsTooOldExpires":                 (*suite).expires,
	"TheEarlierExpiryCounts":              (*suite).expiryOf,
	"NobodyMissesWhatMayNotBeSentYet":     (*suite).missingTooEarly,
	"AnAttemptOfWhatExpiresCounts":        (*suite).expiresInFlight,
	"WhatExpiredIsSentAgain":              (*suite).resendExpired,
	"AResendEndsTheExpiry":                (*suite).resendExpiring,
	"ExpiredOfADeletedCallbackIsCanceled": (*suite).expiresDeleted,
	"DeferredDeliveriesTakeTheirTurn":     (*suite).defers,
	"DeferredDeliveriesAreNotReleased":    (*suite).defersRelease,
	"TimesBelongToTheIdempotencyKey":      (*suite).timesOnce,
}

// timed accepts one event of a session with these times.
func (s *suite) timed(session string, deliverAt, expiresAt time.Time) *callbackd.Event {
	s.Helper()
	evs, err := s.Accept(s.ctx(), store.Batch{Key: s.key.ID, At: s.at, Events: []store.NewEvent{{Type: ev1, Session: session, Data: []byte("{}"), DeliverAt: deliverAt, ExpiresAt: expiresAt}}})
	s.must(err)
	return evs[0]
}

// setTTL gives a callback a ttl.
func (s *suite) setTTL(cb *callbackd.Callback, ttl time.Duration) {
	s.Helper()
	stored, err := s.ChangeCallback(s.ctx(), cb.Key, cb.Event, cb.Name, func(stored *callbackd.Callback) error {
		next := *stored
		next.Policy.TTL = ttl
		stored.Replace(&next, s.at)
		return nil
	})
	s.must(err)
	s.equal("the version, which a ttl does not change", stored.Version, cb.Version)
	read, err := s.CallbackByID(s.ctx(), cb.ID)
	s.must(err)
	s.equal("the stored ttl", read.Policy.TTL, ttl)
}

// expire lets pending deliveries expire, and checks how many do.
func (s *suite) expire(at time.Time, want int) {
	s.Helper()
	n, more, err := s.Expire(s.ctx(), at, 100)
	s.must(err)
	s.equal("deliveries that expired", n, want)
	s.equal("more to do", more, false)
}

func (s *suite) stateIs(id callbackd.DeliveryID, want callbackd.State) *store.DeliveryView {
	s.Helper()
	v, err := s.Delivery(s.ctx(), s.key.ID, id, 0)
	s.must(err)
	s.equal("the state of "+id.String(), v.State, want)
	return v
}

func (s *suite) expires() {
	cb := s.newCallback(s.key, ev1, "a")
	soon, later := s.at.Add(time.Minute), s.at.Add(time.Hour)
	first, second, third := s.timed("S", time.Time{}, soon), s.timed("S", time.Time{}, later), s.timed("S", time.Time{}, time.Time{})
	s.equal("the event's expiry", first.ExpiresAt.Equal(soon), true)
	ds := s.fresh(cb.ID)
	s.equal("first attempts", len(ds), 3)
	s.equal("expiries", []bool{ds[0].ExpiresAt.Equal(soon), ds[1].ExpiresAt.Equal(later), ds[2].ExpiresAt.IsZero()}, []bool{true, true, true})
	s.outcome(ds[1], callbackd.Pending, s.at.Add(time.Second), time.Time{})
	s.reopen()
	s.expire(soon.Add(-time.Millisecond), 0)
	s.expire(soon, 1)
	s.reopen()
	id := callbackd.DeliveryID{Event: first.ID, Callback: cb.ID}
	v := s.stateIs(id, callbackd.Expired)
	s.equal("attempts", v.Attempts, 0)
	if v.Unsent == nil {
		s.Fatal("no row says why it expired")
	}
	s.equal("why it expired", v.Unsent.Why, callbackd.WhyExpired(soon))
	s.equal("when it expired", v.Unsent.StartedAt.Equal(soon), true)
	s.equal("first attempts that are left", len(s.fresh(cb.ID)), 1)
	s.expire(later, 1)
	v = s.stateIs(callbackd.DeliveryID{Event: second.ID, Callback: cb.ID}, callbackd.Expired)
	s.equal("attempts of the second one", v.Attempts, 1)
	s.stateIs(callbackd.DeliveryID{Event: third.ID, Callback: cb.ID}, callbackd.Pending)
	s.ended(cb.ID, ends{Accepted: 3, Expired: 2, Pending: 1})
	for _, q := range []store.DeliveryQuery{{Key: s.key.ID}, {Key: s.key.ID, Callback: cb.ID}, {Key: store.AllKeys}, {Key: s.key.ID, Session: "S"}} {
		q.State, q.Limit = callbackd.Expired, 10
		page, err := s.ListDeliveries(s.ctx(), q)
		s.must(err)
		s.equal("listed expired deliveries", len(page.Deliveries), 2)
	}
	buckets, err := s.ListStats(s.ctx(), store.StatsQuery{Key: s.key.ID, Callback: cb.ID, Interval: store.Hour, Since: s.at.Add(-time.Hour), Until: s.at.Add(3 * time.Hour)})
	s.must(err)
	sum := int64(0)
	for _, b := range buckets {
		sum += b.Expired
	}
	s.equal("deliveries that the stats count as expired", sum, int64(2))
	s.chooses(callbackd.ReplayFilter{States: []callbackd.State{callbackd.Expired}}, 2)
	s.chooses(callbackd.ReplayFilter{Missing: true}, 2)
}

// missingTooEarly says that nobody misses an event before its DeliverAt: not even a callback that
// was made later.
func (s *suite) missingTooEarly() {
	s.timed("S", time.Now().Add(time.Hour), time.Time{})
	s.timed("S", time.Time{}, time.Time{})
	cb := s.newCallback(s.key, ev1, "later")
	s.chooses(callbackd.ReplayFilter{Missing: true}, 1)
	s.chooses(callbackd.ReplayFilter{Missing: true, Session: "S"}, 1)
	s.chooses(callbackd.ReplayFilter{Missing: true, Target: cb.ID}, 1)
	s.chooses(callbackd.ReplayFilter{Target: cb.ID}, 2)
}

func (s *suite) expiryOf() {
	cb := s.newCallback(s.key, ev1, "a")
	s.setTTL(cb, time.Hour)
	deliver := s.at.Add(10 * time.Hour)
	for _, c := range []struct{ deliverAt, expiresAt, want time.Time }{
		{want: s.at.Add(time.Hour)},
		{expiresAt: s.at.Add(time.Minute), want: s.at.Add(time.Minute)},
		{expiresAt: s.at.Add(2 * time.Hour), want: s.at.Add(time.Hour)},
		{deliverAt: deliver, want: deliver.Add(time.Hour)},
		{deliverAt: s.at.Add(-time.Hour), want: s.at.Add(time.Hour)},
	} {
		ev := s.timed("S", c.deliverAt, c.expiresAt)
		v := s.stateIs(callbackd.DeliveryID{Event: ev.ID, Callback: cb.ID}, callbackd.Pending)
		if got := v.ExpiresAt.Sub(c.want); got.Abs() > time.Millisecond {
			s.Errorf("deliver_at %v, expires_at %v: expires at %v, want %v", c.deliverAt, c.expiresAt, v.ExpiresAt, c.want)
		}
	}
	s.setTTL(cb, 0) // of those that wait, the expiry stays
	s.expire(s.at.Add(time.Minute), 1)
	s.expire(s.at.Add(time.Hour+time.Millisecond), 3)
	ev := s.timed("S", time.Time{}, time.Time{})
	v := s.stateIs(callbackd.DeliveryID{Event: ev.ID, Callback: cb.ID}, callbackd.Pending)
	s.equal("an expiry without a ttl", v.ExpiresAt.IsZero(), true)
}

// expiresInFlight records the results of attempts that were in flight when their deliveries
// expired.
func (s *suite) expiresInFlight() {
	cb := s.newCallback(s.key, ev1, "a")
	soon := s.at.Add(time.Minute)
	for _, session := range []string{"A", "B", "C"} {
		s.timed(session, time.Time{}, soon)
	}
	ds := s.fresh(cb.ID)
	s.expire(soon, 3)
	for i, c := range []struct{ state, want callbackd.State }{
		{callbackd.Delivered, callbackd.Delivered},
		{callbackd.Failed, callbackd.Failed},
		{callbackd.Pending, callbackd.Expired},
	} {
		s.equal("how the attempt is recorded", s.outcome(ds[i], c.state, s.at.Add(time.Hour), time.Time{}), c.want)
		s.equal("attempts", s.stateIs(ds[i].ID, c.want).Attempts, 1)
	}
	s.ended(cb.ID, ends{Accepted: 3, Delivered: 1, Failed: 1, Expired: 1})
	s.kind(second(s.Record(s.ctx(), result(ds[0], callbackd.Delivered, s.at, time.Time{}, time.Time{}))), callbackd.KindConflict)
}

func (s *suite) resendExpired() {
	cb := s.newCallback(s.key, ev1, "a")
	soon := s.at.Add(time.Minute)
	one, many := s.timed("A", time.Time{}, soon), s.timed("B", time.Time{}, soon)
	s.expire(soon, 2)
	id := callbackd.DeliveryID{Event: one.ID, Callback: cb.ID}
	_, err := s.Resend(s.ctx(), s.key.ID, id, soon.Add(time.Hour))
	s.must(err)
	s.equal("it expires again", s.stateIs(id, callbackd.Pending).ExpiresAt.IsZero(), true)
	r := s.replay(callbackd.ReplayFilter{States: []callbackd.State{callbackd.Expired}}, 0)
	s.equal("deliveries that were replayed", len(s.step(r, soon.Add(time.Hour)).Due), 1)
	s.expire(soon.Add(24*time.Hour), 0)
	for _, d := range append(s.dueOf(callbackd.Retries, cb.ID), s.dueOf(callbackd.Replays, cb.ID)...) {
		s.equal("how the attempt is recorded", s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{}), callbackd.Delivered)
	}
	s.stateIs(callbackd.DeliveryID{Event: many.ID, Callback: cb.ID}, callbackd.Delivered)
	s.ended(cb.ID, ends{Accepted: 2, Delivered: 2})
}

// resendExpiring resends a retry that has an expiry: it does not expire then.
func (s *suite) resendExpiring() {
	cb := s.newCallback(s.key, ev1, "a")
	soon := s.at.Add(time.Minute)
	s.timed("A", time.Time{}, soon)
	s.timed("B", time.Time{}, soon)
	ds := s.fresh(cb.ID)
	for _, d := range ds {
		s.outcome(d, callbackd.Pending, s.at.Add(time.Hour), time.Time{})
	}
	_, err := s.Resend(s.ctx(), s.key.ID, ds[0].ID, s.at)
	s.must(err)
	r := s.replay(callbackd.ReplayFilter{States: []callbackd.State{callbackd.Pending}, Session: "B"}, 0)
	s.step(r, s.at)
	s.expire(soon, 0)
	s.ended(cb.ID, ends{Accepted: 2, Pending: 2})
}

func (s *suite) expiresDeleted() {
	cb := s.newCallback(s.key, ev1, "a")
	soon := s.at.Add(time.Minute)
	ev := s.timed("A", time.Time{}, soon)
	s.must(second(s.ChangeCallback(s.ctx(), cb.Key, cb.Event, cb.Name, func(c *callbackd.Callback) error { c.Delete(s.at); return nil })))
	s.expire(soon, 0)
	s.stateIs(callbackd.DeliveryID{Event: ev.ID, Callback: cb.ID}, callbackd.Canceled)
	s.ended(cb.ID, ends{Accepted: 1, Canceled: 1})
}

func (s *suite) defers() {
	cb := s.newCallback(s.key, ev1, "a")
	at := s.at.Add(time.Hour)
	late, first, second, now, past := s.timed("S", at.Add(time.Minute), time.Time{}), s.timed("S", at, time.Time{}), s.timed("S", at, time.Time{}), s.timed("S", time.Time{}, time.Time{}), s.timed("S", s.at.Add(-time.Hour), time.Time{})
	s.equal("when the event is delivered", first.DeliverAt.Equal(at), true)
	s.equal("a time that is over", past.DeliverAt.IsZero(), true)
	of := func(evs ...*callbackd.Event) (ids []callbackd.DeliveryID) {
		for _, ev := range evs {
			ids = append(ids, callbackd.DeliveryID{Event: ev.ID, Callback: cb.ID})
		}
		return ids
	}
	s.reopen()
	s.equal("first attempts", deliveryIDs(s.fresh(cb.ID)), of(now, past))
	v := s.stateIs(of(late)[0], callbackd.Pending)
	s.equal("it is deferred", v.Deferred, true)
	s.equal("since when it waits", v.Since.Equal(at.Add(time.Minute)), true)
	take := func(when time.Time, limit int, next time.Time, want ...*callbackd.Event) {
		s.Helper()
		ds, got, err := s.TakeTurns(s.ctx(), cb.ID, when, limit)
		s.must(err)
		s.equal("deliveries that take their turn", deliveryIDs(ds), of(want...))
		s.equal("when the next one does", got.Equal(next), true)
		for _, d := range ds {
			s.equal("its session", d.Session, "S")
		}
	}
	take(s.at, 10, at)
	take(at, 1, at, first)
	take(at, 10, at.Add(time.Minute), second)
	s.equal("first attempts", deliveryIDs(s.fresh(cb.ID)), of(first, second, now, past))
	_, err := s.Resend(s.ctx(), s.key.ID, of(late)[0], s.at)
	s.must(err)
	take(at.Add(time.Hour), 10, time.Time{})
	s.equal("what a person resent before its time", deliveryIDs(s.dueOf(callbackd.Retries, cb.ID)), of(late))
	s.ended(cb.ID, ends{Accepted: 5, Pending: 5})
}

// defersRelease resumes a callback: what failed is due, and what is deferred is not.
func (s *suite) defersRelease() {
	cb := s.newCallback(s.key, ev1, "a")
	ev := s.timed("A", s.at.Add(time.Hour), time.Time{})
	s.timed("B", time.Time{}, time.Time{})
	s.outcome(s.fresh(cb.ID)[0], callbackd.Pending, s.at.Add(time.Hour), time.Time{})
	s.must(second(s.ChangeCallback(s.ctx(), cb.Key, cb.Event, cb.Name, func(c *callbackd.Callback) error { c.Resume(s.at); return nil })))
	moved, _, err := s.MakeDue(s.ctx(), cb.ID, s.at, 100)
	s.must(err)
	s.equal("retries that were made due", moved, 1)
	s.equal("it is deferred", s.stateIs(callbackd.DeliveryID{Event: ev.ID, Callback: cb.ID}, callbackd.Pending).Deferred, true)
}

// timesOnce repeats an event with the same idempotency key: with other times it is another
// event.
func (s *suite) timesOnce() {
	n := store.NewEvent{Type: ev1, Session: "S", Data: []byte("{}"), Idempotency: "x", ExpiresAt: s.at.Add(time.Hour)}
	accept := func(n store.NewEvent) ([]*callbackd.Event, error) {
		return s.Accept(s.ctx(), store.Batch{Key: s.key.ID, At: s.at, Events: []store.NewEvent{n}})
	}
	first, err := accept(n)
	s.must(err)
	again, err := accept(n)
	s.must(err)
	s.equal("the answer to a repeat", again[0].ID, first[0].ID)
	s.equal("its expiry", again[0].ExpiresAt.Equal(n.ExpiresAt), true)
	n.ExpiresAt = n.ExpiresAt.Add(time.Second)
	_, err = accept(n)
	s.kind(err, callbackd.KindConflict)
}

package storetest

import (
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var endTests = map[string]func(*suite){
	"NothingIsOwedToADeletedCallback":          (*suite).deletedIsNotOwed,
	"WhatWasPendingIsCanceled":                 (*suite).finalizeCanceled,
	"AnAttemptMayOutlastItsCallback":           (*suite).attemptAfterDelete,
	"TheNameOfADeletedCallbackIsFree":          (*suite).deletedName,
	"Revoke":                                   (*suite).revoke,
	"AttemptsOutlastACallback":                 (*suite).outlastCallback,
	"AttemptsOutlastACallbackThatWasFinalized": (*suite).outlastFinalizedCallback,
	"AttemptsOutlastAKey":                      (*suite).outlastKey,
	"AttemptsOutlastAKeyThatWasFinalized":      (*suite).outlastFinalizedKey,
	"AttemptsOfAReplayOutlastTheirCallback":    (*suite).outlastReplay,
}

// deleted makes a callback with four pending deliveries, and deletes it.
func (s *suite) deleted() (cb *callbackd.Callback, ds []callbackd.Delivery) {
	s.Helper()
	cb = s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "A", "B", "C", "D")
	ds = s.fresh(cb.ID)
	end, err := s.DeleteCallback(s.ctx(), s.key.ID, ev1, "default", s.at)
	s.must(err)
	s.equal("whether the callback is deleted", end.Deleted(), true)
	return cb, ds
}

// finalize cancels up to two deliveries and checks how many were canceled.
func (s *suite) finalize(want int) {
	s.Helper()
	n, err := s.FinalizeCanceled(s.ctx(), s.at, 2)
	s.must(err)
	s.equal("deliveries that were canceled", n, want)
	s.balanced()
}

func (s *suite) deletedIsNotOwed() {
	cb, _ := s.deleted()
	s.equal("pending deliveries", s.fresh(cb.ID), []callbackd.Delivery(nil))
	pending, err := s.PendingCallbacks(s.ctx())
	s.must(err)
	s.equal("callbacks with a backlog", pending, []callbackd.PendingCallback(nil))
	s.balanced()
}

func (s *suite) finalizeCanceled() {
	s.deleted()
	s.finalize(2)
	s.finalize(2)
	s.finalize(0)
	page, err := s.ListDeliveries(s.ctx(), store.DeliveryQuery{Key: s.key.ID, State: callbackd.Canceled, Limit: 10})
	s.must(err)
	s.equal("canceled deliveries", len(page.Deliveries), 4)
	for _, d := range page.Deliveries {
		s.equal("attempts of the delivery that was never tried", d.Attempts, 0)
	}
}

func (s *suite) attemptAfterDelete() {
	_, ds := s.deleted()
	s.equal("the outcome of an attempt that was in flight", s.outcome(ds[0], callbackd.Delivered, time.Time{}, time.Time{}), callbackd.Delivered)
	s.finalize(2)
	s.finalize(1)
	s.kind(second(s.Resend(s.ctx(), s.key.ID, ds[0].ID, s.at)), callbackd.KindConflict)
}

func (s *suite) deletedName() {
	cb, _ := s.deleted()
	again := s.newCallback(s.key, ev1, "default")
	if again.ID == cb.ID {
		s.Errorf("the new callback has the ID %d of the deleted one; want another", cb.ID)
	}
	s.equal("targets of the next event", s.publish(s.key, ev1, "A")[0].Targets, []callbackd.CallbackID{again.ID})
}

func (s *suite) revoke() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "A", "B")
	s.must(s.RevokeKey(s.ctx(), s.key.APIKey, s.at))
	s.equal("pending deliveries", s.fresh(cb.ID), []callbackd.Delivery(nil))
	got, err := s.CallbackByID(s.ctx(), cb.ID)
	s.must(err)
	s.equal("whether its callback is deleted", got.Deleted(), true)
	s.equal("the URL of its callback", got.URL, cb.URL)
	got, err = s.CallbackVersion(s.ctx(), cb.ID, 1)
	s.must(err)
	s.equal("whether a version of its callback is deleted", got.Deleted(), true)
	s.balanced()
	s.finalize(2)
	s.finalize(0)
}

// ends are the states of the deliveries of a callback, as fsck counts them.
type ends struct {
	Accepted, Delivered, Failed, Canceled, Expired, Pending int64
}

// ended compares the states of the deliveries of a callback.
func (s *suite) ended(cb callbackd.CallbackID, want ends) {
	s.Helper()
	r, err := s.Check(s.ctx())
	s.must(err)
	for _, b := range r.Callbacks {
		if b.Callback.ID == cb {
			s.equal("the states of the callback's deliveries", ends{b.Accepted, b.Delivered, b.Failed, b.Canceled, b.Expired, b.Pending}, want)
			return
		}
	}
	s.Errorf("fsck has no counts of callback %d", cb)
}

// canceled returns how many deliveries of a callback the stats count as
// canceled.
func (s *suite) canceled(cb callbackd.CallbackID) (n int64) {
	s.Helper()
	buckets, err := s.ListStats(s.ctx(), store.StatsQuery{Callback: cb, Interval: store.Hour, Since: s.at.Add(-2 * time.Hour), Until: s.at.Add(2 * time.Hour)})
	s.must(err)
	for _, b := range buckets {
		n += b.Canceled
	}
	return n
}

func (s *suite) outlastCallback() { s.outlast(s.deleteDefault, false) }

func (s *suite) outlastFinalizedCallback() { s.outlast(s.deleteDefault, true) }

func (s *suite) outlastKey() { s.outlast(s.revokeKey, false) }

func (s *suite) outlastFinalizedKey() { s.outlast(s.revokeKey, true) }

func (s *suite) deleteDefault() {
	s.Helper()
	s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, ev1, "default", s.at)))
}

func (s *suite) revokeKey() {
	s.Helper()
	s.must(s.RevokeKey(s.ctx(), s.key.APIKey, s.at))
}

// outlast records attempts that began before their callback or key ended. Each is
// recorded once, also when its delivery was canceled before, and none is retried.
func (s *suite) outlast(end func(), finalizedFirst bool) {
	cb, ds := s.pending("A", "B", "C", "D", "E")
	s.outcome(ds[3], callbackd.Pending, s.at, time.Time{})
	ds[3].Attempts = 1 // its second attempt is in flight
	end()
	if finalizedFirst {
		n, err := s.FinalizeCanceled(s.ctx(), s.at, 100)
		s.must(err)
		s.equal("deliveries that were canceled", n, 5)
		s.equal("deliveries that are counted as canceled", s.canceled(cb.ID), int64(5))
	}
	for i, c := range []struct{ state, want callbackd.State }{
		{callbackd.Delivered, callbackd.Delivered},
		{callbackd.Failed, callbackd.Failed},
		{callbackd.Pending, callbackd.Canceled},
		{callbackd.Delivered, callbackd.Delivered},
	} {
		s.equal("how the attempt is recorded", s.outcome(ds[i], c.state, s.at.Add(time.Hour), time.Time{}), c.want)
		s.endedAfter(ds[i], c.want)
		s.kind(second(s.Record(s.ctx(), result(ds[i], c.state, s.at, s.at, s.at))), callbackd.KindConflict)
	}
	s.reopen()
	s.must(second(s.FinalizeCanceled(s.ctx(), s.at, 100)))
	// A delivery with an attempt is counted with the attempt.
	s.equal("deliveries that are counted as canceled without an attempt", s.canceled(cb.ID), int64(1))
	s.balanced()
	s.ended(cb.ID, ends{Accepted: 5, Delivered: 2, Failed: 1, Canceled: 2})
}

// endedAfter checks that the attempt after those of d was the last one.
func (s *suite) endedAfter(d callbackd.Delivery, want callbackd.State) {
	s.Helper()
	v, err := s.Delivery(s.ctx(), s.key.ID, d.ID, 0)
	s.must(err)
	s.equal("the state of the delivery", v.State, want)
	s.equal("when it is due", v.Due, time.Time{})
	s.equal("its attempts", v.Attempts, d.Attempts+1)
	var numbers []int
	for _, a := range v.History {
		numbers = append(numbers, a.Number)
	}
	s.equal("the numbers of its attempts", numbers, []int{1, 2}[:d.Attempts+1])
	s.equal("the state after its last attempt", v.History[d.Attempts].State, want)
}

// outlastReplay shows that the counts of a replay include attempts that outlast their
// callback.
func (s *suite) outlastReplay() {
	_, ds := s.pending("A", "B", "C")
	for _, d := range ds {
		s.outcome(d, callbackd.Failed, time.Time{}, time.Time{})
	}
	r := s.replay(callbackd.ReplayFilter{}, 0)
	due := s.step(r, s.at).Due
	s.deleteDefault()
	s.must(second(s.FinalizeCanceled(s.ctx(), s.at, 100)))
	s.outcome(due[0], callbackd.Delivered, time.Time{}, time.Time{})
	s.outcome(due[1], callbackd.Pending, s.at.Add(time.Hour), time.Time{})
	s.counted(r, replayCounts{Total: 3, Due: 3, Delivered: 1, Canceled: 2})
}

package storetest

import (
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var endTests = map[string]func(*suite){
	"NothingIsOwedToADeletedCallback": (*suite).deletedIsNotOwed,
	"WhatWasPendingIsCanceled":        (*suite).finalizeCanceled,
	"AnAttemptMayOutlastItsCallback":  (*suite).attemptAfterDelete,
	"TheNameOfADeletedCallbackIsFree": (*suite).deletedName,
	"Revoke":                          (*suite).revoke,
	"Forget":                          (*suite).forget,
	"ForgetNothingPointedAt":          (*suite).forgetNothingPointedAt,
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

// finalize cancels up to two deliveries and checks how many those were.
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
	backlogs, err := s.Backlogs(s.ctx())
	s.must(err)
	s.equal("callbacks with a backlog", backlogs, []callbackd.CallbackID(nil))
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
		s.equal("attempts of what was never tried", d.Attempts, 0)
	}
}

func (s *suite) attemptAfterDelete() {
	_, ds := s.deleted()
	s.equal("the end of an attempt that was under way", s.outcome(ds[0], callbackd.Delivered, time.Time{}, time.Time{}), callbackd.Delivered)
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

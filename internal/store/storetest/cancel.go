package storetest

import (
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var cancelTests = map[string]func(*suite){
	"WhatIsPendingIsCanceled":           (*suite).cancelPending,
	"CancellationsChoose":               (*suite).cancelChosen,
	"CanceledDuringAnAttempt":           (*suite).canceledInFlight,
	"CanceledWhileOutcomesAreRecorded":  (*suite).canceledInARace,
	"CancellationsPauseAndContinue":     (*suite).cancelPaused,
	"CanceledDeliveriesAreResent":       (*suite).resendCanceled,
	"ResentDuringTheAttemptOfCanceled":  (*suite).resendCanceledInFlight,
	"CanceledDeliveriesAreReplayed":     (*suite).replayCanceledDeliveries,
	"AReplaysDeliveriesAreCanceled":     (*suite).cancelReplayed,
	"CanceledAndTheCallbackWasDeleted":  (*suite).cancelDeleted,
	"ACanceledTestIsInNoCancellation":   (*suite).cancelTest,
	"CancellationsAreReplaysOfTheirKey": (*suite).cancelListed,
}

var byHolder = callbackd.Cancellation{By: callbackd.ByKey(1), Reason: "wrong receiver"}

// cancel creates a cancellation and checks that its set has the size that was counted.
func (s *suite) cancel(f callbackd.ReplayFilter, rate float64) *callbackd.Replay {
	s.Helper()
	f = callbackd.CancelFilter(f)
	n, err := s.CountReplay(s.ctx(), s.key.ID, f)
	s.must(err)
	by := byHolder
	r, err := s.CreateReplay(s.ctx(), callbackd.Replay{Key: s.key.ID, Filter: f, Cancel: &by, Rate: rate, CreatedAt: s.at})
	s.must(err)
	s.equal("the size of the cancellation's set, which was counted before", r.Total, n)
	s.equal("who cancels, and why", *r.Cancel, byHolder)
	return r
}

// why compares the state of a delivery and what its cancellation says.
func (s *suite) why(id callbackd.DeliveryID, attempts int, want string) {
	s.Helper()
	v, err := s.Delivery(s.ctx(), s.key.ID, id, 0)
	s.must(err)
	s.equal("the state", v.State, callbackd.Canceled)
	s.equal("attempts", v.Attempts, attempts)
	if v.Unsent == nil {
		s.Fatalf("delivery %s has no cancellation", id)
	}
	s.equal("why it was canceled", v.Unsent.Why, want)
	s.equal("when it was canceled", v.Unsent.StartedAt.Equal(s.at), true)
}

func (s *suite) cancelPending() {
	cb, ds := s.waiting()
	r := s.cancel(callbackd.ReplayFilter{}, 0)
	s.publish(s.key, ev1, "A") // after the set was chosen
	step := s.step(r, s.at)
	s.equal("deliveries that were canceled", deliveryIDs(step.Canceled), deliveryIDs([]callbackd.Delivery{ds[0], ds[1], ds[4], ds[5]}))
	s.equal("the session of the first one", step.Canceled[0].Session, "A")
	s.equal("its key", step.Canceled[0].Key, s.key.ID)
	s.equal("deliveries that were made due", step.Due, []callbackd.Delivery(nil))
	s.equal("the state of the cancellation", step.State, callbackd.ReplayDone)
	s.counted(r, replayCounts{Total: 4, Due: 4, Canceled: 4})
	s.reopen()
	s.counted(r, replayCounts{Total: 4, Due: 4, Canceled: 4})
	s.equal("who canceled, after a restart", *s.reread(r).Cancel, byHolder)
	s.why(ds[0].ID, 1, "canceled by API key 1: wrong receiver")
	s.why(ds[5].ID, 0, "canceled by API key 1: wrong receiver")
	s.equal("first attempts that are left", len(s.fresh(cb.ID)), 1)
	s.equal("retries that are left", len(s.dueOf(callbackd.Retries, cb.ID)), 0)
	s.ended(cb.ID, ends{Accepted: 7, Delivered: 1, Failed: 1, Canceled: 4, Pending: 1})
	s.equal("deliveries that the stats count as canceled", s.canceled(cb.ID), int64(4))
	page, err := s.ListDeliveries(s.ctx(), store.DeliveryQuery{Key: s.key.ID, State: callbackd.Canceled, Limit: 10})
	s.must(err)
	s.equal("listed canceled deliveries", len(page.Deliveries), 4)
	s.balanced()
}

func (s *suite) cancelChosen() {
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev1, "b")
	other := s.newCallback(s.key, ev2, "a")
	s.publish(s.key, ev1, "A", "B", "A")
	s.publish(s.key, ev2, "A")
	for _, c := range []struct {
		f    callbackd.ReplayFilter
		want int64
	}{
		{callbackd.ReplayFilter{}, 7},
		{callbackd.ReplayFilter{Type: ev1}, 6},
		{callbackd.ReplayFilter{Callback: a.ID}, 3},
		{callbackd.ReplayFilter{Session: "A"}, 5},
		{callbackd.ReplayFilter{Session: "A", Callback: b.ID}, 2},
		{callbackd.ReplayFilter{Callback: other.ID, Type: ev1}, 0},
		{callbackd.ReplayFilter{Until: s.at.Add(-time.Hour)}, 0},
		{callbackd.ReplayFilter{Since: s.at.Add(time.Hour)}, 0},
	} {
		s.chooses(callbackd.CancelFilter(c.f), c.want)
	}
	r := s.cancel(callbackd.ReplayFilter{Session: "A", Callback: b.ID}, 0)
	s.equal("deliveries that were canceled", len(s.step(r, s.at).Canceled), 2)
	s.ended(a.ID, ends{Accepted: 3, Pending: 3})
	s.ended(b.ID, ends{Accepted: 3, Canceled: 2, Pending: 1})
	s.balanced()
}

// canceledInFlight records the results of attempts that were in flight when their
// deliveries were canceled. They count, and nothing is tried again.
func (s *suite) canceledInFlight() {
	cb, ds := s.pending("A", "B", "C", "D", "E")
	s.outcome(ds[3], callbackd.Pending, s.at, time.Time{})
	ds[3].Attempts = 1 // its second attempt is in flight
	r := s.cancel(callbackd.ReplayFilter{}, 0)
	s.outcome(ds[4], callbackd.Delivered, time.Time{}, time.Time{}) // after the set was chosen
	s.step(r, s.at)
	s.counted(r, replayCounts{Total: 5, Due: 5, Skipped: 1, Canceled: 4})
	for i, c := range []struct{ state, want callbackd.State }{
		{callbackd.Delivered, callbackd.Delivered},
		{callbackd.Failed, callbackd.Failed},
		{callbackd.Pending, callbackd.Canceled},
		{callbackd.Delivered, callbackd.Delivered},
	} {
		o := result(ds[i], c.state, s.at, s.at.Add(time.Hour), time.Time{})
		recorded, err := s.Record(s.ctx(), o)
		s.must(err)
		s.equal("how the attempt is recorded", recorded.State, c.want)
		s.equal("whether the outcome took the place of a cancellation", o.Canceled, true)
		s.kind(second(s.Record(s.ctx(), result(ds[i], c.state, s.at, s.at, s.at))), callbackd.KindConflict)
	}
	s.reopen()
	v, err := s.Delivery(s.ctx(), s.key.ID, ds[2].ID, 0)
	s.must(err)
	s.equal("attempts of the one that would be tried again", v.Attempts, 1)
	s.equal("why it is not tried again", v.History[0].Why, "during the attempt: canceled by API key 1: wrong receiver")
	s.ended(cb.ID, ends{Accepted: 5, Delivered: 3, Failed: 1, Canceled: 1})
	s.equal("deliveries that are counted as canceled without an attempt", s.canceled(cb.ID), int64(0))
	s.balanced()
}

// canceledInARace records outcomes while a step cancels the same deliveries. Each is in
// one state, which is that of its attempt.
func (s *suite) canceledInARace() {
	sessions := strings.Fields(strings.Repeat("A B C D E F G H ", 12))
	cb, ds := s.pending(sessions...)
	r := s.cancel(callbackd.ReplayFilter{}, 0)
	half := len(ds) / 2
	s.atOnce(ds[:half+1], func(i int, d callbackd.Delivery) {
		if i == half {
			s.must(second(s.StepReplay(s.ctx(), r.ID, s.at)))
			return
		}
		state := []callbackd.State{callbackd.Delivered, callbackd.Failed, callbackd.Pending}[i%3]
		s.outcome(d, state, s.at.Add(time.Hour), time.Time{})
	})
	third := int64(half / 3)
	s.ended(cb.ID, ends{Accepted: int64(len(ds)), Delivered: third, Failed: third, Canceled: int64(len(ds)) - 2*third})
	s.equal("the state of the cancellation", s.reread(r).State, callbackd.ReplayDone)
	s.balanced()
}

func (s *suite) cancelPaused() {
	cb, ds := s.pending("A", "B", "C", "D", "E")
	r := s.cancel(callbackd.ReplayFilter{}, 2)
	s.equal("deliveries that the first second canceled", len(s.step(r, s.at).Canceled), 2)
	s.setReplayState(r, callbackd.ReplayPaused)
	s.reopen()
	s.equal("deliveries that were canceled while it was paused", len(s.step(r, s.at.Add(time.Hour)).Canceled), 0)
	s.counted(r, replayCounts{Total: 5, Due: 2, Canceled: 2})
	s.setReplayState(r, callbackd.ReplayRunning)
	s.reopen()
	s.equal("deliveries that it canceled then", deliveryIDs(s.step(r, s.at.Add(time.Hour)).Canceled), deliveryIDs(ds[2:4]))
	s.setReplayState(r, callbackd.ReplayCanceled)
	s.equal("deliveries that it canceled after it was ended", len(s.step(r, s.at.Add(2*time.Hour)).Canceled), 0)
	s.ended(cb.ID, ends{Accepted: 5, Canceled: 4, Pending: 1})
	s.balanced()
}

func (s *suite) resendCanceled() {
	cb, ds := s.waiting()
	s.step(s.cancel(callbackd.ReplayFilter{}, 0), s.at)
	for i, attempts := range map[int]int{0: 1, 5: 0} {
		d, err := s.Resend(s.ctx(), s.key.ID, ds[i].ID, s.at)
		s.must(err)
		s.equal("attempts of what was resent", d.Attempts, attempts)
	}
	s.balanced()
	due := s.dueOf(callbackd.Retries, cb.ID)
	s.equal("deliveries that are due", deliveryIDs(due), []callbackd.DeliveryID{ds[0].ID, ds[5].ID})
	s.deliverAll(due)
	s.reopen()
	v, err := s.Delivery(s.ctx(), s.key.ID, ds[5].ID, 0)
	s.must(err)
	s.equal("its state", v.State, callbackd.Delivered)
	s.equal("its attempts", v.Attempts, 1)
	s.equal("its cancellation", v.Unsent == nil, true)
	s.ended(cb.ID, ends{Accepted: 6, Delivered: 3, Failed: 1, Canceled: 2})
	s.balanced()
}

// resendCanceledInFlight resends what was canceled during an attempt. The result of that
// attempt is that of the delivery.
func (s *suite) resendCanceledInFlight() {
	cb, ds := s.pending("A", "B")
	r := s.cancel(callbackd.ReplayFilter{}, 0)
	s.step(r, s.at)
	for _, d := range ds {
		s.must(second(s.Resend(s.ctx(), s.key.ID, d.ID, s.at)))
	}
	o := result(ds[0], callbackd.Delivered, s.at, time.Time{}, time.Time{})
	recorded, err := s.Record(s.ctx(), o)
	s.must(err)
	s.equal("the first attempt", recorded.State, callbackd.Delivered)
	s.equal("whether its outcome took the place of a cancellation", o.Canceled, false)
	s.equal("the second attempt", s.outcome(ds[1], callbackd.Pending, s.at.Add(time.Hour), time.Time{}), callbackd.Pending)
	s.ended(cb.ID, ends{Accepted: 2, Delivered: 1, Pending: 1})
	s.balanced()
}

func (s *suite) replayCanceledDeliveries() {
	cb, ds := s.pending("A", "B", "C", "D")
	s.outcome(ds[0], callbackd.Delivered, time.Time{}, time.Time{})
	s.step(s.cancel(callbackd.ReplayFilter{}, 0), s.at)
	s.outcome(ds[1], callbackd.Pending, s.at.Add(time.Hour), time.Time{}) // it was in flight
	canceled := callbackd.ReplayFilter{States: []callbackd.State{callbackd.Canceled}}
	s.chooses(canceled, 3)
	s.chooses(callbackd.ReplayFilter{States: canceled.States, Session: "C"}, 1)
	s.chooses(callbackd.ReplayFilter{Missing: true}, 3)
	s.chooses(callbackd.ReplayFilter{States: canceled.States, Target: cb.ID}, 3)
	r := s.replay(canceled, 0)
	s.must(second(s.Resend(s.ctx(), s.key.ID, ds[3].ID, s.at)))
	due := s.step(r, s.at).Due
	s.equal("deliveries that were made due", deliveryIDs(due), deliveryIDs(ds[1:3]))
	s.equal("attempts before", []int{due[0].Attempts, due[1].Attempts}, []int{1, 0})
	s.balanced()
	s.deliverAll(due)
	s.chooses(callbackd.ReplayFilter{Missing: true}, 0)
	s.chooses(canceled, 0)
	s.ended(cb.ID, ends{Accepted: 4, Delivered: 3, Pending: 1})
	s.balanced()
}

// cancelReplayed cancels what a replay made due. The replay counts it and ends.
func (s *suite) cancelReplayed() {
	a, _, _ := s.replayable()
	r := s.replay(callbackd.ReplayFilter{Callback: a.ID}, 0)
	ds := s.step(r, s.at).Due
	c := s.cancel(callbackd.ReplayFilter{Callback: a.ID}, 0)
	s.step(c, s.at)
	s.counted(c, replayCounts{Total: 5, Due: 5, Canceled: 5})
	s.counted(r, replayCounts{Total: 4, Due: 4, Canceled: 4})
	s.equal("the end of an attempt that was under way", s.outcome(ds[0], callbackd.Delivered, time.Time{}, time.Time{}), callbackd.Delivered)
	s.counted(r, replayCounts{Total: 4, Due: 4, Delivered: 1, Canceled: 3})
	s.equal("the state of the replay", s.step(r, s.at).State, callbackd.ReplayDone)
	s.balanced()
}

// cancelDeleted leaves the deliveries of a callback that was deleted meanwhile to
// FinalizeCanceled, which gives the reason.
func (s *suite) cancelDeleted() {
	_, ds := s.pending("A", "B")
	r := s.cancel(callbackd.ReplayFilter{}, 0)
	s.deleteDefault()
	s.equal("deliveries that it canceled", len(s.step(r, s.at).Canceled), 0)
	s.counted(r, replayCounts{Total: 2, Due: 2, Skipped: 2})
	s.finalize(2)
	s.why(ds[0].ID, 0, callbackd.WhyEnded)
	s.kind(second(s.Resend(s.ctx(), s.key.ID, ds[0].ID, s.at)), callbackd.KindConflict)
}

func (s *suite) cancelTest() {
	cb := s.newCallback(s.key, ev1, "default")
	s.must(second(s.Accept(s.ctx(), store.Batch{Key: cb.Key, At: s.at, Events: []store.NewEvent{{Type: cb.Event, Session: "T", Data: []byte("{}"), OnlyTo: cb.ID}}})))
	s.chooses(callbackd.CancelFilter(callbackd.ReplayFilter{}), 0)
	s.chooses(callbackd.CancelFilter(callbackd.ReplayFilter{Session: "T"}), 0)
}

func (s *suite) cancelListed() {
	s.pending("A")
	r := s.cancel(callbackd.ReplayFilter{}, 0)
	page, err := s.ListReplays(s.ctx(), store.ReplayQuery{Key: s.key.ID, Running: true, Limit: 10})
	s.must(err)
	s.equal("replays that run", page.Replays, []callbackd.Replay{*r})
}

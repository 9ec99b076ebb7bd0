package storetest

import (
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var recordTests = map[string]func(*suite){
	"AFailedAttemptWaits":         (*suite).failedAttempt,
	"History":                     (*suite).history,
	"RecordTwiceIsAConflict":      (*suite).recordTwice,
	"TimesAreNotEarly":            (*suite).notEarly,
	"ResendOfEndedAndWaiting":     (*suite).resend,
	"ResendsAreCounted":           (*suite).resendsCounted,
	"ATestThatIsResentStaysATest": (*suite).resentTest,
	"NoResendToADeletedCallback":  (*suite).resendDeleted,
	"ResendOfWhatWasNeverTried":   (*suite).resendUntried,
	"Restart":                     (*suite).restart,
}

func (s *suite) failedAttempt() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "S")
	d := s.fresh(cb.ID)[0]
	due := s.at.Add(5 * time.Second)
	s.equal("the state", s.outcome(d, callbackd.Pending, due, s.at.Add(time.Minute)), callbackd.Pending)
	v, err := s.Delivery(s.ctx(), s.key.ID, d.ID, 0)
	s.must(err)
	s.equal("the state of the delivery", v.State, callbackd.Pending)
	s.equal("its attempts", v.Attempts, 1)
	s.equal("when it is due", v.Due.Equal(due), true)
	s.equal("the length of its history", len(v.History), 1)

	s.equal("first attempts that wait", s.fresh(cb.ID), []callbackd.Delivery(nil))
	ds, next, err := s.Pending(s.ctx(), callbackd.PendingRead{Callback: cb.ID, Source: callbackd.Retries, At: due, Limit: 10})
	s.must(err)
	s.equal("when more is due", next, time.Time{})
	s.equal("retries that are due", deliveryIDs(ds), []callbackd.DeliveryID{d.ID})
	s.equal("attempts of the retry", ds[0].Attempts, 1)
	s.equal("its step", ds[0].Step, 1)
	s.equal("whether the time of its first failure is zero", ds[0].FirstFailedAt.IsZero(), false)
}

func (s *suite) history() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "S")
	s.outcome(s.fresh(cb.ID)[0], callbackd.Pending, s.at, time.Time{})
	ds, _, err := s.Pending(s.ctx(), callbackd.PendingRead{Callback: cb.ID, Source: callbackd.Retries, At: s.at, Limit: 10})
	s.must(err)
	s.outcome(ds[0], callbackd.Delivered, time.Time{}, time.Time{})
	v, err := s.Delivery(s.ctx(), s.key.ID, ds[0].ID, 0)
	s.must(err)
	s.equal("the state", v.State, callbackd.Delivered)
	s.equal("the second attempt", v.History[1], result(ds[0], callbackd.Delivered, s.at, time.Time{}, time.Time{}).Attempt)
}

func (s *suite) recordTwice() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "S")
	d := s.fresh(cb.ID)[0]
	s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
	s.kind(second(s.Record(s.ctx(), result(d, callbackd.Delivered, s.at, time.Time{}, time.Time{}))), callbackd.KindConflict)
	v, err := s.Delivery(s.ctx(), s.key.ID, d.ID, 0)
	s.must(err)
	s.equal("the length of the history", len(v.History), 1)
}

func (s *suite) resend() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "S", "S")
	ds := s.fresh(cb.ID)
	s.outcome(ds[0], callbackd.Delivered, time.Time{}, time.Time{})
	s.outcome(ds[1], callbackd.Pending, s.at.Add(time.Hour), s.at.Add(time.Hour))
	for i, what := range []string{"what was delivered", "what waits"} {
		got, err := s.Resend(s.ctx(), s.key.ID, ds[i].ID, s.at)
		s.must(err)
		s.equal(what+" is due at once", got.Due.Equal(s.at), true)
		want := callbackd.Delivery{ID: ds[i].ID, Key: s.key.ID, Session: "S", Sequence: int64(i + 1), Attempts: 1, Manual: true, Due: got.Due}
		s.equal(what+", sent again", *got, want)
	}
}

func (s *suite) resendsCounted() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "S", "S")
	for _, d := range s.fresh(cb.ID) {
		s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
		s.must(second(s.Resend(s.ctx(), s.key.ID, d.ID, s.at)))
		s.balanced()
	}
	due, _, err := s.Pending(s.ctx(), callbackd.PendingRead{Callback: cb.ID, Source: callbackd.Retries, At: s.at, Limit: 10})
	s.must(err)
	s.equal("retries that are due", len(due), 2)
	s.outcome(due[0], callbackd.Delivered, time.Time{}, time.Time{})
	s.outcome(due[1], callbackd.Failed, time.Time{}, time.Time{})
	var done, total int64
	r, err := s.Check(store.WithProgress(s.ctx(), func(d, t int64) { done, total = d, t }))
	s.must(err)
	s.equal("events that the check told of", done, r.Events)
	s.equal("events of which it told", total, r.Events)
	balance := r.Callbacks[0]
	s.equal("repeats", balance.Repeats, int64(2))
	s.equal("delivered", balance.Delivered, int64(1))
	s.equal("failed", balance.Failed, int64(1))
}

func (s *suite) resentTest() {
	cb := s.newCallback(s.key, ev1, "default")
	batch := s.one("T", "{}")
	batch.Events[0].OnlyTo = cb.ID
	s.must(second(s.Accept(s.ctx(), batch)))
	test := s.fresh(cb.ID)[0]
	s.outcome(test, callbackd.Failed, time.Time{}, time.Time{})
	got, err := s.Resend(s.ctx(), s.key.ID, test.ID, s.at)
	s.must(err)
	s.equal("the mark of a test", got.Test, true)
}

func (s *suite) resendDeleted() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "S")
	d := s.fresh(cb.ID)[0]
	s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
	s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, ev1, "default", s.at)))
	s.kind(second(s.Resend(s.ctx(), s.key.ID, d.ID, s.at)), callbackd.KindConflict)
}

func (s *suite) restart() {
	cb := s.newCallback(s.key, ev1, "default")
	evs := s.publish(s.key, ev1, "S", "S")
	s.outcome(s.fresh(cb.ID)[0], callbackd.Pending, s.at.Add(time.Minute), s.at.Add(time.Hour))
	s.reopen()
	next := s.publish(s.key, ev1, "S")[0]
	s.equal("the next sequence number", next.Sequence, int64(3))
	if next.ID <= evs[1].ID {
		s.Errorf("the next ID is %d; want one above %d", next.ID, evs[1].ID)
	}
	s.equal("first attempts that wait", len(s.fresh(cb.ID)), 2)
	ds, _, err := s.Pending(s.ctx(), callbackd.PendingRead{Callback: cb.ID, Source: callbackd.Retries, At: s.at.Add(time.Hour), Limit: 10})
	s.must(err)
	s.equal("retries that wait", len(ds), 1)
	s.equal("attempts of the retry", ds[0].Attempts, 1)
	s.equal("until when it blocks its lane", ds[0].HoldsUntil.Equal(s.at.Add(time.Hour)), true)
}

// notEarly shows that no delivery is read back with a time before its own.
func (s *suite) notEarly() {
	cb, ds := s.pending("S")
	for _, row := range []string{"a new row", "a row that is there"} {
		due, holds := s.at.Add(time.Second+55*time.Microsecond), s.at.Add(time.Minute+time.Nanosecond)
		s.outcome(ds[0], callbackd.Pending, due, holds)
		ds = s.dueOf(callbackd.Retries, cb.ID)
		s.atMostLater(row+": when it is due", ds[0].Due, due)
		s.atMostLater(row+": until when it blocks its lane", ds[0].HoldsUntil, holds)
		_, next, err := s.Pending(s.ctx(), callbackd.PendingRead{Callback: cb.ID, Source: callbackd.Retries, At: due, Limit: 1})
		s.must(err)
		s.atMostLater(row+": when the next is due, asked a moment before", next, due)
	}
}

// atMostLater checks that a time is read back at most a millisecond later, and not
// earlier.
func (s *suite) atMostLater(what string, got, want time.Time) {
	s.Helper()
	if got.Before(want) || got.Sub(want) > time.Millisecond {
		s.Errorf("%s: %v, want %v or up to a millisecond later", what, got, want)
	}
}

// resendUntried shows that a delivery that was never tried takes its turn, with
// or without a row in the tables.
func (s *suite) resendUntried() {
	cb, ds := s.pending("S", "S", "S")
	for _, when := range []string{"at once", "after a restart"} {
		for _, d := range ds {
			got, err := s.Resend(s.ctx(), s.key.ID, d.ID, s.at)
			s.must(err)
			s.equal(when+": the delivery", *got, callbackd.Delivery{ID: d.ID, Key: s.key.ID, Session: "S", Sequence: d.Sequence})
		}
		s.equal(when+": first attempts that wait", deliveryIDs(s.fresh(cb.ID)), deliveryIDs(ds))
		s.equal(when+": deliveries that wait for a time", s.dueTimes(cb.ID), []time.Time(nil))
		s.reopen()
	}
}

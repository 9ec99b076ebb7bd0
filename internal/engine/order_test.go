package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
	"callbackd/internal/engine"
)

// grouped makes a callback for status changes and one for COMPLETE, in one order group.
func (r *rig) grouped(p callbackd.Policy) (status, complete callbackd.CallbackID) {
	r.Helper()
	p.OrderGroup = "portal"
	return r.callback(ev1, p), r.callback(callbackd.Complete, p)
}

// began returns when the first attempt of an event began; zero when none did.
func (r *rig) began(cb callbackd.CallbackID, session string) time.Time {
	for _, c := range r.of(cb) {
		if c.session == session {
			return c.at
		}
	}
	return time.Time{}
}

// wantBegan fails the test unless the first attempt of a session's delivery began at a time
// after start; negative: unless it did not begin.
func (r *rig) wantBegan(cb callbackd.CallbackID, session string, start time.Time, want time.Duration) {
	r.Helper()
	got := time.Duration(-1)
	if at := r.began(cb, session); !at.IsZero() {
		got = at.Sub(start).Truncate(10 * time.Millisecond)
	}
	if got != want {
		r.Errorf("callback %d got %s after %v, want %v", cb, session, got, want)
	}
}

const never = time.Duration(-1)

// regroup gives a callback another order group.
func (r *rig) regroup(callback callbackd.CallbackID, group string) {
	r.Helper()
	cb := r.setting(callback)
	if _, err := r.s.ChangeCallback(r.Context(), cb.Key, cb.Event, cb.Name, func(stored *callbackd.Callback) error {
		next := *stored
		next.Policy.OrderGroup = group
		stored.Replace(&next, time.Now())
		return nil
	}); err != nil {
		r.Fatal(err)
	}
	r.e.CallbackChanged(callback)
}

func TestCallbacksOfAnOrderGroupAreOneLanePerSession(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		status1, complete := r.grouped(callbackd.Policy{})
		alone := r.callback(callbackd.Complete, callbackd.Policy{})
		r.set(func(c call) callbackd.Result {
			if c.cb == status1 {
				time.Sleep(time.Second)
			}
			return status(200)
		})
		start := time.Now()
		r.publish(ev1, "S", "S")
		r.publish(callbackd.Complete, "S", "other")
		pass(time.Minute)
		r.wantBegan(complete, "S", start, 2*time.Second)
		r.wantBegan(complete, "other", start, 0)
		r.wantBegan(alone, "S", start, 0)
	})
}

func TestAFailedDeliveryHoldsItsSessionInTheOrderGroupForTheOrderWait(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		failing, complete := r.grouped(callbackd.Policy{OrderWait: time.Minute, Retry: []time.Duration{0, time.Hour}})
		r.set(func(c call) callbackd.Result {
			if c.cb == failing && c.session == "S" {
				return status(500)
			}
			return status(200)
		})
		start := time.Now()
		r.publish(ev1, "S", "fine")
		r.publish(callbackd.Complete, "S", "fine")
		pass(time.Second)
		d := r.e.Diagnosis(complete, "S", time.Now())
		if d.Order.Earlier.Callback != failing || !d.Order.Failed || d.Order.Sequence != 1 || d.Order.Until.IsZero() {
			r.Errorf("the diagnosis has %+v, want that it waits for the delivery that failed", d.Order)
		}
		pass(time.Hour)
		r.wantBegan(complete, "S", start, time.Minute)
		r.wantBegan(complete, "fine", start, 0)
	})
}

func TestAPausedCallbackHoldsNothingInItsOrderGroup(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		first, complete := r.grouped(callbackd.Policy{})
		r.set(func(c call) callbackd.Result {
			if c.session == "slow" {
				time.Sleep(10 * time.Second)
			}
			return status(200)
		})
		start := time.Now()
		r.publish(ev1, "slow", "slow")
		r.publish(callbackd.Complete, "slow")
		pass(5 * time.Second)
		r.wantBegan(complete, "slow", start, never)
		r.pause(first, callbackd.PausedByUser)
		r.publish(ev1, "later")
		r.publish(callbackd.Complete, "later")
		pass(time.Second)
		r.wantBegan(complete, "slow", start, 5*time.Second)
		r.wantBegan(complete, "later", start, 5*time.Second)
	})
}

// A receiver that asks for no requests holds sessions no longer than if their deliveries
// had failed.
func TestAClosedCallbackHoldsItsOrderGroupForTheOrderWait(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		closed, complete := r.grouped(callbackd.Policy{OrderWait: time.Minute})
		r.set(func(c call) callbackd.Result {
			if c.cb == closed {
				return after(503, "3600")
			}
			return status(200)
		})
		start := time.Now()
		r.publish(ev1, "first")
		pass(time.Second)
		r.publish(ev1, "S")
		r.publish(callbackd.Complete, "S")
		pass(time.Second)
		d := r.e.Diagnosis(complete, "S", time.Now())
		if d.Order.Earlier.Callback != closed || d.Order.Failed || d.Order.Until.IsZero() {
			r.Errorf("the diagnosis has %+v, want that it waits for a delivery that was not tried", d.Order)
		}
		pass(time.Hour / 2)
		r.wantBegan(complete, "S", start, time.Minute+time.Second)
	})
}

// What waits when a receiver begins to ask for no requests is judged anew.
func TestACallbackThatIsClosedLaterHoldsItsOrderGroupForTheOrderWait(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		closed, complete := r.grouped(callbackd.Policy{OrderWait: time.Minute, Concurrency: 1})
		r.set(func(c call) callbackd.Result {
			if c.cb == closed {
				time.Sleep(5 * time.Second)
				return after(503, "3600")
			}
			return status(200)
		})
		start := time.Now()
		r.publish(ev1, "first", "S")
		r.publish(callbackd.Complete, "S")
		pass(time.Hour / 2)
		r.wantBegan(complete, "S", start, time.Minute)
	})
}

func TestAChangeOfTheOrderGroupCountsForWhatWaits(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		first := r.callback(ev1, callbackd.Policy{})
		complete := r.callback(callbackd.Complete, callbackd.Policy{Rate: 1})
		r.set(func(c call) callbackd.Result {
			if c.cb == first {
				time.Sleep(time.Minute)
			}
			return status(200)
		})
		start := time.Now()
		r.publish(ev1, "A", "B")
		r.publish(callbackd.Complete, "A", "B") // one a second
		pass(500 * time.Millisecond)
		r.regroup(first, "portal")
		r.regroup(complete, "portal")
		pass(10 * time.Second)
		r.wantBegan(complete, "A", start, 0)
		r.wantBegan(complete, "B", start, never)
		r.regroup(complete, "")
		pass(10 * time.Second)
		r.wantBegan(complete, "B", start, 10*time.Second+500*time.Millisecond)
	})
}

// With auto, callbacks at one origin are a group.
func TestTheOrderGroupAutoIsTheOrigin(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		first := r.callback(ev1, callbackd.Policy{OrderGroup: callbackd.GroupByOrigin})
		same := r.callback(callbackd.Complete, callbackd.Policy{OrderGroup: callbackd.GroupByOrigin})
		other := r.callback(callbackd.Complete, callbackd.Policy{OrderGroup: callbackd.GroupByOrigin, Concurrency: 2})
		r.put(same, "https://example.com/complete")
		r.set(func(c call) callbackd.Result {
			if c.cb == first {
				time.Sleep(time.Second)
			}
			return status(200)
		})
		start := time.Now()
		r.publish(ev1, "S")
		r.publish(callbackd.Complete, "S")
		pass(time.Minute)
		r.wantBegan(same, "S", start, time.Second)
		r.wantBegan(other, "S", start, 0)
	})
}

func TestAResendDoesNotWaitInItsOrderGroup(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		first, complete := r.grouped(callbackd.Policy{})
		id := r.publish(callbackd.Complete, "S")[0]
		pass(time.Second)
		r.set(func(c call) callbackd.Result {
			if c.cb == first {
				time.Sleep(time.Minute)
			}
			return status(200)
		})
		r.publish(ev1, "S")
		if err := r.resend(id, complete); err != nil {
			r.Fatal(err)
		}
		synctest.Wait()
		if n := len(r.of(complete)); n != 2 {
			r.Errorf("%d attempts of the delivery that was resent, want 2", n)
		}
		pass(time.Hour)
	})
}

// The windows of two callbacks are full of deliveries that wait for each other's.
func TestBacklogsOfAnOrderGroupAreSentInOrder(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{Window: 4}, func(r *rig) {
		a, b := r.grouped(callbackd.Policy{Concurrency: 2})
		r.pause(a, callbackd.PausedByUser)
		r.pause(b, callbackd.PausedByUser)
		pass(time.Second)
		var sessions []string
		for i := range 60 {
			sessions = append(sessions, string(rune('A'+i)))
		}
		for i := range 8 {
			r.publish([]callbackd.EventType{ev1, callbackd.Complete}[i%2], sessions[:30]...)
			r.publish([]callbackd.EventType{callbackd.Complete, ev1}[i%2], sessions[30:]...)
		}
		r.set(func(call) callbackd.Result { time.Sleep(10 * time.Millisecond); return status(200) })
		// Of a running engine, the one that is resumed first would overtake the other one.
		r.e.Drain(r.Context())
		for _, callback := range []callbackd.CallbackID{a, b} {
			r.pause(callback, callbackd.NotPaused)
		}
		r.restart()
		pass(time.Hour)
		r.wantWaiting(0)
		last := map[string]int64{}
		for _, c := range r.sent() {
			if c.sequence != last[c.session]+1 {
				r.Errorf("session %s: event %d was sent after %d", c.session, c.sequence, last[c.session])
			}
			last[c.session] = c.sequence
		}
	})
}

// The callbacks of an order group get the tests of a session in order, too.
func TestPublishedTestsKeepTheOrderOfTheirGroup(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		status1, complete := r.grouped(callbackd.Policy{})
		r.set(func(c call) callbackd.Result {
			if c.cb == status1 {
				time.Sleep(time.Second)
			}
			return status(500)
		})
		start := time.Now()
		r.tests(ev1, "S", "S")
		r.tests(callbackd.Complete, "S")
		pass(time.Minute)
		r.wantBegan(complete, "S", start, 2*time.Second)
	})
}

package engine_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/engine"
)

// Receivers that hang leave slots to those that answer, however many they are, and none
// waits for ever.
func TestHangingReceiversLeaveSlotsForHealthyOnes(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{MaxInFlight: 20}, func(r *rig) {
		good := r.callback(callbackd.Complete, callbackd.Policy{})
		r.publish(callbackd.Complete, "G")
		pass(time.Second) // the receiver has answered
		for range 30 {
			r.callback(ev1, callbackd.Policy{})
			pass(time.Millisecond) // because the names of callbacks are made from the time
		}
		r.set(func(c call) callbackd.Result {
			if c.cb != good {
				time.Sleep(time.Hour)
				return callbackd.Result{Fault: callbackd.FaultTimeout}
			}
			return status(200)
		})
		for i := range 5 {
			r.publish(ev1, fmt.Sprint("S", i))
		}
		pass(time.Second)
		before := time.Now()
		for i := range 50 {
			r.publish(callbackd.Complete, fmt.Sprint("G", i))
		}
		pass(time.Second)
		n, hanging := 0, map[callbackd.CallbackID]bool{}
		for _, c := range r.sent() {
			if c.cb == good && !c.at.Before(before) {
				n++
			}
			if c.cb != good {
				hanging[c.cb] = true
			}
		}
		if n != 50 {
			r.Errorf("%d deliveries to the healthy receiver within a second, want 50", n)
		}
		pass(12 * time.Hour)
		for _, c := range r.sent() {
			hanging[c.cb] = true
		}
		if len(hanging) != 31 {
			r.Errorf("%d callbacks had an attempt, want 31", len(hanging))
		}
		r.set(ok)
		pass(200 * time.Hour)
	})
}

// A receiver that answers gets several attempts at a time while others, which answered before
// and now hang, have taken all that they may: with one attempt at a time, its deliveries would
// wait for each other.
func TestAReceiverThatAnswersHasMoreThanOneSlotBesideHangingOnes(t *testing.T) {
	t.Parallel()
	const slots = 128
	bubble(t, engine.Options{MaxInFlight: slots}, func(r *rig) {
		good := r.callback(callbackd.Complete, callbackd.Policy{})
		for range 30 {
			r.callback(ev1, callbackd.Policy{})
			pass(time.Millisecond) // because the names of callbacks are made from the time
		}
		r.publish(callbackd.Complete, "G")
		r.publish(ev1, "S")
		pass(time.Minute) // all have answered
		underWay, most := 0, 0
		var mu sync.Mutex
		r.set(func(c call) callbackd.Result {
			if c.cb != good {
				time.Sleep(time.Hour)
				return callbackd.Result{Fault: callbackd.FaultTimeout}
			}
			mu.Lock()
			underWay++
			most = max(most, underWay)
			mu.Unlock()
			time.Sleep(100 * time.Millisecond)
			mu.Lock()
			underWay--
			mu.Unlock()
			return status(200)
		})
		for i := range 20 {
			r.publish(ev1, fmt.Sprint("S", i))
		}
		pass(time.Second)
		r.publish(callbackd.Complete, "G") // shows that it answers
		pass(200 * time.Millisecond)
		for i := range 8 {
			r.publish(callbackd.Complete, fmt.Sprint("G", i))
		}
		pass(time.Second)
		mu.Lock()
		defer mu.Unlock()
		if most < 2 || most > slots/8 {
			r.Errorf("at most %d attempts at a time at the receiver that answers, want 2 to %d", most, slots/8)
		}
		if n := r.sentOf(good, "G7", 1); n != 1 {
			r.Errorf("the last of 8 deliveries was sent %d times within a second, want once", n)
		}
	})
}

// A diagnosis is true: nothing is sent while it gives a reason, and an attempt starts when
// the reason has ended.
func TestADiagnosisSaysWhatHolds(t *testing.T) {
	t.Parallel()
	slow := func(call) callbackd.Result { time.Sleep(time.Minute); return status(200) }
	for _, c := range []struct {
		want    callbackd.WaitReason
		policy  callbackd.Policy
		script  func(call) callbackd.Result
		ends    time.Duration // the reason
		prepare func(r *rig, callback callbackd.CallbackID)
	}{
		{callbackd.WaitForSlot, callbackd.Policy{}, slow, time.Minute, func(r *rig, _ callbackd.CallbackID) {
			r.callback(callbackd.Complete, callbackd.Policy{})
			r.publish(callbackd.Complete, "other")
		}},
		{callbackd.WaitForAttempt, callbackd.Policy{Concurrency: 1}, slow, time.Minute, func(r *rig, _ callbackd.CallbackID) { r.publish(ev1, "S0") }},
		{callbackd.WaitForRate, callbackd.Policy{Rate: 0.1}, ok, 10 * time.Second, func(r *rig, _ callbackd.CallbackID) { r.publish(ev1, "S0") }},
		{callbackd.WaitForReceiver, callbackd.Policy{}, after503, time.Minute, func(r *rig, _ callbackd.CallbackID) { r.publish(ev1, "S0") }},
		{callbackd.WaitForResume, callbackd.Policy{}, ok, 0, func(r *rig, callback callbackd.CallbackID) { r.pause(callback, callbackd.PausedByUser) }},
	} {
		bubble(t, engine.Options{MaxInFlight: 1}, func(r *rig) {
			callback := r.callback(ev1, c.policy)
			r.set(c.script)
			c.prepare(r, callback)
			pass(time.Second)
			r.publish(ev1, "S1")
			pass(time.Second)
			d := r.e.Diagnosis(callback, "S1", time.Now())
			w := d.First(false, time.Now())
			if w.Reason != c.want {
				r.Errorf("the reason is %d, want %d", w.Reason, c.want)
			}
			if at := time.Now().Add(c.ends - 2*time.Second); !w.Until.IsZero() && (w.Until.Before(at) || w.Until.After(at.Add(2*time.Second))) {
				r.Errorf("reason %d holds until %v, want %v", c.want, w.Until, at)
			}
			pass(max(c.ends-5*time.Second, 0))
			if n := r.sentOf(callback, "S1", 1); n != 0 {
				r.Errorf("reason %d: %d attempts while it holds, want 0", c.want, n)
			}
			r.set(ok)
			r.pause(callback, callbackd.NotPaused)
			pass(15 * time.Second)
			if n := r.sentOf(callback, "S1", 1); n != 1 {
				r.Errorf("reason %d: %d attempts after it ended, want 1", c.want, n)
			}
		})
	}
}

func after503(call) callbackd.Result { return after(503, "60") }

package engine_test

import (
	"fmt"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/engine"
)

// Receivers that hang leave slots to those that answer, however many they are. And
// none of them waits for ever.
func TestHangingReceiversLeaveSlotsForHealthyOnes(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{MaxInFlight: 20}, func(r *rig) {
		good := r.callback(callbackd.Complete, callbackd.Policy{})
		r.publish(callbackd.Complete, "G")
		pass(time.Second) // the receiver has answered
		for range 30 {
			r.callback(ev1, callbackd.Policy{})
			pass(time.Millisecond) // names are times
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

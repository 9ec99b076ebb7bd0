package engine_test

import (
	"sync/atomic"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/engine"
)

// A retry is due by the wall clock. When that was set ahead, or the machine
// slept, the engine's timers are late, and ClockSet makes up for it: in memory
// (a head that holds its lane), in the store, and behind an open breaker.
func TestDueTimesFollowTheWallClock(t *testing.T) {
	var ahead atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	bubble(t, engine.Options{Now: clock}, func(r *rig) {
		r.callback(callbackd.StatusChange, callbackd.Policy{Retry: []time.Duration{0, time.Hour}, OrderWait: time.Minute})
		r.callback(callbackd.StageChange, callbackd.Policy{Retry: []time.Duration{0, time.Hour}, OrderWait: 3 * time.Hour})
		failing := true
		r.script = func(call) callbackd.Result {
			if failing {
				return status(500)
			}
			return status(200)
		}
		for range 11 { // opens the breaker
			r.publish(callbackd.StatusChange, "A")
			pass(2 * time.Minute)
		}
		r.publish(callbackd.StageChange, "B")
		pass(10 * time.Second)
		before := len(r.calls)
		pass(10 * time.Second)
		if len(r.calls) != before {
			t.Fatalf("%d attempts, then %d: something is sent before it is due", before, len(r.calls))
		}
		failing = false
		ahead.Store(int64(2 * time.Hour))
		r.e.ClockSet()
		pass(2 * time.Second)
		if got := len(r.calls) - before; got != 12 {
			t.Errorf("%d of 12 deliveries that became due were sent within two seconds", got)
		}
	})
}

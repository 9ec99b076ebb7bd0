package engine_test

import (
	"sync/atomic"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/engine"
)

// A retry is due by the wall clock. When that was set ahead, or the machine slept, the
// engine's timers are late. ClockSet then sends what is due: a head that blocks its lane in
// memory, what waits in the store, and what waits for an open breaker.
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
			t.Fatalf("%d attempts before anything is due, want the %d from before", len(r.calls), before)
		}
		failing = false
		ahead.Store(int64(2 * time.Hour))
		r.e.ClockSet()
		pass(2 * time.Second)
		if got := len(r.calls) - before; got != 12 {
			t.Errorf("%d deliveries that became due were sent within two seconds, want 12", got)
		}
	})
}

// A clock that is set back prolongs neither the wait of an open breaker nor a Retry-After,
// and what a person resumes afterwards is sent.
func TestAClockThatIsSetBackProlongsNoWait(t *testing.T) {
	var ahead atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	ahead.Store(int64(100 * 24 * time.Hour))
	bubble(t, engine.Options{Now: clock}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0, time.Hour}, OrderWait: callbackd.NoOrderWait})
		busy := status(503)
		busy.RetryAfter = "600"
		r.set(func(call) callbackd.Result { return busy })
		r.publish(ev1, "A")
		pass(time.Second)
		r.pauseAt(callback, callbackd.NotPaused, clock())
		pass(time.Second)
		ahead.Store(0)
		r.e.ClockSet()
		r.set(ok)
		r.publish(ev1, "B")
		pass(time.Second)
		if n := r.sentOf(callback, "B", 1); n != 1 {
			t.Errorf("%d attempts of the event that came after the clock was set, want 1", n)
		}
		r.set(func(call) callbackd.Result { return status(500) })
		r.publish(ev1, "C")
		pass(time.Second)
		r.set(ok)
		r.pauseAt(callback, callbackd.NotPaused, clock())
		pass(time.Second)
		r.wantWaiting(0)
	})
}

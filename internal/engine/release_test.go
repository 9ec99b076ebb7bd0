package engine_test

import (
	"fmt"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/engine"
)

// The breaker's probe waits for the longer of its own wait and Retry-After.
func TestTheProbeWaitsForRetryAfter(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{OrderWait: callbackd.NoOrderWait})
		var opened time.Time
		r.set(func(c call) callbackd.Result {
			if n := len(r.sent()); n != callbackd.BreakerThreshold {
				return status(500)
			}
			opened = c.at
			return after(503, "120")
		})
		for i := range 40 {
			r.publish(ev1, fmt.Sprint("S", i))
		}
		pass(time.Second)
		if n := len(r.sent()); n != callbackd.BreakerThreshold {
			t.Fatalf("%d requests open the breaker, want %d", n, callbackd.BreakerThreshold)
		}
		pass(2*time.Minute + time.Second)
		calls := r.sent()[callbackd.BreakerThreshold:]
		if len(calls) != 1 {
			t.Fatalf("%d requests while the breaker is open, want one probe", len(calls))
		}
		if waited := calls[0].at.Sub(opened); waited < 2*time.Minute {
			t.Errorf("the probe came after %v, want the two minutes that the receiver asked for", waited)
		}
	})
}

// A callback that was failing begins with one probe after a restart, and with
// a ramp when that succeeds.
func TestAFailingCallbackBeginsWithOneProbeAfterARestart(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{OrderWait: callbackd.NoOrderWait})
		r.set(slowly(100*time.Millisecond, status(500)))
		for i := range 60 {
			r.publish(ev1, fmt.Sprint("S", i))
		}
		pass(3 * time.Second)
		for range 3 {
			r.restart()
			before := len(r.sent())
			pass(5 * time.Second)
			if n := len(r.sent()) - before; n != 1 {
				t.Errorf("%d requests within five seconds of a restart, want 1", n)
			}
		}
		r.restart()
		r.peakFromHere()
		r.set(slowly(100*time.Millisecond, status(200)))
		before := len(r.sent())
		pass(150 * time.Millisecond)
		if n := len(r.sent()) - before; n != 3 { // the probe, and then two
			t.Errorf("%d requests after the first success, want 3", n)
		}
		pass(time.Hour)
		r.wantWaiting(0)
	})
}

// waiting counts the deliveries that have not ended.
func (r *rig) waiting() (n int64) {
	r.Helper()
	report, err := r.s.Check(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	for _, b := range report.Callbacks {
		n += b.Pending
	}
	return n
}

// A resume and another URL make deliveries that wait for a later time due now, within the
// ramp and in order, also when callbackd is restarted meanwhile.
func TestWhatWaitsIsDueNowAfterAResumeAndAtAnotherURL(t *testing.T) {
	t.Parallel()
	acts := map[string]func(r *rig, callback callbackd.CallbackID){
		"resume":     func(r *rig, callback callbackd.CallbackID) { r.pause(callback, callbackd.NotPaused) },
		"other host": func(r *rig, callback callbackd.CallbackID) { r.put(callback, "https://other.example/") },
		"other path": func(r *rig, callback callbackd.CallbackID) { r.put(callback, "https://example.com/path") },
		"of a paused": func(r *rig, callback callbackd.CallbackID) {
			r.pause(callback, callbackd.PausedByUser)
			r.pause(callback, callbackd.NotPaused)
		},
	}
	for name, act := range acts {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " restart ", restart), func(t *testing.T) {
				bubble(t, engine.Options{Window: 64}, func(r *rig) {
					callback := r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0, 10 * time.Hour, 10 * time.Hour}, OrderWait: time.Minute})
					r.set(func(c call) callbackd.Result {
						if c.sequence == 1 {
							return status(500)
						}
						return status(200)
					})
					const sessions = 150 // more than the window holds
					for i := range sessions {
						r.publish(ev1, fmt.Sprint("S", i), fmt.Sprint("S", i))
						if i%9 == 8 { // a success closes the breaker again
							pass(2 * time.Minute)
						}
					}
					pass(time.Hour)
					before := r.waiting()
					r.peakFromHere()
					r.set(slowly(100*time.Millisecond, status(200)))
					act(r, callback)
					if restart {
						pass(300 * time.Millisecond)
						r.restart()
					}
					pass(5 * time.Minute)
					if before == 0 {
						t.Error("no delivery waited before, want some")
					}
					r.wantWaiting(0)
					r.wantAtOnce(1, callbackd.DefaultConcurrency)
				})
			})
		}
	}
}

func (r *rig) peakFromHere() {
	r.mu.Lock()
	r.peak = 0
	r.mu.Unlock()
}

// highest returns the highest number of attempts at a time since peakFromHere.
func (r *rig) highest() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peak
}

// Deliveries that are made due together are sent within the ramp.
func TestWhatIsMadeDueGoesThroughTheRamp(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0, 10 * time.Hour}, OrderWait: callbackd.NoOrderWait, Concurrency: 100})
		r.set(func(c call) callbackd.Result { return status(500) })
		for i := range 200 {
			r.publish(ev1, fmt.Sprint("S", i))
		}
		pass(5 * time.Hour) // each has failed once, the last of them alone
		r.peakFromHere()
		r.set(slowly(time.Second, status(200)))
		r.put(callback, "https://other.example/")
		for _, want := range []int{callbackd.RampStart, 2 * callbackd.RampStart, 4 * callbackd.RampStart} {
			pass(time.Second - time.Millisecond)
			r.wantAtOnce(1, want)
			pass(time.Millisecond)
		}
	})
}

// A change counts from its answer on, although the engine has yet to read it: no attempt starts
// with the setting from before.
func TestAChangeCountsBeforeItIsRead(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		h := r.hooks(true)
		r.set(ok)
		cb := r.callback(ev1, callbackd.Policy{})
		r.publish(ev1, "s")
		time.Sleep(time.Second)
		h.hook(func(op string, _ callbackd.CallbackID) error {
			if op == "callback" {
				time.Sleep(time.Second)
			}
			return nil
		})
		r.pause(cb, callbackd.PausedByUser)
		r.publish(ev1, "s")
		time.Sleep(time.Minute)
		if n := len(r.of(cb)); n != 1 {
			t.Errorf("%d attempts, of which one was before the pause", n)
		}
		r.pause(cb, callbackd.NotPaused)
		time.Sleep(time.Minute)
		if n := len(r.of(cb)); n != 2 {
			t.Errorf("%d attempts after the pause, want 2", n)
		}
	})
}

package engine_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/engine"
)

// batch publishes n events, each of a session of its own.
func (r *rig) batch(ev callbackd.EventType, prefix string, n int) (ids []callbackd.EventID) {
	r.Helper()
	for n > 0 {
		var sessions []string
		for range min(n, callbackd.MaxBatch) {
			sessions = append(sessions, fmt.Sprint(prefix, n))
			n--
		}
		ids = append(ids, r.publish(ev, sessions...)...)
	}
	return ids
}

func (r *rig) of(cb callbackd.CallbackID) (cs []call) {
	for _, c := range r.sent() {
		if c.cb == cb {
			cs = append(cs, c)
		}
	}
	return cs
}

func TestAShortBacklogDoesNotWaitForALongOne(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{MaxInFlight: 4}, func(r *rig) {
		long := r.callback(ev1, callbackd.Policy{})
		short := r.callback(callbackd.Complete, callbackd.Policy{})
		r.set(func(call) callbackd.Result { time.Sleep(10 * time.Millisecond); return status(200) })
		r.batch(ev1, "L", 3000)
		pass(time.Second)
		r.batch(callbackd.Complete, "S", 10)
		pass(time.Second)
		calls := r.of(short)
		if len(calls) != 10 {
			r.Fatalf("%d deliveries of the short backlog were sent, want 10", len(calls))
		}
		// The two take turns: while the short one has deliveries, every second one is its.
		between := 0
		for _, c := range r.of(long) {
			if !c.at.Before(calls[0].at) && !c.at.After(calls[9].at) {
				between++
			}
		}
		if between > 14 {
			r.Errorf("%d deliveries of the long backlog were sent between 10 of the short one, want 14 or fewer", between)
		}
		pass(time.Minute)
		if n := len(r.of(long)); n != 3000 {
			r.Errorf("%d deliveries of the long backlog were sent, want 3,000", n)
		}
	})
}

func TestRetriesOfManyCallbacksDoNotGoAheadOfFirstAttempts(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{MaxInFlight: 4}, func(r *rig) {
		bad := r.many(ev1, 50, callbackd.Policy{Retry: []time.Duration{0, time.Second}, OrderWait: callbackd.NoOrderWait})
		good := r.callback(callbackd.Complete, callbackd.Policy{})
		r.set(func(c call) callbackd.Result {
			time.Sleep(time.Second)
			if slices.Contains(bad, c.cb) {
				return status(400)
			}
			return status(200)
		})
		r.publish(ev1, "A")
		pass(26 * time.Second) // all have failed once, and their retries are due
		r.batch(callbackd.Complete, "G", 20)
		pass(11 * time.Second)
		if n := len(r.of(good)); n != 20 {
			r.Errorf("%d first attempts went ahead of the retries, want 20", n)
		}
		pass(time.Hour)
		if n := len(r.sent()); n != 120 {
			r.Errorf("%d attempts, want 120", n)
		}
	})
}

func TestConcurrencyOfACallbackIsALimit(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 2, 7} {
		bubble(t, engine.Options{}, func(r *rig) {
			r.callback(ev1, callbackd.Policy{Concurrency: limit})
			r.set(func(call) callbackd.Result { time.Sleep(time.Second); return status(200) })
			r.batch(ev1, "S", 200)
			pass(time.Hour)
			r.wantSent(200)
			r.wantAtOnce(limit, limit)
		})
	}
}

// Callbacks whose receivers hang leave slots for the others, however many they are.
func TestAThousandHangingCallbacksDoNotDelayAHealthyOne(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ hanging, slots, events int }{
		"they have never answered":   {1000, engine.DefaultMaxInFlight, 4},
		"they answered until lately": {60, 512, 40},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, engine.Options{MaxInFlight: tt.slots}, func(r *rig) {
				warm := tt.events > callbackd.RampStart
				healthy := r.callback(callbackd.Complete, callbackd.Policy{})
				var keys []callbackd.Key
				for i := range (tt.hanging + callbackd.MaxCallbacks - 1) / callbackd.MaxCallbacks {
					key, err := r.s.CreateKey(r.Context(), callbackd.Key{Account: "acme", APIKey: fmt.Sprint("k", i), Secret: "s", CreatedAt: time.Now()})
					if err != nil {
						r.Fatal(err)
					}
					keys = append(keys, key)
				}
				// toAll calls f once for each key, with that key as the rig's own.
				toAll := func(f func()) {
					own := r.key
					for _, r.key = range keys {
						f()
					}
					r.key = own
				}
				toAll(func() { r.many(ev1, min(tt.hanging, callbackd.MaxCallbacks), callbackd.Policy{}) })
				hang := !warm
				r.set(func(c call) callbackd.Result {
					if c.cb == healthy || !hang {
						time.Sleep(10 * time.Millisecond)
						return status(200)
					}
					time.Sleep(15 * time.Second)
					return callbackd.Result{Fault: callbackd.FaultTimeout}
				})
				if warm {
					toAll(func() { r.batch(ev1, "W", tt.events) })
					pass(10 * time.Minute)
					r.mu.Lock()
					hang = true
					r.mu.Unlock()
				}
				toAll(func() { r.batch(ev1, "H", tt.events) })
				pass(time.Second)
				for i := range 60 {
					published := time.Now()
					r.publish(callbackd.Complete, fmt.Sprint("G", i))
					pass(time.Second)
					calls := r.of(healthy)
					if len(calls) != i+1 {
						r.Errorf("%d events of the healthy callback were sent, want %d; %d attempts are in flight", len(calls), i+1, r.e.InFlight())
						break
					}
					if took := calls[i].at.Sub(published); took > 50*time.Millisecond {
						r.Errorf("event %d of the healthy callback was sent after %v, want 50 ms or less; %d attempts are in flight", i, took, r.e.InFlight())
						break
					}
				}
				r.wantAtOnce(1, tt.slots)
			})
		})
	}
}

func TestRetryAfterIsAFloorAndIsCapped(t *testing.T) {
	for header, want := range map[string]time.Duration{"120": 2 * time.Minute, "999999999": 24 * time.Hour, "0": 5 * time.Second, "nonsense": 5 * time.Second} {
		bubble(t, engine.Options{}, func(r *rig) {
			r.callback(ev1, callbackd.Policy{})
			r.set(func(c call) callbackd.Result {
				res := status(503)
				res.RetryAfter = header
				if c.attempt > 1 {
					return status(200)
				}
				return res
			})
			r.publish(ev1, "A")
			pass(48 * time.Hour)
			calls := r.sent()
			if len(calls) != 2 {
				r.Fatalf("%s: %d attempts, want 2", header, len(calls))
			}
			got, least := calls[1].at.Sub(calls[0].at), want
			if want == 5*time.Second {
				least = want * 9 / 10
			}
			if got < least || got > want*11/10+time.Second {
				r.Errorf("%s: the next attempt came after %v, want %v and at most a tenth more", header, got, least)
			}
		})
	}
}

func TestDrainLetsWhatIsInFlightFinish(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{})
		r.set(func(call) callbackd.Result { time.Sleep(10 * time.Second); return status(200) })
		ids := r.publish(ev1, "A", "A")
		pass(time.Second)
		began := time.Now()
		r.close()
		if took := time.Since(began); took != 9*time.Second {
			r.Errorf("the drain took %v, want 9 s", took)
		}
		r.open()
		pass(time.Minute)
		for i, id := range ids {
			r.wantAllRecorded(id, callback, "A", int64(i+1), callbackd.Delivered)
		}
		r.wantSent(2)
	})
}

// What has waited during an outage is not sent all at once.
func TestRecoveryIsARamp(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		var down, flying, peak int
		up := false
		r.callback(ev1, callbackd.Policy{})
		r.set(func(call) callbackd.Result {
			r.mu.Lock()
			ok := up
			if ok {
				flying++
				peak = max(peak, flying)
			} else {
				down++
			}
			r.mu.Unlock()
			time.Sleep(100 * time.Millisecond)
			if !ok {
				return status(503)
			}
			r.mu.Lock()
			flying--
			r.mu.Unlock()
			return status(200)
		})
		for i := range 60 {
			r.batch(ev1, fmt.Sprint("M", i, "-"), 20)
			pass(time.Minute)
		}
		if down > 10+callbackd.RampStart+60 {
			r.Errorf("%d attempts in an hour at a receiver that is down, want %d or fewer", down, 10+callbackd.RampStart+60)
		}
		r.mu.Lock()
		up = true
		before := len(r.calls)
		r.mu.Unlock()
		pass(30 * time.Hour)
		calls := r.sent()[before:]
		// After the probe, the next attempts start only when it has succeeded.
		for i, c := range calls[:min(len(calls), 30)] {
			if begun := c.at.Sub(calls[0].at); begun < 100*time.Millisecond && i > 0 {
				r.Errorf("attempt %d came %v after the probe, want 100 ms or more", i+1, begun)
			}
		}
		if peak > callbackd.DefaultConcurrency {
			r.Errorf("%d attempts at a time, want %d or fewer", peak, callbackd.DefaultConcurrency)
		}
		r.wantDelivered(1200)
	})
}

func TestARestartUsesNoMoreAttemptsThanTheBreakersThreshold(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{})
		r.set(func(call) callbackd.Result { return status(500) })
		r.batch(ev1, "S", 300)
		pass(time.Hour)
		before := len(r.sent())
		r.close()
		r.open()
		pass(5 * time.Second)
		n := len(r.sent()) - before
		if n == 0 || n > callbackd.BreakerThreshold+callbackd.RampStart {
			r.Errorf("%d attempts after the restart, want 1 to %d", n, callbackd.BreakerThreshold+callbackd.RampStart)
		}
		r.set(ok)
		pass(48 * time.Hour)
		r.wantDelivered(300)
	})
}

func TestScheduleOfACallbackIsItsOwn(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		mine := []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute}
		callback := r.callback(ev1, callbackd.Policy{Retry: mine})
		r.set(func(call) callbackd.Result { return status(500) })
		id := r.publish(ev1, "A")[0]
		pass(time.Hour)
		calls := r.sent()
		if len(calls) != 3 {
			r.Fatalf("%d attempts, want 3", len(calls))
		}
		for i := 1; i < 3; i++ {
			if got := calls[i].at.Sub(calls[i-1].at); got < mine[i]*9/10 || got > mine[i]*11/10 {
				r.Errorf("attempt %d came after %v, want %v and a tenth more or less", i+1, got, mine[i])
			}
		}
		r.wantAllRecorded(id, callback, "A", 1, callbackd.Failed)
	})
}

func TestAFailedDeliveryAndADeliveredOneCanBeResent(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0, time.Second}})
		r.set(func(call) callbackd.Result { return status(500) })
		id := r.publish(ev1, "A")[0]
		pass(time.Minute)
		r.wantAllRecorded(id, callback, "A", 1, callbackd.Failed)
		r.wantSent(2)
		r.set(ok)
		for i, want := range []int64{1, 2} { // a resend of what has failed, then of what was delivered
			if err := r.resend(id, callback); err != nil {
				r.Fatal(err)
			}
			pass(time.Second)
			r.wantAllRecorded(id, callback, "A", 1, callbackd.Delivered)
			r.wantSent(3 + i)
			report, err := r.s.Check(r.Context())
			if err != nil {
				r.Fatal(err)
			}
			if got := report.Callbacks[0].Repeats; got != want {
				r.Errorf("%d repeats, want %d", got, want)
			}
		}
	})
}

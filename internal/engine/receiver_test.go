package engine_test

import (
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/engine"
	"callbackd/internal/store"
)

// tally is an observer that counts.
type tally struct {
	mu       sync.Mutex
	attempts int
	ended    map[callbackd.State]int
	pauses   int
	stale    int
}

func (c *tally) AttemptDone(_ *callbackd.Outcome, state callbackd.State, _ time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attempts++
	if state.Terminal() {
		if c.ended == nil {
			c.ended = map[callbackd.State]int{}
		}
		c.ended[state]++
	}
}
func (c *tally) BreakerOpened()                       {}
func (c *tally) CallbackPaused(callbackd.PauseReason) { c.mu.Lock(); c.pauses++; c.mu.Unlock() }
func (c *tally) StaleOutcome()                        { c.mu.Lock(); c.stale++; c.mu.Unlock() }

func (r *rig) setting(no callbackd.CallbackID) *callbackd.Callback {
	r.Helper()
	cb, err := r.s.CallbackByID(r.Context(), no)
	if err != nil {
		r.Fatal(err)
	}
	return cb
}

// put gives a callback a new version with the URL, as PUT does.
func (r *rig) put(no callbackd.CallbackID, url string) {
	r.Helper()
	next := *r.setting(no)
	next.URL, next.Payload = url, fmt.Appendf(nil, `{"v":%d}`, next.Version)
	if _, err := r.s.ChangeCallback(r.Context(), next.Key, next.Event, next.Name, func(stored *callbackd.Callback) error {
		stored.Replace(&next, time.Now())
		return nil
	}); err != nil {
		r.Fatal(err)
	}
	r.e.CallbackChanged(no)
}

func (r *rig) restart() { r.Helper(); r.close(); r.open() }

// after is an answer with Resent-After.
func after(code int, header string) callbackd.Result {
	res := status(code)
	res.RetryAfter = header
	return res
}

func slowly(d time.Duration, res callbackd.Result) func(call) callbackd.Result {
	return func(call) callbackd.Result { time.Sleep(d); return res }
}

// What is on the wire when its callback is deleted or its key revoked is
// recorded as it ends, also when its delivery was given up as canceled
// meanwhile, and is counted.
func TestWhatOutlastsItsCallbackIsRecordedAsItWas(t *testing.T) {
	t.Parallel()
	shutdown := callbackd.Result{Fault: callbackd.FaultTimeout}
	for _, tt := range []struct {
		answer callbackd.Result
		want   callbackd.State
	}{{status(200), callbackd.Delivered}, {status(500), callbackd.Canceled}, {status(410), callbackd.Canceled}, {shutdown, callbackd.Canceled}} {
		for _, revoked := range []bool{false, true} {
			for _, settled := range []bool{false, true} {
				t.Run(fmt.Sprint(tt.answer.Status, " revoked ", revoked, " settled ", settled), func(t *testing.T) {
					count := &tally{}
					bubble(t, engine.Options{Observer: count}, func(r *rig) {
						no := r.callback(ev1, callbackd.Policy{})
						r.set(slowly(10*time.Second, tt.answer))
						id := r.publish(ev1, "A")[0]
						pass(time.Second)
						r.end(no, revoked)
						if settled {
							r.settle()
						}
						pass(time.Minute)
						r.settle()
						v := r.view(id, no)
						if v.State != tt.want || v.Attempts != 1 || len(v.History) != 1 || v.History[0].State != tt.want || v.History[0].Status != tt.answer.Status {
							t.Errorf("%s after %d attempts: %+v", v.State, v.Attempts, v.History)
						}
						if !maps.Equal(count.ended, map[callbackd.State]int{tt.want: 1}) || count.attempts != 1 || count.stale != 0 {
							t.Errorf("counted %+v", count)
						}
						if n := len(r.sent()); n != 1 {
							t.Errorf("%d requests", n)
						}
					})
				})
			}
		}
	}
}

// end deletes a callback or revokes its key.
func (r *rig) end(no callbackd.CallbackID, revoke bool) {
	r.Helper()
	cb := r.setting(no)
	var err error
	if revoke {
		err = r.s.ChangeKey(r.Context(), r.key.APIKey, func(k *callbackd.Key) error {
			k.Revoke(time.Now())
			return nil
		})
	} else {
		_, err = r.s.ChangeCallback(r.Context(), cb.Key, cb.Event, cb.Name, func(cb *callbackd.Callback) error {
			cb.Delete(time.Now())
			return nil
		})
	}
	if err != nil {
		r.Fatal(err)
	}
	r.e.CallbackChanged(no)
}

func (r *rig) settle() {
	r.Helper()
	if _, err := r.s.FinalizeCanceled(r.Context(), time.Now(), 100); err != nil {
		r.Fatal(err)
	}
}

// An answer says something about the receiver and the version that it was
// given to: not about the one that the callback has by now.
func TestAnAnswerSaysNothingAboutAnotherVersion(t *testing.T) {
	t.Parallel()
	const old = "https://example.com/"
	for _, next := range []string{"https://other.example/", "https://example.com/path", old} {
		for _, answer := range []callbackd.Result{status(410), status(500), {Fault: callbackd.FaultConnect}} {
			t.Run(fmt.Sprint(next, answer.Status), func(t *testing.T) {
				count := &tally{}
				bubble(t, engine.Options{Observer: count}, func(r *rig) {
					no := r.callback(ev1, callbackd.Policy{})
					moved := false
					r.set(func(c call) callbackd.Result {
						if !moved {
							time.Sleep(10 * time.Second)
							return answer
						}
						return status(200)
					})
					for i := range 12 {
						r.publish(ev1, fmt.Sprint("S", i))
					}
					pass(time.Second)
					moved = true
					r.put(no, next)
					pass(15 * time.Second)
					cb := r.setting(no)
					if cb.Paused() || !cb.FailingSince.IsZero() || count.pauses != 0 {
						t.Errorf("paused %q, failing since %v, told %d times", cb.Pause.Reason, cb.FailingSince, count.pauses)
					}
					if look := r.e.Diagnosis(no, "", time.Now()); look.Failures != 0 || look.Limit == 0 {
						t.Errorf("%+v", look)
					}
					pass(time.Minute)
					if got := count.ended[callbackd.Delivered]; got != 12 {
						t.Errorf("%d of 12 delivered", got)
					}
				})
			})
		}
	}
}

// What a receiver asked for holds at its origin, whatever version asked, and
// not at another one.
func TestRetryAfterOfAnOlderVersionHoldsAtItsOrigin(t *testing.T) {
	for next, want := range map[string]time.Duration{"https://example.com/path": 9 * time.Minute, "https://other.example/": 0} {
		bubble(t, engine.Options{}, func(r *rig) {
			no := r.callback(ev1, callbackd.Policy{})
			r.set(func(c call) callbackd.Result {
				if c.url != next {
					time.Sleep(10 * time.Second)
					return after(503, "600")
				}
				return status(200)
			})
			r.publish(ev1, "A")
			pass(time.Second)
			r.put(no, next)
			pass(30 * time.Second)
			r.publish(ev1, "B")
			pass(20 * time.Minute)
			calls := r.sent()
			if len(calls) != 3 {
				t.Fatalf("%s: %d requests", next, len(calls))
			}
			for _, c := range calls[1:] {
				if waited := c.at.Sub(calls[0].at); waited < want || want == 0 && waited > time.Minute {
					t.Errorf("%s is called after %v", c.url, waited)
				}
			}
		})
	}
}

// Several answers that pause a callback are one pause, and are told once.
func TestOnePauseIsToldOnce(t *testing.T) {
	count := &tally{}
	bubble(t, engine.Options{Observer: count}, func(r *rig) {
		no := r.callback(ev1, callbackd.Policy{})
		r.set(slowly(time.Second, status(410)))
		r.publish(ev1, "A", "B", "C", "D", "E")
		pass(time.Minute)
		if !r.setting(no).Paused() || count.pauses != 1 || count.attempts < 2 {
			t.Errorf("%d attempts, told %d times", count.attempts, count.pauses)
		}
	})
}

// closing is a receiver that asks once to be left alone, and is well after.
func (r *rig) closing(code int, wait time.Duration) (until func() time.Time) {
	var asked time.Time
	r.set(func(c call) callbackd.Result {
		if asked.IsZero() {
			asked = c.at
			return after(code, fmt.Sprint(wait.Seconds()))
		}
		return status(200)
	})
	return func() time.Time { return asked.Add(wait) }
}

// Resent-After with 429 and 503 closes the callback: first attempts, retries
// and replays wait, over restarts; a test does not, and a resume ends it.
func TestRetryAfterClosesTheCallback(t *testing.T) {
	for _, code := range []int{429, 503} {
		bubble(t, engine.Options{}, func(r *rig) {
			no := r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0, time.Second, time.Second}})
			done := r.publish(ev1, "0")[0]
			r.set(ok)
			pass(time.Second)
			until := r.closing(code, 10*time.Minute)
			r.publish(ev1, "A")
			pass(time.Second)
			r.publish(ev1, "B", "C")
			if err := r.retryNow(done, no); err != nil {
				t.Fatal(err)
			}
			r.replayAll()
			pass(time.Minute)
			if look := r.e.Diagnosis(no, "A", time.Now()); !look.ClosedUntil.Equal(until()) || look.Limit != 0 {
				t.Errorf("closed until %v, want %v", look.ClosedUntil, until())
			}
			r.restart()
			r.publish(ev1, "D")
			pass(8 * time.Minute)
			if n := len(r.sent()); n != 2 {
				t.Errorf("%d: %d requests before the time", code, n)
			}
			r.test(no)
			pass(time.Second)
			if n := len(r.sent()); n != 3 {
				t.Errorf("%d: a test waits too", code)
			}
			pass(5 * time.Minute)
			for _, c := range r.sent()[3:] {
				if c.at.Before(until()) {
					t.Errorf("%d: %s #%d is sent %v early", code, c.session, c.sequence, until().Sub(c.at))
				}
			}
			if n := len(r.sent()); n < 8 {
				t.Errorf("%d: %d requests after the time", code, n)
			}
		})
	}
	bubble(t, engine.Options{}, func(r *rig) {
		no := r.callback(ev1, callbackd.Policy{})
		r.closing(429, 10*time.Minute)
		r.publish(ev1, "A")
		pass(time.Second)
		r.pause(no, callbackd.NotPaused)
		pass(time.Second)
		if n := len(r.sent()); n != 2 {
			t.Errorf("after a resume there are %d requests", n)
		}
	})
}

// A setting that is stored while an answer comes does not undo what the answer
// asks for, unless it has another origin.
func TestASettingThatComesWithTheAnswerKeepsRetryAfter(t *testing.T) {
	for _, moves := range []bool{false, true} {
		bubble(t, engine.Options{}, func(r *rig) {
			no := r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0, time.Second}, OrderWait: callbackd.NoOrderWait})
			busy := status(429)
			busy.RetryAfter = "600"
			r.set(slowly(time.Second, busy))
			r.publish(ev1, "A")
			pass(500 * time.Millisecond)
			next := *r.setting(no)
			next.Payload = []byte(`{"v":2}`)
			if moves {
				next.URL = "https://other.example/"
			}
			if _, err := r.s.ChangeCallback(r.Context(), next.Key, next.Event, next.Name, func(stored *callbackd.Callback) error {
				stored.Replace(&next, time.Now())
				return nil
			}); err != nil {
				r.Fatal(err)
			}
			pass(time.Second) // the answer comes before the engine hears of the new setting
			r.set(ok)
			r.e.CallbackChanged(no)
			r.publish(ev1, "B")
			pass(5 * time.Minute)
			if n := len(r.sent()); n > 1 != moves {
				t.Errorf("moves %v: %d requests within five of the ten minutes that were asked for", moves, n)
			}
			pass(6 * time.Minute)
			if left := r.waiting(); left != 0 {
				t.Errorf("moves %v: %d deliveries are left after them", moves, left)
			}
		})
	}
}

func (r *rig) replayAll() {
	r.Helper()
	rp, err := r.s.CreateReplay(r.Context(), callbackd.Replay{Key: r.key.ID, CreatedAt: time.Now()})
	if err != nil {
		r.Fatal(err)
	}
	step, err := r.s.StepReplay(r.Context(), rp.ID, time.Now())
	if err != nil {
		r.Fatal(err)
	}
	r.e.Replayed(step.Due)
}

// test sends a test to a callback.
func (r *rig) test(no callbackd.CallbackID) {
	r.Helper()
	_, err := r.s.Accept(r.Context(), store.Batch{Key: r.key.ID, At: time.Now(), Events: []store.NewEvent{{Type: ev1, Session: "T", Data: []byte("{}"), OnlyTo: no}}})
	if err != nil {
		r.Fatal(err)
	}
}

// The breaker's probe waits for the longer of its own wait and Resent-After.
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
			t.Fatalf("%d requests open the breaker", n)
		}
		pass(2*time.Minute + time.Second)
		calls := r.sent()[callbackd.BreakerThreshold:]
		if len(calls) != 1 || calls[0].at.Before(opened.Add(2*time.Minute)) {
			t.Errorf("%d requests, the first %v after the receiver asked for two minutes", len(calls), calls[0].at.Sub(opened))
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
				t.Errorf("%d requests within five seconds of a restart", n)
			}
		}
		r.restart()
		r.peakFromHere()
		r.set(slowly(100*time.Millisecond, status(200)))
		before := len(r.sent())
		pass(150 * time.Millisecond)
		if n := len(r.sent()) - before; n != 3 { // the probe, and then two
			t.Errorf("%d requests after the first success", n)
		}
		pass(time.Hour)
		if left := r.waiting(); left != 0 {
			t.Errorf("%d deliveries are left", left)
		}
	})
}

// waiting counts what has not ended.
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

// A resume and another URL make what waits for a later time due now, through
// the ramp and in order, also when callbackd is restarted meanwhile.
func TestWhatWaitsIsDueNowAfterAResumeAndAtAnotherURL(t *testing.T) {
	t.Parallel()
	acts := map[string]func(r *rig, no callbackd.CallbackID){
		"resume":     func(r *rig, no callbackd.CallbackID) { r.pause(no, callbackd.NotPaused) },
		"other host": func(r *rig, no callbackd.CallbackID) { r.put(no, "https://other.example/") },
		"other path": func(r *rig, no callbackd.CallbackID) { r.put(no, "https://example.com/path") },
		"of a paused": func(r *rig, no callbackd.CallbackID) {
			r.pause(no, callbackd.PausedByUser)
			r.pause(no, callbackd.NotPaused)
		},
	}
	for name, act := range acts {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " restart ", restart), func(t *testing.T) {
				bubble(t, engine.Options{Window: 64}, func(r *rig) {
					no := r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0, 10 * time.Hour, 10 * time.Hour}, OrderWait: time.Minute})
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
					act(r, no)
					if restart {
						pass(300 * time.Millisecond)
						r.restart()
					}
					pass(5 * time.Minute)
					if left := r.waiting(); before == 0 || left != 0 {
						t.Errorf("%d of %d still wait", left, before)
					}
					if r.highest() > callbackd.DefaultConcurrency {
						t.Errorf("%d at once", r.highest())
					}
				})
			})
		}
	}
}

func (r *rig) peakFromHere() { r.mu.Lock(); r.peak = 0; r.mu.Unlock() }

// highest is the most attempts at once since then.
func (r *rig) highest() int { r.mu.Lock(); defer r.mu.Unlock(); return r.peak }

// A release begins with the ramp, whatever waits.
func TestWhatIsMadeDueGoesThroughTheRamp(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		no := r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0, 10 * time.Hour}, OrderWait: callbackd.NoOrderWait, Concurrency: 100})
		r.set(func(c call) callbackd.Result { return status(500) })
		for i := range 200 {
			r.publish(ev1, fmt.Sprint("S", i))
		}
		pass(5 * time.Hour) // each has failed once, the last of them alone
		r.peakFromHere()
		r.set(slowly(time.Second, status(200)))
		r.put(no, "https://other.example/")
		for _, want := range []int{callbackd.RampStart, 2 * callbackd.RampStart, 4 * callbackd.RampStart} {
			pass(time.Second - time.Millisecond)
			if r.highest() > want || r.highest() == 0 {
				t.Errorf("%d at once, want %d", r.highest(), want)
			}
			pass(time.Millisecond)
		}
	})
}

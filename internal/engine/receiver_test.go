package engine_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/engine"
	"callbackd/internal/store"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// counts is an observer that counts.
type counts struct {
	mu       sync.Mutex
	attempts int
	ended    map[callbackd.State]int
	pauses   int
	stale    int
}

func (c *counts) AttemptDone(_ *callbackd.Outcome, state callbackd.State, _ time.Duration) {
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
func (c *counts) BreakerOpened() {}

func (c *counts) CallbackPaused(callbackd.PauseReason) {
	c.mu.Lock()
	c.pauses++
	c.mu.Unlock()
}

func (c *counts) Canceled(int) {}

func (c *counts) StaleOutcome() {
	c.mu.Lock()
	c.stale++
	c.mu.Unlock()
}

// want fails the test unless the observer has counted these attempts and outcomes.
func (c *counts) want(t *testing.T, want *counts) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if diff := cmp.Diff(want, c, cmp.AllowUnexported(counts{}), cmpopts.IgnoreFields(counts{}, "mu", "pauses")); diff != "" {
		t.Errorf("the observer has counted (-want +got):\n%s", diff)
	}
}

// wantOneAttempt fails the test unless a delivery has one attempt, which was answered with
// the status and ended the delivery in the state.
func (r *rig) wantOneAttempt(id callbackd.DeliveryID, state callbackd.State, status int) {
	r.Helper()
	v := r.view(id.Event, id.Callback)
	if v.State != state {
		r.Errorf("the delivery is %s, want %s", v.State, state)
	}
	if v.Attempts != 1 || len(v.History) != 1 {
		r.Fatalf("%d attempts, %d of them in the history, want 1", v.Attempts, len(v.History))
	}
	a := v.History[0]
	if a.State != state {
		r.Errorf("the attempt made the delivery %s, want %s", a.State, state)
	}
	if a.Status != status {
		r.Errorf("the attempt was answered %d, want %d", a.Status, status)
	}
}

func (r *rig) setting(callback callbackd.CallbackID) *callbackd.Callback {
	r.Helper()
	cb, err := r.s.CallbackByID(r.Context(), callback)
	if err != nil {
		r.Fatal(err)
	}
	return cb
}

// put gives a callback a new version with the URL, as PUT does.
func (r *rig) put(callback callbackd.CallbackID, url string) {
	r.Helper()
	next := *r.setting(callback)
	next.URL, next.Payload = url, fmt.Appendf(nil, `{"v":%d}`, next.Version)
	if _, err := r.s.ChangeCallback(r.Context(), next.Key, next.Event, next.Name, func(stored *callbackd.Callback) error {
		stored.Replace(&next, time.Now())
		return nil
	}); err != nil {
		r.Fatal(err)
	}
	r.e.CallbackChanged(callback)
}

func (r *rig) restart() {
	r.Helper()
	r.close()
	r.open()
}

// after is an answer with Retry-After.
func after(code int, header string) callbackd.Result {
	res := status(code)
	res.RetryAfter = header
	return res
}

func slowly(d time.Duration, res callbackd.Result) func(call) callbackd.Result {
	return func(call) callbackd.Result { time.Sleep(d); return res }
}

// An attempt that is in flight when its callback is deleted or its key revoked is recorded
// and counted as it ends, also when its delivery became canceled meanwhile.
func TestAnAttemptThatOutlastsItsCallbackIsRecorded(t *testing.T) {
	t.Parallel()
	timeout := callbackd.Result{Fault: callbackd.FaultTimeout}
	for _, tt := range []struct {
		answer callbackd.Result
		want   callbackd.State
	}{{status(200), callbackd.Delivered}, {status(500), callbackd.Canceled}, {status(410), callbackd.Canceled}, {timeout, callbackd.Canceled}} {
		for _, revoked := range []bool{false, true} {
			for _, finalized := range []bool{false, true} {
				t.Run(fmt.Sprint(tt.answer.Status, " revoked ", revoked, " finalized ", finalized), func(t *testing.T) {
					count := &counts{}
					bubble(t, engine.Options{Observer: count}, func(r *rig) {
						callback := r.callback(ev1, callbackd.Policy{})
						r.set(slowly(10*time.Second, tt.answer))
						id := r.publish(ev1, "A")[0]
						pass(time.Second)
						r.end(callback, revoked)
						if finalized {
							r.finalizeCanceled()
						}
						pass(time.Minute)
						r.finalizeCanceled()
						r.wantOneAttempt(callbackd.DeliveryID{Event: id, Callback: callback}, tt.want, tt.answer.Status)
						count.want(t, &counts{attempts: 1, ended: map[callbackd.State]int{tt.want: 1}})
						r.wantSent(1)
					})
				})
			}
		}
	}
}

// end deletes a callback or revokes its key.
func (r *rig) end(callback callbackd.CallbackID, revoke bool) {
	r.Helper()
	cb := r.setting(callback)
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
	r.e.CallbackChanged(callback)
}

// finalizeCanceled ends what a deletion or a revocation canceled.
func (r *rig) finalizeCanceled() {
	r.Helper()
	for n := 1; n > 0; {
		var err error
		if n, err = r.s.FinalizeCanceled(r.Context(), time.Now(), 100); err != nil {
			r.Fatal(err)
		}
	}
}

// An answer counts for the receiver that gave it and the version that was sent, and not for
// the version that the callback has by now.
func TestAnAnswerSaysNothingAboutAnotherVersion(t *testing.T) {
	t.Parallel()
	const old = "https://example.com/"
	for _, next := range []string{"https://other.example/", "https://example.com/path", old} {
		for _, answer := range []callbackd.Result{status(410), status(500), {Fault: callbackd.FaultConnect}} {
			t.Run(fmt.Sprint(next, answer.Status), func(t *testing.T) {
				count := &counts{}
				bubble(t, engine.Options{Observer: count}, func(r *rig) {
					callback := r.callback(ev1, callbackd.Policy{})
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
					r.put(callback, next)
					pass(15 * time.Second)
					if cb := r.wantPause(callback, callbackd.NotPaused); !cb.FailingSince.IsZero() {
						t.Errorf("the callback has been failing since %v, want that it is not", cb.FailingSince)
					}
					if count.pauses != 0 {
						t.Errorf("%d pauses were reported, want 0", count.pauses)
					}
					d := r.e.Diagnosis(callback, "", time.Now())
					if d.Failures != 0 {
						t.Errorf("%d failures in a row, want 0", d.Failures)
					}
					if d.Limit == 0 {
						t.Error("no attempt may start, want that some may")
					}
					pass(time.Minute)
					if got := count.ended[callbackd.Delivered]; got != 12 {
						t.Errorf("%d deliveries were delivered, want 12", got)
					}
				})
			})
		}
	}
}

// Retry-After holds for all versions at the origin of the receiver, and not at another
// origin.
func TestRetryAfterOfAnOlderVersionHoldsAtItsOrigin(t *testing.T) {
	for next, want := range map[string]time.Duration{"https://example.com/path": 9 * time.Minute, "https://other.example/": 0} {
		bubble(t, engine.Options{}, func(r *rig) {
			callback := r.callback(ev1, callbackd.Policy{})
			r.set(func(c call) callbackd.Result {
				if c.url != next {
					time.Sleep(10 * time.Second)
					return after(503, "600")
				}
				return status(200)
			})
			r.publish(ev1, "A")
			pass(time.Second)
			r.put(callback, next)
			pass(30 * time.Second)
			r.publish(ev1, "B")
			pass(20 * time.Minute)
			calls := r.sent()
			if len(calls) != 3 {
				t.Fatalf("%s: %d requests, want 3", next, len(calls))
			}
			for _, c := range calls[1:] {
				waited := c.at.Sub(calls[0].at)
				if waited < want {
					t.Errorf("%s is called after %v, want %v or more", c.url, waited, want)
				}
				if want == 0 && waited > time.Minute {
					t.Errorf("%s is called after %v, want a minute or less", c.url, waited)
				}
			}
		})
	}
}

// Several answers that pause a callback are one pause, which is reported once.
func TestOnePauseIsReportedOnce(t *testing.T) {
	count := &counts{}
	bubble(t, engine.Options{Observer: count}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{})
		r.set(slowly(time.Second, status(410)))
		r.publish(ev1, "A", "B", "C", "D", "E")
		pass(time.Minute)
		r.wantPause(callback, callbackd.PausedGone)
		if count.pauses != 1 {
			t.Errorf("%d pauses were reported, want 1", count.pauses)
		}
		if count.attempts < 2 {
			t.Errorf("%d attempts, want several that pause", count.attempts)
		}
	})
}

// closing makes the receiver answer once with Retry-After, and with success afterwards.
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

// Retry-After with 429 and 503 closes the callback: first attempts, retries and replays
// wait, also over restarts. A test does not wait, and a resume ends the wait.
func TestRetryAfterClosesTheCallback(t *testing.T) {
	for _, code := range []int{429, 503} {
		bubble(t, engine.Options{}, func(r *rig) {
			callback := r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0, time.Second, time.Second}})
			done := r.publish(ev1, "0")[0]
			r.set(ok)
			pass(time.Second)
			until := r.closing(code, 10*time.Minute)
			r.publish(ev1, "A")
			pass(time.Second)
			r.publish(ev1, "B", "C")
			if err := r.resend(done, callback); err != nil {
				t.Fatal(err)
			}
			r.replayAll()
			pass(time.Minute)
			d := r.e.Diagnosis(callback, "A", time.Now())
			if !d.ClosedUntil.Equal(until()) {
				t.Errorf("%d: closed until %v, want %v", code, d.ClosedUntil, until())
			}
			if d.Limit != 0 {
				t.Errorf("%d: %d attempts may start while it is closed, want 0", code, d.Limit)
			}
			r.restart()
			r.publish(ev1, "D")
			pass(8 * time.Minute)
			if n := len(r.sent()); n != 2 {
				t.Errorf("%d: %d requests before the time, want 2", code, n)
			}
			r.test(callback)
			pass(time.Second)
			if n := len(r.sent()); n != 3 {
				t.Errorf("%d: %d requests with a test, want 3", code, n)
			}
			pass(5 * time.Minute)
			for _, c := range r.sent()[3:] {
				if c.at.Before(until()) {
					t.Errorf("%d: event %[3]d of %[2]s is sent %[4]v before the time that was asked for", code, c.session, c.sequence, until().Sub(c.at))
				}
			}
			if n := len(r.sent()); n < 8 {
				t.Errorf("%d: %d requests after the time, want 8 or more", code, n)
			}
		})
	}
	bubble(t, engine.Options{}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{})
		r.closing(429, 10*time.Minute)
		r.publish(ev1, "A")
		pass(time.Second)
		r.pause(callback, callbackd.NotPaused)
		pass(time.Second)
		if n := len(r.sent()); n != 2 {
			t.Errorf("%d requests after a resume, want 2", n)
		}
	})
}

// A new setting that is stored while an answer comes does not end the answer's Retry-After,
// unless it has another origin.
func TestASettingThatComesWithTheAnswerKeepsRetryAfter(t *testing.T) {
	for _, moves := range []bool{false, true} {
		bubble(t, engine.Options{}, func(r *rig) {
			callback := r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0, time.Second}, OrderWait: callbackd.NoOrderWait})
			busy := status(429)
			busy.RetryAfter = "600"
			r.set(slowly(time.Second, busy))
			r.publish(ev1, "A")
			pass(500 * time.Millisecond)
			next := *r.setting(callback)
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
			r.e.CallbackChanged(callback)
			r.publish(ev1, "B")
			pass(5 * time.Minute)
			if n := len(r.sent()); n > 1 != moves {
				t.Errorf("moves %v: %d requests within five of the ten minutes that were asked for, want more than one only when it moves", moves, n)
			}
			pass(6 * time.Minute)
			r.wantWaiting(0)
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
func (r *rig) test(callback callbackd.CallbackID) {
	r.Helper()
	_, err := r.s.Accept(r.Context(), store.Batch{Key: r.key.ID, At: time.Now(), Events: []store.NewEvent{{Type: ev1, Session: "T", Data: []byte("{}"), OnlyTo: callback}}})
	if err != nil {
		r.Fatal(err)
	}
}

package engine_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/engine"
	"callbackd/internal/store/sqlite"
)

func TestDeliversInOrderPerSession(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{})
		r.set(func(c call) callbackd.Result {
			time.Sleep(time.Duration(c.sequence%3) * time.Second)
			return status(200)
		})
		for i := range 50 {
			r.publish(ev1, "A", "B", fmt.Sprint("C", i))
		}
		pass(10 * time.Minute)
		last := map[string]int64{}
		for _, c := range r.sent() {
			if c.sequence != last[c.session]+1 {
				r.Errorf("session %s: event %d was sent after %d", c.session, c.sequence, last[c.session])
			}
			last[c.session] = c.sequence
		}
		r.wantSent(150)
	})
}

func TestWholeDefaultSchedule(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{})
		r.set(func(call) callbackd.Result { return status(500) })
		ids := r.publish(ev1, "A")
		pass(100 * time.Hour)
		calls := r.sent()
		if len(calls) != len(callbackd.DefaultSchedule) {
			r.Fatalf("%d attempts, want %d", len(calls), len(callbackd.DefaultSchedule))
		}
		for i := 1; i < len(calls); i++ {
			got, want := calls[i].at.Sub(calls[i-1].at), callbackd.DefaultSchedule[i]
			if got < want*9/10-time.Second || got > want*11/10+time.Second {
				r.Errorf("attempt %d came %v after the one before, want %v ± 10 %%", i+1, got, want)
			}
		}
		r.wantDelivery(callbackd.DeliveryID{Event: ids[0], Callback: 1}, callbackd.Failed, slices.Repeat([]callbackd.Fault{callbackd.FaultStatus}, 10)...)
	})
}

// A failed delivery blocks its own session, and no other, until OrderWait is over.
func TestAFailedDeliveryBlocksItsOwnLaneForTheOrderWait(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{OrderWait: time.Minute})
		r.set(func(c call) callbackd.Result {
			if c.session == "A" && c.sequence == 1 {
				return status(500)
			}
			return status(200)
		})
		start := time.Now()
		for range 40 {
			r.publish(ev1, "A", "B")
		}
		pass(10 * time.Second)
		if n := len(r.sentAfterFirst("A")); n != 0 {
			r.Errorf("%d deliveries of A overtook its failed first one, want 0", n)
		}
		if n := len(r.sentAfterFirst("B")); n != 39 {
			r.Errorf("%d deliveries of B followed its first one, want 39", n)
		}
		pass(2 * time.Minute)
		next := int64(2)
		for _, c := range r.sentAfterFirst("A") {
			if c.sequence != next {
				r.Errorf("event %d of A was sent, want %d", c.sequence, next)
			}
			if after := c.at.Sub(start); after < time.Minute {
				r.Errorf("event %d of A was sent after %v, want a minute or more", c.sequence, after)
			}
			next++
		}
		if next != 41 {
			r.Errorf("event %d of A was not sent", next)
		}
	})
}

// sentAfterFirst returns the attempts of a session except those of its first event.
func (r *rig) sentAfterFirst(session string) (out []call) {
	for _, c := range r.sent() {
		if c.session == session && c.sequence > 1 {
			out = append(out, c)
		}
	}
	return out
}

func TestBacklogBeyondTheWindowIsSentOnceAndInOrder(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{Window: 16}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{Concurrency: 3})
		r.set(slowly(100*time.Millisecond, status(200)))
		for i := range 100 {
			batch := make([]string, 0, 20)
			for j := range 20 {
				batch = append(batch, fmt.Sprint("S", (i+j*7)%13))
			}
			r.publish(ev1, batch...)
		}
		pass(time.Hour)
		last := map[string]int64{}
		for _, c := range r.sent() {
			if c.sequence != last[c.session]+1 {
				r.Fatalf("session %s: event %d was sent after %d", c.session, c.sequence, last[c.session])
			}
			if c.attempt != 1 {
				r.Fatalf("session %s: event %d has an attempt %d, want 1 only", c.session, c.sequence, c.attempt)
			}
			last[c.session] = c.sequence
		}
		r.wantSent(2000)
		if r.peak > 3 {
			r.Errorf("%d attempts at a time, want 3 or fewer", r.peak)
		}
	})
}

func TestRestartInTheMiddleLosesAndReordersNothing(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{Window: 32}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{})
		r.set(func(c call) callbackd.Result {
			time.Sleep(time.Second)
			if c.sequence == 3 && c.attempt < 2 {
				return status(503)
			}
			return status(200)
		})
		for i := range 300 {
			r.publish(ev1, fmt.Sprint("S", i%10))
		}
		for range 5 {
			pass(3 * time.Second)
			r.close()
			r.open()
		}
		pass(48 * time.Hour)
		done := map[string]int64{}
		for _, c := range r.sent() {
			if c.sequence > done[c.session]+1 {
				r.Fatalf("session %s: event %d was sent before %d was delivered", c.session, c.sequence, done[c.session]+1)
			}
			if c.sequence != 3 || c.attempt >= 2 {
				done[c.session] = max(done[c.session], c.sequence)
			}
		}
		for s, n := range done {
			if n != 30 {
				r.Errorf("session %s: the last event delivered is %d, want 30", s, n)
			}
		}
	})
}

func TestAnOpenBreakerUsesNoAttemptsAndRecoversByARamp(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{})
		r.set(func(call) callbackd.Result { return status(500) })
		for i := range 200 {
			r.publish(ev1, fmt.Sprint("S", i))
		}
		pass(5 * time.Second)
		opened := len(r.sent())
		if opened < callbackd.BreakerThreshold || opened > callbackd.BreakerThreshold+callbackd.RampStart {
			r.Fatalf("%d attempts until the breaker opened, want %d to %d", opened, callbackd.BreakerThreshold, callbackd.BreakerThreshold+callbackd.RampStart)
		}
		pass(time.Minute)
		if probes := len(r.sent()) - opened; probes < 1 || probes > 4 {
			r.Errorf("%d probes in a minute, want 1 to 4", probes)
		}
		r.mu.Lock()
		r.peak = 0
		r.mu.Unlock()
		r.set(slowly(time.Second, status(200)))
		before := len(r.sent())
		pass(callbackd.BreakerMaxWait + time.Minute)
		calls := r.sent()[before:]
		if len(calls) < 200-opened {
			r.Errorf("%d sent after the receiver answers again, want %d or more", len(calls), 200-opened)
		}
		first := 0
		for _, c := range calls {
			if c.at.Sub(calls[0].at) < 900*time.Millisecond {
				first++
			}
		}
		if first != 1 {
			r.Errorf("%d attempts within the first second, want the probe alone", first)
		}
		if r.peak > callbackd.DefaultConcurrency {
			r.Errorf("%d attempts at a time, want %d or fewer", r.peak, callbackd.DefaultConcurrency)
		}
	})
}

func TestRateHolds(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{Rate: 5})
		for i := range 100 {
			r.publish(ev1, fmt.Sprint("S", i))
		}
		pass(time.Minute)
		calls := r.sent()
		if len(calls) != 100 {
			r.Fatalf("%d attempts, want 100", len(calls))
		}
		for i := range calls[5:] {
			if d := calls[i+5].at.Sub(calls[i].at); d < 900*time.Millisecond {
				r.Fatalf("6 attempts within %v, want about a second or more at 5 a second", d)
			}
		}
	})
}

func TestRetriesDoNotGoAheadOfFirstAttempts(t *testing.T) {
	bubble(t, engine.Options{MaxInFlight: 1}, func(r *rig) {
		bad := r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0, time.Second}, OrderWait: callbackd.NoOrderWait})
		good := r.callback(callbackd.Complete, callbackd.Policy{})
		r.set(func(c call) callbackd.Result {
			time.Sleep(time.Second)
			if c.cb == bad {
				return status(400)
			}
			return status(200)
		})
		for i := range 5 {
			r.publish(ev1, fmt.Sprint("S", i))
		}
		pass(5500 * time.Millisecond) // all failed once, retries are due
		for i := range 10 {
			r.publish(callbackd.Complete, fmt.Sprint("G", i))
		}
		pass(time.Hour)
		calls := r.sent()
		i := slices.IndexFunc(calls, func(c call) bool { return c.cb == good })
		for _, c := range calls[i : i+10] {
			if c.cb != good {
				r.Errorf("attempt %d of event %d of %s was sent before first attempts", c.attempt, c.sequence, c.session)
			}
		}
	})
}

func TestAnAnswer410PausesUntilAPersonResumes(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		id := r.callback(ev1, callbackd.Policy{})
		r.set(func(call) callbackd.Result { return status(410) })
		r.publish(ev1, "A")
		pass(time.Second)
		for i := range 20 {
			r.publish(ev1, fmt.Sprint("S", i))
		}
		pass(24 * time.Hour)
		r.wantSent(1)
		cb := r.wantPause(id, callbackd.PausedGone)
		r.set(ok)
		if _, err := r.s.ChangeCallback(r.Context(), cb.Key, cb.Event, cb.Name, func(cb *callbackd.Callback) error {
			cb.SetPause(callbackd.Pause{At: time.Now()})
			return nil
		}); err != nil {
			r.Fatal(err)
		}
		r.e.CallbackChanged(id)
		pass(time.Hour)
		r.wantSent(22)
	})
}

// An answer pauses its callback whatever its status is. A delivery that failed waits.
func TestAnAnswerCanPauseItsCallback(t *testing.T) {
	for _, answer := range []int{200, 500} {
		bubble(t, engine.Options{}, func(r *rig) {
			id := r.callback(ev1, callbackd.Policy{})
			r.set(func(call) callbackd.Result {
				res := status(answer)
				res.Control.Pause = true
				return res
			})
			r.publish(ev1, "A")
			pass(time.Second)
			r.publish(ev1, "B")
			pass(24 * time.Hour)
			r.wantSent(1)
			r.wantPause(id, callbackd.PausedByReceiver)
		})
	}
}

// The delivery that is stopped has failed and holds nothing back; others go on.
func TestAnAnswerCanStopItsDelivery(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		id := r.callback(ev1, callbackd.Policy{})
		r.set(func(call) callbackd.Result {
			res := status(422)
			res.Control.Stop = true
			return res
		})
		events := r.publish(ev1, "A", "A")
		pass(24 * time.Hour)
		r.wantSent(2)
		for _, ev := range events {
			r.wantDelivery(callbackd.DeliveryID{Event: ev, Callback: id}, callbackd.Failed, callbackd.FaultStatus)
		}
	})
}

// The time since when a callback has been failing does not begin again with the process.
func TestAutoPauseCountsOverRestarts(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		id := r.callback(ev1, callbackd.Policy{})
		r.set(func(call) callbackd.Result { return status(500) })
		for day := range 7 {
			r.publish(ev1, fmt.Sprint("S", day))
			pass(23 * time.Hour)
			r.close()
			r.open()
			pass(time.Hour)
		}
		r.wantPause(id, callbackd.PausedNoAnswer)
	})
}

func TestASenderThatPanicsFailsTheAttemptOnly(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0}})
		r.set(func(c call) callbackd.Result {
			if c.attempt == 1 {
				time.Sleep(10 * time.Second)
				panic("poison")
			}
			return status(200)
		})
		id := callbackd.DeliveryID{Event: r.publish(ev1, "A")[0], Callback: 1}
		pass(time.Minute)
		r.wantDelivery(id, callbackd.Delivered, callbackd.FaultLocal, callbackd.NoFault)
		if began, sent := r.view(id.Event, 1).History[0].StartedAt, r.sent()[0].at; began.Sub(sent).Abs() > time.Millisecond {
			t.Errorf("the attempt that panicked is said to have begun at %v, and began at %v", began, sent)
		}
	})
}

func TestADeliveredOneIsResent(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0}})
		id := callbackd.DeliveryID{Event: r.publish(ev1, "A")[0], Callback: 1}
		pass(time.Minute)
		r.wantSent(1)
		d, err := r.s.Resend(r.Context(), r.key.ID, id, time.Now())
		if err != nil {
			r.Fatal(err)
		}
		done, stop := r.e.Watch(id)
		defer stop()
		r.e.Resent(*d)
		pass(time.Second)
		select {
		case <-done:
		default:
			r.Error("the channel of Watch is open after the attempt, want it closed")
		}
		r.wantSent(2)
	})
}

// An outcome that could not be written is written later, and its attempt is not repeated.
func TestAnOutcomeThatTheStoreRefusesIsRecordedLater(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{})
		q := &flaky{Store: r.s, fail: 5}
		r.close()
		s, err := sqlite.Open(r.Context(), sqlite.Options{Dir: r.dir})
		if err != nil {
			r.Fatal(err)
		}
		r.s, q.Store = s, s
		r.e = engine.New(engine.Options{Queue: q, Sender: r})
		s.OnCommit(r.e.OnCommit)
		if err := r.e.Start(r.Context()); err != nil {
			r.Fatal(err)
		}
		r.publish(ev1, "A", "A")
		pass(time.Minute)
		r.wantSent(2)
		if q.fail != 0 {
			r.Errorf("%d failures are left, want 0", q.fail)
		}
	})
}

// flaky is a store that fails to record the first outcomes.
type flaky struct {
	*sqlite.Store
	mu   sync.Mutex
	fail int // how many more records fail
}

func (f *flaky) Record(ctx context.Context, o *callbackd.Outcome) (callbackd.Recorded, error) {
	f.mu.Lock()
	if f.fail > 0 {
		f.fail--
		f.mu.Unlock()
		return callbackd.Recorded{}, callbackd.Errorf(callbackd.KindUnavailable, "no")
	}
	f.mu.Unlock()
	return f.Store.Record(ctx, o)
}

func TestDrainRecordsWhatItBreaksOff(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{})
		r.set(slowly(10*time.Minute, status(200)))
		id := callbackd.DeliveryID{Event: r.publish(ev1, "A")[0], Callback: 1}
		pass(time.Second)
		ctx, cancel := context.WithTimeout(r.Context(), 20*time.Second)
		defer cancel()
		r.e.Drain(ctx)
		r.wantDelivery(id, callbackd.Pending, callbackd.FaultShutdown)
	})
}

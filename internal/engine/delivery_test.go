package engine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/engine"
	"callbackd/internal/store"
)

// pause sets or ends a pause as POST …/pause and …/resume do.
func (r *rig) pause(callback callbackd.CallbackID, reason callbackd.PauseReason) {
	r.Helper()
	r.pauseAt(callback, reason, time.Now())
}

func (r *rig) pauseAt(callback callbackd.CallbackID, reason callbackd.PauseReason, at time.Time) {
	r.Helper()
	cb, err := r.s.CallbackByID(r.Context(), callback)
	if err != nil {
		r.Fatal(err)
	}
	p := callbackd.Pause{Reason: reason, At: at}
	if _, err := r.s.ChangeCallback(r.Context(), cb.Key, cb.Event, cb.Name, func(cb *callbackd.Callback) error {
		cb.SetPause(p)
		return nil
	}); err != nil {
		r.Fatal(err)
	}
	r.e.CallbackChanged(callback)
}

func (r *rig) inOrder(cb callbackd.CallbackID, sessions, each int) {
	r.Helper()
	last := map[string]int64{}
	for _, c := range r.of(cb) {
		if c.sequence != last[c.session]+1 {
			r.Errorf("session %s: event %d was sent after %d, want %d", c.session, c.sequence, last[c.session], last[c.session]+1)
		}
		last[c.session] = c.sequence
	}
	for s, n := range last {
		if n != int64(each) {
			r.Errorf("session %s ended at %d, want %d", s, n, each)
		}
	}
	if len(last) != sessions {
		r.Errorf("%d sessions, want %d", len(last), sessions)
	}
}

func TestAPauseKeepsEverythingAndAResumeDeliversInOrder(t *testing.T) {
	bubble(t, engine.Options{Window: 8}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{Concurrency: 2})
		r.set(func(call) callbackd.Result { time.Sleep(100 * time.Millisecond); return status(200) })
		publish := func(rounds int) {
			for range rounds {
				r.publish(ev1, "A", "B", "C", "D", "E")
			}
		}
		publish(10)
		pass(250 * time.Millisecond)
		r.pause(callback, callbackd.PausedByUser)
		pass(time.Second)
		stopped := len(r.sent())
		publish(10)
		pass(time.Hour)
		r.close()
		r.open()
		publish(10)
		pass(time.Hour)
		if stopped == 0 || stopped > 10 {
			r.Errorf("%d attempts before the pause, want 1 to 10", stopped)
		}
		r.wantSent(stopped)
		r.pause(callback, callbackd.NotPaused)
		publish(10)
		pass(time.Hour)
		r.inOrder(callback, 5, 40)
	})
}

func TestADeletionDuringAnAttemptCancelsTheOthers(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{Concurrency: 1})
		r.set(func(call) callbackd.Result { time.Sleep(10 * time.Second); return status(200) })
		ids := r.publish(ev1, "A", "A", "B")
		pass(time.Second)
		cb, _ := r.s.CallbackByID(r.Context(), callback)
		if _, err := r.s.ChangeCallback(r.Context(), cb.Key, cb.Event, cb.Name, func(cb *callbackd.Callback) error {
			cb.Delete(time.Now())
			return nil
		}); err != nil {
			r.Fatal(err)
		}
		r.e.CallbackChanged(callback)
		pass(time.Hour)
		r.wantSent(1)
		if _, err := r.s.FinalizeCanceled(r.Context(), time.Now(), 100); err != nil {
			r.Fatal(err)
		}
		for i, id := range ids {
			want := []callbackd.State{callbackd.Delivered, callbackd.Canceled, callbackd.Canceled}[i]
			if v := r.view(id, callback); v.State != want || len(v.History) != map[int]int{0: 1}[i] {
				r.Errorf("delivery %d is %s after %d attempts, want %s after %d", i, v.State, len(v.History), want, map[int]int{0: 1}[i])
			}
		}
	})
}

func TestMemoryHoldsAWindowOfABacklog(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{Window: 32}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{})
		q := r.hooks(true)
		stuck := make(chan struct{})
		r.set(func(call) callbackd.Result { <-stuck; return status(200) })
		r.batch(ev1, "S", 1500)
		pass(time.Hour)
		q.mu.Lock()
		loaded := q.loaded
		q.mu.Unlock()
		// The first deliveries came in memory, and those that are read fill a window twice at
		// most.
		if loaded > 2*32 {
			r.Errorf("%d deliveries were read while none was sent, want %d or fewer", loaded, 2*32)
		}
		close(stuck)
		pass(time.Hour)
		// The rest was not in memory meanwhile, so it was read from the store.
		if n := len(r.of(callback)); n != 1500 {
			r.Errorf("%d attempts, want 1500", n)
		}
		if q.loaded < 1500-2*32 {
			r.Errorf("%d deliveries were read from the store, want %d or more", q.loaded, 1500-2*32)
		}
	})
}

func TestATestIsSentInSpiteOfLaneBreakerAndPause(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{})
		send := func() callbackd.EventID {
			b := store.Batch{Key: r.key.ID, At: time.Now(), Events: []store.NewEvent{{Type: ev1, Session: "T", Data: []byte("{}"), OnlyTo: callback}}}
			evs, err := r.s.Accept(r.Context(), b)
			if err != nil {
				r.Fatal(err)
			}
			return evs[0].ID
		}
		r.set(func(c call) callbackd.Result {
			if c.session == "T" {
				return status(410)
			}
			return status(500)
		})
		r.batch(ev1, "S", 50)
		pass(time.Second) // the breaker is open
		before := len(r.sent())
		id := send()
		pass(time.Millisecond)
		if v := r.view(id, callback); v.State != callbackd.Failed {
			r.Errorf("with an open breaker the test is %s, want failed", v.State)
		}
		r.wantSent(before + 1)
		r.wantPause(callback, callbackd.NotPaused) // although the test was answered 410
		r.pause(callback, callbackd.PausedByUser)
		pass(time.Second)
		id = send()
		pass(time.Millisecond)
		if v := r.view(id, callback); v.State != callbackd.Failed {
			r.Errorf("with a pause the test is %s, want failed", v.State)
		}
	})
}

// Every delivery ends without anybody's help: when the receiver accepts it, refuses it or
// hangs, when the sender panics, and when the fault is on our side.
func TestEveryDeliveryEnds(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0, time.Second, time.Minute}})
		r.set(func(c call) callbackd.Result {
			switch c.session {
			case "ok":
				return status(200)
			case "bad":
				return status(500)
			case "panics":
				if c.attempt < 3 {
					panic("poison")
				}
			case "ours":
				if c.attempt < 4 {
					return callbackd.Result{Fault: callbackd.FaultLocal}
				}
			case "slow":
				time.Sleep(time.Minute)
				return callbackd.Result{Fault: callbackd.FaultTimeout}
			}
			return status(200)
		})
		want := map[string]callbackd.State{"ok": callbackd.Delivered, "bad": callbackd.Failed, "panics": callbackd.Delivered, "ours": callbackd.Delivered, "slow": callbackd.Failed}
		ids := map[string]callbackd.EventID{}
		for s := range want {
			ids[s] = r.publish(ev1, s)[0]
		}
		pass(24 * time.Hour)
		for s, state := range want {
			r.wantAllRecorded(ids[s], callback, s, 1, state)
		}
	})
}

// No second has more attempts than the rate allows, with retries and over a restart, and a
// minute's worth of events takes about a minute.
func TestTheMeasuredRateIsWithinTheLimit(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{0.5, 3, 40} {
		bubble(t, engine.Options{}, func(r *rig) {
			r.callback(ev1, callbackd.Policy{Rate: rate, Retry: []time.Duration{0, time.Millisecond}, OrderWait: callbackd.NoOrderWait})
			r.set(func(c call) callbackd.Result {
				if c.attempt == 1 && strings.HasSuffix(c.session, "7") {
					return status(429) // a retry counts too
				}
				return status(200)
			})
			n := int(60 * rate)
			r.batch(ev1, "S", n)
			pass(30 * time.Second)
			r.close()
			r.open() // the limit holds over a restart
			pass(time.Hour)
			calls := r.sent()
			burst := max(1, int(rate/10))
			for i := range calls {
				n := 0
				for _, c := range calls[i:] {
					if c.at.Sub(calls[i].at) >= time.Second {
						break
					}
					n++
				}
				if allowed := int(rate) + 2*burst + 1; n > allowed {
					r.Fatalf("rate %v: %d attempts within a second, want %d or fewer", rate, n, allowed)
				}
			}
			retries := (n + 3) / 10
			r.wantSent(n + retries)
			if took, most := calls[len(calls)-1].at.Sub(calls[0].at), 62*time.Second+time.Duration(float64(retries)/rate)*time.Second; took > most {
				r.Errorf("rate %v: a minute's worth and %d retries took %v, want %v or less", rate, retries, took, most)
			}
		})
	}
}

// A delivery has one attempt at a time, however long its receiver takes.
func TestASlowReceiverGetsOneAttemptAtATime(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{Timeout: callbackd.MaxTimeout})
		r.set(func(call) callbackd.Result { time.Sleep(59 * time.Second); return status(200) })
		id := r.publish(ev1, "A")[0]
		for range 58 {
			pass(time.Second)
			r.e.CallbackChanged(callback) // makes the engine look at the callback again
			r.publish(callbackd.Complete, "B")
			if n := len(r.sent()); n != 1 {
				r.Fatalf("%d attempts, want 1", n)
			}
			if n := r.e.InFlight(); n != 1 {
				r.Fatalf("%d attempts are in flight, want 1", n)
			}
		}
		pass(time.Hour)
		r.wantAllRecorded(id, callback, "A", 1, callbackd.Delivered)
		r.wantSent(1)
	})
}

// A crash between an attempt and its record repeats the attempt and loses nothing.
func TestACrashBeforeTheRecordRepeatsTheAttemptAndLosesNothing(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{})
		q := r.hooks(true)
		q.hook(func(op string, _ callbackd.CallbackID) error {
			if op == "record" { // from now on nothing is written
				return callbackd.Errorf(callbackd.KindUnavailable, "crashed")
			}
			return nil
		})
		ids := r.publish(ev1, "A", "A", "B")
		pass(10 * time.Second)
		first := r.sent()
		if len(first) != 2 {
			r.Fatalf("%d attempts before the crash, want 2: a lane must wait for the record", len(first))
		}
		ctx, cancel := context.WithCancel(r.Context())
		cancel() // no grace
		r.e.Drain(ctx)
		if err := r.s.Close(); err != nil {
			r.Fatal(err)
		}
		r.open()
		pass(time.Minute)
		for i, want := range []int{2, 1, 2} {
			session, sequence := []string{"A", "A", "B"}[i], []int64{1, 2, 1}[i]
			if n := r.sentOf(callback, session, sequence); n != want {
				r.Errorf("%s #%d was sent %d times, want %d", session, sequence, n, want)
			}
			v := r.view(ids[i], callback)
			if v.State != callbackd.Delivered {
				r.Errorf("event %d of %s is %s, want delivered", sequence, session, v.State)
			}
			if n := len(v.History); n != 1 {
				r.Errorf("event %d of %s has %d recorded attempts, want 1", sequence, session, n)
			}
		}
	})
}

func TestTheRateLimitSpacesAttemptsEvenly(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{Rate: 10})
		r.batch(ev1, "S", 100)
		pass(time.Minute)
		calls := r.sent()
		for i := 1; i < len(calls); i++ {
			if gap := calls[i].at.Sub(calls[i-1].at); gap > 110*time.Millisecond || gap < 90*time.Millisecond {
				r.Errorf("attempt %d came %v after the one before, want 90 ms to 110 ms", i+1, gap)
			}
		}
		r.wantSent(100)
	})
}

// tests publishes tests of an event, one for each session.
func (r *rig) tests(ev callbackd.EventType, sessions ...string) (ids []callbackd.EventID) {
	r.Helper()
	b := store.Batch{Key: r.key.ID, At: time.Now()}
	for _, s := range sessions {
		b.Events = append(b.Events, store.NewEvent{Type: ev, Session: s, Data: []byte("{}"), Test: true})
	}
	evs, err := r.s.Accept(r.Context(), b)
	if err != nil {
		r.Fatal(err)
	}
	for _, ev := range evs {
		ids = append(ids, ev.ID)
	}
	return ids
}

// A test that was published takes its turn in its session and waits for a pause, as real
// events do. It is sent once, and what its receiver answers changes nothing for real ones.
func TestAPublishedTestTakesItsTurnAndChangesNoHealth(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{})
		r.publish(ev1, "real") // ends the probation
		pass(time.Second)
		r.set(func(call) callbackd.Result {
			time.Sleep(time.Second)
			return status(410)
		})
		ids := r.tests(ev1, "S", "S", "S")
		pass(1500 * time.Millisecond)
		r.wantSent(1 + 2) // one in flight of the session
		pass(time.Minute)
		for _, id := range ids {
			r.wantOneAttempt(callbackd.DeliveryID{Event: id, Callback: callback}, callbackd.Failed, 410)
		}
		if cb := r.wantPause(callback, callbackd.NotPaused); !cb.FailingSince.IsZero() {
			r.Errorf("the callback has been failing since %s, because of tests", cb.FailingSince)
		}
		r.set(func(call) callbackd.Result { return status(500) })
		r.tests(ev1, "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12")
		pass(time.Second)
		if d := r.e.Diagnosis(callback, "S", time.Now()); d.Failures != 0 || !d.OpenUntil.IsZero() {
			r.Errorf("after tests that failed the diagnosis is %+v", d)
		}
		r.set(ok)
		r.pause(callback, callbackd.PausedByUser)
		waits, expires := r.tests(ev1, "S")[0], r.tests(ev1, "S")[0]
		pass(time.Minute)
		if v := r.view(waits, callback); v.State != callbackd.Pending || v.Attempts != 0 {
			r.Errorf("while the callback is paused the test is %s", v.State)
		}
		if err := r.resend(waits, callback); err != nil {
			r.Error(err)
		}
		pass(callbackd.TestTTL)
		if n := r.expire(); n != 2 {
			r.Errorf("%d tests expired, want 2", n)
		}
		if v := r.view(expires, callback); v.State != callbackd.Expired {
			r.Errorf("after its ttl the test is %s", v.State)
		}
	})
}

// A failing receiver gets tests as it gets real events: as probes of the breaker. A test
// that succeeds does not close the breaker for real ones.
func TestPublishedTestsWaitForTheBreaker(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0, time.Hour}})
		r.set(func(c call) callbackd.Result {
			if c.session == "T" {
				return status(200)
			}
			return status(500)
		})
		r.batch(ev1, "S", callbackd.BreakerThreshold)
		pass(time.Second) // the breaker is open
		id := r.tests(ev1, "T")[0]
		pass(time.Second)
		if v := r.view(id, callback); v.State != callbackd.Pending {
			r.Errorf("with an open breaker the test is %s, want pending", v.State)
		}
		pass(2 * callbackd.BreakerFirstWait)
		r.wantOneAttempt(callbackd.DeliveryID{Event: id, Callback: callback}, callbackd.Delivered, 200)
		if r.setting(callback).FailingSince.IsZero() {
			r.Error("a test ended the failure of the callback")
		}
	})
}

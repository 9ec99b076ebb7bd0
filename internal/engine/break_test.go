package engine_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/engine"
	"callbackd/internal/store"
	"callbackd/internal/store/sqlite"
)

// hooked is a queue whose queries can be slowed down, counted or refused.
type hooked struct {
	*sqlite.Store
	mu     sync.Mutex
	before func(op string, cb callbackd.CallbackID) error
	loaded int // deliveries read
	// recorded is told of each outcome that was written.
	recorded func(callbackd.DeliveryID)
	slow     time.Duration // how long a read of what is due takes to return after it has read
}

func (h *hooked) ask(op string, cb callbackd.CallbackID) error {
	h.mu.Lock()
	f := h.before
	h.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(op, cb)
}

func (h *hooked) hook(f func(op string, cb callbackd.CallbackID) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before = f
}

func (h *hooked) count(n int) {
	h.mu.Lock()
	h.loaded += n
	h.mu.Unlock()
}

func (h *hooked) Pending(ctx context.Context, r callbackd.PendingRead) ([]callbackd.Delivery, time.Time, error) {
	page := r.Source == callbackd.FirstAttempts && r.Lanes == nil
	due := r.Source == callbackd.Retries || r.Source == callbackd.Replays
	if page || due {
		op := map[callbackd.Source]string{callbackd.FirstAttempts: "fresh", callbackd.Retries: "retries", callbackd.Replays: "replays"}[r.Source]
		if err := h.ask(op, r.Callback); err != nil {
			return nil, time.Time{}, err
		}
	}
	ds, next, err := h.Store.Pending(ctx, r)
	if page {
		h.count(len(ds))
	}
	if due {
		time.Sleep(h.slow)
	}
	return ds, next, err
}

func (h *hooked) CallbackByID(ctx context.Context, callback callbackd.CallbackID) (*callbackd.Callback, error) {
	if err := h.ask("callback", callback); err != nil {
		return nil, err
	}
	return h.Store.CallbackByID(ctx, callback)
}

func (h *hooked) Record(ctx context.Context, o *callbackd.Outcome) (callbackd.Recorded, error) {
	if err := h.ask("record", o.Delivery.ID.Callback); err != nil {
		return callbackd.Recorded{}, err
	}
	rec, err := h.Store.Record(ctx, o)
	if err == nil && h.recorded != nil {
		h.recorded(o.Delivery.ID)
	}
	return rec, err
}

// hooks restarts the rig on a queue with hooks; start is false when the test
// starts the engine itself.
func (r *rig) hooks(start bool) *hooked {
	r.Helper()
	r.close()
	s, err := sqlite.Open(r.Context(), sqlite.Options{Dir: r.dir})
	if err != nil {
		r.Fatal(err)
	}
	q := &hooked{Store: s}
	o := r.o
	o.Queue, o.Sender = q, r
	r.s, r.e = s, engine.New(o)
	s.OnCommit(r.e.OnCommit)
	if start {
		if err := r.e.Start(r.Context()); err != nil {
			r.Fatal(err)
		}
	}
	return q
}

// many makes n callbacks for one event.
func (r *rig) many(ev callbackd.EventType, n int, p callbackd.Policy) (all []callbackd.CallbackID) {
	r.Helper()
	for range n {
		time.Sleep(time.Nanosecond) // because their names are made from the time
		all = append(all, r.callback(ev, p))
	}
	return all
}

// view returns a delivery with its attempts.
func (r *rig) view(ev callbackd.EventID, cb callbackd.CallbackID) *store.DeliveryView {
	r.Helper()
	v, err := r.s.Delivery(r.Context(), r.key.ID, callbackd.DeliveryID{Event: ev, Callback: cb}, 0)
	if err != nil {
		r.Fatal(err)
	}
	return v
}

// resend does what POST /v1/deliveries/:id/retry does.
func (r *rig) resend(ev callbackd.EventID, cb callbackd.CallbackID) error {
	d, err := r.s.Resend(r.Context(), r.key.ID, callbackd.DeliveryID{Event: ev, Callback: cb}, time.Now())
	if err == nil {
		r.e.Resent(*d)
	}
	return err
}

// sentOf counts the attempts at one event's delivery.
func (r *rig) sentOf(cb callbackd.CallbackID, session string, sequence int64) (n int) {
	for _, c := range r.sent() {
		if c.cb == cb && c.session == session && c.sequence == sequence {
			n++
		}
	}
	return n
}

// wantAllRecorded fails the test unless every attempt of a delivery is in its history and
// the delivery is in the state.
func (r *rig) wantAllRecorded(ev callbackd.EventID, cb callbackd.CallbackID, session string, sequence int64, state callbackd.State) {
	r.Helper()
	v := r.view(ev, cb)
	if n := r.sentOf(cb, session, sequence); n != len(v.History) {
		r.Errorf("event %d of %s was sent %d times, and its history has %d attempts", sequence, session, n, len(v.History))
	}
	if v.State != state {
		r.Errorf("event %d of %s is %s, want %s", sequence, session, v.State, state)
	}
}

func TestARetryThatFallsDueDuringASlowQueryIsNotForgotten(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0, 10 * time.Millisecond}, OrderWait: callbackd.NoOrderWait})
		q := r.hooks(true)
		r.set(func(c call) callbackd.Result {
			time.Sleep(time.Second)
			return status(500)
		})
		id := r.publish(ev1, "A")[0]
		pass(100 * time.Millisecond)
		q.hook(func(op string, _ callbackd.CallbackID) error {
			if op == "callback" {
				time.Sleep(10 * time.Second)
			}
			return nil
		})
		r.e.CallbackChanged(callback)
		pass(time.Minute)
		r.wantAllRecorded(id, callback, "A", 1, callbackd.Failed)
	})
}

// A delivery is resent when its outcome is on disk and the store has not answered the
// engine yet. It is sent, whether the read that finds it ends before the engine gets the
// answer or after.
func TestAResendRightAfterTheRecordIsSent(t *testing.T) {
	for name, wait := range map[string]struct{ engine, query time.Duration }{
		"the read is faster": {engine: time.Second}, "the read is slower": {engine: time.Second, query: 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, engine.Options{}, func(r *rig) {
				callback := r.callback(ev1, callbackd.Policy{})
				q := r.hooks(true)
				var again sync.Once
				q.recorded = func(id callbackd.DeliveryID) {
					again.Do(func() {
						if err := r.resend(id.Event, callback); err != nil {
							r.Error(err)
						}
						time.Sleep(wait.engine)
					})
				}
				q.slow = wait.query
				id := r.publish(ev1, "A")[0]
				pass(time.Minute)
				r.wantAllRecorded(id, callback, "A", 1, callbackd.Delivered)
				if n := r.sentOf(callback, "A", 1); n != 2 {
					r.Errorf("it was sent %d times, want 2", n)
				}
			})
		})
	}
}

func TestAResendOfADeliveryThatWaitsInMemoryIsSentOnce(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{Concurrency: 1})
		r.set(func(call) callbackd.Result { time.Sleep(10 * time.Second); return status(200) })
		ids := r.publish(ev1, "A", "B", "B", "C")
		pass(time.Second)
		if err := r.resend(ids[1], callback); err != nil {
			r.Fatal(err)
		}
		pass(time.Hour)
		for i, s := range []string{"A", "B", "B", "C"} {
			r.wantAllRecorded(ids[i], callback, s, map[int]int64{0: 1, 1: 1, 2: 2, 3: 1}[i], callbackd.Delivered)
		}
		r.wantSent(4)
	})
}

func TestAResendDuringAnAttemptIsRecordedHoweverItEnds(t *testing.T) {
	for _, code := range []int{200, 500} {
		bubble(t, engine.Options{}, func(r *rig) {
			callback := r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0, time.Minute}})
			r.set(func(c call) callbackd.Result {
				time.Sleep(10 * time.Second)
				if c.attempt == 1 {
					return status(code)
				}
				return status(200)
			})
			id := r.publish(ev1, "A", "A")[0]
			pass(time.Second)
			if err := r.resend(id, callback); err != nil {
				r.Fatal(err)
			}
			pass(time.Hour)
			r.wantAllRecorded(id, callback, "A", 1, callbackd.Delivered)
			r.wantAtOnce(1, 1) // both events are of one lane
		})
	}
}

func TestAResendOfABlockedHeadGoesAtOnceAndKeepsTheOrder(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0, time.Minute, time.Minute}})
		r.set(func(c call) callbackd.Result {
			if c.sequence == 1 && c.attempt == 1 {
				return status(500)
			}
			return status(200)
		})
		ids := r.publish(ev1, "A", "A", "A")
		pass(time.Second)
		if err := r.resend(ids[0], callback); err != nil {
			r.Fatal(err)
		}
		pass(time.Second)
		var order []int64
		for _, c := range r.sent() {
			order = append(order, c.sequence)
		}
		if fmt.Sprint(order) != "[1 1 2 3]" {
			r.Errorf("the order is %v, want [1 1 2 3]", order)
		}
		pass(time.Hour)
		r.wantSent(4)
	})
}

// A retry that waits does not delay the first attempts of its lane, also when other
// callbacks use all slots.
func TestRetriesInALaneDoNotHoldItsFirstAttempts(t *testing.T) {
	bubble(t, engine.Options{MaxInFlight: 1}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0, time.Second}, OrderWait: callbackd.NoOrderWait})
		other := r.callback(callbackd.Complete, callbackd.Policy{})
		r.set(func(c call) callbackd.Result {
			time.Sleep(time.Second)
			if c.cb == callback && c.sequence == 1 {
				return status(400)
			}
			return status(200)
		})
		r.publish(ev1, "A")
		pass(1500 * time.Millisecond)
		for i := range 20 {
			r.publish(callbackd.Complete, fmt.Sprint("G", i))
		}
		pass(2 * time.Second) // the retry is due now
		r.publish(ev1, "A")
		pass(10 * time.Second)
		if r.sentOf(callback, "A", 2) != 1 {
			r.Errorf("the first attempt waits behind a retry that waits for callback %d", other)
		}
	})
}

func TestAResendForADeletedCallbackIsRefusedAndSetsNoTimer(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{Retry: []time.Duration{0}})
		r.set(func(call) callbackd.Result { return status(500) })
		id := r.publish(ev1, "A")[0]
		pass(time.Second)
		cb, err := r.s.CallbackByID(r.Context(), callback)
		if err != nil {
			r.Fatal(err)
		}
		if _, err := r.s.ChangeCallback(r.Context(), cb.Key, cb.Event, cb.Name, func(cb *callbackd.Callback) error {
			cb.Delete(time.Now())
			return nil
		}); err != nil {
			r.Fatal(err)
		}
		r.e.CallbackChanged(callback)
		pass(time.Second)
		if err := r.resend(id, callback); callbackd.KindOf(err) != callbackd.KindConflict {
			r.Errorf("the error of a retry is %v, want a conflict", err)
		}
		// Also when the engine is told of a resend that was stored just before the deletion.
		r.e.Resent(callbackd.Delivery{ID: callbackd.DeliveryID{Event: id, Callback: callback}, Session: "A", Due: time.Now()})
		pass(time.Hour) // with a timer that is always due at once, this would never return
		r.wantSent(1)
	})
}

// Callbacks that cannot be read do not use up the reads of the others.
func TestCallbacksThatCannotBeReadDoNotBlockReads(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		poison := map[callbackd.CallbackID]bool{}
		for _, callback := range r.many(ev1, 20, callbackd.Policy{}) {
			poison[callback] = true
		}
		good := r.callback(callbackd.Complete, callbackd.Policy{})
		q := r.hooks(true)
		q.hook(func(op string, cb callbackd.CallbackID) error {
			if op == "callback" && poison[cb] {
				return callbackd.Errorf(callbackd.KindInternal, "the setting cannot be read")
			}
			return nil
		})
		r.publish(ev1, "A")
		pass(time.Second)
		r.publish(callbackd.Complete, "G")
		pass(500 * time.Millisecond)
		if r.sentOf(good, "G", 1) != 1 {
			r.Error("the healthy callback was not sent its event")
		}
		q.hook(nil)
		pass(time.Minute)
		if n := len(r.sent()); n != 21 {
			r.Errorf("%d attempts in the end, want 21", n)
		}
	})
}

// A test that a read of the queue sees before OnCommit is called is sent once.
func TestATestThatAQuerySeesBeforeOnCommitIsSentOnce(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		callback := r.callback(ev1, callbackd.Policy{})
		r.hooks(false)
		r.close()
		s, err := sqlite.Open(r.Context(), sqlite.Options{Dir: r.dir})
		if err != nil {
			r.Fatal(err)
		}
		r.s = s
		r.e = engine.New(engine.Options{Queue: s, Sender: r})
		s.OnCommit(func(ds []callbackd.Delivery) { time.Sleep(time.Second); r.e.OnCommit(ds) })
		go func() {
			b := store.Batch{Key: r.key.ID, At: time.Now(), Events: []store.NewEvent{{Type: ev1, Session: "T", Data: []byte("{}"), OnlyTo: callback}}}
			if _, err := s.Accept(r.Context(), b); err != nil {
				r.Error(err)
			}
		}()
		pass(500 * time.Millisecond)
		if err := r.e.Start(r.Context()); err != nil {
			r.Fatal(err)
		}
		pass(time.Minute)
		if n := len(r.sent()); n != 1 {
			r.Errorf("the test was sent %d times", n)
		}
	})
}

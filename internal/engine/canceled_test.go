package engine_test

import (
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/engine"
	"callbackd/internal/store"
)

// cancel cancels what the filter chooses of the pending deliveries, and does not tell the
// engine yet.
func (r *rig) cancel(f callbackd.ReplayFilter) (canceled []callbackd.Delivery) {
	r.Helper()
	c, err := r.s.CreateReplay(r.Context(), callbackd.Replay{Key: r.key.ID, Filter: callbackd.CancelFilter(f), Cancel: &callbackd.Cancellation{By: callbackd.ByOperator}, CreatedAt: time.Now()})
	if err != nil {
		r.Fatal(err)
	}
	for state := c.State; state == callbackd.ReplayRunning; {
		step, err := r.s.StepReplay(r.Context(), c.ID, time.Now())
		if err != nil {
			r.Fatal(err)
		}
		canceled = append(canceled, step.Canceled...)
		state = step.State
	}
	return canceled
}

// letGo cancels deliveries, tells the engine, and checks how many there were.
func (r *rig) letGo(f callbackd.ReplayFilter, want int) {
	r.Helper()
	canceled := r.cancel(f)
	if len(canceled) != want {
		r.Errorf("%d deliveries were canceled, want %d", len(canceled), want)
	}
	r.e.Canceled(canceled)
}

// A canceled delivery no longer blocks its lane: the next one of the session is sent at
// once.
func TestACanceledDeliveryDoesNotBlockItsLane(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		cb := r.callback(ev1, callbackd.Policy{OrderWait: 10 * time.Hour, Retry: []time.Duration{0, 5 * time.Hour}})
		r.set(func(c call) callbackd.Result {
			if c.sequence == 1 {
				return status(500)
			}
			return status(200)
		})
		head := r.publish(ev1, "S")[0]
		pass(time.Second)
		r.publish(ev1, "S", "S")
		pass(time.Minute)
		r.wantSent(1)
		r.letGo(callbackd.ReplayFilter{Until: head.Time().Add(time.Millisecond)}, 1)
		pass(time.Second)
		r.wantSent(3)
		pass(24 * time.Hour)
		r.wantSent(3)
		r.wantDelivery(callbackd.DeliveryID{Event: head, Callback: cb}, callbackd.Canceled, callbackd.FaultStatus)
		r.wantWaiting(0)
	})
}

// Deliveries that wait in memory for their first attempt are not sent any more. The result
// of an attempt that was in flight counts, and new events are sent.
func TestCanceledDeliveriesLeaveMemory(t *testing.T) {
	for name, answer := range map[callbackd.State]int{callbackd.Delivered: 200, callbackd.Canceled: 500} {
		t.Run(string(name), func(t *testing.T) {
			bubble(t, engine.Options{}, func(r *rig) {
				cb := r.callback(ev1, callbackd.Policy{Concurrency: 1})
				r.set(slowly(time.Second, status(answer)))
				ids := r.batch(ev1, "S", 100)
				pass(100 * time.Millisecond)
				r.wantSent(1)
				r.letGo(callbackd.ReplayFilter{}, 100)
				r.set(ok)
				pass(time.Hour)
				r.wantSent(1)
				first := r.view(ids[0], cb)
				if first.State != name || first.Attempts != 1 {
					t.Errorf("the delivery whose attempt was in flight is %s with %d attempts, want %s with 1", first.State, first.Attempts, name)
				}
				r.publish(ev1, "S0", "S1", "S2")
				pass(time.Second)
				r.wantSent(4)
				r.wantWaiting(0)
			})
		})
	}
}

// A retry that waits in the store, one that is due in memory, and what a replay made due
// are not sent any more.
func TestCanceledRetriesAreNotSent(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{OrderWait: callbackd.NoOrderWait, Concurrency: 1, Retry: []time.Duration{0, time.Minute}})
		r.set(func(c call) callbackd.Result { return status(500) })
		r.batch(ev1, "S", 3)
		pass(10 * time.Second)
		r.wantSent(3)
		r.letGo(callbackd.ReplayFilter{Session: "S1"}, 1)
		r.set(slowly(5*time.Second, status(200)))
		pass(70 * time.Second) // one retry is in flight, or both are over
		r.letGo(callbackd.ReplayFilter{}, len(r.pendingNow()))
		sent := len(r.sent())
		pass(24 * time.Hour)
		r.wantSent(sent)
		r.replayAll()
		pass(time.Millisecond)
		r.letGo(callbackd.ReplayFilter{}, len(r.pendingNow()))
		sent = len(r.sent())
		pass(24 * time.Hour)
		r.wantSent(sent)
		r.wantWaiting(0)
	})
}

// A delivery that was resent before the engine hears of its cancellation is sent.
func TestResentBeforeTheEngineHearsOfTheCancellation(t *testing.T) {
	for name, p := range map[string]callbackd.Policy{
		"head of its lane": {OrderWait: 10 * time.Hour, Retry: []time.Duration{0, 5 * time.Hour}},
		"retry":            {OrderWait: callbackd.NoOrderWait, Retry: []time.Duration{0, 5 * time.Hour}},
		"never tried":      {Concurrency: 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, engine.Options{}, func(r *rig) {
				cb := r.callback(ev1, p)
				r.set(slowly(time.Second, status(500)))
				ids := r.publish(ev1, "A", "B")
				pass(1500 * time.Millisecond)
				canceled := r.cancel(callbackd.ReplayFilter{})
				r.set(ok)
				for _, id := range ids {
					if err := r.resend(id, cb); err != nil {
						t.Fatal(err)
					}
				}
				r.e.Canceled(canceled)
				pass(time.Minute)
				for _, id := range ids {
					if v := r.view(id, cb); v.State != callbackd.Delivered {
						t.Errorf("delivery %s is %s with %d attempts, want delivered", v.ID, v.State, v.Attempts)
					}
				}
			})
		})
	}
}

// A cancellation of a paused callback's backlog leaves nothing to send when the callback is
// resumed.
func TestCanceledWhilePaused(t *testing.T) {
	bubble(t, engine.Options{Window: 8}, func(r *rig) {
		cb := r.callback(ev1, callbackd.Policy{})
		r.pause(cb, callbackd.PausedByUser)
		pass(time.Second)
		for range 10 {
			r.batch(ev1, "S", 100)
		}
		pass(time.Second)
		r.letGo(callbackd.ReplayFilter{}, 1000)
		r.pause(cb, callbackd.NotPaused)
		pass(time.Minute)
		r.wantSent(0)
		r.publish(ev1, "S1", "S2")
		pass(time.Second)
		r.wantSent(2)
	})
}

// pendingNow returns the pending deliveries.
func (r *rig) pendingNow() (ids []callbackd.DeliveryID) {
	r.Helper()
	page, err := r.s.ListDeliveries(r.Context(), store.DeliveryQuery{Key: r.key.ID, State: callbackd.Pending, Limit: store.MaxPage})
	if err != nil {
		r.Fatal(err)
	}
	for _, d := range page.Deliveries {
		ids = append(ids, d.ID)
	}
	return ids
}

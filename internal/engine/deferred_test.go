package engine_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/engine"
	"callbackd/internal/store"
)

// timed accepts one event for each session, with these times.
func (r *rig) timed(ev callbackd.EventType, deliverAt, expiresAt time.Time, sessions ...string) (ids []callbackd.EventID) {
	r.Helper()
	b := store.Batch{Key: r.key.ID, At: time.Now()}
	for _, s := range sessions {
		b.Events = append(b.Events, store.NewEvent{Type: ev, Session: s, Data: []byte("{}"), DeliverAt: deliverAt, ExpiresAt: expiresAt})
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

// expire ends what has expired, as the job of the server does.
func (r *rig) expire() (n int) {
	r.Helper()
	for {
		expired, more, err := r.s.Expire(context.Background(), time.Now(), 100)
		if err != nil {
			r.Fatal(err)
		}
		n += expired
		if !more {
			return n
		}
	}
}

// sequences returns the sequence numbers of the first attempts of a session, in the order in
// which they began.
func (r *rig) sequences(cb callbackd.CallbackID, session string) (all []int64) {
	for _, c := range r.of(cb) {
		if c.session == session && !slices.Contains(all, c.sequence) {
			all = append(all, c.sequence)
		}
	}
	return all
}

// No attempt starts after the expiry: neither of what waits in memory, nor of what waits in
// the store.
func TestNoAttemptStartsAfterTheExpiry(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{Window: 8}, func(r *rig) {
		cb := r.callback(ev1, callbackd.Policy{Concurrency: 1})
		r.set(slowly(time.Second, status(200)))
		expiry := time.Now().Add(10*time.Second + 500*time.Millisecond)
		r.timed(ev1, time.Time{}, expiry, slices.Repeat([]string{"A", "B", "C", "D"}, 10)...)
		pass(time.Minute)
		r.wantSent(11)
		r.publish(ev1, "A", "E")
		pass(10 * time.Second)
		r.wantSent(13)
		if n := r.expire(); n != 29 {
			r.Errorf("%d deliveries expired, want 29", n)
		}
		for _, c := range r.of(cb)[:11] {
			if !c.at.Before(expiry) {
				r.Errorf("an attempt began %v after the expiry", c.at.Sub(expiry))
			}
		}
		r.wantWaiting(0)
	})
}

// The delivery that expired before its session's turn came is not sent, and nothing of its
// session waits for it, also when no job has ended it yet.
func TestAnExpiredDeliveryHoldsNothing(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		first, complete := r.grouped(callbackd.Policy{OrderWait: 10 * time.Hour, Retry: []time.Duration{0, 5 * time.Hour}})
		r.set(func(c call) callbackd.Result {
			if c.sequence == 1 {
				return status(500)
			}
			return status(200)
		})
		start := time.Now()
		id := r.timed(ev1, time.Time{}, start.Add(time.Minute), "S")[0]
		r.publish(ev1, "S")
		r.publish(callbackd.Complete, "S")
		pass(time.Hour)
		r.wantBegan(complete, "S", start, time.Minute)
		if got := r.sequences(first, "S"); !slices.Equal(got, []int64{1, 2}) {
			r.Errorf("the callback got %d", got)
		}
		if at := r.of(first)[1].at.Sub(start).Truncate(10 * time.Millisecond); at != time.Minute {
			r.Errorf("the next one of the session began after %v, want 1m", at)
		}
		r.expire()
		r.wantDelivery(callbackd.DeliveryID{Event: id, Callback: first}, callbackd.Expired, callbackd.FaultStatus)
		pass(10 * time.Hour)
		r.wantSent(3)
	})
}

// A delivery that was not tried holds its order group no longer than until its expiry.
func TestAnUntriedDeliveryHoldsItsOrderGroupUntilItExpires(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		first, complete := r.grouped(callbackd.Policy{OrderWait: 10 * time.Hour, Concurrency: 1, Timeout: time.Minute})
		r.set(func(c call) callbackd.Result {
			if c.cb == first {
				time.Sleep(5 * time.Minute)
			}
			return status(200)
		})
		r.publish(ev1, "other")
		pass(time.Second)
		start := time.Now()
		r.publish(ev1, "T") // so that the next is not the first of its session
		r.timed(ev1, time.Time{}, start.Add(time.Minute), "S", "S")
		r.publish(callbackd.Complete, "S")
		pass(time.Hour)
		r.wantBegan(complete, "S", start, time.Minute)
		r.expire()
		r.wantWaiting(0)
	})
}

// An attempt that is in flight at the expiry counts when it succeeds, and is the last one
// when it does not.
func TestAnAttemptInFlightAtTheExpiry(t *testing.T) {
	t.Parallel()
	for answer, want := range map[int]callbackd.State{200: callbackd.Delivered, 500: callbackd.Expired} {
		for _, sweeps := range []bool{false, true} {
			t.Run(fmt.Sprint(answer, sweeps), func(t *testing.T) {
				bubble(t, engine.Options{}, func(r *rig) {
					cb := r.callback(ev1, callbackd.Policy{})
					r.set(slowly(10*time.Second, status(answer)))
					id := callbackd.DeliveryID{Event: r.timed(ev1, time.Time{}, time.Now().Add(5*time.Second), "S")[0], Callback: cb}
					pass(6 * time.Second)
					if sweeps {
						r.expire()
						r.wantDelivery(id, callbackd.Expired)
					}
					pass(24 * time.Hour)
					r.wantSent(1)
					faults := []callbackd.Fault{status(answer).Fault}
					r.wantDelivery(id, want, faults...)
				})
			})
		}
	}
}

// A resend by hand ends the expiry.
func TestAResendOfAnExpiredDeliveryIsSent(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		cb := r.callback(ev1, callbackd.Policy{TTL: time.Minute})
		r.pause(cb, callbackd.PausedByUser)
		ids := r.publish(ev1, "S", "S")
		pass(2 * time.Minute)
		r.expire()
		r.pause(cb, callbackd.NotPaused)
		pass(time.Minute)
		r.wantSent(0)
		if err := r.resend(ids[0], cb); err != nil {
			r.Fatal(err)
		}
		pass(time.Minute)
		r.wantDelivery(callbackd.DeliveryID{Event: ids[0], Callback: cb}, callbackd.Delivered, callbackd.NoFault)
		r.wantDelivery(callbackd.DeliveryID{Event: ids[1], Callback: cb}, callbackd.Expired)
	})
}

// A retry that is resent before its expiry is sent after it, too.
func TestARetryThatIsResentDoesNotExpire(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		cb := r.callback(ev1, callbackd.Policy{TTL: time.Hour, OrderWait: callbackd.NoOrderWait, Retry: []time.Duration{0, 10 * time.Hour, 10 * time.Hour}})
		r.set(func(call) callbackd.Result { return status(500) })
		id := r.publish(ev1, "S")[0]
		pass(time.Minute)
		if err := r.resend(id, cb); err != nil {
			r.Fatal(err)
		}
		pass(time.Minute)
		r.set(ok)
		r.expire()
		pass(24 * time.Hour)
		r.expire()
		r.wantDelivery(callbackd.DeliveryID{Event: id, Callback: cb}, callbackd.Delivered, callbackd.FaultStatus, callbackd.FaultStatus, callbackd.NoFault)
	})
}

// A deferred delivery does not hold later ones of its session. When its time has come, it
// goes before those that still wait.
func TestADeferredDeliveryTakesItsTurn(t *testing.T) {
	t.Parallel()
	for name, disturb := range map[string]func(*rig, callbackd.CallbackID){
		"running":   func(*rig, callbackd.CallbackID) {},
		"restarted": func(r *rig, _ callbackd.CallbackID) { r.close(); r.open() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, engine.Options{Window: 8}, func(r *rig) {
				cb := r.callback(ev1, callbackd.Policy{Concurrency: 1})
				start := time.Now()
				r.timed(ev1, start.Add(time.Hour), time.Time{}, "S", "S")
				r.publish(ev1, "S")
				r.timed(ev1, start.Add(30*time.Minute), time.Time{}, "S")
				pass(time.Minute)
				r.wantSent(1)
				disturb(r, cb)
				pass(time.Until(start.Add(59 * time.Minute)))
				r.wantSent(2)
				r.set(slowly(time.Minute, status(200)))
				r.publish(ev1, slices.Repeat([]string{"S"}, 30)...)
				pass(time.Hour)
				got := r.sequences(cb, "S")
				want := []int64{3, 4, 5, 1, 2, 6, 7}
				if i := slices.Index(got, 1); i == 4 { // 6 began in the same moment
					want = []int64{3, 4, 5, 6, 1, 2, 7}
				}
				if !slices.Equal(got[:7], want) {
					r.Errorf("the deliveries began in the order %d, want %d first", got, want)
				}
				for _, c := range r.of(cb) {
					if c.sequence <= 2 && c.at.Before(start.Add(time.Hour)) {
						r.Errorf("#%d began %v early", c.sequence, start.Add(time.Hour).Sub(c.at))
					}
				}
				r.set(ok)
				pass(time.Hour)
				r.wantWaiting(0)
			})
		})
	}
}

// What is deferred takes its turn while its callback is paused, or gets no requests, too.
func TestADeferredDeliveryTakesItsTurnWhileNothingIsSent(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		cb := r.callback(ev1, callbackd.Policy{Concurrency: 1})
		r.publish(ev1, "S")
		pass(time.Minute)
		r.timed(ev1, time.Now().Add(time.Hour), time.Time{}, "S")
		r.publish(ev1, "S")
		pass(time.Minute)
		r.pause(cb, callbackd.PausedByUser)
		r.e.CallbackChanged(cb)
		pass(time.Second) // the engine has read that it is paused
		r.publish(ev1, "S")
		pass(2 * time.Hour)
		r.publish(ev1, "S")
		pass(time.Minute)
		r.pause(cb, callbackd.NotPaused)
		r.e.CallbackChanged(cb)
		pass(time.Minute)
		if got, want := r.sequences(cb, "S"), []int64{1, 3, 2, 4, 5}; !slices.Equal(got, want) {
			r.Errorf("the deliveries began in the order %d, want %d", got, want)
		}
	})
}

// Deferred deliveries to the same time are sent in order, and a failed delivery holds them.
func TestDeferredDeliveriesKeepTheirOrder(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		cb := r.callback(ev1, callbackd.Policy{OrderWait: time.Hour, Retry: []time.Duration{0, time.Minute, time.Minute}})
		start := time.Now()
		r.timed(ev1, start.Add(time.Hour), time.Time{}, slices.Repeat([]string{"S", "T"}, 20)...)
		r.set(func(c call) callbackd.Result {
			if c.session == "S" && c.sequence == 3 && c.attempt == 1 {
				return status(500)
			}
			return status(200)
		})
		pass(2 * time.Hour)
		for _, session := range []string{"S", "T"} {
			if got := r.sequences(cb, session); !slices.IsSorted(got) || len(got) != 20 {
				r.Errorf("session %s: the deliveries began in the order %d", session, got)
			}
		}
		last := r.of(cb)[len(r.of(cb))-1].at.Sub(start.Add(time.Hour))
		if last < 30*time.Second || last > 2*time.Minute {
			r.Errorf("the last one began %v after its time, want about a minute", last)
		}
		r.wantWaiting(0)
	})
}

// A deferred delivery of an order group takes its turn among the callbacks of the group.
func TestADeferredDeliveryTakesItsTurnInItsOrderGroup(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		_, complete := r.grouped(callbackd.Policy{})
		start := time.Now()
		r.publish(ev1, "S")
		r.timed(ev1, start.Add(time.Hour), time.Time{}, "S")
		r.publish(callbackd.Complete, "S")
		pass(time.Minute)
		r.wantBegan(complete, "S", start, 0) // it does not wait for what is deferred
		r.set(slowly(time.Minute, status(200)))
		pass(time.Until(start.Add(time.Hour)) - time.Second)
		r.publish(ev1, "S")                // in flight for a minute
		r.publish(callbackd.Complete, "S") // waits for it, and then for the deferred one
		pass(time.Hour)
		all := r.sent()
		var got []int64
		for _, c := range all[2:] {
			got = append(got, c.sequence)
		}
		if want := []int64{4, 2, 5}; !slices.Equal(got, want) {
			r.Errorf("the deliveries began in the order %d, want %d", got, want)
		}
	})
}

// A deferred delivery whose time comes while its lane has earlier and later ones in memory
// goes between them, and none of them is forgotten.
func TestADeferredDeliveryTakesItsTurnBetweenWhatWaits(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		cb := r.callback(ev1, callbackd.Policy{Timeout: time.Minute})
		r.set(slowly(30*time.Second, status(200)))
		r.publish(ev1, "S", "S", "S")
		r.timed(ev1, time.Now().Add(10*time.Second), time.Time{}, "S")
		r.publish(ev1, "S", "S")
		pass(time.Hour)
		if got := r.sequences(cb, "S"); !slices.Equal(got, []int64{1, 2, 3, 4, 5, 6}) {
			r.Errorf("the callback got %d", got)
		}
		r.wantWaiting(0)
	})
}

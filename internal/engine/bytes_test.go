package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/engine"
	"callbackd/internal/store"
	"callbackd/internal/store/sqlite"
)

// large publishes an event with n bytes of data.
func (r *rig) large(ev callbackd.EventType, session string, n int) {
	r.Helper()
	data := fmt.Appendf(nil, `{"x":"%s"}`, bytes.Repeat([]byte("a"), n))
	if _, err := r.s.Accept(r.Context(), store.Batch{Key: r.key.ID, At: time.Now(), Events: []store.NewEvent{{Type: ev, Session: session, Data: data}}}); err != nil {
		r.Fatal(err)
	}
}

// The bytes of bodies in flight are bounded, for any number of deliveries, in memory or
// read from the store. Large bodies leave bytes for other callbacks, and everything is sent
// in the end.
func TestBytesInFlightAreBounded(t *testing.T) {
	t.Parallel()
	const size, budget = 100 << 10, 2 << 20
	for _, restart := range []bool{false, true} {
		bubble(t, engine.Options{FlightBudget: budget, DataBudget: 8 * budget}, func(r *rig) {
			r.callback(callbackd.Complete, callbackd.Policy{Concurrency: 200, Timeout: time.Minute, OrderWait: callbackd.NoOrderWait})
			small := r.callback(ev1, callbackd.Policy{})
			for i := range 200 { // so that the ramp is over
				r.publish(callbackd.Complete, fmt.Sprint("W", i))
			}
			r.publish(ev1, "W")
			pass(time.Minute)
			if restart {
				r.close()
			}
			r.peakFromHere()
			r.set(func(c call) callbackd.Result {
				if c.cb != small {
					time.Sleep(30 * time.Second)
				}
				return status(200)
			})
			if restart {
				s, err := sqlite.Open(r.Context(), sqlite.Options{Dir: r.dir})
				if err != nil {
					t.Fatal(err)
				}
				r.s = s
			}
			for i := range 60 {
				r.large(callbackd.Complete, fmt.Sprint("L", i), size)
			}
			if restart {
				if err := r.s.Close(); err != nil {
					t.Fatal(err)
				}
				r.open()
			}
			pass(time.Second)
			from := time.Now()
			r.publish(ev1, "S")
			pass(time.Second)
			if n := len(r.of(small)); n != 2 || r.of(small)[1].at.Sub(from) > time.Second {
				t.Errorf("restart %v: a small delivery waits for large ones", restart)
			}
			if r.highest() > budget/size+1 || r.highest() < 2 {
				t.Errorf("restart %v: %d bodies of %d bytes at once, with a budget of %d", restart, r.highest(), size, budget)
			}
			pass(time.Hour)
			r.wantWaiting(0)
		})
	}
}

// An event larger than the whole budget is sent, alone.
func TestWhatIsLargerThanTheBudgetIsSentAlone(t *testing.T) {
	bubble(t, engine.Options{FlightBudget: 1 << 10}, func(r *rig) {
		r.many(callbackd.Complete, 5, callbackd.Policy{})
		r.set(slowly(time.Second, status(200)))
		r.large(callbackd.Complete, "A", 10<<10)
		r.large(callbackd.Complete, "B", 10<<10)
		pass(time.Minute)
		r.wantSent(10)
		r.wantAtOnce(1, 1)
	})
}

// countingLoads is a store that counts how often events are read.
type countingLoads struct {
	*sqlite.Store
	loads atomic.Int64
}

func (q *countingLoads) Event(ctx context.Context, key callbackd.KeyID, id callbackd.EventID) (*callbackd.Event, error) {
	q.loads.Add(1)
	return q.Store.Event(ctx, key, id)
}

// An event that is not in memory is read once for all its attempts in flight.
func TestAnEventIsReadOnceForAllItsAttempts(t *testing.T) {
	bubble(t, engine.Options{DataBudget: 1}, func(r *rig) {
		r.close()
		s, err := sqlite.Open(r.Context(), sqlite.Options{Dir: r.dir})
		if err != nil {
			t.Fatal(err)
		}
		q := &countingLoads{Store: s}
		r.s, r.e = s, engine.New(engine.Options{Queue: q, Sender: r, DataBudget: 1})
		s.OnCommit(r.e.OnCommit)
		if err := r.e.Start(r.Context()); err != nil {
			t.Fatal(err)
		}
		r.many(callbackd.Complete, 20, callbackd.Policy{})
		r.set(slowly(time.Second, status(200)))
		r.large(callbackd.Complete, "A", 10<<10)
		pass(time.Minute)
		r.wantSent(20)
		if n := q.loads.Load(); n != 1 {
			t.Errorf("the event was read %d times, want once", n)
		}
	})
}

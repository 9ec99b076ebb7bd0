package engine_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/engine"
	"callbackd/internal/store/sqlite"
)

// noted is a store that notes which outcomes may wait.
type noted struct {
	*sqlite.Store
	mu      sync.Mutex
	canWait map[callbackd.EventID]bool
}

func (n *noted) Record(ctx context.Context, o *callbackd.Outcome) (callbackd.Recorded, error) {
	n.mu.Lock()
	n.canWait[o.Delivery.ID.Event] = o.CanWait
	n.mu.Unlock()
	return n.Store.Record(ctx, o)
}

// An outcome waits for others only when nothing waits for it.
func TestAnOutcomeThatSomethingWaitsForIsRecordedAtOnce(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{})
		r.close()
		s, err := sqlite.Open(r.Context(), sqlite.Options{Dir: r.dir})
		if err != nil {
			r.Fatal(err)
		}
		q := &noted{Store: s, canWait: map[callbackd.EventID]bool{}}
		r.s, r.e = s, engine.New(engine.Options{Queue: q, Sender: r})
		s.OnCommit(r.e.OnCommit)
		if err := r.e.Start(r.Context()); err != nil {
			r.Fatal(err)
		}
		r.set(slowly(time.Second, status(200)))
		want := func(what string, id callbackd.EventID, want bool) {
			r.Helper()
			if got := q.canWait[id]; got != want {
				r.Errorf("%s: the outcome can wait: %t; want %t", what, got, want)
			}
		}

		r.publish(ev1, "Z") // the first success is a change of the callback
		pass(time.Minute)
		ids := r.publish(ev1, "A", "A", "B")
		pass(time.Minute)
		want("another delivery of the session is next", ids[0], false)
		want("the last delivery of a session", ids[1], true)
		want("the only delivery of a session", ids[2], true)

		id := r.publish(ev1, "A")[0]
		_, stop := r.e.Watch(callbackd.DeliveryID{Event: id, Callback: 1})
		pass(time.Minute)
		stop()
		want("somebody watches the delivery", id, false)

		id = r.publish(ev1, "A")[0]
		pass(time.Millisecond)
		r.e.Drain(r.Context())
		want("the engine stops", id, false)
	})
}

package engine_test

import (
	"context"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/engine"
	"callbackd/internal/store/sqlite"
)

// slowRecord is a store that takes three seconds to record.
type slowRecord struct{ *sqlite.Store }

func (q slowRecord) Record(ctx context.Context, o *callbackd.Outcome) (callbackd.Recorded, error) {
	time.Sleep(3 * time.Second)
	return q.Store.Record(ctx, o)
}

// A node is evicted while an attempt is under way. The attempt is not recorded when it
// ends, because by then the node may have joined under another ID, with which the store
// would accept the outcome. The node joins again only after the store has answered what it
// is recording.
func TestAnAttemptFromBeforeAbandonIsNotRecordedUnderTheNextNodeID(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		cb := r.callback(ev1, callbackd.Policy{})
		r.set(func(call) callbackd.Result { time.Sleep(2 * time.Second); return status(200) })
		o := r.o
		o.Queue, o.Sender, o.Shared = slowRecord{r.s}, r, true
		e := engine.New(o)
		if err := e.Start(r.Context()); err != nil {
			r.Fatal(err)
		}
		r.s.OnCommit(e.OnCommit)
		e.SetLease(time.Now().Add(time.Hour))
		adopt := func() {
			if err := e.Adopt(r.Context(), allShards()); err != nil {
				r.Fatal(err)
			}
		}
		adopt()
		ids := r.publish(ev1, "A")
		pass(time.Second) // it is being sent
		begun := time.Now()
		<-e.Abandon()
		if waited := time.Since(begun); waited != 0 {
			r.Errorf("Abandon waited for %v although nothing was being recorded, want 0", waited)
		}
		pass(time.Minute)
		if v := r.view(ids[0], cb); v.Attempts != 0 {
			r.Errorf("%d attempts from before Abandon were recorded, want 0", v.Attempts)
		}

		adopt()
		pass(3 * time.Second) // it was sent, and is being recorded for a second
		begun = time.Now()
		<-e.Abandon()
		if waited := time.Since(begun); waited != 2*time.Second {
			r.Errorf("Abandon waited for %v, want the 2s that the record still takes", waited)
		}
		e.Drain(r.Context())
	})
}

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

func (q slowRecord) Record(ctx context.Context, o callbackd.Outcome) (callbackd.Recorded, error) {
	time.Sleep(3 * time.Second)
	return q.Store.Record(ctx, o)
}

// A node was evicted while an attempt was under way. What ends later is
// not recorded, for by then the node may have another number, which the store
// lets pass; and that number has to wait for what is being recorded.
func TestWhatWasBegunBeforeAbandonIsNotRecordedUnderTheNextNumber(t *testing.T) {
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
			r.Errorf("nothing was being recorded, and the next number waited for %v", waited)
		}
		pass(time.Minute)
		if v := r.view(ids[0], cb); v.Attempts != 0 {
			r.Errorf("%d attempts of before were recorded", v.Attempts)
		}

		adopt()
		pass(3 * time.Second) // it was sent, and is being recorded for a second
		begun = time.Now()
		<-e.Abandon()
		if waited := time.Since(begun); waited != 2*time.Second {
			r.Errorf("the next number waited for %v, the record takes 2s more", waited)
		}
		e.Drain(r.Context())
	})
}

package engine_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
	"callbackd/internal/engine"
	"callbackd/internal/store/sqlite"
)

// shared runs f with one engine that owns every shard of a shared queue.
func shared(t *testing.T, f func(r *rig, e *engine.Engine)) {
	bubble(t, engine.Options{}, func(r *rig) {
		p := newPeers(r, 1, 1)
		f(r, p.all[0].e)
		p.drain()
	})
}

func allShards() (all []callbackd.Shard) {
	for s := range callbackd.Shards {
		all = append(all, callbackd.Shard(s))
	}
	return all
}

// No attempt starts after the end of the lease, by the clock that reaches it first, and all
// go on when the lease is renewed.
func TestNothingStartsWithoutALease(t *testing.T) {
	shared(t, func(r *rig, e *engine.Engine) {
		r.callback(ev1, callbackd.Policy{})
		e.SetLease(time.Now().Add(10 * time.Second))
		r.publish(ev1, "A")
		pass(9 * time.Second)
		r.publish(ev1, "B")
		pass(time.Second)
		if n := len(r.sent()); n != 2 {
			r.Fatalf("%d sent within the lease, want 2", n)
		}
		r.publish(ev1, "C", "D", "A")
		pass(time.Hour)
		if n := len(r.sent()); n != 2 {
			r.Fatalf("%d sent after the end of the lease, want the 2 from before", n)
		}
		e.SetLease(time.Now().Add(10 * time.Second))
		synctest.Wait()
		if n := len(r.sent()); n != 5 {
			r.Fatalf("%d sent after the renewal, want 5", n)
		}
	})
}

// An attempt that was chosen within the lease and would be sent after its end is not sent,
// and its delivery waits at its old place.
func TestAnAttemptThatOutlastsTheLeaseBeforeItIsSentIsPutBack(t *testing.T) {
	bubble(t, engine.Options{}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{})
		p := newPeers(r, 1, 1)
		q := &slowQueue{Store: r.s, wait: 20 * time.Second}
		o := r.o
		o.Queue, o.Sender, o.Shared = q, r, true
		e := engine.New(o)
		if err := e.Start(r.Context()); err != nil {
			r.Fatal(err)
		}
		if err := e.Adopt(r.Context(), allShards()); err != nil {
			r.Fatal(err)
		}
		r.s.OnCommit(e.OnCommit)
		e.SetLease(time.Now().Add(30 * time.Second)) // the setting alone takes 20 s to read
		r.publish(ev1, "A", "A", "B")
		pass(time.Minute)
		if n := len(r.sent()); n != 0 {
			r.Fatalf("%d sent after the end of the lease, want 0", n)
		}
		q.set(0)
		e.SetLease(time.Now().Add(time.Hour))
		pass(time.Minute)
		var got []int64
		for _, c := range r.sent() {
			if c.session == "A" {
				got = append(got, c.sequence)
			}
		}
		r.wantSent(3)
		if want := []int64{1, 2}; !slices.Equal(got, want) {
			r.Errorf("the events %v of A were sent, want %v", got, want)
		}
		e.Drain(r.Context())
		p.drain()
	})
}

// slowQueue takes a while to read a callback.
type slowQueue struct {
	*sqlite.Store
	mu   sync.Mutex
	wait time.Duration
}

func (q *slowQueue) set(d time.Duration) {
	q.mu.Lock()
	q.wait = d
	q.mu.Unlock()
}

func (q *slowQueue) CallbackByID(ctx context.Context, callback callbackd.CallbackID) (*callbackd.Callback, error) {
	q.mu.Lock()
	wait := q.wait
	q.mu.Unlock()
	time.Sleep(wait)
	return q.Store.CallbackByID(ctx, callback)
}

// A shard is drained when the outcomes of its attempts in flight are recorded, and no
// attempt of it starts after it was given up.
func TestAShardIsDrainedWhenItsAttemptsAreRecorded(t *testing.T) {
	shared(t, func(r *rig, e *engine.Engine) {
		r.callback(ev1, callbackd.Policy{})
		r.set(func(call) callbackd.Result { time.Sleep(10 * time.Second); return status(200) })
		r.publish(ev1, "A", "A", "B")
		pass(time.Second)
		begun := time.Now()
		drained := e.Disown(allShards())
		n := 0
		for s := range drained {
			n++
			waited := time.Since(begun)
			if s != callbackd.ShardOf(r.key.ID) {
				if waited != 0 {
					r.Fatalf("an idle shard was drained after %v, want at once", waited)
				}
				continue
			}
			if n != callbackd.Shards {
				r.Errorf("the busy shard was drained as number %d, want the last, %d", n, callbackd.Shards)
			}
			if waited != 9*time.Second {
				r.Errorf("the busy shard was drained after %v, want 9 s", waited)
			}
		}
		r.publish(ev1, "C")
		pass(time.Minute)
		r.wantSent(2) // those that were under way
		if err := e.Adopt(r.Context(), allShards()); err != nil {
			r.Fatal(err)
		}
		pass(time.Minute)
		r.wantSent(4)
	})
}

// lateQueue hides one delivery until the test sets hidden to 0, as if another node had
// committed it late, with an id that is lower than those that were read.
type lateQueue struct {
	*sqlite.Store
	mu     sync.Mutex
	hidden callbackd.EventID
	wait   time.Duration // how long a read takes
	passes bool          // a read that is under way has gone past the hidden delivery
}

func (q *lateQueue) passing() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.passes
}

func (q *lateQueue) Pending(ctx context.Context, r callbackd.PendingRead) ([]callbackd.Delivery, time.Time, error) {
	if r.Source != callbackd.FirstAttempts || r.Lanes != nil {
		return q.Store.Pending(ctx, r)
	}
	after, limit := r.After, r.Limit
	q.mu.Lock()
	hidden, wait := q.hidden, q.wait
	q.mu.Unlock()
	r.Limit++
	ds, next, err := q.Store.Pending(ctx, r)
	shown := slices.DeleteFunc(slices.Clone(ds), func(d callbackd.Delivery) bool { return d.ID.Event == hidden })
	q.set(len(shown) > 0 && hidden > after && hidden < shown[min(len(shown), limit)-1].ID.Event)
	time.Sleep(wait)
	q.set(false)
	return shown[:min(len(shown), limit)], next, err
}

func (q *lateQueue) set(passes bool) {
	q.mu.Lock()
	q.passes = passes
	q.mu.Unlock()
}

// A delivery that becomes visible below the cursor, after a read went past it, is not lost:
// the queue is read again from there.
func TestWhatAQueryPassesIsReadAgain(t *testing.T) {
	bubble(t, engine.Options{Window: 2}, func(r *rig) {
		r.callback(ev1, callbackd.Policy{Concurrency: 1})
		r.set(func(call) callbackd.Result { time.Sleep(10 * time.Second); return status(200) })
		q := &lateQueue{Store: r.s, wait: time.Second}
		o := r.o
		o.Queue, o.Sender, o.Shared = q, r, true
		e := engine.New(o)
		if err := e.Start(r.Context()); err != nil {
			r.Fatal(err)
		}
		if err := e.Adopt(r.Context(), allShards()); err != nil {
			r.Fatal(err)
		}
		e.SetLease(time.Now().Add(time.Hour))
		r.s.OnCommit(e.OnCommit)
		for i := range 5 { // more than the window holds: the rest is left to the store
			r.publish(ev1, fmt.Sprint("own", i))
		}
		r.s.OnCommit(func([]callbackd.Delivery) {})
		late := r.publish(ev1, "late")[0]
		q.mu.Lock()
		q.hidden = late
		q.mu.Unlock()
		r.s.OnCommit(e.OnCommit)
		r.publish(ev1, "last")
		synctest.Wait()
		for range 200 { // at one of these moments a read is under way that goes past it
			time.Sleep(500 * time.Millisecond)
			synctest.Wait()
			if q.passing() {
				break
			}
		}
		q.mu.Lock()
		q.hidden = 0
		q.mu.Unlock()
		e.AcceptedElsewhere(callbackd.Delivery{ID: callbackd.DeliveryID{Event: late, Callback: 1}, Key: r.key.ID, Session: "late", Sequence: 1})
		pass(10 * time.Minute)
		r.wantSent(7)
		e.Drain(r.Context())
	})
}

// What is known of a receiver moves with its shard: until when Retry-After closed the
// callback, and that the receiver fails.
func TestAMoveKeepsWhatIsKnownOfAReceiver(t *testing.T) {
	t.Parallel()
	bubble(t, engine.Options{}, func(r *rig) {
		closed := r.callback(callbackd.Complete, callbackd.Policy{})
		failing := r.callback(ev1, callbackd.Policy{OrderWait: callbackd.NoOrderWait})
		var asked time.Time
		r.set(func(c call) callbackd.Result {
			if c.cb == closed {
				if asked.IsZero() {
					asked = c.at
				}
				return after(429, "600")
			}
			return status(500)
		})
		p := newPeers(r, 2, 1)
		r.publish(callbackd.Complete, "A")
		pass(time.Second)
		for i := range 40 {
			r.publish(ev1, fmt.Sprint("S", i))
			r.publish(callbackd.Complete, fmt.Sprint("S", i))
		}
		pass(3 * time.Second)
		if n := len(r.of(closed)); n != 1 {
			t.Fatalf("%d requests to the receiver that asked to wait, want 1", n)
		}
		if n := len(r.of(failing)); n < callbackd.BreakerThreshold {
			t.Fatalf("%d requests to the failing receiver, want %d or more", n, callbackd.BreakerThreshold)
		}
		until := asked.Add(10 * time.Minute)
		for i := range 4 { // so that each callback moves to another node
			before := len(r.of(failing))
			p.move(i%2, (i+1)%2, 1)
			pass(5 * time.Second)
			if n := len(r.of(failing)) - before; n > 1 {
				t.Errorf("%d requests to a failing receiver within five seconds of a move, want 0 or 1", n)
			}
		}
		pass(time.Until(until) - time.Second)
		if n := len(r.of(closed)); n != 1 {
			t.Errorf("%d requests before the time that was asked for, want 1", n)
		}
		pass(time.Minute)
		if n := len(r.of(closed)); n == 1 {
			t.Errorf("%d request after it, want more", n)
		}
		p.drain()
	})
}

package engine_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
	"callbackd/internal/engine"
	"callbackd/internal/store/sqlite"
)

// peer is one engine of several on a queue, as a node would run it.
type peer struct {
	*sqlite.Store // the queue
	e             *engine.Engine
	mu            sync.Mutex
	evicted       bool             // what it records is refused
	chain         map[string]int64 // session to the last number it gave out
}

// Record refuses what a node records that was evicted.
func (p *peer) Record(ctx context.Context, o callbackd.Outcome) (callbackd.Recorded, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.evicted {
		return callbackd.Recorded{}, callbackd.Errorf(callbackd.KindConflict, "evicted")
	}
	return p.Store.Record(ctx, o)
}

// peers is engines that share a queue, and who owns what.
type peers struct {
	*rig
	all     []*peer
	rnd     *rand.Rand
	work    sync.WaitGroup
	end     chan struct{}
	owners  [callbackd.Shards]int // -1: nobody's, or on its way
	accepts int                   // who accepts now
	lossy   bool
	evicted int
	inAir   map[callbackd.DeliveryID]int // attempts of evicted nodes
}

func newPeers(r *rig, n int, seed uint64) *peers {
	p := &peers{rig: r, rnd: rand.New(rand.NewPCG(seed, 1)), end: make(chan struct{}), inAir: map[callbackd.DeliveryID]int{}}
	for range n {
		p.all = append(p.all, p.newPeer())
	}
	shards := make([][]callbackd.Shard, n)
	for s := range p.owners {
		p.owners[s] = s % n
		shards[s%n] = append(shards[s%n], callbackd.Shard(s))
	}
	for i, one := range p.all {
		if err := one.e.Adopt(r.Context(), shards[i]); err != nil {
			r.Fatal(err)
		}
	}
	r.s.OnCommit(p.handover)
	return p
}

func (p *peers) newPeer() *peer {
	one := &peer{Store: p.s, chain: map[string]int64{}}
	o := p.o
	o.Queue, o.Sender, o.Shared = one, p.rig, true
	one.e = engine.New(o)
	if err := one.e.Start(p.Context()); err != nil {
		p.Fatal(err)
	}
	one.e.SetLease(time.Now().Add(24 * time.Hour))
	return one
}

// handover is the messages between nodes: late, in any order, some lost.
func (p *peers) handover(ds []callbackd.Delivery) {
	p.mu.Lock()
	defer p.mu.Unlock()
	by := p.all[p.accepts]
	for _, d := range ds {
		d.ReadLane = by.chain[d.Session] != d.Sequence-1
		to := p.owners[callbackd.ShardOf(d.ID.Callback)]
		switch {
		case to == p.accepts:
			by.e.OnCommit([]callbackd.Delivery{d})
		case to >= 0 && !(p.lossy && p.rnd.IntN(10) == 0):
			late := time.Duration(p.rnd.IntN(300)) * time.Millisecond
			p.work.Go(func() {
				time.Sleep(late)
				p.mu.Lock()
				one := p.all[to]
				p.mu.Unlock()
				d.Event = nil
				one.e.CommittedElsewhere([]callbackd.Delivery{d})
			})
		}
	}
	for _, d := range ds {
		by.chain[d.Session] = d.Sequence
	}
}

// move hands some shards over, as nodes do that join and leave.
func (p *peers) move(from, to int, share int) {
	var shards []callbackd.Shard
	p.mu.Lock()
	for s, owner := range p.owners {
		if owner == from && p.rnd.IntN(share) == 0 {
			shards = append(shards, callbackd.Shard(s))
			p.owners[s] = -1
		}
	}
	giver := p.all[from]
	p.mu.Unlock()
	drained := giver.e.Disown(shards)
	p.work.Go(func() {
		for s := range drained {
			p.give(to, s)
		}
	})
}

func (p *peers) give(to int, shards ...callbackd.Shard) {
	p.mu.Lock()
	taker := p.all[to]
	for _, s := range shards {
		p.owners[s] = to
	}
	p.mu.Unlock()
	if err := taker.e.Adopt(context.Background(), shards); err != nil {
		p.Error(err)
	}
}

// bury takes a node for dead: its records are refused, its shards go to the
// others, and it comes back as another.
func (p *peers) bury(i int) {
	p.mu.Lock()
	dead := p.all[i]
	var shards []callbackd.Shard
	for s, owner := range p.owners {
		if owner == i {
			shards = append(shards, callbackd.Shard(s))
			p.owners[s] = -1
		}
	}
	p.evicted++
	p.mu.Unlock()
	dead.mu.Lock()
	dead.evicted = true
	dead.mu.Unlock()
	dead.e.Abandon()
	fresh := p.newPeer()
	p.mu.Lock()
	p.all[i] = fresh
	p.mu.Unlock()
	p.give((i+1)%len(p.all), shards...)
}

func (p *peers) drain() {
	p.work.Wait()
	for _, one := range p.all {
		one.e.Drain(context.Background())
	}
}

// Whatever node accepts an event, however late, disordered or lost the word
// of it is, and while shards move and nodes are evicted: every
// delivery ends, first arrivals of a session are in order, and an attempt is
// made again only when its node was evicted meanwhile.
func TestPropertyNodesTogetherDeliverInOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(*together) {
		window, lossy, violent := []int{4, 1024}[seed%2], seed/2%2 == 1, seed/4%2 == 1
		t.Run(fmt.Sprintf("seed=%d,window=%d,lossy=%v,violent=%v", seed, window, lossy, violent), func(t *testing.T) {
			if problem := deliverTogether(t, seed, window, lossy, violent); problem != "" {
				t.Error(problem)
			}
		})
	}
}

var together = flag.Int("together", 24, "worlds of several nodes")

func deliverTogether(t *testing.T, seed uint64, window int, lossy, violent bool) (problem string) {
	bubble(t, engine.Options{Window: window}, func(r *rig) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		var luck sync.Mutex
		soon := slices.Repeat([]time.Duration{0, time.Second}, 6)
		cbs := []callbackd.CallbackID{r.callback(ev1, callbackd.Policy{Retry: soon}), r.callback(ev1, callbackd.Policy{Retry: soon, Concurrency: 2})}
		r.set(func(c call) callbackd.Result {
			luck.Lock()
			wait, fails := rnd.IntN(400), rnd.IntN(12) == 0
			luck.Unlock()
			time.Sleep(time.Duration(wait) * time.Millisecond)
			if fails {
				return status(500)
			}
			return status(200)
		})
		p := newPeers(r, 3, seed)
		p.lossy = lossy
		n := map[string]int64{}
		for i := range 150 {
			p.mu.Lock()
			p.accepts = p.rnd.IntN(3)
			session := fmt.Sprint("S", p.rnd.IntN(8))
			step, from, to := p.rnd.IntN(25), p.rnd.IntN(3), p.rnd.IntN(3)
			p.mu.Unlock()
			r.publish(ev1, session)
			n[session]++
			switch {
			case step == 0 && from != to:
				p.move(from, to, 2)
			case step == 1 && violent:
				p.bury(from)
			}
			if i%7 == 0 {
				pass(time.Duration(step*20) * time.Millisecond)
			}
		}
		for range 30 { // the net under the messages
			pass(time.Minute)
			for _, one := range p.all {
				if !lossy {
					break
				}
				if err := one.e.Rescan(r.Context()); err != nil {
					r.Error(err)
				}
			}
		}
		p.drain()
		problem = p.judge(cbs, n)
	})
	return problem
}

func (p *peers) judge(cbs []callbackd.CallbackID, n map[string]int64) string {
	type place struct {
		cb      callbackd.CallbackID
		session string
	}
	type one struct {
		place
		sequence int64
		attempt  int
	}
	last, times := map[place]int64{}, map[one]int{}
	for _, c := range p.sent() {
		at := place{c.cb, c.session}
		if c.sequence > last[at]+1 {
			return fmt.Sprintf("callback %d session %s: %d came before %d", c.cb, c.session, c.sequence, last[at]+1)
		}
		last[at] = max(last[at], c.sequence)
		k := one{at, c.sequence, c.attempt}
		if times[k]++; times[k] > 1+p.evicted {
			return fmt.Sprintf("attempt %d of %d of %s to callback %d was made %d times, and %d nodes were evicted", c.attempt, c.sequence, c.session, c.cb, times[k], p.evicted)
		}
	}
	for _, cb := range cbs {
		for session, want := range n {
			if got := last[place{cb, session}]; got != want {
				return fmt.Sprintf("callback %d has %d of %d events of %s", cb, got, want, session)
			}
		}
	}
	left, err := p.s.Backlogs(p.Context())
	if err != nil || len(left) > 0 {
		return fmt.Sprintf("something is pending for %v, %v", left, err)
	}
	return ""
}

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

// Nothing starts after the end of the lease, by whichever clock it comes
// first, and everything goes on when it is renewed.
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
			r.Fatalf("%d sent, the lease ended after 2", n)
		}
		e.SetLease(time.Now().Add(10 * time.Second))
		synctest.Wait()
		if n := len(r.sent()); n != 5 {
			r.Fatalf("%d sent after the renewal, want 5", n)
		}
	})
}

// An attempt that was chosen within the lease and would be sent after it is
// put back where it was.
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
			r.Fatalf("%d sent after the end of the lease", n)
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
		if len(r.sent()) != 3 || !slices.Equal(got, []int64{1, 2}) {
			r.Errorf("%d sent, of A %v", len(r.sent()), got)
		}
		e.Drain(r.Context())
		p.drain()
	})
}

// slowQueue takes its time to say what a callback is.
type slowQueue struct {
	*sqlite.Store
	mu   sync.Mutex
	wait time.Duration
}

func (q *slowQueue) set(d time.Duration) { q.mu.Lock(); q.wait = d; q.mu.Unlock() }

func (q *slowQueue) CallbackByID(ctx context.Context, no callbackd.CallbackID) (*callbackd.Callback, error) {
	q.mu.Lock()
	wait := q.wait
	q.mu.Unlock()
	time.Sleep(wait)
	return q.Store.CallbackByID(ctx, no)
}

// A shard is drained when the outcome of what was under way is recorded, and
// nothing of it starts from the moment it is given up.
func TestAShardIsDrainedWhenItsAttemptsAreRecorded(t *testing.T) {
	shared(t, func(r *rig, e *engine.Engine) {
		cb := r.callback(ev1, callbackd.Policy{})
		r.set(func(call) callbackd.Result { time.Sleep(10 * time.Second); return status(200) })
		r.publish(ev1, "A", "A", "B")
		pass(time.Second)
		begun := time.Now()
		drained := e.Disown(allShards())
		n := 0
		for s := range drained {
			if n++; s == callbackd.ShardOf(cb) {
				if n != callbackd.Shards || time.Since(begun) != 9*time.Second {
					r.Errorf("the busy shard was number %d, after %v", n, time.Since(begun))
				}
			} else if time.Since(begun) != 0 {
				r.Fatal("an idle shard had to wait")
			}
		}
		r.publish(ev1, "C")
		pass(time.Minute)
		if len(r.sent()) != 2 {
			r.Errorf("%d sent, 2 were under way", len(r.sent()))
		}
		if err := e.Adopt(r.Context(), allShards()); err != nil {
			r.Fatal(err)
		}
		pass(time.Minute)
		if len(r.sent()) != 4 {
			r.Errorf("%d sent after all, want 4", len(r.sent()))
		}
	})
}

// lateQueue does not show one delivery to queries that began before it was
// let in: it was committed late, by another node, with an id from before.
type lateQueue struct {
	*sqlite.Store
	mu     sync.Mutex
	hidden callbackd.EventID
	wait   time.Duration // of a query
	passes bool          // a query under way has seen more than it shows
}

func (q *lateQueue) passing() bool { q.mu.Lock(); defer q.mu.Unlock(); return q.passes }

func (q *lateQueue) FirstAttempts(ctx context.Context, cb callbackd.CallbackID, after callbackd.EventID, limit int) ([]callbackd.Delivery, error) {
	q.mu.Lock()
	hidden, wait := q.hidden, q.wait
	q.mu.Unlock()
	ds, err := q.Store.FirstAttempts(ctx, cb, after, limit+1)
	shown := slices.DeleteFunc(slices.Clone(ds), func(d callbackd.Delivery) bool { return d.ID.Event == hidden })
	q.set(len(shown) > 0 && hidden > after && hidden < shown[min(len(shown), limit)-1].ID.Event)
	time.Sleep(wait)
	q.set(false)
	return shown[:min(len(shown), limit)], err
}

func (q *lateQueue) set(passes bool) { q.mu.Lock(); q.passes = passes; q.mu.Unlock() }

// What becomes visible below the cursor while a query runs that passes it is
// not lost: the queue is read from there again.
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
		for range 200 { // a query is under way at one of these moments, until all is read
			time.Sleep(500 * time.Millisecond)
			synctest.Wait()
			if q.passing() {
				break
			}
		}
		q.mu.Lock()
		q.hidden = 0
		q.mu.Unlock()
		e.CommittedElsewhere([]callbackd.Delivery{{ID: callbackd.DeliveryID{Event: late, Callback: 1}, Session: "late", Sequence: 1}})
		pass(10 * time.Minute)
		if n := len(r.sent()); n != 7 {
			r.Errorf("%d of 7 sent", n)
		}
		e.Drain(r.Context())
	})
}

// What is known of a receiver goes with its shard: until when it asked to be
// left alone, and that it fails.
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
		if len(r.of(closed)) != 1 || len(r.of(failing)) < callbackd.BreakerThreshold {
			t.Fatalf("%d and %d requests", len(r.of(closed)), len(r.of(failing)))
		}
		until := asked.Add(10 * time.Minute)
		for i := range 4 { // each callback moves, whoever had it
			before := len(r.of(failing))
			p.move(i%2, (i+1)%2, 1)
			pass(5 * time.Second)
			if n := len(r.of(failing)) - before; n > 1 {
				t.Errorf("%d requests to a failing receiver within five seconds of a move", n)
			}
		}
		pass(time.Until(until) - time.Second)
		if n := len(r.of(closed)); n != 1 {
			t.Errorf("%d requests before the time that was asked for", n)
		}
		pass(time.Minute)
		if n := len(r.of(closed)); n == 1 {
			t.Error("nothing is sent after it")
		}
		p.drain()
	})
}

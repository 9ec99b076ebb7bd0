package engine_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/engine"
	"callbackd/internal/store/sqlite"
)

// peer is one of several engines on a queue, as a node runs it.
type peer struct {
	*sqlite.Store // the queue
	e             *engine.Engine
	mu            sync.Mutex
	evicted       bool // its records are refused
	chain         map[lane]callbackd.GivenOut
}

// lane is a session of a key.
type lane struct {
	key     callbackd.KeyID
	session string
}

// Record refuses the outcomes of a node that was evicted.
func (p *peer) Record(ctx context.Context, o *callbackd.Outcome) (callbackd.Recorded, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.evicted {
		return callbackd.Recorded{}, callbackd.Errorf(callbackd.KindConflict, "evicted")
	}
	o.CanWait = false // time stands still while another outcome waits for the mutex
	return p.Store.Record(ctx, o)
}

// peers are engines that share a queue, with the owners of the shards.
type peers struct {
	*rig
	all     []*peer
	rnd     *rand.Rand
	work    sync.WaitGroup
	end     chan struct{}
	owners  [callbackd.Shards]int // -1: no owner, or moving
	accepts int                   // the node that accepts now
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
	r.s.OnCommit(p.committed)
	return p
}

func (p *peers) newPeer() *peer {
	one := &peer{Store: p.s, chain: map[lane]callbackd.GivenOut{}}
	o := p.o
	o.Queue, o.Sender, o.Shared = one, p.rig, true
	one.e = engine.New(o)
	if err := one.e.Start(p.Context()); err != nil {
		p.Fatal(err)
	}
	one.e.SetLease(time.Now().Add(24 * time.Hour))
	return one
}

// committed sends the messages between nodes. They are late, in any order, and some are
// lost.
func (p *peers) committed(ds []callbackd.Delivery) {
	p.mu.Lock()
	defer p.mu.Unlock()
	by := p.all[p.accepts]
	var readLane bool
	for i, d := range ds {
		if i == 0 || ds[i-1].ID.Event != d.ID.Event {
			at := lane{d.Key, d.Session}
			by.chain[at], readLane = by.chain[at].Next(d.ID.Event, d.Sequence)
		}
		d.ReadLane = readLane
		to := p.owners[callbackd.ShardOf(d.Key)]
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
				one.e.AcceptedElsewhere(d)
			})
		}
	}
}

// move moves some shards, as nodes do when they join and leave.
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

// evict evicts a node: its records are refused, its shards go to another, and it
// joins as a new one.
func (p *peers) evict(i int) {
	p.mu.Lock()
	evicted := p.all[i]
	var shards []callbackd.Shard
	for s, owner := range p.owners {
		if owner == i {
			shards = append(shards, callbackd.Shard(s))
			p.owners[s] = -1
		}
	}
	p.evicted++
	p.mu.Unlock()
	evicted.mu.Lock()
	evicted.evicted = true
	evicted.mu.Unlock()
	evicted.e.Abandon()
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

// Any node may accept an event, messages about it may be late, out of order or lost, shards
// move, and nodes are evicted. Still every delivery ends, the first attempts of a session
// are in order, an attempt is repeated only when its node was evicted meanwhile, and what is
// deferred is sent, and not before its time.
func TestPropertyNodesTogetherDeliverInOrder(t *testing.T) {
	t.Parallel()
	worlds := *together
	if testing.Short() {
		worlds = min(worlds, 8) // one of each kind
	}
	for seed := range uint64(worlds) {
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
		keys := []callbackd.Key{r.key, r.newKey("other")}
		orders := orderedCallbacks(r, keys)
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
		n, deferred := map[string]int64{}, map[string]time.Time{} // by session
		for i := range 150 {
			p.mu.Lock()
			p.accepts = p.rnd.IntN(3)
			session := fmt.Sprint("S", p.rnd.IntN(8))
			event := []callbackd.EventType{ev1, callbackd.Complete}[p.rnd.IntN(2)]
			step, from, to := p.rnd.IntN(25), p.rnd.IntN(3), p.rnd.IntN(3)
			p.mu.Unlock()
			for _, r.key = range keys {
				r.publish(event, session)
			}
			n[session]++
			for i := range orders {
				orders[i].note(event, session, n[session])
			}
			if step < 8 {
				// Beside the others in order: nobody knows when a home hears of it.
				later := fmt.Sprint("deferred", i)
				deferred[later] = time.Now().Add(time.Duration(step) * 700 * time.Millisecond).Truncate(time.Millisecond)
				for _, r.key = range keys {
					r.timed(event, deferred[later], time.Time{}, later)
				}
			}
			switch {
			case step == 0 && from != to:
				p.move(from, to, 2)
			case step == 1 && violent:
				p.evict(from)
			}
			if i%7 == 0 {
				pass(time.Duration(step*20) * time.Millisecond)
			}
		}
		for range 30 { // Rescan finds what the messages did not tell
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
		problem = p.problem(orders)
		for _, c := range p.sent() {
			if early := deferred[c.session].Sub(c.at); early > 0 {
				problem = fmt.Sprintf("%s was sent %v early", c.session, early)
			}
		}
	})
	return problem
}

// orderedCallbacks makes callbacks of each key: with and without a limit of attempts at a time,
// and two in an order group.
func orderedCallbacks(r *rig, keys []callbackd.Key) (orders []ordered) {
	soon := slices.Repeat([]time.Duration{0, time.Second}, 6)
	for _, r.key = range keys {
		for _, p := range []callbackd.Policy{{Retry: soon}, {Retry: soon, Concurrency: 2}} {
			orders = append(orders, ordered{types: []callbackd.EventType{ev1}, cbs: []callbackd.CallbackID{r.callback(ev1, p)}})
		}
		group := callbackd.Policy{Retry: soon, OrderGroup: "portal"}
		types := []callbackd.EventType{ev1, callbackd.Complete}
		orders = append(orders, ordered{types: types, cbs: []callbackd.CallbackID{r.callback(ev1, group), r.callback(callbackd.Complete, group)}})
	}
	return orders
}

// ordered is callbacks that get the events of each session in one order: one callback, or
// those of an order group.
type ordered struct {
	types []callbackd.EventType
	cbs   []callbackd.CallbackID
	want  map[string][]int64 // the sequence numbers of each session
}

// note notes an event that was published.
func (o *ordered) note(event callbackd.EventType, session string, sequence int64) {
	if o.want == nil {
		o.want = map[string][]int64{}
	}
	if slices.Contains(o.types, event) {
		o.want[session] = append(o.want[session], sequence)
	}
}

// problem returns the first promise that does not hold; "" when all hold.
func (p *peers) problem(orders []ordered) string {
	times := map[call]int{}
	for _, c := range p.sent() {
		c.at = time.Time{}
		if times[c]++; times[c] > 1+p.evicted {
			return fmt.Sprintf("attempt %d of %d of %s to callback %d was made %d times, and %d nodes were evicted", c.attempt, c.sequence, c.session, c.cb, times[c], p.evicted)
		}
	}
	for _, o := range orders {
		done := map[string]int{} // how many of each session began
		for _, c := range p.sent() {
			if !slices.Contains(o.cbs, c.cb) {
				continue
			}
			i := slices.Index(o.want[c.session], c.sequence)
			if i > done[c.session] {
				return fmt.Sprintf("callbacks %v session %s: %d came before %d", o.cbs, c.session, c.sequence, o.want[c.session][done[c.session]])
			}
			done[c.session] = max(done[c.session], i+1)
		}
		for session, want := range o.want {
			if done[session] != len(want) {
				return fmt.Sprintf("callbacks %v have %d of %d events of %s", o.cbs, done[session], len(want), session)
			}
		}
	}
	left, err := p.s.PendingCallbacks(p.Context())
	if err != nil || len(left) > 0 {
		return fmt.Sprintf("callbacks with pending deliveries: %v, want none; error %v", left, err)
	}
	return ""
}

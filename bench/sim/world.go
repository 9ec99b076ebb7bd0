// Package sim simulates up to a thousand nodes on one database, in virtual time and
// from a seed. The nodes divide the shards by the product's own rule, cluster.Decide
// with cluster.TimingOf. The rest is a model: the database and its locks, the network
// and its losses, clocks that are wrong or run at unequal speed, and processes that
// die, freeze, start and leave.
//
// It answers what tests with real processes cannot: how long a thousand nodes take to
// divide the work of five hundred that died, what that costs the database, and whether
// two nodes could ever deliver for one shard.
package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"callbackd"
	"callbackd/internal/cluster"
)

// Config describes a world. Zero fields take the defaults.
type Config struct {
	Seed   uint64
	Lease  time.Duration
	Cores  int     // of the database
	Lost   float64 // share of messages and statements that are lost
	Drift  float64 // how much faster or slower than the database's clock a node's runs, at most
	Starts float64 // attempts that each node starts in a second
}

// What statements cost the database: CPU, and the wait for a commit. Measured on
// PostgreSQL 15 with internal/store/postgres over TCP.
const (
	heartbeatCost    = 250 * time.Microsecond
	heartbeatPerNode = 1100 * time.Nanosecond
	ownersCost       = time.Millisecond // when the map of owners is read again
	changeCost       = 600 * time.Microsecond
	commitWait       = 2 * time.Millisecond
	notifyCost       = 80 * time.Microsecond
	notifyPerNode    = 55 * time.Microsecond // for each node that listens
	recordCost       = 100 * time.Microsecond
	adoptTime        = 10 * time.Millisecond // to read the pending deliveries
	leaseConns       = 2                     // connections of a node for all of this
	retryFor         = 10 * time.Second      // for which a statement is tried again
	noticeFailed     = 200 * time.Millisecond
)

// World is one cluster in its own time.
type World struct {
	config     Config
	timing     cluster.Timing
	rng        *rand.Rand
	now        time.Duration
	eventCount int
	events     events
	db         database
	nodes      []*node
	deliverer  [callbackd.Shards]*node         // the node that delivers, or did last
	lostSince  [callbackd.Shards]time.Duration // when the last one stopped; 0: it did not

	takeovers      []time.Duration
	claims         int // shards that changed hands
	attempts       int
	refused        int // records that were refused, of evicted nodes
	wronglyEvicted int // evictions of live nodes
	Violations     []string
}

// New makes a world without nodes.
func New(c Config) *World {
	if c.Lease == 0 {
		c.Lease = cluster.DefaultLease
	}
	if c.Cores == 0 {
		c.Cores = 16
	}
	w := &World{config: c, timing: cluster.TimingOf(c.Lease), rng: rand.New(rand.NewPCG(c.Seed, 1))}
	w.db = database{w: w, cores: make([]time.Duration, c.Cores), rows: map[callbackd.NodeID]*row{}, revision: 1}
	return w
}

type event struct {
	at  time.Duration
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	(*e)[last] = event{}
	*e = (*e)[:last]
	return x
}

func (w *World) at(t time.Duration, do func()) {
	w.eventCount++
	heap.Push(&w.events, event{t, w.eventCount, do})
}

func (w *World) after(d time.Duration, do func()) { w.at(w.now+d, do) }

// Run lets time pass.
func (w *World) Run(d time.Duration) {
	end := w.now + d
	for len(w.events) > 0 && w.events[0].at <= end {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
	w.now = end
}

// latency returns how long one way over the network takes: mostly short, now and then
// long.
func (w *World) latency() time.Duration {
	d := 200*time.Microsecond + time.Duration(w.rng.ExpFloat64()*float64(200*time.Microsecond))
	if w.rng.IntN(1000) == 0 {
		d += 50 * time.Millisecond
	}
	return d
}

func (w *World) isLost() bool { return w.config.Lost > 0 && w.rng.Float64() < w.config.Lost }

func (w *World) violation(format string, args ...any) {
	if len(w.Violations) < 20 {
		w.Violations = append(w.Violations, fmt.Sprintf("%v: ", w.now)+fmt.Sprintf(format, args...))
	}
}

// Start starts n nodes, one each time every has passed.
func (w *World) Start(n int, every time.Duration) {
	for i := range n {
		w.after(time.Duration(i)*every, func() { w.join() })
	}
}

// alive returns the nodes that are not dead.
func (w *World) alive() (out []*node) {
	for _, n := range w.nodes {
		if !n.gone {
			out = append(out, n)
		}
	}
	return out
}

// pick returns k random nodes that are not dead.
func (w *World) pick(k int) []*node {
	all := w.alive()
	w.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:k]
}

// Kill ends k nodes at once. They tell nobody.
func (w *World) Kill(k int) {
	for _, n := range w.pick(k) {
		n.gone = true
		n.markLost()
	}
}

// Freeze stops k nodes for a while, like SIGSTOP or a suspended virtual machine.
func (w *World) Freeze(k int, d time.Duration) {
	for _, n := range w.pick(k) {
		n.frozen = true
		n.markLost()
		w.after(d, n.thaw)
	}
}

// Leave makes k nodes give up their shards and go.
func (w *World) Leave(k int) {
	for _, n := range w.pick(k) {
		n.leaving = true
		n.markLost()
		n.refreshSoon()
	}
}

// Skew makes the clocks of k nodes wrong.
func (w *World) Skew(k int, by time.Duration) {
	for _, n := range w.pick(k) {
		n.skew = by
	}
}

// Outage makes the database answer nothing for a while.
func (w *World) Outage(d time.Duration) { w.db.down = w.now + d }

// Settled reports whether a node delivers for every shard, and the nodes that may own
// shards have equal numbers of them, or one more.
func (w *World) Settled() bool {
	least, most, sum := callbackd.Shards, 0, 0
	for _, n := range w.nodes {
		if n.gone {
			continue
		}
		if n.frozen || n.leaving || n.skew.Abs() > callbackd.MaxSkew {
			if n.mine+n.draining > 0 {
				return false
			}
			continue
		}
		if n.id == 0 || n.draining > 0 || n.notAdopted > 0 || !n.leased() {
			return false
		}
		least, most, sum = min(least, n.mine), max(most, n.mine), sum+n.mine
	}
	return sum == callbackd.Shards && most-least <= 1
}

// runUntilSettled lets time pass until the world is settled, or limit is over.
func (w *World) runUntilSettled(limit time.Duration) (took time.Duration, ok bool) {
	start := w.now
	for w.now-start < limit {
		w.Run(50 * time.Millisecond)
		if w.Settled() {
			return w.now - start, true
		}
	}
	return w.now - start, false
}

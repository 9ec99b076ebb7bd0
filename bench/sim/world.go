// Package sim simulates up to a thousand nodes on one database in virtual time. Each
// node is the product's own cluster.Member. The rest is a model: the database and its
// locks, the network and its losses, the engine, clocks that are wrong or run at unequal
// speed, and processes that die, freeze, start and leave.
//
// It answers what tests with real processes cannot: how long a thousand nodes take to
// divide the work of five hundred that died, what that costs the database, and whether
// two nodes could ever deliver for one shard.
//
// The seed fixes the faults and the nodes they hit. It does not fix the order of what
// happens at the same moment, so two runs with one seed differ a little.
package sim

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
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
	config Config
	timing cluster.Timing
	start  time.Time
	work   sync.WaitGroup // all goroutines
	picks  *rand.Rand     // chooses faults; only Play's goroutine uses it
	faults []string       // every fault so far, and the nodes that it hit

	// mu guards what follows, and all state of nodes. No goroutine waits while holding
	// it: virtual time does not pass while a goroutine waits for a mutex.
	mu        sync.Mutex
	noise     *rand.Rand // latencies and losses
	db        *database
	nodes     []*node
	deliverer [callbackd.Shards]*node         // the node that delivers, or did last
	lostSince [callbackd.Shards]time.Duration // when the last one stopped; 0: it did not

	takeovers      []time.Duration
	claims         int // shards that changed hands
	attempts       int
	refused        int // records that were refused, of evicted nodes
	wronglyEvicted int // evictions of live nodes
	violations     []string
}

// simulate makes a world, runs f with it in virtual time, and ends all its nodes. The
// package synctest wants a test. This one belongs to no test run and does not fail.
func simulate(c Config, f func(w *World)) (w *World) {
	synctest.Test(new(testing.T), func(*testing.T) {
		w = newWorld(c)
		f(w)
		w.end()
	})
	return w
}

func newWorld(c Config) *World {
	if c.Lease == 0 {
		c.Lease = cluster.DefaultLease
	}
	if c.Cores == 0 {
		c.Cores = 16
	}
	w := &World{
		config: c,
		timing: cluster.TimingOf(c.Lease),
		start:  time.Now(),
		picks:  rand.New(rand.NewPCG(c.Seed, 1)),
		noise:  rand.New(rand.NewPCG(c.Seed, 2)),
	}
	w.db = newDatabase(w)
	return w
}

// now returns how long the world exists.
func (w *World) now() time.Duration { return time.Since(w.start) }

// run lets time pass.
func (w *World) run(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// end kills all nodes and waits until all goroutines have ended.
func (w *World) end() {
	w.hit("end", w.alive(), (*node).kill)
	w.work.Wait()
}

// latency returns how long one way over the network takes: mostly short, now and then
// long. The caller holds mu.
func (w *World) latency() time.Duration {
	d := 200*time.Microsecond + time.Duration(w.noise.ExpFloat64()*float64(200*time.Microsecond))
	if w.noise.IntN(1000) == 0 {
		d += 50 * time.Millisecond
	}
	return d
}

// travel waits until something has passed the network, and reports whether it arrived.
func (w *World) travel() bool {
	w.mu.Lock()
	d, lost := w.latency(), w.isLost()
	w.mu.Unlock()
	time.Sleep(d)
	return !lost
}

// isLost decides whether something is lost. The caller holds mu.
func (w *World) isLost() bool { return w.config.Lost > 0 && w.noise.Float64() < w.config.Lost }

// violation notes a broken promise. The caller holds mu.
func (w *World) violation(format string, args ...any) {
	if len(w.violations) < 20 {
		w.violations = append(w.violations, fmt.Sprintf("%v: ", w.now())+fmt.Sprintf(format, args...))
	}
}

// startNodes starts n nodes, one each time every has passed.
func (w *World) startNodes(n int, every time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range n {
		node := newNode(w, 1+(2*w.picks.Float64()-1)*w.config.Drift)
		w.nodes = append(w.nodes, node)
		w.work.Go(func() {
			time.Sleep(time.Duration(i) * every)
			node.live()
		})
	}
}

// alive returns the nodes that were not ended.
func (w *World) alive() (out []*node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.nodes {
		if !n.ending {
			out = append(out, n)
		}
	}
	return out
}

// hit applies a fault to nodes, while all goroutines wait for time to pass.
func (w *World) hit(fault string, nodes []*node, f func(*node)) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range nodes {
		fault += fmt.Sprintf(" %d(%.6f)", n.number, n.clock.rate)
		f(n)
	}
	w.faults = append(w.faults, fault)
}

// pick returns k random nodes that are not dead.
func (w *World) pick(k int) []*node {
	all := w.alive()
	w.picks.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:k]
}

// kill ends k nodes at the same moment, without a message to the others.
func (w *World) kill(k int) { w.hit("kill", w.pick(k), (*node).kill) }

// freeze stops k nodes for a while. Half of them are machines that are suspended, whose
// monotonic clocks stand still meanwhile; the others are stopped processes.
func (w *World) freeze(k int, d time.Duration) {
	i := w.picks.IntN(2)
	w.hit("freeze", w.pick(k), func(n *node) {
		i++
		n.freeze(d, i%2 == 0)
	})
}

// leave makes k nodes give up their shards.
func (w *World) leave(k int) { w.hit("leave", w.pick(k), (*node).leave) }

// removeLeft ends the processes of nodes that left.
func (w *World) removeLeft() {
	for _, n := range w.alive() {
		if n.leaving {
			w.hit("close", []*node{n}, (*node).close)
		}
	}
	w.run(time.Second)
}

// skew makes the wall clocks of k nodes wrong.
func (w *World) skew(k int, by time.Duration) {
	w.hit("skew", w.pick(k), func(n *node) { n.clock.skew = by })
}

// outage makes the database answer nothing for a while.
func (w *World) outage(d time.Duration) {
	w.hit("outage", nil, nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.db.goAway(w.now() + d)
}

// settled reports whether a node delivers for every shard, and the nodes that may own
// shards have equal numbers of them, or one more.
func (w *World) settled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	least, most, sum := callbackd.Shards, 0, 0
	for _, n := range w.nodes {
		owned := n.engine.count[owned]
		switch {
		case n.ending:
		case n.frozen() || n.leaving || n.clock.skew.Abs() > callbackd.MaxSkew:
			if owned > 0 {
				return false
			}
		case n.id == 0 || !n.engine.leased():
			return false
		default:
			least, most, sum = min(least, owned), max(most, owned), sum+owned
		}
	}
	return sum == callbackd.Shards && most-least <= 1
}

// runUntilSettled lets time pass until the world is settled, or limit is over.
func (w *World) runUntilSettled(limit time.Duration) (took time.Duration, ok bool) {
	start := w.now()
	for w.now()-start < limit {
		w.run(50 * time.Millisecond)
		if w.settled() {
			return w.now() - start, true
		}
	}
	return w.now() - start, false
}

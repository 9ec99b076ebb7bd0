// Package sim plays up to a thousand nodes on one database, in virtual time,
// by a seed. How they divide the shards is decided by the rule that the
// product uses, cluster.Decide with cluster.TimingOf; what is around it is a
// model: the database and its locks, the network and what it loses, clocks
// that run and stand apart, and processes that die, sleep or come and go.
//
// It answers what no test with real processes can afford to ask: how long a
// thousand nodes take to share the work of five hundred that died, what a
// change of hands costs the database, and whether two nodes could ever write
// for one shard.
package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"callbackd"
	"callbackd/internal/cluster"
)

// Config is what a world is made of. Zero members take the defaults.
type Config struct {
	Seed   uint64
	Lease  time.Duration
	Cores  int     // of the database
	Lost   float64 // share of the messages, and of the statements, that are lost
	Drift  float64 // how much faster or slower than the database's a clock runs, at most
	Starts float64 // attempts that each node starts in a second, to be checked
}

// What statements cost the database, measured on PostgreSQL 15 with
// internal/store/postgres over TCP: CPU, and how long a commit is waited for.
const (
	beatCost     = 250 * time.Microsecond
	beatPerNode  = 1100 * time.Nanosecond
	ownersCost   = time.Millisecond // when the map is read anew
	changeCost   = 600 * time.Microsecond
	commitWait   = 2 * time.Millisecond
	postCost     = 80 * time.Microsecond
	postPerNode  = 55 * time.Microsecond // for each node that listens
	recordCost   = 100 * time.Microsecond
	adoptTime    = 10 * time.Millisecond // to read what is owed
	leaseConns   = 2                     // connections of a node for all of this
	patience     = 10 * time.Second      // for which a statement is tried again
	noticeFailed = 200 * time.Millisecond
)

// World is one cluster and its time.
type World struct {
	cfg    Config
	timing cluster.Timing
	rng    *rand.Rand
	now    time.Duration
	seq    int
	queue  events
	db     database
	nodes  []*node
	holder [callbackd.Shards]*node         // who began to deliver last
	lostAt [callbackd.Shards]time.Duration // since when nobody does; 0: somebody does

	handovers  []time.Duration
	claimed    int // shards that changed hands
	attempts   int
	refused    int // records of nodes that were buried
	wrongly    int // burials of nodes that lived
	Violations []string
}

// New is a world without nodes.
func New(c Config) *World {
	if c.Lease == 0 {
		c.Lease = cluster.DefaultLease
	}
	if c.Cores == 0 {
		c.Cores = 16
	}
	w := &World{cfg: c, timing: cluster.TimingOf(c.Lease), rng: rand.New(rand.NewPCG(c.Seed, 1))}
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
	w.seq++
	heap.Push(&w.queue, event{t, w.seq, do})
}

func (w *World) after(d time.Duration, do func()) { w.at(w.now+d, do) }

// Run lets time pass.
func (w *World) Run(d time.Duration) {
	end := w.now + d
	for len(w.queue) > 0 && w.queue[0].at <= end {
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
	}
	w.now = end
}

// latency is one way over the network: mostly short, now and then not.
func (w *World) latency() time.Duration {
	d := 200*time.Microsecond + time.Duration(w.rng.ExpFloat64()*float64(200*time.Microsecond))
	if w.rng.IntN(1000) == 0 {
		d += 50 * time.Millisecond
	}
	return d
}

func (w *World) lost() bool { return w.cfg.Lost > 0 && w.rng.Float64() < w.cfg.Lost }

func (w *World) violation(format string, args ...any) {
	if len(w.Violations) < 20 {
		w.Violations = append(w.Violations, fmt.Sprintf("%v: ", w.now)+fmt.Sprintf(format, args...))
	}
}

// Start adds nodes, one every so often.
func (w *World) Start(n int, every time.Duration) {
	for i := range n {
		w.after(time.Duration(i)*every, func() { w.join() })
	}
}

// alive is the nodes that work.
func (w *World) alive() (out []*node) {
	for _, n := range w.nodes {
		if !n.gone {
			out = append(out, n)
		}
	}
	return out
}

// pick is k of the nodes that work.
func (w *World) pick(k int) []*node {
	all := w.alive()
	w.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:k]
}

// Kill ends k nodes at once, without a word.
func (w *World) Kill(k int) {
	for _, n := range w.pick(k) {
		n.gone = true
		n.lose()
	}
}

// Freeze stops k nodes, as SIGSTOP or a virtual machine that is suspended.
func (w *World) Freeze(k int, d time.Duration) {
	for _, n := range w.pick(k) {
		n.frozen = true
		n.lose()
		w.after(d, n.thaw)
	}
}

// Leave lets k nodes go in good order.
func (w *World) Leave(k int) {
	for _, n := range w.pick(k) {
		n.leaving = true
		n.lose()
		n.hurry()
	}
}

// Skew sets the clocks of k nodes.
func (w *World) Skew(k int, by time.Duration) {
	for _, n := range w.pick(k) {
		n.skew = by
	}
}

// Outage makes the database answer nothing for a while.
func (w *World) Outage(d time.Duration) { w.db.down = w.now + d }

// Settled tells whether every shard is delivered for, and those nodes that
// may own shards have as many as the others, or one more.
func (w *World) Settled() bool {
	least, most, sum := callbackd.Shards, 0, 0
	for _, n := range w.nodes {
		if n.gone {
			continue
		}
		if n.frozen || n.leaving || n.skew.Abs() > callbackd.MaxSkew {
			if n.mine+n.given > 0 {
				return false
			}
			continue
		}
		if n.no == 0 || n.given > 0 || n.unread > 0 || !n.leased() {
			return false
		}
		least, most, sum = min(least, n.mine), max(most, n.mine), sum+n.mine
	}
	return sum == callbackd.Shards && most-least <= 1
}

// settle runs until the world is settled, or for the time given.
func (w *World) settle(limit time.Duration) (took time.Duration, ok bool) {
	start := w.now
	for w.now-start < limit {
		w.Run(50 * time.Millisecond)
		if w.Settled() {
			return w.now - start, true
		}
	}
	return w.now - start, false
}

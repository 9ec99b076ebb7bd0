package sim

import (
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// node is one process. It does what cluster.Member does, in the same order.
type node struct {
	w              *World
	id             callbackd.NodeID // 0: not joined
	rate           float64          // how fast its clock runs
	skew           time.Duration
	gone           bool
	frozen         bool
	thawedAt       time.Duration
	leaving        bool
	delayed        []func() // what was to happen while it was frozen
	conns          int      // in use
	waitingForConn []func() // statements that wait for a connection

	shards     [callbackd.Shards]uint8
	inFlight   map[callbackd.Shard]int // attempts
	mine       int
	draining   int // shards given up and not free yet
	notAdopted int // shards owned and not delivered for yet

	waiting, refreshAsked      bool // for its next heartbeat, and whether that is to come now
	timerNumber                int
	lastRenewal, unbrokenSince time.Duration
	hasRenewed                 bool
	leaseEnd                   time.Duration
	ownership                  *ownership
	ownRevision                int64
	nodes                      []store.Node

	dividing    bool
	newest      *renewal
	drained     []callbackd.Shard
	releasing   bool
	notifying   bool
	notifyAgain bool
	shardNews   int
}

type renewal struct {
	store.ClusterView
	id       callbackd.NodeID
	unbroken bool
}

const (
	notOwned uint8 = iota
	owned
	draining
)

// run does something in the process: at once, when it thaws, or never when it is
// dead.
func (n *node) run(do func()) {
	switch {
	case n.gone:
	case n.frozen:
		n.delayed = append(n.delayed, do)
	default:
		do()
	}
}

// sleep calls do after a time by the node's clock.
func (n *node) sleep(d time.Duration, do func()) {
	n.w.after(time.Duration(float64(d)/n.rate), func() { n.run(do) })
}

func (n *node) thaw() {
	late := n.delayed
	n.frozen, n.delayed, n.thawedAt = false, nil, n.w.now
	for _, do := range late {
		n.run(do)
	}
}

// request makes a statement on one of the node's few connections. at is what the
// database does, and reply is called with the answer. What is lost on the way is
// tried again until limit has passed; then ok is false.
func (n *node) request(limit time.Duration, at func(done func()), reply func(ok bool)) {
	start := n.w.now
	var try func()
	done := func(ok bool) {
		n.conns--
		if len(n.waitingForConn) > 0 {
			next := n.waitingForConn[0]
			n.waitingForConn = n.waitingForConn[1:]
			next()
		}
		reply(ok)
	}
	again := func() {
		if n.w.now-start > limit {
			done(false)
		} else {
			try()
		}
	}
	try = func() {
		w := n.w
		w.after(w.latency(), func() {
			if w.now < w.db.down || w.isLost() {
				w.after(noticeFailed, func() { n.run(again) })
				return
			}
			at(func() {
				if w.isLost() { // it is done, and the answer is lost
					w.after(noticeFailed, func() { n.run(again) })
					return
				}
				w.after(w.latency(), func() { n.run(func() { done(true) }) })
			})
		})
	}
	begin := func() {
		n.conns++
		try()
	}
	if n.conns == leaseConns {
		n.waitingForConn = append(n.waitingForConn, begin)
	} else {
		begin()
	}
}

func (n *node) change(kind string, at func() (changed bool), reply func(ok bool)) {
	n.request(retryFor, func(done func()) { n.w.db.change(kind, at, done) }, reply)
}

// join starts a process.
func (w *World) join() {
	n := &node{w: w, rate: 1 + (2*w.rng.Float64()-1)*w.config.Drift, inFlight: map[callbackd.Shard]int{}}
	w.nodes = append(w.nodes, n)
	n.joinAs(func() {
		n.heartbeat()
		n.startAttempts()
	})
}

func (n *node) joinAs(then func()) {
	var no callbackd.NodeID
	n.change("join", func() bool { no = n.w.db.join(n); return true }, func(ok bool) {
		if !ok {
			n.sleep(time.Second, func() { n.joinAs(then) })
			return
		}
		n.id = no
		then()
	})
}

func (n *node) receiveShardNews() {
	n.shardNews++
	n.refreshSoon()
}

// refreshSoon makes the next renewal come now.
func (n *node) refreshSoon() {
	n.refreshAsked = true
	if n.waiting {
		n.refresh()
	}
}

func (n *node) refresh() {
	n.waiting, n.refreshAsked = false, false
	n.timerNumber++
	gather := n.w.timing.RefreshDelay(len(n.nodes))
	n.sleep(gather/2+time.Duration(n.w.rng.Int64N(int64(gather/2))), func() {
		n.refreshAsked = false // this heartbeat answers what was asked for meanwhile
		n.heartbeat()
	})
}

func (n *node) heartbeat() {
	w, start, no := n.w, n.w.now, n.id
	b := store.Heartbeat{ID: no, Leaving: n.leaving, Skew: n.skew}
	var known int64
	if n.ownership != nil {
		known = n.ownership.revision
	}
	var v store.ClusterView
	var seen *ownership
	renew := func(done func()) {
		c := heartbeatCost + time.Duration(len(w.db.order))*heartbeatPerNode
		if w.db.revision != known {
			c += ownersCost
		}
		w.at(w.db.serve("heartbeat", c), func() {
			v, seen = w.db.heartbeat(b, n.nodes), w.db.ownership()
			done()
		})
	}
	n.request(n.w.timing.TrustFor-n.w.timing.Heartbeat, renew, func(ok bool) {
		if ok {
			n.nodes = v.Nodes
			n.applyRenewal(&v, seen, no, start)
		}
		n.waiting = true
		n.timerNumber++
		turn := n.timerNumber
		n.sleep(n.w.timing.Heartbeat, func() {
			if n.waiting && n.timerNumber == turn {
				n.refresh()
			}
		})
		if n.refreshAsked {
			n.refresh()
		}
	})
}

// applyRenewal takes in what a renewal returned.
func (n *node) applyRenewal(v *store.ClusterView, seen *ownership, no callbackd.NodeID, start time.Duration) {
	dead := time.Duration(float64(n.w.timing.EvictAfter) / n.rate)
	if v.Alive {
		if !n.hasRenewed || start-n.lastRenewal >= dead {
			n.unbrokenSince = start
		}
		n.hasRenewed, n.lastRenewal = true, start
		n.leaseEnd = max(n.leaseEnd, start+time.Duration(float64(n.w.timing.TrustFor)/n.rate))
	}
	n.ownership = seen
	for i := range v.Nodes {
		v.Nodes[i].Shards = seen.count[v.Nodes[i].ID]
	}
	n.newest = &renewal{*v, no, start-n.unbrokenSince >= dead}
	n.divide()
}

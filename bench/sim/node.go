package sim

import (
	"time"

	"callbackd"
	"callbackd/internal/cluster"
	"callbackd/internal/store"
)

// node is one process: what internal/cluster does of a member, in the order
// in which it does it.
type node struct {
	w       *World
	no      callbackd.NodeID // 0: not joined
	rate    float64          // of its clock
	skew    time.Duration
	gone    bool
	frozen  bool
	woke    time.Duration
	leaving bool
	late    []func() // what came while it was frozen
	conns   int      // in use
	queue   []func() // what waits for one

	state  [callbackd.Shards]uint8
	flying map[callbackd.Shard]int // attempts
	mine   int
	given  int // given up and not free yet
	unread int // owned, and not delivered for yet

	waiting, poked bool // of the beats
	turn           int
	last, since    time.Duration
	beaten         bool
	hold           time.Duration
	known          *ownership
	changed        int64
	nodes          []store.Node

	dividing  bool
	view      *sight
	drained   []callbackd.Shard
	releasing bool
	posting   bool
	postAgain bool
	heard     int
}

type sight struct {
	store.ClusterView
	no     callbackd.NodeID
	steady bool
}

const (
	none uint8 = iota
	owned
	givenUp
)

// run does something in the process, if it lives, and not before it wakes.
func (n *node) run(do func()) {
	switch {
	case n.gone:
	case n.frozen:
		n.late = append(n.late, do)
	default:
		do()
	}
}

// sleep is a timer by the node's clock.
func (n *node) sleep(d time.Duration, do func()) {
	n.w.after(time.Duration(float64(d)/n.rate), func() { n.run(do) })
}

func (n *node) thaw() {
	late := n.late
	n.frozen, n.late, n.woke = false, nil, n.w.now
	for _, do := range late {
		n.run(do)
	}
}

// ask is a statement, on one of the few connections for such: at is what the
// database does, then reply comes here. What is lost on the way is tried again until
// limit; ok is false when even that was in vain.
func (n *node) ask(limit time.Duration, at func(done func()), reply func(ok bool)) {
	start := n.w.now
	var try func()
	done := func(ok bool) {
		n.conns--
		if len(n.queue) > 0 {
			next := n.queue[0]
			n.queue = n.queue[1:]
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
			if w.now < w.db.down || w.lost() {
				w.after(noticeFailed, func() { n.run(again) })
				return
			}
			at(func() {
				if w.lost() { // done, and nobody hears of it
					w.after(noticeFailed, func() { n.run(again) })
					return
				}
				w.after(w.latency(), func() { n.run(func() { done(true) }) })
			})
		})
	}
	begin := func() { n.conns++; try() }
	if n.conns == leaseConns {
		n.queue = append(n.queue, begin)
	} else {
		begin()
	}
}

func (n *node) change(kind string, at func() (changed bool), reply func(ok bool)) {
	n.ask(patience, func(done func()) { n.w.db.change(kind, at, done) }, reply)
}

// join starts a process.
func (w *World) join() {
	n := &node{w: w, rate: 1 + (2*w.rng.Float64()-1)*w.cfg.Drift, flying: map[callbackd.Shard]int{}}
	w.nodes = append(w.nodes, n)
	n.joinAs(func() {
		n.beat()
		n.work()
	})
}

func (n *node) joinAs(then func()) {
	var no callbackd.NodeID
	n.change("join", func() bool { no = n.w.db.join(n); return true }, func(ok bool) {
		if !ok {
			n.sleep(time.Second, func() { n.joinAs(then) })
			return
		}
		n.no = no
		then()
	})
}

func (n *node) hear() {
	n.heard++
	n.hurry()
}

// hurry makes the next renewal come now.
func (n *node) hurry() {
	n.poked = true
	if n.waiting {
		n.gather()
	}
}

func (n *node) gather() {
	n.waiting, n.poked = false, false
	n.turn++
	gather := n.w.timing.RefreshDelay(len(n.nodes))
	n.sleep(gather/2+time.Duration(n.w.rng.Int64N(int64(gather/2))), func() {
		n.poked = false // several pokes are one
		n.beat()
	})
}

func (n *node) beat() {
	w, start, no := n.w, n.w.now, n.no
	b := store.Heartbeat{ID: no, Leaving: n.leaving, Skew: n.skew}
	var known int64
	if n.known != nil {
		known = n.known.revision
	}
	var v store.ClusterView
	var seen *ownership
	renew := func(done func()) {
		c := beatCost + time.Duration(len(w.db.order))*beatPerNode
		if w.db.revision != known {
			c += ownersCost
		}
		w.at(w.db.serve("beat", c), func() {
			v, seen = w.db.beat(b, n.nodes), w.db.show()
			done()
		})
	}
	n.ask(n.w.timing.TrustFor-n.w.timing.Heartbeat, renew, func(ok bool) {
		if ok {
			n.nodes = v.Nodes
			n.renewed(&v, seen, no, start)
		}
		n.waiting = true
		n.turn++
		turn := n.turn
		n.sleep(n.w.timing.Heartbeat, func() {
			if n.waiting && n.turn == turn {
				n.gather()
			}
		})
		if n.poked {
			n.gather()
		}
	})
}

// renewed is what a renewal brings.
func (n *node) renewed(v *store.ClusterView, seen *ownership, no callbackd.NodeID, start time.Duration) {
	dead := time.Duration(float64(n.w.timing.EvictAfter) / n.rate)
	if v.Alive {
		if !n.beaten || start-n.last >= dead {
			n.since = start
		}
		n.beaten, n.last = true, start
		n.hold = max(n.hold, start+time.Duration(float64(n.w.timing.TrustFor)/n.rate))
	}
	n.known = seen
	for i := range v.Nodes {
		v.Nodes[i].Shards = seen.count[v.Nodes[i].ID]
	}
	n.view = &sight{*v, no, start-n.since >= dead}
	n.divide()
}

// divide follows the newest view when the one before is done with.
func (n *node) divide() {
	if n.dividing || n.view == nil {
		return
	}
	v := n.view
	n.view = nil
	if v.no != n.no {
		return
	}
	n.dividing = true
	done := func(changed bool) {
		n.dividing = false
		if changed {
			n.announce()
			n.hurry()
		}
		n.divide()
	}
	if !v.Alive {
		n.rejoin(func() { done(true) })
		return
	}
	n.find(v)
	p := cluster.Decide(v.no, n.mine, &v.ClusterView, n.w.timing, v.steady)
	n.bury(p.Evict, false, func(changed bool) {
		n.claim(v.no, p.Claim, func(got bool) {
			n.giveUp(p.GiveUp)
			done(changed || got)
		})
	})
}

// find takes what is owned without the node's knowing.
func (n *node) find(v *sight) {
	if n.known.revision < n.changed || n.known.count[v.no] == n.mine+n.given {
		return
	}
	var found []callbackd.Shard
	for s, no := range n.known.owners {
		if no == v.no && n.state[s] == none {
			found = append(found, callbackd.Shard(s))
		}
	}
	n.own(found)
}

func (n *node) bury(dead []callbackd.NodeID, changed bool, then func(bool)) {
	if len(dead) == 0 {
		then(changed)
		return
	}
	buried := false
	n.change("bury", func() bool {
		now := n.w.db.bury(dead[0], n.w.timing.EvictAfter)
		buried = buried || now
		return now
	}, func(ok bool) {
		n.bury(dead[1:], changed || ok && buried, then)
	})
}

func (n *node) claim(no callbackd.NodeID, limit int, then func(bool)) {
	if limit == 0 {
		then(false)
		return
	}
	var got []callbackd.Shard
	var revision int64
	n.change("claim", func() bool {
		got = n.w.db.claim(no, limit)
		revision = n.w.db.revision
		n.w.claimed += len(got)
		return len(got) > 0
	}, func(ok bool) {
		if ok && no == n.no {
			n.changed = max(n.changed, revision)
			n.own(got)
		}
		then(ok && len(got) > 0)
	})
}

// own begins to deliver for shards, once what is owed is read.
func (n *node) own(shards []callbackd.Shard) {
	if len(shards) == 0 {
		return
	}
	no := n.no
	for _, s := range shards {
		n.state[s] = owned
		n.mine++
		n.unread++
	}
	n.sleep(adoptTime, func() {
		if n.no == no {
			n.adopted(shards)
		}
	})
}

func (n *node) adopted(shards []callbackd.Shard) {
	w := n.w
	for _, s := range shards {
		n.unread--
		if n.state[s] != owned {
			continue
		}
		if before := w.holder[s]; before != nil && before != n && before.state[s] == owned && before.leased() {
			w.violation("shard %d: node %d delivers for it, and so does node %d", s, before.no, n.no)
		}
		w.holder[s] = n
		if w.lostAt[s] != 0 && n.leased() {
			w.handovers = append(w.handovers, w.now-w.lostAt[s])
			w.lostAt[s] = 0
		}
	}
}

func (n *node) leased() bool { return n.w.now < n.hold }

// lose notes that the node's shards are nobody's from now on, in effect.
func (n *node) lose() {
	for s, st := range n.state {
		if st == owned && n.w.lostAt[s] == 0 {
			n.w.lostAt[s] = n.w.now
		}
	}
}

func (n *node) rejoin(then func()) {
	n.lose()
	n.state, n.mine, n.given, n.unread = [callbackd.Shards]uint8{}, 0, 0, 0
	n.drained, n.no, n.flying = nil, 0, map[callbackd.Shard]int{}
	n.joinAs(then)
}

// giveUp gives up shards, each when no attempt is under way for it.
func (n *node) giveUp(k int) {
	for s := callbackd.Shards - 1; s >= 0 && k > 0; s-- {
		if n.state[s] == owned {
			n.state[s] = givenUp
			n.mine--
			n.given++
			k--
			if n.flying[callbackd.Shard(s)] == 0 {
				n.drained = append(n.drained, callbackd.Shard(s))
			}
		}
	}
	n.release()
}

func (n *node) release() {
	if n.releasing || len(n.drained) == 0 {
		return
	}
	shards, no := n.drained, n.no
	n.drained, n.releasing = nil, true
	var revision int64
	n.change("release", func() bool {
		n.w.db.release(no, shards)
		revision = n.w.db.revision
		return true
	}, func(ok bool) {
		n.releasing = false
		switch {
		case no != n.no:
		case !ok:
			n.drained = append(n.drained, shards...)
		default:
			n.changed = max(n.changed, revision)
			for _, s := range shards {
				n.state[s] = none
				n.given--
			}
			n.announce()
			n.hurry()
		}
		n.release()
	})
}

// announce makes every node look; of many nodes one waits whether another
// says it.
func (n *node) announce() {
	wait := n.w.timing.RefreshDelay(len(n.nodes))
	if wait <= n.w.timing.RefreshDelay(0) {
		n.post()
		return
	}
	before := n.heard
	n.sleep(time.Duration(n.w.rng.Int64N(int64(wait))), func() {
		if n.heard == before {
			n.post()
		}
	})
}

// post is word to all; of each node's it may be lost on its way.
func (n *node) post() {
	if n.posting {
		n.postAgain = true
		return
	}
	n.posting = true
	w := n.w
	tell := func() {
		for _, other := range w.nodes {
			if !other.gone && !w.lost() {
				other.run(other.hear)
			}
		}
	}
	post := func(done func()) {
		w.at(w.db.serve("post", postCost+time.Duration(len(w.db.order))*postPerNode), func() {
			w.after(w.latency(), tell)
			done()
		})
	}
	n.ask(patience, post, func(bool) {
		n.posting = false
		if n.postAgain {
			n.postAgain = false
			n.post()
		}
	})
}

// work starts attempts for shards that the node takes for its own.
func (n *node) work() {
	if n.w.cfg.Starts == 0 {
		return
	}
	n.sleep(time.Duration(n.w.rng.ExpFloat64()/n.w.cfg.Starts*float64(time.Second)), func() {
		s := callbackd.Shard(n.w.rng.IntN(callbackd.Shards))
		for range callbackd.Shards {
			if n.state[s] == owned {
				break
			}
			s = (s + 1) % callbackd.Shards
		}
		if n.state[s] == owned && n.unread == 0 && n.leased() {
			n.attempt(s)
		}
		n.work()
	})
}

// attempt takes a while; then its record is fenced by the node's number.
func (n *node) attempt(s callbackd.Shard) {
	w := n.w
	w.attempts++
	if at := w.db.owners[s]; at != n.no {
		w.violation("shard %d: node %d starts an attempt, and node %d owns it", s, n.no, at)
	}
	took := time.Duration(w.rng.ExpFloat64() * float64(100*time.Millisecond))
	if w.rng.IntN(50) == 0 {
		took += 5 * time.Second
	}
	no := n.no
	n.flying[s]++
	n.sleep(took, func() {
		rest := time.Duration(0)
		if w.now == n.woke { // a machine that was suspended goes on where it was
			rest = time.Duration(w.rng.Int64N(int64(3 * time.Second)))
		}
		n.sleep(rest, func() { n.record(s, no) })
	})
}

// record is fenced by the number of the node that made the attempt: the
// engine lets no outcome be recorded under another.
func (n *node) record(s callbackd.Shard, no callbackd.NodeID) {
	w := n.w
	if n.no != no {
		w.refused++
		return
	}
	w.after(w.latency(), func() {
		w.at(w.db.serve("record", recordCost), func() {
			if w.db.rows[no] == nil {
				w.refused++
			} else if at := w.db.owners[s]; at != no {
				w.violation("shard %d: node %d records, and node %d owns it", s, no, at)
			}
			w.after(w.latency(), func() {
				n.run(func() { n.landed(s, no) })
			})
		})
	})
}

func (n *node) landed(s callbackd.Shard, no callbackd.NodeID) {
	if n.no != no {
		return
	}
	if n.flying[s]--; n.flying[s] == 0 && n.state[s] == givenUp {
		n.drained = append(n.drained, s)
		n.release()
	}
}

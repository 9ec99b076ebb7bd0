package sim

import (
	"time"

	"callbackd"
	"callbackd/internal/cluster"
)

// divide acts on the newest renewal, when the one before is done with.
func (n *node) divide() {
	if n.dividing || n.newest == nil {
		return
	}
	v := n.newest
	n.newest = nil
	if v.id != n.id {
		return
	}
	n.dividing = true
	done := func(changed bool) {
		n.dividing = false
		if changed {
			n.announce()
			n.refreshSoon()
		}
		n.divide()
	}
	if !v.Alive {
		n.rejoin(func() { done(true) })
		return
	}
	n.findOwned(v)
	p := cluster.Decide(v.id, n.mine, &v.ClusterView, n.w.timing, v.unbroken)
	n.evict(p.Evict, false, func(changed bool) {
		n.claim(v.id, p.Claim, func(got bool) {
			n.giveUp(p.GiveUp)
			done(changed || got)
		})
	})
}

// findOwned adopts the shards that the node owns without knowing, because the answer
// to its claim was lost.
func (n *node) findOwned(v *renewal) {
	if n.ownership.revision < n.ownRevision || n.ownership.count[v.id] == n.mine+n.draining {
		return
	}
	var found []callbackd.Shard
	for s, no := range n.ownership.owners {
		if no == v.id && n.shards[s] == notOwned {
			found = append(found, callbackd.Shard(s))
		}
	}
	n.adopt(found)
}

func (n *node) evict(dead []callbackd.NodeID, changed bool, then func(bool)) {
	if len(dead) == 0 {
		then(changed)
		return
	}
	buried := false
	n.change("evict", func() bool {
		now := n.w.db.evict(dead[0], n.w.timing.EvictAfter)
		buried = buried || now
		return now
	}, func(ok bool) {
		n.evict(dead[1:], changed || ok && buried, then)
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
		n.w.claims += len(got)
		return len(got) > 0
	}, func(ok bool) {
		if ok && no == n.id {
			n.ownRevision = max(n.ownRevision, revision)
			n.adopt(got)
		}
		then(ok && len(got) > 0)
	})
}

// adopt begins to deliver for shards, once their pending deliveries are read.
func (n *node) adopt(shards []callbackd.Shard) {
	if len(shards) == 0 {
		return
	}
	no := n.id
	for _, s := range shards {
		n.shards[s] = owned
		n.mine++
		n.notAdopted++
	}
	n.sleep(adoptTime, func() {
		if n.id == no {
			n.adopted(shards)
		}
	})
}

func (n *node) adopted(shards []callbackd.Shard) {
	w := n.w
	for _, s := range shards {
		n.notAdopted--
		if n.shards[s] != owned {
			continue
		}
		if before := w.deliverer[s]; before != nil && before != n && before.shards[s] == owned && before.leased() {
			w.violation("shard %d: node %d delivers for it, and so does node %d", s, before.id, n.id)
		}
		w.deliverer[s] = n
		if w.lostSince[s] != 0 && n.leased() {
			w.takeovers = append(w.takeovers, w.now-w.lostSince[s])
			w.lostSince[s] = 0
		}
	}
}

func (n *node) leased() bool { return n.w.now < n.leaseEnd }

// markLost notes that nobody delivers for the node's shards from now on.
func (n *node) markLost() {
	for s, st := range n.shards {
		if st == owned && n.w.lostSince[s] == 0 {
			n.w.lostSince[s] = n.w.now
		}
	}
}

func (n *node) rejoin(then func()) {
	n.markLost()
	n.shards, n.mine, n.draining, n.notAdopted = [callbackd.Shards]uint8{}, 0, 0, 0
	n.drained, n.id, n.inFlight = nil, 0, map[callbackd.Shard]int{}
	n.joinAs(then)
}

// giveUp gives up shards, each when no attempt is under way for it.
func (n *node) giveUp(k int) {
	for s := callbackd.Shards - 1; s >= 0 && k > 0; s-- {
		if n.shards[s] == owned {
			n.shards[s] = draining
			n.mine--
			n.draining++
			k--
			if n.inFlight[callbackd.Shard(s)] == 0 {
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
	shards, no := n.drained, n.id
	n.drained, n.releasing = nil, true
	var revision int64
	n.change("release", func() bool {
		n.w.db.release(no, shards)
		revision = n.w.db.revision
		return true
	}, func(ok bool) {
		n.releasing = false
		switch {
		case no != n.id:
		case !ok:
			n.drained = append(n.drained, shards...)
		default:
			n.ownRevision = max(n.ownRevision, revision)
			for _, s := range shards {
				n.shards[s] = notOwned
				n.draining--
			}
			n.announce()
			n.refreshSoon()
		}
		n.release()
	})
}

// announce makes every node renew its lease now. With many nodes, a node waits and
// leaves it when another does so meanwhile.
func (n *node) announce() {
	wait := n.w.timing.RefreshDelay(len(n.nodes))
	if wait <= n.w.timing.RefreshDelay(0) {
		n.notifyAll()
		return
	}
	before := n.shardNews
	n.sleep(time.Duration(n.w.rng.Int64N(int64(wait))), func() {
		if n.shardNews == before {
			n.notifyAll()
		}
	})
}

// notifyAll sends a message to all nodes. It may be lost on its way to each.
func (n *node) notifyAll() {
	if n.notifying {
		n.notifyAgain = true
		return
	}
	n.notifying = true
	w := n.w
	tell := func() {
		for _, other := range w.nodes {
			if !other.gone && !w.isLost() {
				other.run(other.receiveShardNews)
			}
		}
	}
	post := func(done func()) {
		w.at(w.db.serve("notify", notifyCost+time.Duration(len(w.db.order))*notifyPerNode), func() {
			w.after(w.latency(), tell)
			done()
		})
	}
	n.request(retryFor, post, func(bool) {
		n.notifying = false
		if n.notifyAgain {
			n.notifyAgain = false
			n.notifyAll()
		}
	})
}

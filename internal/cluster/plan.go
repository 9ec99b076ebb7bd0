package cluster

import (
	"sort"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// Timing holds the lease intervals, all derived from the failover time.
type Timing struct {
	Heartbeat  time.Duration // between two renewals of the lease
	EvictAfter time.Duration // a lease that was not renewed for this long, by the database's clock, has expired
	TrustFor   time.Duration // how long a node trusts its lease after it began a renewal
}

// DefaultLease is the failover time: how long the deliveries of a killed node may have to
// wait.
const DefaultLease = 10 * time.Second

// TimingOf returns the intervals for a failover time. A lease expires after three
// quarters of it. A node trusts its own lease a sixteenth of the failover time shorter,
// because clocks do not run at the same speed.
func TimingOf(lease time.Duration) Timing {
	evictAfter := lease * 3 / 4
	return Timing{
		Heartbeat:  lease / 8,
		EvictAfter: evictAfter,
		TrustFor:   evictAfter - lease/16,
	}
}

// RefreshDelay returns the longest time that one of n nodes waits, after it heard of a
// change, before it reads. Every change makes every node read the rows of all nodes, so
// the more nodes there are, the more changes are read together.
func (t Timing) RefreshDelay(n int) time.Duration {
	shortest := t.Heartbeat / 50
	longest := t.Heartbeat / 2
	return max(shortest, min(longest, t.Heartbeat*time.Duration(n)/2000))
}

// Plan is what a node has to do next.
type Plan struct {
	Evict  []callbackd.NodeID
	Claim  int // number of free shards to take
	GiveUp int // number of its own shards to give up
}

// Decide is the rule by which the nodes divide the shards. Each node applies it to what it
// sees; no node tells another what to do. In the end all nodes that may own shards have
// the same number of them, or one more, and no shard has moved without need.
//
// me is the node. It has mine shards, even when the view has another number. unbroken
// says that me has renewed its lease without a gap for EvictAfter. Only then does a
// missing renewal show that the other node failed and not this one.
func Decide(me callbackd.NodeID, mine int, v *store.ClusterView, t Timing, unbroken bool) Plan {
	p := Plan{}
	if unbroken {
		p.Evict = expired(me, v, t)
	}
	self := -1 // index of me in have
	have := make([]int, 0, len(v.Nodes))
	free := callbackd.Shards - mine
	for i := range v.Nodes {
		node := &v.Nodes[i]
		if node.ID != me {
			free -= node.Shards
		}
		if !mayOwn(node, me, t) {
			continue
		}
		if node.ID == me {
			self = len(have)
			have = append(have, mine)
		} else {
			have = append(have, node.Shards)
		}
	}
	if self < 0 {
		p.GiveUp = mine
	} else {
		p.Claim, p.GiveUp = share(self, have, max(0, free))
	}
	return p
}

// responds reports whether a node renewed its lease lately. One that missed a few
// renewals is probably dead. It is not evicted yet, but the others already compute their
// shares without it: when many nodes die, each of the others claims its whole share at
// once, and not a little more after each eviction.
func responds(node *store.Node, me callbackd.NodeID, t Timing) bool {
	return node.ID == me || node.Unseen < unrenewed*t.Heartbeat
}

// mayOwn reports whether a node may own shards: it responds, it does not leave, and its
// clock is right.
func mayOwn(node *store.Node, me callbackd.NodeID, t Timing) bool {
	return responds(node, me, t) && !node.Leaving && node.Skew.Abs() <= callbackd.MaxSkew
}

// evictors is how many nodes try first to evict an expired one. The database does
// evictions one at a time, so more nodes would only wait for each other.
const evictors = 4

// expired returns the expired nodes that this node should evict. A few live nodes try
// first; more join after each heartbeat, in case those died too.
func expired(me callbackd.NodeID, v *store.ClusterView, t Timing) (evict []callbackd.NodeID) {
	live := 0
	self := 0 // index of me among the live nodes
	for i := range v.Nodes {
		node := &v.Nodes[i]
		if node.ID == me {
			self = live
		}
		if responds(node, me, t) {
			live++
		}
	}
	live = max(1, live)
	for i := range v.Nodes {
		node := &v.Nodes[i]
		if node.ID == me || node.Unseen < t.EvictAfter {
			continue
		}
		// The ID of the expired node chooses which live nodes begin.
		first := int(node.ID % callbackd.NodeID(live))
		turn := (self - first + live) % live
		if node.Unseen >= t.EvictAfter+time.Duration(turn/evictors)*t.Heartbeat {
			evict = append(evict, node.ID)
		}
	}
	return evict
}

// share returns how many shards node self claims or gives up. have is what each
// node has, and free is what no node has.
func share(self int, have []int, free int) (claim, giveUp int) {
	mine := have[self]
	least := callbackd.Shards / len(have)
	missing := 0 // how many shards all nodes together are short of least
	for _, h := range have {
		missing += max(0, least-h)
	}
	switch {
	case mine < least:
		return min(free, least-mine), 0
	case mine == least && free > missing:
		return 1, 0
	case missing == 0 && free == 0 && mine > least+1:
		return 0, 1 // all have least or more: level out what is above least+1
	}
	return 0, surplus(self, have, least, missing-free)
}

// surplus returns how many shards node self gives up when all nodes together have to give
// up need. The nodes that have the most give up shards until they are at a common level.
// The rest comes from the first nodes at that level, one shard each. So all nodes compute
// the same division.
func surplus(self int, have []int, least, need int) int {
	if need <= 0 || have[self] <= least {
		return 0
	}
	above := func(level int) (sum int) {
		for _, h := range have {
			sum += max(0, h-level)
		}
		return sum
	}
	level := least + sort.Search(callbackd.Shards, func(l int) bool { return above(least+l) <= need })
	giveUp := max(0, have[self]-level)
	if have[self] < level || level == least {
		return giveUp
	}
	rest := need - above(level)
	for _, h := range have[:self] {
		if h >= level {
			rest--
		}
	}
	if rest > 0 {
		giveUp++
	}
	return giveUp
}

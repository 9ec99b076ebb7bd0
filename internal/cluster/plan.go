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
	EvictAfter time.Duration // a node without a renewal for so long, by the database's clock, is dead
	TrustFor   time.Duration // a node trusts its lease for so long after it began a renewal
}

// DefaultLease is the failover time: how long the work of a killed node may wait
// at most.
const DefaultLease = 10 * time.Second

// TimingOf returns the intervals for a failover time. A dead node is noticed
// after three quarters of it. A node trusts its lease a sixteenth less, because
// clocks run at unequal speed.
func TimingOf(lease time.Duration) Timing {
	evictAfter := lease * 3 / 4
	return Timing{
		Heartbeat:  lease / 8,
		EvictAfter: evictAfter,
		TrustFor:   evictAfter - lease/16,
	}
}

// RefreshDelay returns how long a node waits at most, after it heard of changes,
// before it reads them, when there are n nodes. Every change makes every node
// read the rows of all nodes: the more nodes there are, the more changes are read
// together.
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

// Decide is the rule by which the nodes divide the shards. Each node applies it
// to what it sees; none tells another what to do. In the end every node that may
// own shards has the same number of them, or one more, and no shard moves without
// need.
//
// me is the node and mine the number of shards it has, whatever the view says.
// unbroken tells that me renewed its lease without a gap for EvictAfter: only
// then does a missing renewal mean that the other node failed and not this one.
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

// mayOwn tells whether a node may own shards: it is alive, does not leave, and its
// clock is right.
func mayOwn(node *store.Node, me callbackd.NodeID, t Timing) bool {
	alive := node.ID == me || node.Unseen < t.EvictAfter
	return alive && !node.Leaving && node.Skew.Abs() <= callbackd.MaxSkew
}

// evictors is how many nodes try to evict a dead one at first. Evictions come one
// after the other, so that all nodes at once would only wait for each other.
const evictors = 4

// expired returns the dead nodes that this node should evict. A few live nodes try
// first; more join after each heartbeat, in case those died too.
func expired(me callbackd.NodeID, v *store.ClusterView, t Timing) (evict []callbackd.NodeID) {
	live := 0
	self := 0 // index of me among the live nodes
	for i := range v.Nodes {
		node := &v.Nodes[i]
		if node.ID == me {
			self = live
		}
		if node.ID == me || node.Unseen < t.EvictAfter {
			live++
		}
	}
	live = max(1, live)
	for i := range v.Nodes {
		node := &v.Nodes[i]
		if node.ID == me || node.Unseen < t.EvictAfter {
			continue
		}
		// The dead node's number chooses the live node that begins.
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
	missing := 0 // what all nodes lack of least, together
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

// surplus returns how many shards node self gives up when all nodes together have
// to give up need. The nodes with the most give down to a common level. What is
// still needed then comes from the first nodes at that level, one each. So all
// nodes come to the same result.
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

package cluster

import (
	"sort"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// Timing is the times of leases, all derived from one: within how long the
// work of a node that was killed must be another's.
type Timing struct {
	Heartbeat time.Duration // between renewals
	Dead      time.Duration // not renewed for so long, by the database's clock: dead
	Holds     time.Duration // from the start of a renewal: how long the node trusts it
}

// Gather is how long word of changes is gathered, at most, before a node of n
// looks at them: each look reads all nodes and costs the database more the
// more there are, and a change makes every one of them look.
func (t Timing) Gather(n int) time.Duration {
	return max(t.Heartbeat/50, min(t.Heartbeat/2, t.Heartbeat*time.Duration(n)/2000))
}

// DefaultLease is how long the work of a killed node may wait.
const DefaultLease = 10 * time.Second

// TimingOf divides a lease: a node is found dead after three quarters of it,
// and trusts itself a sixteenth less, for clocks that run at unequal speed.
func TimingOf(lease time.Duration) Timing {
	return Timing{Heartbeat: lease / 8, Dead: lease * 3 / 4, Holds: lease*3/4 - lease/16}
}

// Plan is what a node has to do next.
type Plan struct {
	Evict  []callbackd.NodeID
	Claim  int // free shards to take
	GiveUp int // own shards to give up
}

// Decide is the rule by which all nodes divide the shards. Each applies it to
// what it sees, and no node tells another what to do: the nodes in good order
// have the same number of shards, or one more, and no shard moves that need
// not. mine is how many me has, whatever the view says; steady tells that me
// itself has renewed its lease without a gap for as long as it takes to be
// dead, so that what it missed is not taken for what others did.
func Decide(me callbackd.NodeID, mine int, v *store.ClusterView, t Timing, steady bool) Plan {
	p := Plan{Evict: expired(me, v, t, steady)}
	n, self := 0, -1
	have := make([]int, 0, len(v.Nodes))
	for i := range v.Nodes {
		node := &v.Nodes[i]
		if node.ID != me && node.Unseen >= t.Dead {
			continue
		}
		if node.Leaving || node.Skew.Abs() > callbackd.MaxSkew {
			continue
		}
		if node.ID == me {
			self = n
			have = append(have, mine)
		} else {
			have = append(have, node.Shards)
		}
		n++
	}
	if self < 0 {
		p.GiveUp = mine
		return p
	}
	free := callbackd.Shards
	for i := range v.Nodes {
		if v.Nodes[i].ID != me {
			free -= v.Nodes[i].Shards
		}
	}
	free = max(0, free-mine)
	p.Claim, p.GiveUp = share(self, have, free)
	return p
}

// diggers is how many nodes bury a dead one at first. All at once would be in
// each other's way: burials come one after the other.
const evictors = 4

// dead is the nodes that are me's to bury: each is for a few of the living,
// which its number chooses, and for a few more with each beat that passes, for
// those may be dead too.
func expired(me callbackd.NodeID, v *store.ClusterView, t Timing, steady bool) (bury []callbackd.NodeID) {
	if !steady {
		return nil
	}
	living, self := 0, 0
	for i := range v.Nodes {
		switch node := &v.Nodes[i]; {
		case node.ID == me:
			self = living
			living++
		case node.Unseen < t.Dead:
			living++
		}
	}
	living = max(1, living)
	for i := range v.Nodes {
		node := &v.Nodes[i]
		if node.ID == me || node.Unseen < t.Dead {
			continue
		}
		turn := (self - int(node.ID%callbackd.NodeID(living)) + living) % living
		if node.Unseen >= t.Dead+time.Duration(turn/evictors)*t.Heartbeat {
			bury = append(bury, node.ID)
		}
	}
	return bury
}

// share divides: have is what each node has, free is what nobody has.
func share(self int, have []int, free int) (claim, giveUp int) {
	n := len(have)
	least := callbackd.Shards / n
	missing := 0 // to bring every node to the least
	for _, h := range have {
		missing += max(0, least-h)
	}
	switch mine := have[self]; {
	case mine < least:
		return min(free, least-mine), 0
	case mine == least && free > missing:
		return 1, 0
	case missing == 0 && free == 0 && mine > least+1: // two apart with nothing missing
		return 0, 1
	}
	return 0, surplus(self, have, least, missing-free)
}

// surplus is what self gives of need. Those with the most give, down to the
// level at which it is enough, and of those at that level the earlier ones one
// more, so that all come to the same result.
func surplus(self int, have []int, least, need int) int {
	above := func(level int) (sum int) {
		for _, h := range have {
			sum += max(0, h-level)
		}
		return sum
	}
	if need <= 0 || have[self] <= least {
		return 0
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

// Timing is the times of this node's lease.
func (m *Member) Timing() Timing { return m.timing }

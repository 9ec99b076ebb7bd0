package cluster

import (
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// Timing is the times of leases, all derived from one: within how long the
// work of a node that was killed must be another's.
type Timing struct {
	Beat  time.Duration // between renewals
	Dead  time.Duration // not renewed for so long, by the database's clock: dead
	Holds time.Duration // from the start of a renewal: how long the node trusts it
}

// DefaultLease is how long the work of a killed node may wait.
const DefaultLease = 10 * time.Second

// TimingOf divides a lease: a node is found dead after three quarters of it,
// and trusts itself a sixteenth less, for clocks that run at unequal speed.
func TimingOf(lease time.Duration) Timing {
	return Timing{Beat: lease / 8, Dead: lease * 3 / 4, Holds: lease*3/4 - lease/16}
}

// Plan is what a node has to do next.
type Plan struct {
	Bury   []callbackd.NodeNo
	Claim  int // free shards to take
	GiveUp int // own shards to give up
}

// Decide is the rule by which all nodes divide the shards. Each applies it to
// what it sees, and no node tells another what to do: the nodes in good order
// have the same number of shards, or one more, and no shard moves that need
// not. mine is how many me has, whatever the view says; steady tells that me
// itself has renewed its lease without a gap for as long as it takes to be
// dead, so that what it missed is not taken for what others did.
func Decide(me callbackd.NodeNo, mine int, v *store.ClusterView, t Timing, steady bool) Plan {
	var p Plan
	n, self := 0, -1
	have := make([]int, 0, len(v.Nodes))
	for i := range v.Nodes {
		node := &v.Nodes[i]
		if node.No != me && node.Unseen >= t.Dead {
			if steady {
				p.Bury = append(p.Bury, node.No)
			}
			continue
		}
		if node.Leaving || node.Skew.Abs() > callbackd.MaxSkew {
			continue
		}
		if node.No == me {
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
		if v.Nodes[i].No != me {
			free -= v.Nodes[i].Shards
		}
	}
	free = max(0, free-mine)
	p.Claim, p.GiveUp = share(self, have, free)
	return p
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
	}
	// Those with the most give what is missing beyond what is free, the
	// earlier ones first, so that all come to the same result.
	for need := missing - free; need > 0; {
		most := least
		for _, h := range have {
			most = max(most, h)
		}
		if most == least {
			break
		}
		for i := range have {
			if have[i] == most && need > 0 {
				have[i]--
				need--
				if i == self {
					giveUp++
				}
			}
		}
	}
	if missing == 0 && free == 0 && have[self] > least+1 { // two apart with nothing missing
		return 0, 1
	}
	return 0, giveUp
}

// Timing is the times of this node's lease.
func (m *Member) Timing() Timing { return m.timing }

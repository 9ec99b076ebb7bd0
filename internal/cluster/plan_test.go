package cluster

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// From any division among any nodes, the rule reaches even shares within a few rounds and
// then moves no more shards. A node that leaves, or whose clock is wrong, ends with none.
func TestDecideReachesEvenSharesAndThenMovesNothing(t *testing.T) {
	for seed := range uint64(200) {
		d := newDivision(seed)
		for round, calm := 0, 0; calm < 2; round++ {
			if round > 12 {
				t.Fatalf("seed %d: shards still move after %d rounds: %+v", seed, round, d.view.Nodes)
			}
			calm++
			if d.round() {
				calm = 0
			}
		}
		d.check(t, seed)
	}
}

// division is a random division of the shards among random nodes.
type division struct {
	rnd  *rand.Rand
	view store.ClusterView
	free int
	good int // nodes that may own shards
}

func newDivision(seed uint64) *division {
	d := &division{rnd: rand.New(rand.NewPCG(seed, 3)), free: callbackd.Shards}
	for i := range 1 + d.rnd.IntN(30) {
		n := store.Node{ID: callbackd.NodeID(i + 1), Shards: d.rnd.IntN(d.free/2 + 1)}
		d.free -= n.Shards
		switch d.rnd.IntN(8) {
		case 0:
			n.Leaving = true
		case 1:
			sign := time.Duration(1 - 2*d.rnd.IntN(2))
			n.Skew = sign * (callbackd.MaxSkew + time.Second)
		default:
			d.good++
		}
		d.view.Nodes = append(d.view.Nodes, n)
	}
	return d
}

// round lets every node follow the rule once, one after the other in random order,
// all from the same view. It reports whether any shard changed hands.
func (d *division) round() (changed bool) {
	plans := make([]Plan, len(d.view.Nodes))
	for i, n := range d.view.Nodes {
		plans[i] = Decide(n.ID, n.Shards, &d.view, TimingOf(DefaultLease), true)
	}
	for _, i := range d.rnd.Perm(len(plans)) {
		got := min(plans[i].Claim, d.free)
		gives := plans[i].GiveUp
		d.free += gives - got
		d.view.Nodes[i].Shards += got - gives
		changed = changed || got != 0 || gives != 0
	}
	return changed
}

func (d *division) check(t *testing.T, seed uint64) {
	t.Helper()
	if d.good == 0 {
		return
	}
	if d.free != 0 {
		t.Errorf("seed %d: %d shards are free, want 0", seed, d.free)
	}
	least := callbackd.Shards / d.good
	for _, n := range d.view.Nodes {
		mayOwn := !n.Leaving && n.Skew == 0
		if !mayOwn && n.Shards != 0 {
			t.Errorf("seed %d: node %d leaves or its clock is wrong, and it has %d shards, want 0", seed, n.ID, n.Shards)
		}
		if mayOwn && (n.Shards < least || n.Shards > least+1) {
			t.Errorf("seed %d: node %d has %d shards, want %d or one more", seed, n.ID, n.Shards, least)
		}
	}
}

func TestANodeThatMissedRenewalsEvictsNobody(t *testing.T) {
	v := &store.ClusterView{Nodes: []store.Node{{ID: 1}, {ID: 2, Unseen: time.Hour, Shards: callbackd.Shards}}}
	p := Decide(1, 0, v, TimingOf(DefaultLease), false)
	if len(p.Evict) != 0 {
		t.Errorf("after a gap the node evicts %v, want nobody", p.Evict)
	}
	if p.Claim != 0 {
		t.Errorf("the node claims %d shards of a dead node that is not evicted, want 0", p.Claim)
	}
	p = Decide(1, 0, v, TimingOf(DefaultLease), true)
	if want := []callbackd.NodeID{2}; !slices.Equal(p.Evict, want) {
		t.Errorf("without a gap the node evicts %v, want %v", p.Evict, want)
	}
}

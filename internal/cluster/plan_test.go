package cluster

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/google/go-cmp/cmp"
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

// A node that missed a few renewals keeps its shards until it is evicted. The others
// compute their shares without it, so that each claims its whole share at once.
func TestANodeThatMissedRenewalsDoesNotCountForTheShares(t *testing.T) {
	timing := TimingOf(DefaultLease)
	quarter := callbackd.Shards / 4
	for _, c := range []struct {
		name   string
		unseen time.Duration // of the last node
		free   bool          // the shards of the node before it are free
		want   Plan
	}{
		{"it renews, and nothing is free", timing.Heartbeat, false, Plan{}},
		{"it missed renewals, and nothing is free", 4 * timing.Heartbeat, false, Plan{}},
		{"it renews", timing.Heartbeat, true, Plan{Claim: callbackd.Shards/3 - quarter}},
		{"it missed renewals", 4 * timing.Heartbeat, true, Plan{Claim: callbackd.Shards/2 - quarter}},
	} {
		v := &store.ClusterView{Nodes: []store.Node{
			{ID: 1, Shards: quarter},
			{ID: 2, Shards: quarter},
			{ID: 3, Shards: quarter},
			{ID: 4, Shards: quarter, Unseen: c.unseen},
		}}
		if c.free {
			v.Nodes = slices.Delete(v.Nodes, 2, 3)
		}
		if diff := cmp.Diff(c.want, Decide(1, quarter, v, timing, true)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

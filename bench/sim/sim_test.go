package sim

import (
	"slices"
	"testing"
	"time"

	"callbackd/internal/cluster"
)

// A hundred nodes start, leave, die, freeze and lose their database, with lost
// messages and clocks that run at unequal speed. No two nodes ever deliver for one
// shard, and others deliver for a dead node's shards within the lease.
func TestAHundredNodesShareTheShardsAndTakeOverWithinTheLease(t *testing.T) {
	const n = 100
	attempts, refused := 0, 0
	for seed := range uint64(2) {
		w, phases := Play(n, Config{Seed: seed, Lost: 0.001, Drift: 0.001, Starts: 2})
		checkPhases(t, phases)
		if err := Faults(w); err != nil {
			t.Error(err)
		}
		attempts, refused = attempts+w.Attempts(), refused+w.Refused()
	}
	if attempts < 50_000 || refused == 0 {
		t.Errorf("%d attempts, %d records refused, want 50,000 and 1 or more to prove anything", attempts, refused)
	}
}

func checkPhases(t *testing.T, phases []Phase) {
	t.Helper()
	for _, p := range phases {
		if !p.Settled {
			t.Errorf("%s: not settled after %v", p.Name, p.Took)
		}
		if p.Max > cluster.DefaultLease {
			t.Errorf("%s: a shard had no node for %v, want %v or less", p.Name, p.Max, cluster.DefaultLease)
		}
		if p.WronglyEvicted > 0 {
			t.Errorf("%s: %d live nodes were evicted, want 0", p.Name, p.WronglyEvicted)
		}
		if p.Needed > 0 && p.Name != "rolling start, one every 100 ms" && p.Moved > p.Needed+p.Needed/5+4 {
			t.Errorf("%s: %d shards changed hands, and only %d had to", p.Name, p.Moved, p.Needed)
		}
		if p.Name == "nothing happens" && (p.Moved > 0 || p.Count["claim"]+p.Count["release"]+p.Count["notify"] > 0) {
			t.Errorf("nothing happened, and the nodes made the statements %v", p.Count)
		}
	}
}

// When half of the nodes die at once, not every live node tries to evict every dead
// one: evictions come one after the other.
func TestFewNodesEvictADeadOne(t *testing.T) {
	const n = 100
	_, phases := Play(n, Config{Seed: 7})
	for _, p := range phases {
		if p.Name == "half is killed" && p.Count["evict"] > n/2*8 {
			t.Errorf("%d evictions were tried for %d nodes, want 8 or fewer for each", p.Count["evict"], n/2)
		}
	}
}

func TestNodesThatStartAtOnceShareEvenly(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 100} {
		w, p := StartAtOnce(n, Config{Seed: 3, Lost: 0.001})
		if !p.Settled {
			t.Errorf("%d nodes: not settled after %v", n, p.Took)
		}
		if p.Took > 10*time.Second {
			t.Errorf("%d nodes: settled after %v, want 10 s or less", n, p.Took)
		}
		if err := Faults(w); err != nil {
			t.Error(err)
		}
	}
}

// The same seed gives the same faults, on nodes with the same clocks.
func TestTheSeedFixesTheFaults(t *testing.T) {
	play := func(seed uint64) []string {
		w, _ := Play(10, Config{Seed: seed, Lost: 0.01, Drift: 0.01, Starts: 2})
		if err := Faults(w); err != nil {
			t.Error(err)
		}
		return w.faults
	}
	first := play(5)
	if again := play(5); !slices.Equal(first, again) {
		t.Errorf("%s\nis not\n%s", first, again)
	}
	if other := play(6); slices.Equal(first, other) {
		t.Errorf("another seed gives the same faults: %s", first)
	}
}

// A few keys are spread as evenly as many are. A key with much of the traffic keeps its
// node busy under any rule.
func TestTheHottestKeyBoundsTheBalance(t *testing.T) {
	for _, keys := range []int{100, 10_000} {
		l := Balance(10, keys, 1)
		if least, most := 10*l.Hottest, 10*l.Hottest+1.5; l.Key < least || l.Key > most {
			t.Errorf("%d keys: the busiest node has %.2f times the mean, want %.2f to %.2f", keys, l.Key, least, most)
		}
		if l.Session > 1.1 {
			t.Errorf("%d keys: by session the busiest node has %.2f times the mean, want 1.1 or less", keys, l.Session)
		}
	}
}

package sim

import (
	"fmt"
	"testing"
	"time"

	"callbackd/internal/cluster"
)

// A hundred nodes start, come, go, die, sleep and lose their database, with
// messages that are lost and clocks that run unevenly: no shard is ever two
// nodes' to write for, and what a dead node had is delivered by others within
// the lease.
func TestAHundredNodesKeepEveryShardOnesAndHandOverWithinTheLease(t *testing.T) {
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
		t.Errorf("%d attempts, %d records refused: too few to prove anything", attempts, refused)
	}
}

func checkPhases(t *testing.T, phases []Phase) {
	t.Helper()
	for _, p := range phases {
		if !p.Settled {
			t.Errorf("%s: not settled after %v", p.Name, p.Took)
		}
		if p.Max > cluster.DefaultLease {
			t.Errorf("%s: a shard was nobody's for %v", p.Name, p.Max)
		}
		if p.Buried > 0 {
			t.Errorf("%s: %d nodes were buried alive", p.Name, p.Buried)
		}
		if p.Least > 0 && p.Name != "rolling start, one in 100 ms" && p.Moved > p.Least+p.Least/5+4 {
			t.Errorf("%s: %d shards changed hands, where %d had to", p.Name, p.Moved, p.Least)
		}
		if p.Name == "nothing happens" && (p.Moved > 0 || p.Count["claim"]+p.Count["release"]+p.Count["post"] > 0) {
			t.Errorf("nothing happened, and %v was done", p.Count)
		}
	}
}

// Half of the nodes die at once: burials come one after the other, and must
// not be as many as there are pairs of a dead node and a living one.
func TestFewNodesBuryADeadOne(t *testing.T) {
	const n = 100
	_, phases := Play(n, Config{Seed: 7})
	for _, p := range phases {
		if p.Name == "half is killed" && p.Count["bury"] > n/2*8 {
			t.Errorf("%d burials of %d nodes", p.Count["bury"], n/2)
		}
	}
}

func TestNodesThatStartAtOnceShareEvenly(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 100} {
		w, p := StartAtOnce(n, Config{Seed: 3, Lost: 0.001})
		if !p.Settled || p.Took > 10*time.Second {
			t.Errorf("%d nodes: settled %v after %v", n, p.Settled, p.Took)
		}
		if err := Faults(w); err != nil {
			t.Error(err)
		}
	}
}

// The same seed plays the same, so that a fault that was found can be found
// again.
func TestTheSameSeedPlaysTheSame(t *testing.T) {
	play := func() string {
		w, phases := Play(10, Config{Seed: 5, Lost: 0.01, Drift: 0.01, Starts: 2})
		return fmt.Sprint(phases, w.attempts, w.refused, w.now, w.seq)
	}
	if a, b := play(), play(); a != b {
		t.Errorf("%s\nis not\n%s", a, b)
	}
}

// Few callbacks are spread as many are, and one that has much of the traffic
// keeps its node busy whatever the rule is.
func TestTheHottestCallbackBoundsTheBalance(t *testing.T) {
	for _, callbacks := range []int{100, 10_000} {
		l := Balance(10, callbacks, 1)
		if l.Callback < 10*l.Hottest || l.Callback > 10*l.Hottest+1.5 || l.Session > 1.1 {
			t.Errorf("%+v", l)
		}
	}
}

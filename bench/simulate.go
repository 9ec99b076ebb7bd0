package main

import (
	"flag"
	"fmt"
	"time"

	"callbackd/bench/sim"
)

// simCommand simulates nodes on one database, in virtual time. The nodes are the product's
// own cluster.Member.
func simCommand(fs *flag.FlagSet) func() error {
	n, seed := fs.Int("nodes", 100, "number of nodes"), fs.Uint64("seed", 1, "seed of the faults and of the nodes they hit; two runs with one seed still differ a little")
	cores := fs.Int("cores", 16, "cores of the database")
	lost := fs.Float64("lost", 0.001, "share of messages and statements that are lost")
	drift := fs.Float64("drift", 0.001, "how much faster or slower than the database's clock a node's runs, at most")
	return func() error {
		c := sim.Config{Seed: *seed, Cores: *cores, Lost: *lost, Drift: *drift, Starts: 1}
		fmt.Printf("%d nodes, lease 10 s, a database of %d cores\n\n", *n, *cores)
		fmt.Println("| what happens | settled after | shards lost | until delivered again: p50, p99, max | moved, least | statements/s | cores: mean, worst second |")
		fmt.Println("|---|---|---|---|---|---|---|")
		started, one := sim.StartAtOnce(*n, c)
		show(one)
		w, phases := sim.Play(*n, c)
		for _, p := range phases {
			show(p)
		}
		fmt.Printf("\n%d attempts, %d records of evicted nodes refused\n\n", started.Attempts()+w.Attempts(), started.Refused()+w.Refused())
		sim.Compare(fmt.Printf, *n, *seed)
		return sim.Faults(started, w)
	}
}

func show(p sim.Phase) {
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }
	settled, lost := round(p.Took).String(), "| "
	if !p.Settled {
		settled = "not within " + settled
	}
	if p.Shards > 0 {
		lost = fmt.Sprintf("%d | %v, %v, %v", p.Shards, round(p.P50), round(p.P99), round(p.Max))
	}
	fmt.Printf("| %s | %s | %s | %d, %d | %d | %.2f, %.2f |\n", p.Name, settled, lost, p.Moved, p.Needed, p.Statements, p.Cores, p.Peak)
}

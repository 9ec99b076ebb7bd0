package sim

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"callbackd"
)

// Attempts returns the number of attempts that were started and checked.
func (w *World) Attempts() int { return w.attempts }

// Refused returns the number of records of evicted nodes that the database refused.
func (w *World) Refused() int { return w.refused }

// Faults returns an error that names each broken promise; nil: none.
func Faults(worlds ...*World) error {
	var errs []error
	for _, w := range worlds {
		for _, v := range w.violations {
			errs = append(errs, errors.New(v))
		}
	}
	return errors.Join(errs...)
}

// Load compares the traffic of the busiest node with the mean of all nodes.
type Load struct {
	Keys         int
	Hottest      float64 // the busiest key's share of all traffic
	Key, Session float64 // busiest node to mean, when keys or sessions are divided
}

// Balance divides the traffic of API keys over n nodes with equal shares of the shards.
// The traffic of the k-th busiest key is 1/k of the first's, in random order of their
// IDs. For comparison, the same traffic is divided by sessions of about 20 events.
func Balance(n, keys int, seed uint64) Load {
	rng := rand.New(rand.NewPCG(seed, 2))
	node := func(s callbackd.Shard) int { return int(s) * n / callbackd.Shards }
	total := 0.0
	for k := range keys {
		total += 1 / float64(k+1)
	}
	perNode := make([]float64, n)
	for rank, k := range rng.Perm(keys) {
		perNode[node(callbackd.ShardOf(callbackd.KeyID(k+1)))] += 1 / float64(rank+1) / total
	}
	const sessions = 1 << 17
	bySession := make([]float64, n)
	for range sessions {
		bySession[node(callbackd.Shard(rng.IntN(callbackd.Shards)))] += (1 + 39*rng.Float64()) / (20.5 * sessions)
	}
	return Load{keys, 1 / total, most(perNode) * float64(n), most(bySession) * float64(n)}
}

func most(loads []float64) (m float64) {
	for _, l := range loads {
		m = math.Max(m, l)
	}
	return m
}

// Compare prints Balance for several numbers of keys.
func Compare(printf func(string, ...any) (int, error), n int, seed uint64) {
	printf("| keys | hottest key's share of the traffic | busiest node to mean, by key | by session |\n|---|---|---|---|\n")
	for _, keys := range []int{10, 100, 1000, 10_000} {
		l := Balance(n, keys, seed)
		printf("| %d | %s | %.2f | %.2f |\n", l.Keys, fmt.Sprintf("%.1f %%", 100*l.Hottest), l.Key, l.Session)
	}
}

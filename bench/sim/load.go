package sim

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"callbackd"
)

// Attempts is how many were started and checked.
func (w *World) Attempts() int { return w.attempts }

// Refused is how many records of buried nodes the database refused.
func (w *World) Refused() int { return w.refused }

// Faults is an error that names what broke a promise.
func Faults(worlds ...*World) error {
	var errs []error
	for _, w := range worlds {
		for _, v := range w.Violations {
			errs = append(errs, errors.New(v))
		}
	}
	return errors.Join(errs...)
}

// Load is how the busiest node's traffic compares with the mean one's.
type Load struct {
	Callbacks         int
	Hottest           float64 // the share of all traffic that is the hottest callback's
	Callback, Session float64 // busiest to mean: shards of callbacks, shards of sessions
}

// Balance divides the traffic of callbacks over n nodes with equal shares of
// the shards. The traffic of the k-th busiest callback is 1/k of the first's,
// and callbacks are as busy in no order of their numbers. For comparison the
// same traffic, in sessions of about 20 events, by shards of sessions.
func Balance(n, callbacks int, seed uint64) Load {
	rng := rand.New(rand.NewPCG(seed, 2))
	node := func(s callbackd.Shard) int { return int(s) * n / callbackd.Shards }
	total := 0.0
	for k := range callbacks {
		total += 1 / float64(k+1)
	}
	perNode := make([]float64, n)
	for rank, k := range rng.Perm(callbacks) {
		perNode[node(callbackd.ShardOf(callbackd.CallbackID(k+1)))] += 1 / float64(rank+1) / total
	}
	const sessions = 1 << 17
	bySession := make([]float64, n)
	for range sessions {
		bySession[node(callbackd.Shard(rng.IntN(callbackd.Shards)))] += (1 + 39*rng.Float64()) / (20.5 * sessions)
	}
	return Load{callbacks, 1 / total, most(perNode) * float64(n), most(bySession) * float64(n)}
}

func most(loads []float64) (m float64) {
	for _, l := range loads {
		m = math.Max(m, l)
	}
	return m
}

// Compare prints Balance for several numbers of callbacks.
func Compare(printf func(string, ...any) (int, error), n int, seed uint64) {
	printf("| callbacks | hottest callback's share of the traffic | busiest node to mean, by callback | by session |\n|---|---|---|---|\n")
	for _, callbacks := range []int{100, 1000, 10_000, 100_000} {
		l := Balance(n, callbacks, seed)
		printf("| %d | %s | %.2f | %.2f |\n", l.Callbacks, fmt.Sprintf("%.1f %%", 100*l.Hottest), l.Callback, l.Session)
	}
}

package sim

import (
	"slices"
	"time"

	"callbackd"
)

// Phase holds what one disturbance did to a world.
type Phase struct {
	Name           string
	Settled        bool
	Took           time.Duration // until the world was settled again
	Shards         int           // shards whose owner was lost
	P50, P99, Max  time.Duration // from the loss until another node delivered
	Moved, Needed  int           // shards that changed hands, and how many had to
	Statements     int           // a second, without records
	Cores, Peak    float64       // of the database that were busy: mean, and in the worst second
	WronglyEvicted int           // live nodes
	Count          map[string]int
}

// phase disturbs a settled world, waits until it is settled again, and then for rest.
func (w *World) phase(name string, least int, limit, rest time.Duration, disturb func()) Phase {
	w.mu.Lock()
	w.takeovers, w.claims, w.wronglyEvicted = nil, 0, 0
	w.db.count, w.db.busy = map[string]int{}, 0
	w.lostSince = [callbackd.Shards]time.Duration{}
	w.mu.Unlock()
	start := w.now()
	disturb()
	p := Phase{Name: name, Needed: least}
	p.Took, p.Settled = w.runUntilSettled(limit)
	w.run(rest)
	w.mu.Lock()
	defer w.mu.Unlock()
	took := w.now() - start
	slices.Sort(w.takeovers)
	if p.Shards = len(w.takeovers); p.Shards > 0 {
		p.P50, p.P99, p.Max = w.takeovers[p.Shards/2], w.takeovers[p.Shards*99/100], w.takeovers[p.Shards-1]
	}
	p.Moved, p.WronglyEvicted, p.Count = w.claims, w.wronglyEvicted, w.db.count
	for _, k := range w.db.count {
		p.Statements += k
	}
	p.Statements -= w.db.count["record"]
	p.Statements = int(float64(p.Statements) / took.Seconds())
	p.Cores = w.db.busy.Seconds() / took.Seconds()
	for _, s := range w.db.seconds[min(len(w.db.seconds), int(start/time.Second)):] {
		p.Peak = max(p.Peak, s.Seconds())
	}
	w.db.seconds = w.db.seconds[:min(len(w.db.seconds), int(start/time.Second))]
	return p
}

// Play disturbs a world of n nodes in every way, one after the other.
func Play(n int, c Config) (w *World, out []Phase) {
	w = simulate(c, func(w *World) { out = w.play(n) })
	return w, out
}

func (w *World) play(n int) (out []Phase) {
	const rest = 20 * time.Second
	lease := w.config.Lease
	limit := time.Duration(n)*100*time.Millisecond + 12*lease
	few := max(1, n/10)
	add := func(name string, least int, disturb func()) {
		out = append(out, w.phase(name, least, limit, rest, disturb))
	}
	share := func(k, of int) int { return callbackd.Shards * k / of }
	refill := func(k int) {
		w.startNodes(k, 100*time.Millisecond)
		w.run(time.Duration(k)*100*time.Millisecond + lease)
		w.runUntilSettled(limit)
	}

	add("rolling start, one every 100 ms", callbackd.Shards, func() {
		w.startNodes(n, 100*time.Millisecond)
		w.run(time.Duration(n) * 100 * time.Millisecond)
	})
	add("nothing happens", 0, func() {})
	add("one more", share(1, n+1), func() {
		w.startNodes(1, 0)
		w.run(50 * time.Millisecond)
	})
	add("one leaves", share(1, n+1), func() { w.leave(1) })
	w.removeLeft()
	add("one is killed", share(1, n), func() { w.kill(1) })
	refill(1)
	add("a tenth is killed", share(few, n), func() { w.kill(few) })
	refill(few)
	add("half is killed", share(n/2, n), func() { w.kill(n / 2) })
	refill(n / 2)
	add("a tenth is frozen for three leases", 2*share(few, n), func() {
		w.freeze(few, 3*lease)
		w.run(3*lease + time.Second)
	})
	add("the database is away for half a lease", 0, func() {
		w.outage(lease / 2)
		w.run(lease / 2)
	})
	add("the database is away for three leases", 0, func() {
		w.outage(3 * lease)
		w.run(3*lease + time.Second)
	})
	add("a tenth has a clock 3 min off", share(few, n), func() { w.skew(few, 3*time.Minute) })
	return out
}

// StartAtOnce starts n nodes at the same moment on an empty database.
func StartAtOnce(n int, c Config) (w *World, p Phase) {
	w = simulate(c, func(w *World) {
		p = w.phase("all start at once", callbackd.Shards, 10*time.Minute, 20*time.Second, func() {
			w.startNodes(n, 0)
			w.run(50 * time.Millisecond)
		})
	})
	return w, p
}

package sim

import (
	"context"
	"errors"
	"time"

	"callbackd"
	"callbackd/internal/cluster"
)

// engine delivers for the shards of a node, in the model: attempts take a while and are
// then recorded. It has no deliveries, so it never needs what messages would tell it.
type engine struct {
	cluster.Engine // nil; the methods about deliveries are not called
	n              *node

	// The world's mu guards the rest.
	shards       [callbackd.Shards]shardState
	count        [owned + 1]int // shards in each state
	inFlight     map[callbackd.Shard]int
	drains       map[callbackd.Shard]*drain
	abandoned    int           // how often the node was evicted
	recording    int           // records that the database has not answered
	recorded     chan struct{} // closed when it has answered all; nil: no drain waits
	leaseEnd     time.Time     // by the monotonic clock
	leaseEndWall time.Time     // by the wall clock
}

type shardState uint8

const (
	notOwned shardState = iota
	adopting
	owned
)

// drain waits for the attempts of shards that were given up.
type drain struct {
	remaining int
	drained   chan callbackd.Shard
}

var errGone = errors.New("the process has ended")

func newEngine(n *node) *engine {
	e := &engine{n: n, inFlight: map[callbackd.Shard]int{}, drains: map[callbackd.Shard]*drain{}}
	e.count[notOwned] = callbackd.Shards
	return e
}

func (e *engine) set(s callbackd.Shard, to shardState) {
	e.count[e.shards[s]]--
	e.count[to]++
	e.shards[s] = to
}

// Adopt is part of cluster.Engine.
func (e *engine) Adopt(ctx context.Context, shards []callbackd.Shard) error {
	w := e.n.w
	w.mu.Lock()
	for _, s := range shards {
		e.set(s, adopting)
	}
	w.mu.Unlock()
	if !e.n.clock.Sleep(ctx, adoptTime) {
		return ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.n.gone {
		return errGone
	}
	for _, s := range shards {
		if e.shards[s] == adopting {
			e.set(s, owned)
			e.deliver(s)
		}
	}
	return nil
}

// deliver begins to deliver for a shard.
func (e *engine) deliver(s callbackd.Shard) {
	w := e.n.w
	before := w.deliverer[s]
	if before != nil && before != e.n && before.engine.shards[s] == owned && before.engine.leased() {
		w.violation("shard %d: node %d delivers for it, and so does node %d", s, before.id, e.n.id)
	}
	w.deliverer[s] = e.n
	if w.lostSince[s] != 0 && e.leased() {
		w.takeovers = append(w.takeovers, w.now()-w.lostSince[s])
		w.lostSince[s] = 0
	}
}

// Disown is part of cluster.Engine.
func (e *engine) Disown(shards []callbackd.Shard) <-chan callbackd.Shard {
	e.n.w.mu.Lock()
	defer e.n.w.mu.Unlock()
	d := &drain{len(shards), make(chan callbackd.Shard, len(shards))}
	for _, s := range shards {
		e.set(s, notOwned)
		if e.inFlight[s] == 0 {
			d.end(s)
		} else {
			e.drains[s] = d
		}
	}
	return d.drained
}

func (d *drain) end(s callbackd.Shard) {
	d.drained <- s
	if d.remaining--; d.remaining == 0 {
		close(d.drained)
	}
}

// Abandon is part of cluster.Engine.
func (e *engine) Abandon() <-chan struct{} {
	e.n.w.mu.Lock()
	defer e.n.w.mu.Unlock()
	e.drop()
	e.abandoned++
	recorded := make(chan struct{})
	e.recorded = recorded
	e.signalRecorded()
	return recorded
}

func (e *engine) signalRecorded() {
	if e.recording == 0 && e.recorded != nil {
		close(e.recorded)
		e.recorded = nil
	}
}

// drop stops delivering for all shards at once.
func (e *engine) drop() {
	e.markLost()
	e.shards = [callbackd.Shards]shardState{}
	e.count = [owned + 1]int{notOwned: callbackd.Shards}
}

// markLost notes that no node delivers for the shards from now on.
func (e *engine) markLost() {
	for s, state := range e.shards {
		if state == owned && e.n.w.lostSince[s] == 0 {
			e.n.w.lostSince[s] = e.n.w.now()
		}
	}
}

// SetLease is part of cluster.Engine.
func (e *engine) SetLease(until time.Time) {
	e.n.w.mu.Lock()
	defer e.n.w.mu.Unlock()
	e.leaseEnd = until
	e.leaseEndWall = e.n.clock.wall().Add(until.Sub(e.n.clock.monotonic()))
}

// leased reports whether the lease has not ended, by both clocks.
func (e *engine) leased() bool {
	return e.n.clock.monotonic().Before(e.leaseEnd) && e.n.clock.wall().Before(e.leaseEndWall)
}

// Rescan is part of cluster.Engine.
func (e *engine) Rescan(context.Context) error { return nil }

// InFlight is part of cluster.Engine.
func (e *engine) InFlight() int {
	e.n.w.mu.Lock()
	defer e.n.w.mu.Unlock()
	return len(e.inFlight)
}

// startAttempts starts attempts for shards that the node believes it owns.
func (e *engine) startAttempts(ctx context.Context) {
	w := e.n.w
	for w.config.Starts > 0 {
		w.mu.Lock()
		pause := time.Duration(w.noise.ExpFloat64() / w.config.Starts * float64(time.Second))
		w.mu.Unlock()
		if !e.n.clock.Sleep(ctx, pause) {
			return
		}
		w.mu.Lock()
		e.startAttempt()
		w.mu.Unlock()
	}
}

// startAttempt starts an attempt for a random shard, if the lease holds.
func (e *engine) startAttempt() {
	w := e.n.w
	if e.count[owned] == 0 || !e.leased() {
		return
	}
	s := callbackd.Shard(w.noise.IntN(callbackd.Shards))
	for e.shards[s] != owned {
		s = (s + 1) % callbackd.Shards
	}
	w.attempts++
	if owner := w.db.owners[s]; owner != e.n.id {
		w.violation("shard %d: node %d starts an attempt, and node %d owns it", s, e.n.id, owner)
	}
	took := time.Duration(w.noise.ExpFloat64() * float64(100*time.Millisecond))
	if w.noise.IntN(50) == 0 {
		took += 5 * time.Second
	}
	e.inFlight[s]++
	abandoned := e.abandoned
	w.work.Go(func() { e.attempt(s, took, abandoned) })
}

// attempt makes one attempt and then records it, unless the node was evicted meanwhile.
func (e *engine) attempt(s callbackd.Shard, took time.Duration, abandoned int) {
	w := e.n.w
	e.n.clock.Sleep(context.Background(), took)
	w.mu.Lock()
	rest := time.Duration(0)
	if w.now() == e.n.thawedAt && w.noise.IntN(2) == 0 { // the answer arrives later
		rest = time.Duration(w.noise.Int64N(int64(3 * time.Second)))
	}
	w.mu.Unlock()
	if rest > 0 {
		e.n.clock.Sleep(context.Background(), rest)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.abandoned == abandoned && !e.n.gone {
		e.record(s)
	}
	if e.inFlight[s]--; e.inFlight[s] > 0 {
		return
	}
	delete(e.inFlight, s)
	if d := e.drains[s]; d != nil {
		delete(e.drains, s)
		d.end(s)
	}
}

// record records an outcome under the number that the node has. The database refuses it
// when that number was evicted. The caller holds mu, which is unlocked meanwhile.
func (e *engine) record(s callbackd.Shard) {
	w := e.n.w
	id := e.n.id
	e.recording++
	w.mu.Unlock()
	w.travel()
	w.db.serve("record", recordCost)
	w.mu.Lock()
	if w.db.rows[id] == nil {
		w.refused++
	} else if owner := w.db.owners[s]; owner != id {
		w.violation("shard %d: node %d records, and node %d owns it", s, id, owner)
	}
	w.mu.Unlock()
	w.travel()
	e.n.waitWhileFrozen()
	w.mu.Lock()
	e.recording--
	e.signalRecorded()
}

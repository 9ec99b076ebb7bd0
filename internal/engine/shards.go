package engine

import (
	"context"
	"time"

	"callbackd"
)

// shardState is whether the engine delivers for a shard of a shared queue.
type shardState uint8

const (
	notOwned shardState = iota
	adopting            // the engine delivers for it and is reading what is pending
	owned
)

// errLeaseEnded means that the lease ended, or the shard went to another node,
// between the choice of an attempt and its sending.
var errLeaseEnded = callbackd.Errorf(callbackd.KindUnavailable, "the lease of this node ended")

// owns reports whether the engine delivers for the callbacks of a key.
func (e *Engine) owns(key callbackd.KeyID) bool {
	return !e.options.Shared || e.shards[callbackd.ShardOf(key)] != notOwned
}

// mayStart reports whether attempts may be started at now.
func (e *Engine) mayStart(now time.Time) bool {
	return e.phase == running && e.leaseHolds(now)
}

// leaseHolds reports whether the lease has not ended by either clock. Both are needed: the
// monotonic clock stops while a virtual machine is suspended, and the wall clock may be set
// back.
func (e *Engine) leaseHolds(now time.Time) bool {
	if !e.options.Shared {
		return true
	}
	return now.Before(e.leaseEnd) && now.Round(0).Before(e.leaseEnd.Round(0))
}

// mayDeliver reports whether an attempt of q may be sent at this moment.
func (e *Engine) mayDeliver(q *callbackQueue) bool {
	if !e.options.Shared {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return q.stage != abandoned && e.leaseHolds(time.Now())
}

// SetLease sets the end of the lease. Attempts of a shared queue start until then.
func (e *Engine) SetLease(until time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.leaseEnd = until
	e.dispatch(time.Now())
}

// Adopt makes the engine deliver for shards: what is pending in the store, and what is
// accepted from now on. After an error, call Adopt again or call Disown.
func (e *Engine) Adopt(ctx context.Context, shards []callbackd.Shard) error {
	e.mu.Lock()
	for _, s := range shards {
		e.shards[s] = adopting
	}
	e.mu.Unlock()
	pending, err := e.options.Queue.PendingCallbacks(ctx)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range pending {
		if e.shards[callbackd.ShardOf(c.Key)] == adopting {
			q := e.queue(c.Key, c.Callback)
			q.rereadAll()
			e.readMore(q)
		}
	}
	for _, s := range shards {
		if e.shards[s] == adopting {
			e.shards[s] = owned
		}
	}
	return nil
}

// AcceptedElsewhere tells the engine about a delivery that another node accepted. The
// session may have earlier deliveries that this engine does not know, so it reads the lane
// from the store.
func (e *Engine) AcceptedElsewhere(d callbackd.Delivery) {
	d.ReadLane = true
	e.OnCommit([]callbackd.Delivery{d})
}

// Rescan reads again, from the store, what the engine should know from messages of other
// nodes, because some may have been lost.
func (e *Engine) Rescan(ctx context.Context) error {
	pending, err := e.options.Queue.PendingCallbacks(ctx)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, q := range e.queues { // also those with nothing pending
		q.setting.stale = true
		e.readMore(q)
	}
	for _, c := range pending {
		if e.owns(c.Key) {
			q := e.queue(c.Key, c.Callback)
			q.setting.stale = true
			q.rereadSources()
			e.readMore(q)
		}
	}
	return nil
}

// shardDrain counts what is under way for shards that the engine disowned.
type shardDrain struct {
	remaining map[callbackd.Shard]int // queues of the shard that have not ended
	drained   chan callbackd.Shard    // has room for all shards
}

// countDown counts a queue that ended, and sends the shard when it was the last one.
func (d *shardDrain) countDown(s callbackd.Shard) {
	d.remaining[s]--
	if d.remaining[s] == 0 {
		delete(d.remaining, s)
		d.drained <- s
	}
	if len(d.remaining) == 0 {
		close(d.drained)
	}
}

// Disown stops delivering for shards that were adopted. The channel gets each shard when
// all its attempts are recorded. From then on another node may own it. The channel is closed
// after the last shard.
func (e *Engine) Disown(shards []callbackd.Shard) <-chan callbackd.Shard {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := &shardDrain{
		remaining: map[callbackd.Shard]int{},
		drained:   make(chan callbackd.Shard, len(shards)),
	}
	if len(shards) == 0 {
		close(d.drained)
	}
	for _, s := range shards {
		e.shards[s] = notOwned
		d.remaining[s] = 1 // for this function: none is drained before its end
	}
	for _, q := range e.queues {
		if s := callbackd.ShardOf(q.key); d.remaining[s] > 0 && q.stage == serving {
			q.drain = d
			d.remaining[s]++
			e.leave(q, leaving)
		}
	}
	for _, s := range shards {
		d.countDown(s)
	}
	return d.drained
}

// Abandon drops everything at once, because other nodes own the shards already. Attempts in
// flight are not recorded, and the store refuses the outcomes that are being recorded. The
// channel is closed when the store has answered all of these. Only then may the process
// join under another ID: with it, the store would accept the outcomes.
func (e *Engine) Abandon() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shards = [callbackd.Shards]shardState{}
	for id, q := range e.queues {
		e.leave(q, abandoned)
		delete(e.queues, id)
	}
	return e.records.noneLeft()
}

// recordAnswered notes that the store has answered the record of an outcome.
func (e *Engine) recordAnswered() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.records.underWay--
	e.records.signal()
}

// recordCalls counts the outcomes that the store is recording.
type recordCalls struct {
	underWay int
	none     chan struct{} // closed when none is under way; nil: nobody waits
}

// noneLeft returns a channel that is closed when none is under way.
func (r *recordCalls) noneLeft() <-chan struct{} {
	if r.none == nil {
		r.none = make(chan struct{})
	}
	none := r.none
	r.signal()
	return none
}

func (r *recordCalls) signal() {
	if r.underWay == 0 && r.none != nil {
		close(r.none)
		r.none = nil
	}
}

// leave makes a queue start nothing more and drop what waits.
func (e *Engine) leave(q *callbackQueue, next stage) {
	q.stage = next
	e.leaveOrigin(q)
	q.alarm.stop()
	q.clear(e)
	q.leaveGroup(e)
	e.finishLeaving(q)
}

// finishLeaving drops a queue that is leaving when nothing of it is under way.
func (e *Engine) finishLeaving(q *callbackQueue) {
	if q.stage == serving || q.flight.attempts > 0 || q.flight.recording > 0 || q.reads.running {
		return
	}
	if e.queues[q.id] == q {
		delete(e.queues, q.id)
	}
	if q.drain != nil {
		q.drain.countDown(callbackd.ShardOf(q.key))
		q.drain = nil
	}
}

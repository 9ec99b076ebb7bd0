package engine

import (
	"context"
	"time"

	"callbackd"
)

const (
	maxReads = 8  // reads from the store at a time
	duePage  = 64 // retries of one callback in memory, and as many deliveries of replays
)

// queueReads says what a queue has to read from the store besides its sources.
type queueReads struct {
	running bool    // a goroutine reads
	heads   bool    // the deliveries that block lanes must be read
	unread  []*lane // lanes whose next first attempts must be read
	// newestInLanes is the newest first attempt that a read of lanes brought.
	newestInLanes callbackd.EventID
}

// storeRead is one read from the store. It is prepared inside the mutex and runs
// outside. apply puts its result into memory and runs inside.
type storeRead func(ctx context.Context) (apply func(now time.Time), err error)

// readMore starts a goroutine that reads what the queue needs, unless one runs.
func (e *Engine) readMore(q *callbackQueue) {
	if q.reads.running || q.stage != serving || e.phase != running {
		return
	}
	if e.nextRead(q, e.now()) == nil {
		return
	}
	q.reads.running = true
	e.work.Add(1)
	e.workers.run(func() {
		defer e.work.Done()
		e.readSlots <- struct{}{}
		defer func() { <-e.readSlots }()
		e.readUntilDone(q)
	})
}

// readUntilDone makes one read after the other until the queue needs none.
func (e *Engine) readUntilDone(q *callbackQueue) {
	for {
		e.mu.Lock()
		now := e.now()
		prepare := e.nextRead(q, now)
		if prepare == nil || e.phase != running || q.stage != serving {
			q.reads.running = false
			e.finishLeaving(q)
			e.advance(q, now)
			e.mu.Unlock()
			return
		}
		read := prepare(q, now)
		clear(q.known.recorded) // the read sees what is recorded by now
		e.mu.Unlock()
		apply, err := read(e.ctx)
		if err != nil {
			e.options.Log.Error("queue not read, trying again", "callback", int64(q.id), "error", err)
			e.waitToReadAgain()
			continue
		}
		e.mu.Lock()
		if q.stage == serving {
			apply(e.now())
		}
		e.dispatch(e.now())
		e.mu.Unlock()
	}
}

// waitToReadAgain waits after a read that failed. Meanwhile its slot is free, because
// other reads may succeed.
func (e *Engine) waitToReadAgain() {
	<-e.readSlots
	select {
	case <-time.After(retryInterval):
	case <-e.ctx.Done():
	}
	e.readSlots <- struct{}{}
}

// nextRead returns what prepares the queue's next read; nil: memory has all that it
// may.
func (e *Engine) nextRead(q *callbackQueue, now time.Time) func(*callbackQueue, time.Time) storeRead {
	g := e.gate(q, firstAttempt, now)
	wait := g.Receiver(now).Reason
	switch {
	case q.setting.stale:
		return e.readCallback
	case q.deferred.isDue(now):
		return e.takeTurns
	case wait == callbackd.WaitForResume:
		return nil
	case q.reads.heads:
		return e.readHeads
	case len(q.reads.unread) > 0:
		return e.readLanes
	case wait != callbackd.NoWait:
		return nil
	case q.sources[retry].isDue(now) && e.isLow(q, retry):
		return e.readRetries
	case q.setting.releasing && e.isLow(q, retry):
		return e.makeDue
	case q.sources[firstAttempt].isDue(now) && e.isLow(q, firstAttempt):
		return e.readFirstAttempts
	case q.sources[replay].isDue(now) && e.isLow(q, replay):
		return e.readReplays
	}
	return nil
}

// isLow reports whether memory has room for a page of a class. First attempts are
// read when half of their window is free, so that a read brings many.
func (e *Engine) isLow(q *callbackQueue, class int) bool {
	n := q.sources[class].inMemory
	if class != firstAttempt {
		return n < duePage
	}
	return n <= e.options.Window/2 && q.lanesBack() < maxBlockedLanes
}

// readHeads reads the deliveries that block their lanes, after a start.
func (e *Engine) readHeads(q *callbackQueue, now time.Time) storeRead {
	return func(ctx context.Context) (func(time.Time), error) {
		ds, _, err := e.options.Queue.Pending(ctx, callbackd.PendingRead{Callback: q.id, Source: callbackd.Heads, At: now, Limit: maxBlockedLanes})
		return func(time.Time) {
			q.reads.heads = false
			for _, d := range ds {
				l := q.lane(d.Session)
				if l.head == nil && !l.state.UnderWay() && !q.known.has(d.ID.Event) {
					if q.setting.releasing && d.Due.After(now) {
						d.Due = now
					}
					q.block(l, d)
				}
				e.reviewLane(q, l)
			}
		}, err
	}
}

// rereadAll makes everything that the store holds of the queue be read.
func (q *callbackQueue) rereadAll() {
	q.reads.heads = true
	q.rereadSources()
}

// rereadSources makes everything be read that may be sent at once.
func (q *callbackQueue) rereadSources() {
	q.cursor().reread(1)
	q.sources[retry].note(longAgo)
	q.sources[replay].note(longAgo)
	q.deferred.note(longAgo)
}

// longAgo is before everything that can be due.
var longAgo = time.Unix(0, 0)

package engine

import (
	"context"
	"slices"
	"time"

	"callbackd"
)

// storeRead is one read from the store. It runs outside the mutex; apply puts
// its result into memory and runs inside.
type storeRead func(ctx context.Context) (apply func(now time.Time), err error)

// readMore starts a goroutine that reads what the queue needs, unless one runs.
func (e *Engine) readMore(q *callbackQueue) {
	if q.reading || q.leaving || !e.running || e.draining {
		return
	}
	if e.nextNeed(q, e.now()) == needNothing {
		return
	}
	q.reading = true
	e.work.Go(func() {
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
		read := e.nextRead(q, now)
		if read == nil || e.draining || q.leaving {
			q.reading = false
			e.finishLeaving(q)
			e.advance(q, now)
			e.mu.Unlock()
			return
		}
		clear(q.recordedDuringRead) // the next read sees what is recorded by now
		e.mu.Unlock()
		apply, err := read(e.ctx)
		if err != nil {
			e.options.Log.Error("queue not read, trying again", "callback", int64(q.id), "error", err)
			<-e.readSlots // reads for other callbacks may succeed
			select {
			case <-time.After(retryInterval):
			case <-e.ctx.Done():
			}
			e.readSlots <- struct{}{}
			continue
		}
		e.mu.Lock()
		if !q.leaving {
			apply(e.now())
		}
		e.dispatch(e.now())
		e.mu.Unlock()
	}
}

// need names what a queue has to read from the store.
type need int

const (
	needNothing need = iota
	needCallback
	needBlocked
	needLanes
	needRetries
	needMakeDue
	needFirstAttempts
	needReplays
)

// nextNeed returns what the queue has to read next: needNothing when memory
// holds all that it may.
func (e *Engine) nextNeed(q *callbackQueue, now time.Time) need {
	switch {
	case q.stale:
		return needCallback
	case !q.active():
		return needNothing
	case q.blockedUnread:
		return needBlocked
	case len(q.lanesToRead) > 0:
		return needLanes
	case q.health.Held(now):
		return needNothing
	case isDue(q.nextRetry, now) && q.retryCount < retryPage:
		return needRetries
	case q.releasing && q.retryCount < retryPage:
		return needMakeDue
	case q.moreInStore && e.windowIsLow(q):
		return needFirstAttempts
	case isDue(q.nextReplay, now) && q.replayCount < retryPage:
		return needReplays
	}
	return needNothing
}

// isDue tells whether at, a time or zero for never, has come.
func isDue(at, now time.Time) bool { return !at.IsZero() && !at.After(now) }

// windowIsLow tells whether it is time to read a page of first attempts: when
// half of the window is free, so that a read brings many.
func (e *Engine) windowIsLow(q *callbackQueue) bool {
	return q.firstAttemptCount <= e.options.Window/2 && len(q.blocked.lanes) < maxBlockedLanes
}

// nextRead prepares the read of what the queue needs; nil: it needs nothing.
func (e *Engine) nextRead(q *callbackQueue, now time.Time) storeRead {
	switch e.nextNeed(q, now) {
	case needCallback:
		return e.readCallback(q)
	case needBlocked:
		return e.readBlocked(q, now)
	case needLanes:
		return e.readLanes(q)
	case needRetries:
		return e.readRetries(q, now)
	case needMakeDue:
		return e.makeDue(q, now)
	case needFirstAttempts:
		return e.readFirstAttempts(q)
	case needReplays:
		return e.readReplays(q, now)
	}
	return nil
}

func (e *Engine) readCallback(q *callbackQueue) storeRead {
	q.stale = false // a change during the read sets it again
	return func(ctx context.Context) (func(time.Time), error) {
		cb, err := e.options.Queue.CallbackByID(ctx, q.id)
		if err != nil {
			e.mu.Lock()
			q.stale = true
			e.mu.Unlock()
			return nil, err
		}
		return func(now time.Time) { e.applySetting(q, cb, now) }, nil
	}
}

// applySetting makes cb the queue's setting, unless a newer one is known.
func (e *Engine) applySetting(q *callbackQueue, cb *callbackd.Callback, now time.Time) {
	before := q.cb
	if before != nil && cb.Version < before.Version {
		return
	}
	// Not After: the clock of the node that released it may have been set back.
	released := before != nil && !cb.ReleasedAt.Equal(before.ReleasedAt)
	if before == nil || before.Version != cb.Version || released {
		q.restoreHealth(cb, released, now)
	}
	wasPaused := q.paused
	q.cb = cb
	q.paused = cb.Paused() || q.pausing
	switch {
	case cb.Deleted():
		q.clear(e)
	case q.paused && !wasPaused:
		q.moreInStore = true // what is accepted while it is paused stays in the store
	case wasPaused && !q.paused:
		q.noteRetry(time.Unix(0, 0))
	}
	q.updateLimiter()
	e.updateProbation(q)
	if released && q.origin != nil {
		q.origin.probation.Health = q.origin.probation.Health.Released(now)
	}
	q.markReady(e)
}

// restoreHealth takes the health of the receiver from the setting. A version
// that this engine has not sent to yet begins with what the store kept, and so
// does a callback that a person released.
func (q *callbackQueue) restoreHealth(cb *callbackd.Callback, released bool, now time.Time) {
	closedUntil := cb.ClosedUntil
	if q.cb != nil && !released && callbackd.SameOrigin(q.cb.URL, cb.URL) && q.health.ClosedUntil.After(closedUntil) {
		// Retry-After of an answer that the store does not have yet, or that
		// the version before got from the same origin.
		closedUntil = q.health.ClosedUntil
	}
	q.health = callbackd.RestoreHealth(cb.FailingSince, closedUntil, now)
	q.proven = cb.Proven
	if cb.Releasing {
		q.makeHeadsDue(now)
	}
}

func (e *Engine) readBlocked(q *callbackQueue, now time.Time) storeRead {
	return func(ctx context.Context) (func(time.Time), error) {
		ds, err := e.options.Queue.Blocked(ctx, q.id, now, maxBlockedLanes)
		return func(time.Time) {
			q.blockedUnread = false
			for _, d := range ds {
				l := q.lane(d.Session)
				if l.head != nil || l.busy || q.inMemory[d.ID.Event] || q.recordedDuringRead[d.ID.Event] {
					continue
				}
				if q.releasing && d.Due.After(now) {
					d.Due = now
				}
				q.block(l, d)
			}
		}, err
	}
}

// readLanes reads the next deliveries of some of lanesToRead, each from its
// last one on.
func (e *Engine) readLanes(q *callbackQueue) storeRead {
	n := min(len(q.lanesToRead), laneBatch)
	lanes := slices.Clone(q.lanesToRead[:n])
	q.lanesToRead = q.lanesToRead[n:]
	cursors := make([]callbackd.LaneCursor, n)
	offered := make([]callbackd.EventID, n) // before the read
	for i, l := range lanes {
		cursors[i] = callbackd.LaneCursor{Session: l.session, After: l.lastTaken}
		offered[i] = l.lastOffered
	}
	return func(ctx context.Context) (func(time.Time), error) {
		ds, err := e.options.Queue.Lanes(ctx, q.id, cursors, maxLaneInMemory)
		if err != nil {
			e.mu.Lock()
			q.lanesToRead = append(q.lanesToRead, lanes...)
			e.mu.Unlock()
			return nil, err
		}
		return func(time.Time) { e.applyLanes(q, lanes, offered, ds) }, nil
	}
}

func (e *Engine) applyLanes(q *callbackQueue, lanes []*lane, offered []callbackd.EventID, ds []callbackd.Delivery) {
	for _, l := range lanes {
		l.toBeRead = false
		l.moreInStore = false
	}
	found := map[string]int{}
	for _, d := range ds {
		found[d.Session]++
		e.addToLane(q, d)
	}
	for i, l := range lanes {
		// The read saw everything that was offered before it. What was offered
		// while it ran is in the store only.
		full := found[l.session] == maxLaneInMemory
		if !full {
			l.lastTaken = max(l.lastTaken, offered[i])
		}
		l.moreInStore = full || l.lastOffered > l.lastTaken
		q.reviewLane(e, l)
	}
}

func (e *Engine) readRetries(q *callbackQueue, now time.Time) storeRead {
	q.nextRetry = time.Time{} // an outcome during the read may set it again
	return e.readDue(q, callbackd.DueRetries, now, q.noteRetry, func(l *lane, d callbackd.Delivery) {
		l.retries = append(l.retries, d)
		q.retryCount++
	})
}

func (e *Engine) readReplays(q *callbackQueue, now time.Time) storeRead {
	q.nextReplay = time.Time{}
	return e.readDue(q, callbackd.DueReplays, now, q.noteReplay, func(l *lane, d callbackd.Delivery) {
		l.replays = append(l.replays, d)
		q.replayCount++
	})
}

// readDue reads what is due of a class. add puts a delivery into its lane, and
// note remembers when the store's next one is due.
func (e *Engine) readDue(q *callbackQueue, class callbackd.DueClass, now time.Time, note func(time.Time), add func(*lane, callbackd.Delivery)) storeRead {
	limit := retryPage + len(q.inMemory) // the result may be what memory has already
	return func(ctx context.Context) (func(time.Time), error) {
		ds, next, err := e.options.Queue.Due(ctx, class, q.id, now, limit)
		if err != nil {
			e.mu.Lock()
			note(now)
			e.mu.Unlock()
			return nil, err
		}
		return func(time.Time) {
			for _, d := range ds {
				l := q.lane(d.Session)
				if !q.knows(l, d.ID.Event) {
					// A person may resend what waits for its first attempt.
					q.removeFirstAttempt(e, l, d.ID.Event)
					q.inMemory[d.ID.Event] = true
					add(l, d)
				}
				q.reviewLane(e, l)
			}
			if !next.IsZero() {
				note(next)
			}
		}, nil
	}
}

// knows tells whether a delivery that a read shows as due is in memory, in
// flight, or was recorded while the read ran.
func (q *callbackQueue) knows(l *lane, id callbackd.EventID) bool {
	return q.inMemory[id] || q.recordedDuringRead[id] || l.busy && l.current == id
}

// maxVisibilityDelay bounds how long after the time in its id a delivery that
// another node accepted may still be invisible in the store: the nodes' clocks
// may differ by [callbackd.MaxSkew]. A delivery that is younger may therefore
// follow one of its session that is unknown here. Rescan finds what appears even
// later and was in no message.
const maxVisibilityDelay = 5 * time.Minute

// readFirstAttempts reads the page of first attempts that follows the cursor.
func (e *Engine) readFirstAttempts(q *callbackQueue) storeRead {
	q.moveCursorBack()
	after := q.cursor
	offered := q.lastOffered // before the read
	limit := e.options.Window
	return func(ctx context.Context) (func(time.Time), error) {
		ds, err := e.options.Queue.FirstAttempts(ctx, q.id, after, limit)
		return func(now time.Time) {
			for _, d := range ds {
				q.cursor = max(q.cursor, d.ID.Event)
				if e.options.Shared && d.ID.Event.Time().After(now.Add(-maxVisibilityDelay)) {
					e.readLane(q, d.Session, d.ID.Event)
				} else {
					e.addToLane(q, d)
				}
			}
			// The read saw everything that was offered before it. What was
			// offered while it ran is in the store only.
			if err == nil && len(ds) < limit {
				q.cursor = max(q.cursor, offered)
			}
			q.moreInStore = len(ds) == limit || q.lastOffered > q.cursor || q.rereadFrom != 0
		}, err
	}
}

// moveCursorBack makes the next page begin with rereadFrom.
func (q *callbackQueue) moveCursorBack() {
	if q.rereadFrom != 0 {
		q.cursor = min(q.cursor, q.rereadFrom-1)
		q.rereadFrom = 0
	}
}

// reread makes the first attempts from an id on be read, once more if need be.
func (q *callbackQueue) reread(id callbackd.EventID) {
	if q.rereadFrom == 0 || id < q.rereadFrom {
		q.rereadFrom = id
	}
	q.moreInStore = true
}

// rereadAll makes everything that the store holds of the queue be read.
func (q *callbackQueue) rereadAll() {
	q.blockedUnread = true
	q.reread(1)
	q.nextRetry = time.Unix(0, 0)
	q.nextReplay = time.Unix(0, 0)
}

// readDelivery makes a first attempt be read with the rest of its lane. When
// memory has no room for one more lane, the pages of first attempts will bring
// it instead.
func (e *Engine) readDelivery(q *callbackQueue, session string, id callbackd.EventID) {
	// A read that runs may have passed the delivery before it was visible.
	comesAnyway := q.moreInStore && id > q.cursor && !q.reading
	switch {
	case comesAnyway:
	case !e.mayKeep(q) || len(q.lanesToRead) >= e.options.Window:
		q.reread(id)
	default:
		e.readLane(q, session, id)
	}
}

// readLane puts a lane among those to be read, because the store may have more
// of it up to the event.
func (e *Engine) readLane(q *callbackQueue, session string, id callbackd.EventID) {
	l := q.lane(session)
	if l.lastTaken == 0 {
		last := e.lastPositions.get(q.id, session)
		l.lastTaken = last.event
		l.lastSequence = last.sequence
	}
	l.lastOffered = max(l.lastOffered, id)
	if id > l.lastTaken && !q.recordedDuringRead[id] && !q.inMemory[id] {
		l.moreInStore = true
	}
	q.reviewLane(e, l)
}

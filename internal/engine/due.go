package engine

import (
	"context"
	"slices"
	"time"

	"callbackd"
)

const makeDuePage = 1024 // pending deliveries that one step of makeDue looks at

// noteDue remembers when d, which is in the store, is due.
func (q *callbackQueue) noteDue(d *callbackd.Delivery) {
	class := retry
	if d.Replay != 0 {
		class = replay
	}
	q.sources[class].note(d.Due)
}

func (e *Engine) readRetries(q *callbackQueue, now time.Time) storeRead {
	return e.readDue(q, retry, now)
}
func (e *Engine) readReplays(q *callbackQueue, now time.Time) storeRead {
	return e.readDue(q, replay, now)
}

// readDue reads the retries or the replays that are due.
func (e *Engine) readDue(q *callbackQueue, class int, now time.Time) storeRead {
	s := &q.sources[class]
	s.next = time.Time{}                     // an outcome during the read may set it again
	limit := duePage + len(q.known.inMemory) // the result may be what memory has already
	return func(ctx context.Context) (func(time.Time), error) {
		ds, next, err := e.options.Queue.Pending(ctx, callbackd.PendingRead{Callback: q.id, Source: callbackd.Source(class), At: now, Limit: limit})
		if err != nil {
			e.mu.Lock()
			s.note(now)
			e.mu.Unlock()
			return nil, err
		}
		return func(now time.Time) {
			left := false // the store still has what has expired; it ends that soon
			for _, d := range ds {
				switch {
				case d.Expired(now):
					left = true
				case !d.Deferred(): // it takes its turn as a first attempt
					e.addDue(q, class, d)
				}
			}
			if left && !next.After(now) {
				next = now.Add(retryInterval)
			}
			if !next.IsZero() {
				s.note(next)
			}
		}, nil
	}
}

// addDue adds a retry or a replay that is due to its lane, unless it is in memory,
// in flight, or was recorded while the read ran that brought it.
func (e *Engine) addDue(q *callbackQueue, class int, d callbackd.Delivery) {
	l := q.lane(d.Session)
	id := d.ID.Event
	if !q.known.has(id) && !l.isCurrent(id) {
		// A person may resend what waits for its first attempt.
		e.removeFirstAttempt(q, l, id)
		q.known.inMemory[id] = true
		l.waiting[class] = append(l.waiting[class], d)
		q.sources[class].inMemory++
	}
	e.reviewLane(q, l)
}

// noteDueAgain remembers when a delivery is due that a person or a replay made
// due again.
//
// Its attempt before may have been recorded while a read ran that is not over.
// What the next read shows of it is then the new one, so it no longer counts as
// recorded.
//
// The engine may also not have heard yet that the attempt before ended. Until it
// does, it takes what a read shows for that attempt and leaves it out. So the
// delivery is kept in dueAgain, and attemptEnded makes it be read once more.
func (q *callbackQueue) noteDueAgain(d *callbackd.Delivery) {
	id := d.ID.Event
	delete(q.known.recorded, id)
	l := q.lanes[d.Session]
	if q.known.inMemory[id] || l != nil && l.isCurrent(id) {
		q.known.dueAgain[id] = *d
	}
	q.noteDue(d)
}

// attemptEnded notes that the attempt of a delivery was recorded or given up.
func (q *callbackQueue) attemptEnded(id callbackd.EventID) {
	if q.reads.running {
		q.known.recorded[id] = true
	}
	delete(q.known.inMemory, id)
	if d, ok := q.known.dueAgain[id]; ok {
		delete(q.known.dueAgain, id)
		q.noteDue(&d)
	}
}

// restartRetry makes d begin its retry schedule again when it is a retry in memory, and
// reports whether it is.
func (q *callbackQueue) restartRetry(d *callbackd.Delivery) bool {
	l := q.lanes[d.Session]
	if l == nil {
		return false
	}
	retries := l.waiting[retry]
	i := slices.IndexFunc(retries, func(r callbackd.Delivery) bool { return r.ID == d.ID })
	if i < 0 {
		return false
	}
	retries[i].Manual, retries[i].Step, retries[i].ExpiresAt = true, 0, time.Time{}
	return true
}

// makeDue makes one page of deliveries due in the store.
func (e *Engine) makeDue(q *callbackQueue, now time.Time) storeRead {
	releasedAt := q.setting.cb.ReleasedAt
	return func(ctx context.Context) (func(time.Time), error) {
		moved, done, err := e.options.Queue.MakeDue(ctx, q.id, now, makeDuePage)
		return func(time.Time) {
			if moved > 0 {
				q.sources[retry].note(now)
				q.sources[replay].note(now)
			}
			if done && q.setting.cb.ReleasedAt.Equal(releasedAt) {
				q.setting.releasing = false
			}
		}, err
	}
}

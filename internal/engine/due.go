package engine

import (
	"container/heap"
	"context"
	"slices"
	"time"

	"callbackd"
)

// noteRetry remembers that the store holds a retry that is due then.
func (q *callbackQueue) noteRetry(due time.Time) {
	if q.nextRetry.IsZero() || due.Before(q.nextRetry) {
		q.nextRetry = due
	}
}

// noteReplay remembers that the store holds a delivery of a replay that is due
// then.
func (q *callbackQueue) noteReplay(due time.Time) {
	if q.nextReplay.IsZero() || due.Before(q.nextReplay) {
		q.nextReplay = due
	}
}

// noteDue remembers when d, which is in the store, is due.
func (q *callbackQueue) noteDue(d *callbackd.Delivery) {
	if d.Replay != 0 {
		q.noteReplay(d.Due)
	} else {
		q.noteRetry(d.Due)
	}
}

// noteDueAgain remembers when a delivery is due that a person or a replay made
// due again.
//
// Its attempt before may have been recorded while a read ran that is not over.
// What the next read shows of it is then the new one, so recordedDuringRead must
// not hide it.
//
// The engine may also not have heard yet that the attempt before ended. Until it
// does, it takes what a read shows for that attempt and leaves it out. So the
// delivery is kept in dueAgain, and attemptEnded makes it be read once more.
func (q *callbackQueue) noteDueAgain(d *callbackd.Delivery) {
	id := d.ID.Event
	delete(q.recordedDuringRead, id)
	l := q.lanes[d.Session]
	if q.inMemory[id] || l != nil && l.busy && l.current == id {
		q.dueAgain[id] = *d
	}
	q.noteDue(d)
}

// attemptEnded notes that the attempt of a delivery was recorded or given up.
func (q *callbackQueue) attemptEnded(id callbackd.EventID) {
	if q.reading {
		q.recordedDuringRead[id] = true
	}
	delete(q.inMemory, id)
	if d, ok := q.dueAgain[id]; ok {
		delete(q.dueAgain, id)
		q.noteDue(&d)
	}
}

// makeHeadDue makes d due when it is the head of its lane, and tells whether it
// is.
func (q *callbackQueue) makeHeadDue(d *callbackd.Delivery) bool {
	l := q.lanes[d.Session]
	if l == nil || l.head == nil || l.head.ID != d.ID {
		return false
	}
	l.head.Due = d.Due
	l.head.Manual = true
	l.head.Step = 0
	l.head.Replay = d.Replay
	q.blocked.fix(l)
	return true
}

// restartRetry makes d begin its retry schedule anew when it is a retry in memory,
// and tells whether it is.
func (q *callbackQueue) restartRetry(d *callbackd.Delivery) bool {
	l := q.lanes[d.Session]
	if l == nil {
		return false
	}
	i := slices.IndexFunc(l.retries, func(r callbackd.Delivery) bool { return r.ID == d.ID })
	if i < 0 {
		return false
	}
	l.retries[i].Manual = true
	l.retries[i].Step = 0
	return true
}

// makeHeadsDue makes due now what waits for a later time. The heads in memory
// are made due here. The rest is made due in the store, page by page, as it can
// be sent; see makeDue.
func (q *callbackQueue) makeHeadsDue(now time.Time) {
	q.releasing = true
	for _, l := range q.blocked.lanes {
		if l.head.Due.After(now) {
			l.head.Due = now
		}
	}
	heap.Init(&q.blocked)
}

// makeDue makes one page of deliveries due in the store.
func (e *Engine) makeDue(q *callbackQueue, now time.Time) storeRead {
	releasedAt := q.cb.ReleasedAt
	return func(ctx context.Context) (func(time.Time), error) {
		moved, done, err := e.options.Queue.MakeDue(ctx, q.id, now, makeDuePage)
		return func(time.Time) {
			if moved > 0 {
				q.noteRetry(now)
				q.noteReplay(now)
			}
			if done && q.cb.ReleasedAt.Equal(releasedAt) {
				q.releasing = false
			}
		}, err
	}
}

package engine

import (
	"context"
	"slices"
	"time"

	"callbackd"
)

const turnsPage = 512 // deferred deliveries that take their turn at a time

// A deferred delivery is in the store only, with the time from which it may be sent. When
// that has come, the store makes it a first attempt. It then takes its turn in its lane: it
// goes before those of its session that still wait and were accepted later.

// deferUntil notes that the store has a deferred delivery.
func (e *Engine) deferUntil(q *callbackQueue, due, now time.Time) {
	q.deferred.note(due)
	if q.setting.stale {
		e.readMore(q)
	}
	e.setAlarm(q, now)
}

// takeTurns makes the deferred deliveries whose time has come first attempts.
func (e *Engine) takeTurns(q *callbackQueue, now time.Time) storeRead {
	q.deferred.next = time.Time{}
	return func(ctx context.Context) (func(time.Time), error) {
		ds, next, err := e.options.Queue.TakeTurns(ctx, q.id, now, turnsPage)
		if err != nil {
			e.mu.Lock()
			q.deferred.note(now)
			e.mu.Unlock()
			return nil, err
		}
		return func(time.Time) {
			for _, d := range ds {
				e.takeTurn(q, &d)
			}
			if !next.IsZero() {
				q.deferred.note(next)
			}
		}, nil
	}
}

// takeTurn makes a lane read a delivery that was deferred. A lane that is in memory may have
// come further than that, so it is read again from there on, without what it is sending.
// What is before the delivery stays: no read from there on would bring it.
func (e *Engine) takeTurn(q *callbackQueue, d *callbackd.Delivery) {
	id := d.ID.Event
	l := q.lanes[d.Session]
	defer e.deliveryChanged(q, d.Session)
	if l == nil || l.cursor.at < id && !l.inUnread {
		e.readDelivery(q, d.Session, id)
		return
	}
	for _, later := range slices.Clone(l.waiting[firstAttempt]) {
		if later.ID.Event > id {
			e.removeFirstAttempt(q, l, later.ID.Event)
		}
	}
	l.cursor.reread(id)
	e.reviewLane(q, l)
}

// dropExpired lets go of a delivery that expired before its attempt began. The store ends
// it. Should a person resend it before the engine knows, it is read again.
func (e *Engine) dropExpired(q *callbackQueue, l *lane, d *callbackd.Delivery) {
	e.events.bytes -= dataOf(d)
	q.attemptEnded(d.ID.Event)
	e.reviewLane(q, l)
	e.deliveryChanged(q, d.Session)
}

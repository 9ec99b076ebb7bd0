package engine

import (
	"context"
	"slices"
	"time"

	"callbackd"
)

const laneBatch = 64 // lanes read at a time

// maxVisibilityDelay bounds how long after the time in its id a delivery that
// another node accepted may still be invisible in the store: the nodes' clocks
// may differ by [callbackd.MaxSkew]. A delivery that is younger may therefore
// follow one of its session that is unknown here. Rescan finds what appears even
// later and was in no message.
const maxVisibilityDelay = 5 * time.Minute

// readFirstAttempts reads the page of first attempts that follows the cursor.
func (e *Engine) readFirstAttempts(q *callbackQueue, _ time.Time) storeRead {
	c := q.cursor()
	c.goBack()
	after, told := c.at, c.told // before the read
	limit := e.options.Window
	return func(ctx context.Context) (func(time.Time), error) {
		ds, _, err := e.options.Queue.Pending(ctx, callbackd.PendingRead{Callback: q.id, Source: callbackd.FirstAttempts, After: after, Limit: limit})
		return func(now time.Time) {
			for _, d := range ds {
				c.at = max(c.at, d.ID.Event)
				if e.options.Shared && d.ID.Event.Time().After(now.Add(-maxVisibilityDelay)) {
					e.readLane(q, d.Session, d.ID.Event)
				} else {
					e.addToLane(q, d)
				}
			}
			c.readTo(told, len(ds) == limit)
		}, err
	}
}

// readLanes reads the next first attempts of some of the unread lanes, each from
// its cursor on.
func (e *Engine) readLanes(q *callbackQueue, _ time.Time) storeRead {
	n := min(len(q.reads.unread), laneBatch)
	lanes := slices.Clone(q.reads.unread[:n])
	q.reads.unread = q.reads.unread[n:]
	cursors := make([]callbackd.LaneCursor, n)
	for _, l := range lanes {
		l.cursor.goBack()
	}
	told := make([]callbackd.EventID, n) // before the read
	for i, l := range lanes {
		cursors[i] = callbackd.LaneCursor{Session: l.session, After: l.cursor.at}
		told[i] = l.cursor.told
	}
	return func(ctx context.Context) (func(time.Time), error) {
		ds, _, err := e.options.Queue.Pending(ctx, callbackd.PendingRead{Callback: q.id, Source: callbackd.FirstAttempts, Lanes: cursors, Limit: maxLaneInMemory})
		if err != nil {
			e.mu.Lock()
			q.reads.unread = append(q.reads.unread, lanes...)
			e.mu.Unlock()
			return nil, err
		}
		return func(time.Time) { e.applyLanes(q, lanes, told, ds) }, nil
	}
}

func (e *Engine) applyLanes(q *callbackQueue, lanes []*lane, told []callbackd.EventID, ds []callbackd.Delivery) {
	for _, l := range lanes {
		l.inUnread = false
		l.cursor.more = l.cursor.again != 0 // an earlier one took its turn meanwhile
	}
	found := map[string]int{}
	for _, d := range ds {
		found[d.Session]++
		q.reads.newestInLanes = max(q.reads.newestInLanes, d.ID.Event)
		e.addToLane(q, d)
	}
	for i, l := range lanes {
		l.cursor.readTo(told[i], found[l.session] == maxLaneInMemory)
		e.reviewLane(q, l)
	}
}

// readDelivery makes a first attempt be read with the rest of its lane. When
// memory has no room for one more lane, the pages of first attempts will bring
// it instead.
func (e *Engine) readDelivery(q *callbackQueue, session string, id callbackd.EventID) {
	c := q.cursor()
	// A read under way may have passed the delivery before it was visible.
	comesAnyway := c.more && id > c.at && !q.reads.running
	switch {
	case comesAnyway:
	case !e.mayKeep(q) || len(q.reads.unread) >= e.options.Window:
		c.reread(id)
	default:
		e.readLane(q, session, id)
	}
}

// readLane makes a lane be read, because the store may have more of it up to the
// event.
func (e *Engine) readLane(q *callbackQueue, session string, id callbackd.EventID) {
	l := q.lane(session)
	l.cursor.tell(id)
	if id > l.cursor.at && !q.known.has(id) {
		l.cursor.more = true
	}
	e.reviewLane(q, l)
}

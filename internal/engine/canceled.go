package engine

import (
	"container/heap"
	"slices"

	"callbackd"
)

// Canceled makes the engine let go of deliveries that a person canceled: their lanes go on.
// An attempt that is under way is not broken off. When a delivery was resent before the
// engine hears of its cancellation, the store has it as a retry, so those are read again.
func (e *Engine) Canceled(ds []callbackd.Delivery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.options.Observer.Canceled(len(ds))
	now := e.now()
	var changed []*callbackQueue
	for i := range ds {
		q := e.queues[ds[i].ID.Callback]
		if q == nil {
			continue
		}
		e.letGo(q, &ds[i])
		e.deliveryChanged(q, ds[i].Session)
		if !slices.Contains(changed, q) {
			changed = append(changed, q)
		}
	}
	for _, q := range changed {
		q.sources[retry].note(now)
		e.advance(q, now)
	}
}

// letGo drops a delivery from memory unless its attempt is under way.
func (e *Engine) letGo(q *callbackQueue, d *callbackd.Delivery) {
	l, id := q.lanes[d.Session], d.ID.Event
	if l != nil && l.isCurrent(id) {
		return
	}
	if q.reads.running {
		q.known.recorded[id] = true // the read may still show it
	}
	delete(q.known.inMemory, id)
	if l == nil {
		return
	}
	if l.head != nil && l.head.ID == d.ID {
		if l.place >= 0 {
			heap.Remove(&q.blocked, l.place)
		}
		q.removeHead(l)
	}
	e.removeFirstAttempt(q, l, id)
	for class := retry; class < numClasses; class++ {
		before := len(l.waiting[class])
		l.waiting[class] = slices.DeleteFunc(l.waiting[class], func(w callbackd.Delivery) bool { return w.ID == d.ID })
		q.sources[class].inMemory -= before - len(l.waiting[class])
	}
	e.reviewLane(q, l)
}

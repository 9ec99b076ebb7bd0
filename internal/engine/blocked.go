package engine

import (
	"container/heap"
	"time"

	"callbackd"
)

const maxBlockedLanes = 4096 // blocked lanes of one callback in memory

// block closes the lane behind a failed delivery, its head.
func (q *callbackQueue) block(l *lane, d callbackd.Delivery) {
	q.known.inMemory[d.ID.Event] = true
	q.setHead(l, d)
	heap.Push(&q.blocked, l)
}

// openBlocked opens the blocked lanes whose time has come. A head that is due is
// sent next. A head that is due later goes back to the store, and the lane's
// later deliveries may overtake it.
func (e *Engine) openBlocked(q *callbackQueue, now time.Time) {
	for len(q.blocked.lanes) > 0 && !q.blocked.lanes[0].wakesAt().After(now) {
		l := heap.Pop(&q.blocked).(*lane)
		if l.head.Due.After(now) {
			q.noteDue(l.head)
			delete(q.known.inMemory, l.head.ID.Event)
			q.removeHead(l)
		}
		e.reviewLane(q, l)
	}
}

// makeHeadDue makes d due when it is the head of its lane, and reports whether it
// is.
func (q *callbackQueue) makeHeadDue(d *callbackd.Delivery) bool {
	l := q.lanes[d.Session]
	if l == nil || l.head == nil || l.head.ID != d.ID {
		return false
	}
	l.head.Due = d.Due
	l.head.Manual, l.head.Step, l.head.ExpiresAt = true, 0, time.Time{}
	l.head.Replay = d.Replay
	q.blocked.fix(l)
	return true
}

// makeHeadsDue makes the heads in memory due.
func (q *callbackQueue) makeHeadsDue(now time.Time) {
	for _, l := range q.blocked.lanes {
		if l.head.Due.After(now) {
			l.head.Due = now
		}
	}
	heap.Init(&q.blocked)
}

// blockedLanes is a heap of blocked lanes; the first is the one that wakes
// soonest.
type blockedLanes struct{ lanes []*lane }

// Len is part of [heap.Interface].
func (h *blockedLanes) Len() int { return len(h.lanes) }

// Less is part of [heap.Interface].
func (h *blockedLanes) Less(i, j int) bool {
	return h.lanes[i].wakesAt().Before(h.lanes[j].wakesAt())
}

// Swap is part of [heap.Interface].
func (h *blockedLanes) Swap(i, j int) {
	h.lanes[i], h.lanes[j] = h.lanes[j], h.lanes[i]
	h.lanes[i].place = i
	h.lanes[j].place = j
}

// Push is part of [heap.Interface].
func (h *blockedLanes) Push(v any) {
	l := v.(*lane)
	l.place = len(h.lanes)
	h.lanes = append(h.lanes, l)
}

// Pop is part of [heap.Interface].
func (h *blockedLanes) Pop() any {
	last := len(h.lanes) - 1
	l := h.lanes[last]
	h.lanes[last] = nil
	h.lanes = h.lanes[:last]
	l.place = -1
	return l
}

// fix restores the order after the lane's times changed.
func (h *blockedLanes) fix(l *lane) {
	if l.place >= 0 {
		heap.Fix(h, l.place)
	}
}

package engine

import (
	"container/heap"
	"slices"
	"time"

	"callbackd"
)

// lane is one session's deliveries to one callback, as far as they are in
// memory.
type lane struct {
	session       string
	firstAttempts []callbackd.Delivery // in order
	retries       []callbackd.Delivery // due, also those that a person resent
	replays       []callbackd.Delivery // due, of replays
	head          *callbackd.Delivery  // failed: it blocks the lane until HoldsUntil
	heapIndex     int                  // in callbackQueue.blocked; -1: not there

	busy    bool              // a delivery is in flight or being recorded
	current callbackd.EventID // which one, while busy

	inReady     [numClasses]bool // it is in callbackQueue.ready of the class
	moreInStore bool             // the store has first attempts that follow lastTaken
	toBeRead    bool             // it is in callbackQueue.lanesToRead

	lastTaken    callbackd.EventID // newest first attempt that came into memory
	lastSequence int64             // its sequence number; 0: not known
	lastOffered  callbackd.EventID // newest first attempt that the engine was told of
}

// lane returns the lane of a session and makes it when there is none.
func (q *callbackQueue) lane(session string) *lane {
	l := q.lanes[session]
	if l == nil {
		l = &lane{session: session, heapIndex: -1}
		q.lanes[session] = l
	}
	return l
}

// offer takes a first attempt into the window when there is room and nothing
// before it is missing. Otherwise it stays in the store until it is read.
// Deliveries must be offered in the order of their ids.
func (e *Engine) offer(q *callbackQueue, d callbackd.Delivery) {
	q.lastOffered = max(q.lastOffered, d.ID.Event)
	switch {
	case d.ID.Event <= q.cursor: // most likely a read saw it first
		e.readDelivery(q, d.Session, d.ID.Event)
	case !e.mayKeep(q):
		q.moreInStore = true
	default:
		q.cursor = d.ID.Event
		e.addToLane(q, d)
	}
	e.readMore(q)
}

// mayKeep tells whether a first attempt that the engine is told of may go into
// memory.
func (e *Engine) mayKeep(q *callbackQueue) bool {
	return e.running && !q.paused && !q.moreInStore && e.hasRoom(q)
}

// hasRoom tells whether the window takes one more first attempt.
func (e *Engine) hasRoom(q *callbackQueue) bool {
	return q.firstAttemptCount < e.options.Window && len(q.blocked.lanes) < maxBlockedLanes
}

// addToLane adds a first attempt to its lane, unless it is in memory already or
// the lane is full.
func (e *Engine) addToLane(q *callbackQueue, d callbackd.Delivery) {
	l := q.lane(d.Session)
	id := d.ID.Event
	l.lastOffered = max(l.lastOffered, id)
	if id <= l.lastTaken || q.recordedDuringRead[id] || q.inMemory[id] {
		q.reviewLane(e, l) // the lane may be new and empty: then it goes again
		return
	}
	if l.moreInStore || len(l.firstAttempts) >= maxLaneInMemory {
		l.moreInStore = true
		return
	}
	l.lastTaken = id
	l.lastSequence = d.Sequence
	if d.Event != nil {
		if n := int64(len(d.Event.Data)); e.dataBytes+n > e.options.DataBudget {
			d.Event = nil // it is read again for the attempt
		} else {
			e.dataBytes += n
		}
	}
	l.firstAttempts = append(l.firstAttempts, d)
	if l.head == nil {
		q.firstAttemptCount++
	}
	q.reviewLane(e, l)
}

// removeFirstAttempt removes a delivery from its lane's first attempts: it was
// made due meanwhile and is now a retry.
func (q *callbackQueue) removeFirstAttempt(e *Engine, l *lane, id callbackd.EventID) {
	i := slices.IndexFunc(l.firstAttempts, func(d callbackd.Delivery) bool { return d.ID.Event == id })
	if i < 0 {
		return
	}
	e.dropData(&l.firstAttempts[i])
	l.firstAttempts = slices.Delete(l.firstAttempts, i, i+1)
	if l.head == nil {
		q.firstAttemptCount--
	}
}

// reviewLane decides what the lane does next, after anything of it changed: it
// can start an attempt, waits to be read, stays blocked, or is dropped because
// it is empty.
func (q *callbackQueue) reviewLane(e *Engine, l *lane) {
	if l.busy {
		return // reviewed again when the attempt was recorded
	}
	headIsDue := l.head != nil && l.heapIndex < 0
	firstAttemptNext := l.head == nil && len(l.firstAttempts) > 0
	switch {
	case headIsDue:
		q.markLaneReady(l, retry)
	case len(l.retries) > 0:
		q.markLaneReady(l, retry)
		if firstAttemptNext { // the retry does not block the lane
			q.markLaneReady(l, firstAttempt)
		}
	case firstAttemptNext:
		q.markLaneReady(l, firstAttempt)
	case l.head == nil && l.moreInStore:
		if !l.toBeRead {
			l.toBeRead = true
			q.lanesToRead = append(q.lanesToRead, l)
		}
	case len(l.replays) > 0:
		q.markLaneReady(l, replay)
	case l.head != nil: // it stays blocked
	default:
		q.dropLane(e, l)
	}
	q.markReady(e)
}

// dropLane drops an empty lane, unless a list of ready lanes still has it.
func (q *callbackQueue) dropLane(e *Engine, l *lane) {
	if q.lanes[l.session] != l || l.inReady != [numClasses]bool{} {
		return
	}
	delete(q.lanes, l.session)
	if e.options.Shared {
		e.lastPositions.put(q.id, l.session, lanePosition{l.lastTaken, l.lastSequence})
	}
}

func (q *callbackQueue) markLaneReady(l *lane, class int) {
	if !l.inReady[class] {
		l.inReady[class] = true
		q.ready[class].push(l)
	}
}

// next returns the next delivery of a class; nil: there is none.
func (l *lane) next(class int) *callbackd.Delivery {
	if l.busy {
		return nil
	}
	switch class {
	case retry:
		if l.head != nil && l.heapIndex < 0 {
			return l.head
		}
		return first(l.retries)
	case replay:
		return first(l.replays)
	default:
		if l.head != nil {
			return nil
		}
		return first(l.firstAttempts)
	}
}

// first returns the first of ds; nil: there is none.
func first(ds []callbackd.Delivery) *callbackd.Delivery {
	if len(ds) == 0 {
		return nil
	}
	return &ds[0]
}

// takeNext removes the next delivery of a class from its lane.
func (q *callbackQueue) takeNext(l *lane, class int) (d callbackd.Delivery, ok bool) {
	next := l.next(class)
	if next == nil {
		return d, false
	}
	d = *next
	switch {
	case next == l.head:
		l.head = nil
		q.firstAttemptCount += len(l.firstAttempts)
	case class == retry:
		l.retries = l.retries[1:]
		q.retryCount--
	case class == replay:
		l.replays = l.replays[1:]
		q.replayCount--
	default:
		l.firstAttempts[0] = callbackd.Delivery{} // frees the event
		l.firstAttempts = l.firstAttempts[1:]
		q.firstAttemptCount--
	}
	return d, true
}

// returnToLane undoes takeNext for a delivery that was not sent.
func (q *callbackQueue) returnToLane(l *lane, d callbackd.Delivery) {
	d.Event = nil
	switch {
	case !d.HoldsUntil.IsZero() && l.head == nil:
		l.head = &d
		q.firstAttemptCount -= len(l.firstAttempts)
		q.inMemory[d.ID.Event] = true
	case d.Replay != 0:
		l.replays = slices.Insert(l.replays, 0, d)
		q.replayCount++
		q.inMemory[d.ID.Event] = true
	case !d.Due.IsZero():
		l.retries = slices.Insert(l.retries, 0, d)
		q.retryCount++
		q.inMemory[d.ID.Event] = true
	default:
		l.firstAttempts = slices.Insert(l.firstAttempts, 0, d)
		if l.head == nil {
			q.firstAttemptCount++
		}
	}
}

// block closes the lane behind a failed delivery, its head.
func (q *callbackQueue) block(l *lane, d callbackd.Delivery) {
	l.head = &d
	q.inMemory[d.ID.Event] = true
	q.firstAttemptCount -= len(l.firstAttempts)
	heap.Push(&q.blocked, l)
}

// openBlocked opens the blocked lanes whose time has come. A head that is due is
// sent next. A head that is due later goes back to the store, and the lane's
// later deliveries may overtake it.
func (q *callbackQueue) openBlocked(e *Engine, now time.Time) {
	for len(q.blocked.lanes) > 0 && !q.blocked.lanes[0].wakeAt().After(now) {
		l := heap.Pop(&q.blocked).(*lane)
		if l.head.Due.After(now) {
			q.noteRetry(l.head.Due)
			delete(q.inMemory, l.head.ID.Event)
			l.head = nil
			q.firstAttemptCount += len(l.firstAttempts)
		}
		q.reviewLane(e, l)
	}
}

// wakeAt returns when a blocked lane has something to do: its head is due, or
// it opens.
func (l *lane) wakeAt() time.Time {
	if l.head.Due.Before(l.head.HoldsUntil) || l.head.Manual {
		return l.head.Due
	}
	return l.head.HoldsUntil
}

// blockedLanes is a heap of blocked lanes; the first is the one whose wakeAt is
// soonest.
type blockedLanes struct{ lanes []*lane }

// Len is part of [heap.Interface].
func (h *blockedLanes) Len() int { return len(h.lanes) }

// Less is part of [heap.Interface].
func (h *blockedLanes) Less(i, j int) bool {
	return h.lanes[i].wakeAt().Before(h.lanes[j].wakeAt())
}

// Swap is part of [heap.Interface].
func (h *blockedLanes) Swap(i, j int) {
	h.lanes[i], h.lanes[j] = h.lanes[j], h.lanes[i]
	h.lanes[i].heapIndex = i
	h.lanes[j].heapIndex = j
}

// Push is part of [heap.Interface].
func (h *blockedLanes) Push(v any) {
	l := v.(*lane)
	l.heapIndex = len(h.lanes)
	h.lanes = append(h.lanes, l)
}

// Pop is part of [heap.Interface].
func (h *blockedLanes) Pop() any {
	last := len(h.lanes) - 1
	l := h.lanes[last]
	h.lanes[last] = nil
	h.lanes = h.lanes[:last]
	l.heapIndex = -1
	return l
}

// fix restores the order after the lane's times changed.
func (h *blockedLanes) fix(l *lane) {
	if l.heapIndex >= 0 {
		heap.Fix(h, l.heapIndex)
	}
}

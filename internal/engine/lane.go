package engine

import (
	"fmt"
	"slices"
	"time"

	"callbackd"
)

const maxLaneInMemory = 16 // first attempts of one lane in memory

// lane is one session's deliveries to one callback, as far as they are in memory.
type lane struct {
	session string
	current callbackd.EventID // the delivery whose attempt is under way

	waiting [numClasses][]callbackd.Delivery
	head    *callbackd.Delivery // failed: it blocks the lane until HoldsUntil
	place   int                 // in blockedLanes; -1: it is not there, and a head is due
	cursor  cursor              // of its first attempts

	state    callbackd.LaneState
	waits    bool             // its first attempts wait for another callback of the order group
	inReady  [numClasses]bool // it is in callbackQueue.ready of the class
	inUnread bool             // it is in queueReads.unread, or is being read
}

// lane returns the lane of a session and makes it when there is none.
func (q *callbackQueue) lane(session string) *lane {
	l := q.lanes[session]
	if l == nil {
		l = &lane{session: session, place: -1}
		q.lanes[session] = l
	}
	return l
}

// on changes the state of the lane. An event that cannot happen ends the process: an
// engine that lost track of a lane could send two of its deliveries at a time.
func (l *lane) on(event callbackd.LaneEvent) {
	next, ok := l.state.After(event)
	if !ok {
		panic(fmt.Sprintf("engine: a lane that is %s cannot be %s", l.state, event))
	}
	l.state = next
}

// unread reports whether the lane's next first attempt is in the store only.
func (l *lane) unread() bool {
	return l.cursor.more && l.head == nil && len(l.waiting[firstAttempt]) == 0
}

// hasNext reports whether the lane has another delivery, in memory or in the store only.
func (l *lane) hasNext() bool {
	waits := func(ds []callbackd.Delivery) bool { return len(ds) > 0 }
	return l.cursor.more || slices.ContainsFunc(l.waiting[:], waits)
}

// isCurrent reports whether an attempt of the delivery is under way.
func (l *lane) isCurrent(id callbackd.EventID) bool { return l.state.UnderWay() && l.current == id }

// offer takes a first attempt that was just accepted into the window, when there is
// room and nothing before it in its lane can be missing. Otherwise it stays in the store
// until it is read.
func (e *Engine) offer(q *callbackQueue, d callbackd.Delivery) {
	c, id := q.cursor(), d.ID.Event
	c.tell(id)
	l := q.lanes[d.Session]
	// Of a lane that is not in memory, a read may have brought the delivery already.
	maybeRead := (l == nil || l.cursor.at == 0) && id <= max(c.at, q.reads.newestInLanes)
	if d.ReadLane || maybeRead || !e.mayKeep(q) {
		e.readDelivery(q, d.Session, id)
	} else {
		c.at = max(c.at, id)
		e.addToLane(q, d)
	}
	e.readMore(q)
}

// mayKeep reports whether a first attempt that the engine is told of may go into
// memory.
func (e *Engine) mayKeep(q *callbackQueue) bool {
	hasRoom := q.sources[firstAttempt].inMemory < e.options.Window && q.lanesBack() < maxBlockedLanes
	return e.phase != stopped && !q.setting.isPaused() && !q.cursor().more && hasRoom
}

// addToLane adds a first attempt to its lane, unless it is in memory already or
// the lane is full.
func (e *Engine) addToLane(q *callbackQueue, d callbackd.Delivery) {
	l := q.lane(d.Session)
	id := d.ID.Event
	l.cursor.tell(id)
	if id <= l.cursor.at || q.known.has(id) {
		e.reviewLane(q, l) // the lane may be new and empty: then it goes again
		return
	}
	if l.cursor.more || len(l.waiting[firstAttempt]) >= maxLaneInMemory {
		l.cursor.more = true
		return
	}
	l.cursor.at = id
	if d.Expired(e.now()) {
		e.reviewLane(q, l) // the store ends it
		return
	}
	if e.events.bytes+dataOf(&d) > e.options.DataBudget {
		d.Event = nil // it is read again for the attempt
	}
	e.events.bytes += dataOf(&d)
	l.waiting[firstAttempt] = append(l.waiting[firstAttempt], d)
	if l.mayStartFirst() {
		q.sources[firstAttempt].inMemory++
	}
	e.reviewLane(q, l)
}

// removeFirstAttempt removes a delivery from its lane's first attempts: it was
// made due meanwhile and is now a retry.
func (e *Engine) removeFirstAttempt(q *callbackQueue, l *lane, id callbackd.EventID) {
	ds := l.waiting[firstAttempt]
	i := slices.IndexFunc(ds, func(d callbackd.Delivery) bool { return d.ID.Event == id })
	if i < 0 {
		return
	}
	e.events.bytes -= dataOf(&ds[i])
	l.waiting[firstAttempt] = slices.Delete(ds, i, i+1)
	if l.mayStartFirst() {
		q.sources[firstAttempt].inMemory--
	}
}

// reviewLane decides what the lane does next, after anything of it changed: it
// can start an attempt, stays blocked, waits to be read, or is dropped because it
// is empty.
func (e *Engine) reviewLane(q *callbackQueue, l *lane) {
	if l.state.UnderWay() {
		return // reviewed again when the attempt is recorded
	}
	if q.order.group != nil || l.waits {
		e.reviewTurn(q, l)
	}
	filled := false
	for class := range l.waiting {
		if class == replay && (filled || l.unread()) {
			break // everything else goes first
		}
		if l.next(class) != nil {
			q.ready[class].join(l, &l.inReady[class])
			filled = true
		}
	}
	switch {
	case filled:
		l.on(callbackd.LaneFilled)
		q.joinReady(e)
	case l.head != nil || l.waits:
		l.on(callbackd.LaneHeld)
	default:
		l.on(callbackd.LaneEmptied)
		if !l.unread() {
			q.dropLane(l)
		} else if !l.inUnread {
			l.inUnread = true
			q.reads.unread = append(q.reads.unread, l)
		}
	}
}

// dropLane drops an empty lane.
func (q *callbackQueue) dropLane(l *lane) {
	if q.lanes[l.session] != l {
		return
	}
	delete(q.lanes, l.session)
}

// next returns the next delivery of a class that can start; nil: there is none.
func (l *lane) next(class int) *callbackd.Delivery {
	headIsDue := l.head != nil && l.place < 0
	switch {
	case l.state.UnderWay():
		return nil
	case class == retry && headIsDue:
		return l.head
	case class == firstAttempt && !l.mayStartFirst(), len(l.waiting[class]) == 0:
		return nil
	}
	return &l.waiting[class][0]
}

// takeNext removes the next delivery of a class from its lane.
func (q *callbackQueue) takeNext(l *lane, class int) (d callbackd.Delivery, ok bool) {
	next := l.next(class)
	if next == nil {
		return d, false
	}
	d = *next
	if next == l.head {
		q.removeHead(l)
		return d, true
	}
	*next = callbackd.Delivery{} // frees the event
	l.waiting[class] = l.waiting[class][1:]
	q.sources[class].inMemory--
	return d, true
}

// returnToLane undoes takeNext for a delivery that was not sent.
func (q *callbackQueue) returnToLane(l *lane, d callbackd.Delivery) {
	d.Event = nil
	class := classOf(&d)
	if class != firstAttempt {
		q.known.inMemory[d.ID.Event] = true
	}
	if !d.HoldsUntil.IsZero() && l.head == nil {
		q.setHead(l, d)
		return
	}
	l.waiting[class] = slices.Insert(l.waiting[class], 0, d)
	if class != firstAttempt || l.mayStartFirst() {
		q.sources[class].inMemory++
	}
}

// setHead makes a delivery that failed the head of its lane.
func (q *callbackQueue) setHead(l *lane, d callbackd.Delivery) { q.keepBack(l, &d, l.waits) }

func (q *callbackQueue) removeHead(l *lane) { q.keepBack(l, nil, l.waits) }

// keepBack sets what the lane's first attempts wait for: its head, and another callback of
// the order group. Those that wait do not count as in memory, so that they cannot fill the
// window.
func (q *callbackQueue) keepBack(l *lane, head *callbackd.Delivery, waits bool) {
	if l.mayStartFirst() {
		q.sources[firstAttempt].inMemory -= len(l.waiting[firstAttempt])
	}
	if l.waits != waits {
		q.order.waiting += map[bool]int{true: 1, false: -1}[waits]
	}
	l.head, l.waits = head, waits
	if l.mayStartFirst() {
		q.sources[firstAttempt].inMemory += len(l.waiting[firstAttempt])
	}
}

// mayStartFirst reports whether nothing keeps the lane's first attempts back.
func (l *lane) mayStartFirst() bool { return l.head == nil && !l.waits }

// lanesBack returns how many lanes wait for their head or for another callback.
func (q *callbackQueue) lanesBack() int { return len(q.blocked.lanes) + q.order.waiting }

// wakesAt returns when a blocked lane has something to do: its head is due, or
// it opens.
func (l *lane) wakesAt() time.Time {
	if l.head.Due.Before(l.head.HoldsUntil) || l.head.Manual {
		return l.head.Due
	}
	return l.head.HoldsUntil
}

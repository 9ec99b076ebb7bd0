package engine

import (
	"slices"
	"time"

	"callbackd"
)

// groupKey names an order group of an API key.
type groupKey struct {
	key  callbackd.KeyID
	name string
}

// orderGroup is what the callbacks of an order group share; see
// [callbackd.Callback.OrderGroup]. It has the turns of the lanes whose next first attempt
// may have to wait for other callbacks. The store says what is before them, because memory
// has only a part of each callback's queue.
type orderGroup struct {
	key     groupKey
	queues  int                // in the group
	turns   map[string][]*turn // by session
	unread  []*turn            // those to ask the store about
	reading bool               // a goroutine asks
}

// member is a callback's part in an order group.
type member struct {
	group   *orderGroup // nil: it has none
	waiting int         // lanes that wait for another callback
	shut    bool        // the group knows that the callback gets no requests now
}

// turn is the place of a lane's next first attempt in the order of its session.
type turn struct {
	q        *callbackQueue
	l        *lane
	event    callbackd.EventID
	clear    bool                // nothing is before it any more
	wait     callbackd.OrderWait // what is before it
	inUnread bool
	alarm    alarm // wakes it when wait.Until has come
}

// updateGroup puts a callback into the order group of its setting. What waits in the group
// is looked at again, because the callback may have been paused, resumed or deleted.
func (e *Engine) updateGroup(q *callbackQueue) {
	before := q.order.group
	var next *orderGroup
	if cb := q.setting.cb; !cb.Deleted() && cb.OrderGroup() != "" {
		next = e.group(groupKey{cb.Key, cb.OrderGroup()})
	}
	if next != before {
		q.leaveGroup(e)
		q.order.group = next
		if next != nil {
			next.queues++
		}
		for _, l := range q.lanes {
			e.reviewLane(q, l)
		}
	}
	if next != nil {
		e.lookAgainAfter(next, q)
	}
}

// group returns an order group and makes it when there is none.
func (e *Engine) group(key groupKey) *orderGroup {
	g := e.groups[key]
	if g == nil {
		g = &orderGroup{key: key, turns: map[string][]*turn{}}
		e.groups[key] = g
	}
	return g
}

// leaveGroup takes the queue out of its group. Nothing of the group waits for it any more.
func (q *callbackQueue) leaveGroup(e *Engine) {
	g := q.order.group
	if g == nil {
		return
	}
	for _, l := range q.lanes {
		g.drop(l)
	}
	q.order.group = nil
	if g.queues--; g.queues == 0 {
		delete(e.groups, g.key)
	}
	e.lookAgainAfter(g, q)
}

// reviewTurn decides whether the lane's next first attempt waits for another callback.
func (e *Engine) reviewTurn(q *callbackQueue, l *lane) {
	g := q.order.group
	first := l.waiting[firstAttempt]
	// The first event of a session has none before it.
	if g == nil || l.head != nil || len(first) == 0 || first[0].Sequence == 1 {
		if g != nil {
			g.drop(l)
		}
		q.keepBack(l, l.head, false)
		return
	}
	t := g.turn(l)
	if t == nil || t.event != first[0].ID.Event {
		g.drop(l)
		t = &turn{q: q, l: l, event: first[0].ID.Event}
		g.turns[l.session] = append(g.turns[l.session], t)
		e.lookAt(g, t)
	}
	q.keepBack(l, l.head, !t.clear)
}

// turn returns the turn of a lane; nil when it has none.
func (g *orderGroup) turn(l *lane) *turn {
	ts := g.turns[l.session]
	if i := slices.IndexFunc(ts, func(t *turn) bool { return t.l == l }); i >= 0 {
		return ts[i]
	}
	return nil
}

// drop removes the turn of a lane.
func (g *orderGroup) drop(l *lane) {
	t := g.turn(l)
	if t == nil {
		return
	}
	t.alarm.stop()
	if rest := slices.DeleteFunc(g.turns[l.session], func(o *turn) bool { return o == t }); len(rest) > 0 {
		g.turns[l.session] = rest
	} else {
		delete(g.turns, l.session)
	}
}

// lookAgainAfter makes the store be asked about all turns of a group that may wait for q.
func (e *Engine) lookAgainAfter(g *orderGroup, q *callbackQueue) {
	if cb := q.setting.cb; cb != nil && cb.OfSession() {
		e.lookAtSession(g, cb.Session)
		return
	}
	e.lookAgain(g)
}

// lookAgain makes the store be asked about all turns of a group.
func (e *Engine) lookAgain(g *orderGroup) {
	for session := range g.turns {
		e.lookAtSession(g, session)
	}
}

// deliveryChanged looks again at what may wait for a delivery of q.
func (e *Engine) deliveryChanged(q *callbackQueue, session string) {
	if q.order.group != nil {
		e.lookAtSession(q.order.group, session)
	}
}

// lookAtSession makes the store be asked about the turns of a session, because one of its
// deliveries changed.
func (e *Engine) lookAtSession(g *orderGroup, session string) {
	for _, t := range g.turns[session] {
		e.lookAt(g, t)
		e.reviewLane(t.q, t.l)
	}
}

// lookAt makes the store be asked about a turn. An answer under way counts no more.
func (e *Engine) lookAt(g *orderGroup, t *turn) {
	t.clear = false
	if !t.inUnread {
		t.inUnread = true
		g.unread = append(g.unread, t)
	}
	if !g.reading && e.phase == running {
		g.reading = true
		e.work.Go(func() { e.readTurns(g) })
	}
}

// noteShut looks again at what waits in the group for first attempts of q, which gets no
// requests now: they hold later deliveries only for the time of the policy's order.
func (e *Engine) noteShut(q *callbackQueue) {
	if q.order.group == nil || q.order.shut {
		return
	}
	q.order.shut = true
	for _, ts := range q.order.group.turns {
		for _, t := range ts {
			if t.wait.Earlier.Callback == q.id {
				e.lookAt(q.order.group, t)
			}
		}
	}
}

// readTurns asks the store about the turns of a group until there are none to ask about.
func (e *Engine) readTurns(g *orderGroup) {
	e.readSlots <- struct{}{}
	defer func() { <-e.readSlots }()
	for {
		e.mu.Lock()
		n := min(len(g.unread), laneBatch)
		if n == 0 || e.phase != running {
			g.reading = false
			e.mu.Unlock()
			return
		}
		turns := slices.Clone(g.unread[:n])
		g.unread = g.unread[n:]
		read := callbackd.EarlierRead{Key: g.key.key, At: e.now()}
		for _, t := range turns {
			t.inUnread = false
			read.Before = append(read.Before, callbackd.SessionEvent{Session: t.l.session, Event: t.event})
		}
		e.mu.Unlock()
		earlier, err := e.readEarlier(g, read)
		e.mu.Lock()
		if err != nil {
			for _, t := range turns {
				e.lookAt(g, t)
			}
		} else {
			e.applyTurns(g, turns, earlier)
		}
		e.mu.Unlock()
		if err != nil {
			e.options.Log.Error("order of sessions not read, trying again", "key", int64(g.key.key), "error", err)
			e.waitToReadAgain()
		}
	}
}

// earlierDelivery is a delivery that may hold others, with its callback as it is stored.
type earlierDelivery struct {
	callbackd.Delivery
	cb *callbackd.Callback
}

// readEarlier reads what may be before some turns of a group: the deliveries to callbacks
// that are in the group by their stored setting, which memory may not have yet.
func (e *Engine) readEarlier(g *orderGroup, read callbackd.EarlierRead) (earlier [][]earlierDelivery, err error) {
	found, err := e.options.Queue.Earlier(e.ctx, read)
	if err != nil {
		return nil, err
	}
	earlier = make([][]earlierDelivery, len(found))
	for i, ds := range found {
		for _, d := range ds {
			cb, err := e.options.Queue.CallbackByID(e.ctx, d.ID.Callback)
			if err != nil {
				return nil, err
			}
			if cb.OrderGroup() == g.key.name && !cb.Deleted() {
				earlier[i] = append(earlier[i], earlierDelivery{d, cb})
			}
		}
	}
	return earlier, nil
}

// applyTurns decides about turns by what is before them.
func (e *Engine) applyTurns(g *orderGroup, turns []*turn, earlier [][]earlierDelivery) {
	now := e.now()
	for i, t := range turns {
		if t.inUnread || g.turn(t.l) != t || t.q.stage != serving {
			continue // something changed meanwhile
		}
		t.alarm.stop()
		t.wait = e.orderWait(t, earlier[i], now)
		if t.wait.Earlier.Event == 0 {
			t.clear = true
		} else if until := t.wait.Until; !until.IsZero() {
			t.alarm.timer = time.AfterFunc(until.Sub(now), func() {
				e.mu.Lock()
				defer e.mu.Unlock()
				if g.turn(t.l) == t {
					e.lookAt(g, t)
				}
			})
		}
		e.reviewLane(t.q, t.l)
	}
	e.dispatch(now)
}

// orderWait returns what a turn waits for. With other nodes, the message about an earlier
// delivery may be late or lost, so its lane is read.
func (e *Engine) orderWait(t *turn, earlier []earlierDelivery, now time.Time) (wait callbackd.OrderWait) {
	for _, d := range earlier {
		if d.ID.Callback == t.q.id {
			continue
		}
		q := e.queue(d.cb.Key, d.ID.Callback)
		g := e.gate(q, firstAttempt, now)
		g.Paused = d.cb.Paused() || q.setting.isPaused()
		until, holds := g.HoldsSession(&d.Delivery, d.cb.Policy.WithDefaults().OrderWait, now)
		if !holds {
			continue
		}
		isFirst := d.Due.IsZero()
		if isFirst && e.options.Shared {
			e.readLane(q, d.Session, d.ID.Event)
			e.readMore(q)
		}
		if wait.Earlier.Event == 0 {
			wait = callbackd.OrderWait{Earlier: d.ID, Sequence: d.Sequence, Failed: !isFirst, Until: until}
		}
	}
	return wait
}

package engine

import (
	"callbackd"
)

// inbox holds the deliveries that other nodes accepted and this node delivers,
// until they are read from the store. They are read for all callbacks
// together, which costs the database less than a read for each.
type inbox struct {
	waiting []callbackd.Delivery
	reading bool
	// recordedDuringRead holds what was recorded while a read ran: the result
	// of the read may still show it.
	recordedDuringRead map[callbackd.DeliveryID]bool
}

const (
	maxInbox   = 4096 // deliveries that wait to be read
	inboxBatch = 512  // deliveries read at a time
)

// CommittedElsewhere tells the engine of deliveries that other nodes accepted.
// They are in the store, and so is everything before each of them in its
// session. Only their ids, sessions and sequence numbers need to be set.
func (e *Engine) CommittedElsewhere(ds []callbackd.Delivery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range ds {
		d := &ds[i]
		if !e.owns(d.ID.Callback) {
			continue
		}
		q := e.queue(d.ID.Callback)
		q.cursor().tell(d.ID.Event)
		if e.phase == stopped || q.cursor().more || q.setting.pause.holds() || len(e.inbox.waiting) >= maxInbox {
			e.readDelivery(q, d.Session, d.ID.Event)
			e.readMore(q)
		} else {
			e.inbox.waiting = append(e.inbox.waiting, *d)
		}
	}
	if len(e.inbox.waiting) > 0 && !e.inbox.reading && e.phase != draining {
		e.inbox.reading = true
		e.work.Go(e.readInbox)
	}
}

// readInbox reads what waits in the inbox until nothing does.
func (e *Engine) readInbox() {
	for {
		batch := e.nextInboxBatch()
		if batch == nil {
			return
		}
		ids := make([]callbackd.DeliveryID, len(batch))
		for i := range batch {
			ids[i] = batch[i].ID
		}
		ds, err := e.options.Queue.FirstAttemptsByID(e.ctx, ids)
		e.mu.Lock()
		if err != nil {
			e.options.Log.Error("queue not read, trying again", "error", err)
			e.rereadEach(batch)
		} else {
			for i := range ds {
				id := ds[i].ID
				if e.owns(id.Callback) && !e.inbox.recordedDuringRead[id] {
					e.offerShared(e.queue(id.Callback), ds[i], false)
				}
			}
		}
		e.dispatch(e.now())
		e.mu.Unlock()
	}
}

// nextInboxBatch takes a batch out of the inbox. It returns nil when none waits
// or the engine drains, and then notes that nobody reads the inbox any more.
func (e *Engine) nextInboxBatch() []callbackd.Delivery {
	e.mu.Lock()
	defer e.mu.Unlock()
	in := &e.inbox
	if len(in.waiting) == 0 || e.phase == draining {
		*in = inbox{}
		return nil
	}
	n := min(len(in.waiting), inboxBatch)
	batch := in.waiting[:n:n]
	in.waiting = in.waiting[n:]
	in.recordedDuringRead = map[callbackd.DeliveryID]bool{}
	return batch
}

// rereadEach leaves deliveries to the reads of their own queues, which are
// repeated until they succeed.
func (e *Engine) rereadEach(ds []callbackd.Delivery) {
	for i := range ds {
		if id := ds[i].ID; e.owns(id.Callback) {
			q := e.queue(id.Callback)
			q.cursor().reread(id.Event)
			e.readMore(q)
		}
	}
}

// offerShared is offer for a shared queue, where ids come in any order.
// complete tells that nothing before d in its session can be unknown here.
// Unless that is known, the lane is read from the store.
func (e *Engine) offerShared(q *callbackQueue, d callbackd.Delivery, complete bool) {
	id := d.ID.Event
	c := q.cursor()
	c.tell(id)
	var last lanePosition
	if l := q.lanes[d.Session]; l != nil {
		last = lanePosition{l.cursor.at, l.sequence}
		complete = complete && !l.cursor.more
	} else {
		last = e.lastPositions.get(q.id, d.Session)
	}
	if id <= last.event || q.known.inMemory[id] {
		return // it came by another way already
	}
	follows := d.Sequence == 1 || last.sequence > 0 && last.sequence == d.Sequence-1
	if (complete || follows) && e.mayKeep(q) {
		c.at = max(c.at, id)
		e.addToLane(q, d)
	} else {
		e.readDelivery(q, d.Session, id)
	}
	e.readMore(q)
}

// lanePosition is the last delivery of a lane that came into memory.
type lanePosition struct {
	event    callbackd.EventID
	sequence int64 // 0: not known
}

// lanePositions remembers the positions of lanes that left memory. Such a lane
// is then read from there on instead of from its session's first event, and the
// delivery that follows need not be looked for. The oldest are forgotten.
type lanePositions struct{ recent, older map[laneKey]lanePosition }

type laneKey struct {
	callback callbackd.CallbackID
	session  string
}

const maxLanePositions = 1 << 15 // in each of the two maps

// get returns the position of a lane; zero: it is not remembered.
func (p *lanePositions) get(id callbackd.CallbackID, session string) lanePosition {
	key := laneKey{id, session}
	if at, ok := p.recent[key]; ok {
		return at
	}
	return p.older[key]
}

func (p *lanePositions) put(id callbackd.CallbackID, session string, at lanePosition) {
	if at.event == 0 {
		return
	}
	if p.recent == nil || len(p.recent) >= maxLanePositions {
		p.older = p.recent
		p.recent = map[laneKey]lanePosition{}
	}
	p.recent[laneKey{id, session}] = at
}

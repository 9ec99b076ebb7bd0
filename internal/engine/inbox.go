package engine

import (
	"callbackd"
)

// inbox is what other nodes accepted and this one delivers, on its way from
// the store.
type inbox struct {
	waiting []callbackd.Delivery
	reading bool
	// settled is what was recorded while a query ran: its result may still
	// show it.
	settled map[callbackd.DeliveryID]bool
}

const (
	maxInbox   = 4096 // deliveries that wait to be read
	inboxBatch = 512  // read at a time
)

// Look tells the engine of deliveries that other nodes accepted: they are in
// the store, and so is everything before each of them in its session.
func (e *Engine) Look(ds []callbackd.Delivery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range ds {
		d := &ds[i]
		if !e.owns(d.ID.Callback) {
			continue
		}
		t := e.target(d.ID.Callback)
		t.seen = max(t.seen, d.ID.Event)
		if !e.running || t.behind || t.paused || len(e.inbox.waiting) >= maxInbox {
			e.look(t, d.Session, d.ID.Event)
			e.fetch(t)
		} else {
			e.inbox.waiting = append(e.inbox.waiting, *d)
		}
	}
	if len(e.inbox.waiting) > 0 && !e.inbox.reading && !e.draining {
		e.inbox.reading = true
		e.work.Go(e.readInbox)
	}
}

// readInbox reads what waits, of all callbacks together, until nothing does.
func (e *Engine) readInbox() {
	for {
		e.mu.Lock()
		in := &e.inbox
		if len(in.waiting) == 0 || e.draining {
			in.waiting, in.reading, in.settled = nil, false, nil
			e.mu.Unlock()
			return
		}
		n := min(len(in.waiting), inboxBatch)
		batch := in.waiting[:n:n]
		in.waiting, in.settled = in.waiting[n:], map[callbackd.DeliveryID]bool{}
		e.mu.Unlock()
		ids := make([]callbackd.DeliveryID, n)
		for i := range batch {
			ids[i] = batch[i].ID
		}
		ds, err := e.o.Queue.FirstAttemptsByID(e.ctx, ids)
		if err != nil {
			e.o.Log.Error("queue not read, trying again", "error", err)
			ds = nil
		}
		e.mu.Lock()
		for i := range ds {
			if e.owns(ds[i].ID.Callback) && !in.settled[ds[i].ID] {
				e.admit(e.target(ds[i].ID.Callback), ds[i], false)
			}
		}
		if err != nil { // each callback's own reader tries until it succeeds
			for i := range batch {
				if e.owns(batch[i].ID.Callback) {
					t := e.target(batch[i].ID.Callback)
					t.readFrom(batch[i].ID.Event)
					e.fetch(t)
				}
			}
		}
		e.pump(e.now())
		e.mu.Unlock()
	}
}

// admit is offer for a shared queue, where ids come in any order. next tells
// that nothing of the session before d can be unknown; otherwise the lane
// must show it.
func (e *Engine) admit(t *target, d callbackd.Delivery, next bool) {
	id := d.ID.Event
	t.seen = max(t.seen, id)
	last := floor{}
	if l := t.lanes[d.Session]; l != nil {
		last = floor{l.last, l.number}
		next = next && !l.more
	} else {
		last = e.floors.of(t.id, d.Session)
	}
	if id <= last.id || t.taken[id] {
		return // it came by another way, and went
	}
	next = next || d.Sequence == 1 || last.number > 0 && last.number == d.Sequence-1
	if !next || !e.running || t.behind || t.paused || t.count >= e.o.Window || len(t.held.lanes) >= maxHeld {
		e.look(t, d.Session, id)
	} else {
		t.cursor = max(t.cursor, id)
		e.put(t, d)
	}
	e.fetch(t)
}

// floor is up to where a lane is done: an event and its sequence number.
type floor struct {
	id     callbackd.EventID
	number int64 // 0: not known
}

// floors remembers the floors of lanes that are in memory no more: such a
// lane is then read from there on, not from its session's first event, and
// what follows it need not be looked for.
type floors struct{ young, old map[floorOf]floor }

type floorOf struct {
	no      callbackd.CallbackID
	session string
}

const maxFloors = 1 << 15 // in each half

func (f *floors) of(no callbackd.CallbackID, session string) floor {
	if at, ok := f.young[floorOf{no, session}]; ok {
		return at
	}
	return f.old[floorOf{no, session}]
}

func (f *floors) keep(no callbackd.CallbackID, session string, at floor) {
	if at.id == 0 {
		return
	}
	if f.young == nil || len(f.young) >= maxFloors {
		f.young, f.old = map[floorOf]floor{}, f.young
	}
	f.young[floorOf{no, session}] = at
}

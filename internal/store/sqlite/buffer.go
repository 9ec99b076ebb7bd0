package sqlite

import (
	"slices"
	"sync"

	"callbackd"
	"callbackd/internal/store"

	"github.com/ncruces/go-sqlite3"
)

// The hot path only appends: an accepted event is one row, and a delivery that
// succeeds at once is one more. The rows of the other tables (the indexes of
// events, and pending deliveries) are written later, for many events at once:
// that is a flush. In bulk and in order they cost a fraction of what one row at
// a time costs, and most deliveries have ended by then and need no row.
//
// Until then the buffer has the contents of those rows. After a crash it is read again
// from the events that were not flushed.
const (
	flushAt    = 16384 // events in the buffer at which the oldest are flushed
	flushBatch = 256   // events that are flushed at once, because a commit waits for them
	flushRows  = 512   // deliveries that get a row in the same flush
)

// eventBuffer holds the headers of the events that were not flushed. Only
// the writer changes it, once a change is durable. A reader asks the buffer
// before it begins its snapshot: an event that is flushed in between is seen
// twice, and never missed.
type eventBuffer struct {
	mu             sync.RWMutex
	flushedUpTo    callbackd.EventID
	events         []*callbackd.Event                       // ascending
	unflushed      map[callbackd.CallbackID]*callbackBuffer // deliveries without any row of their own
	unflushedCount int                                      // how many those are
}

// callbackBuffer holds the unflushed deliveries of one callback: those that have
// no row, because they were neither recorded nor made due.
type callbackBuffer struct {
	ids    []callbackd.EventID // ascending
	events []*callbackd.Event  // nil: the delivery has left the buffer
	count  int
}

func newEventBuffer() *eventBuffer {
	return &eventBuffer{unflushed: map[callbackd.CallbackID]*callbackBuffer{}}
}

// append adds an event, with those of its targets whose delivery has no row.
func (b *eventBuffer) append(ev *callbackd.Event, unflushed []callbackd.CallbackID) {
	b.events = append(b.events, ev)
	for _, cb := range unflushed {
		c := b.unflushed[cb]
		if c == nil {
			c = &callbackBuffer{}
			b.unflushed[cb] = c
		}
		c.ids = append(c.ids, ev.ID)
		c.events = append(c.events, ev)
		c.count++
		b.unflushedCount++
	}
}

func (b *eventBuffer) has(id callbackd.DeliveryID) bool {
	c := b.unflushed[id.Callback]
	if c == nil {
		return false
	}
	i, ok := slices.BinarySearch(c.ids, id.Event)
	return ok && c.events[i] != nil
}

// remove takes a delivery out of the buffer.
func (b *eventBuffer) remove(id callbackd.DeliveryID) {
	c := b.unflushed[id.Callback]
	if c == nil {
		return
	}
	i, ok := slices.BinarySearch(c.ids, id.Event)
	if !ok || c.events[i] == nil {
		return
	}
	c.events[i] = nil
	c.count--
	b.unflushedCount--
	switch {
	case c.count == 0:
		delete(b.unflushed, id.Callback)
	case c.count*2 < len(c.ids)-32:
		c.compact()
	}
}

func (c *callbackBuffer) compact() {
	n := 0
	for i, ev := range c.events {
		if ev != nil {
			c.ids[n], c.events[n] = c.ids[i], ev
			n++
		}
	}
	clear(c.events[n:])
	c.ids, c.events = c.ids[:n], c.events[:n]
}

// deliveries returns up to limit unflushed deliveries of a callback, in order,
// with events above after. session, when not empty, is the only session wanted.
func (b *eventBuffer) deliveries(cb callbackd.CallbackID, session string, after callbackd.EventID, limit int) []callbackd.Delivery {
	b.mu.RLock()
	defer b.mu.RUnlock()
	c := b.unflushed[cb]
	if c == nil {
		return nil
	}
	i, _ := slices.BinarySearch(c.ids, after+1)
	var out []callbackd.Delivery
	for ; i < len(c.ids) && len(out) < limit; i++ {
		if ev := c.events[i]; ev != nil && (session == "" || ev.Session == session) {
			out = append(out, untriedDelivery(ev, cb))
		}
	}
	return out
}

// newest returns the newest unflushed delivery of a session to a callback with an event
// below before, and whether there is one.
func (b *eventBuffer) newest(cb callbackd.CallbackID, session string, before callbackd.EventID) (d callbackd.Delivery, ok bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	c := b.unflushed[cb]
	if c == nil {
		return d, false
	}
	i, _ := slices.BinarySearch(c.ids, before)
	for i--; i >= 0; i-- {
		if ev := c.events[i]; ev != nil && ev.Session == session {
			return untriedDelivery(ev, cb), true
		}
	}
	return d, false
}

func untriedDelivery(ev *callbackd.Event, cb callbackd.CallbackID) callbackd.Delivery {
	return callbackd.Delivery{ID: callbackd.DeliveryID{Event: ev.ID, Callback: cb}, Session: ev.Session, Sequence: ev.Sequence, Test: ev.Test}
}

// len returns how many events are in the buffer.
func (b *eventBuffer) len() int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.events)
}

// last returns the newest event of the buffer; 0: there is none.
func (b *eventBuffer) last() callbackd.EventID {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if len(b.events) == 0 {
		return 0
	}
	return b.events[len(b.events)-1].ID
}

// hasUpTo reports whether an event that is not newer than id is in the buffer.
func (b *eventBuffer) hasUpTo(id callbackd.EventID) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.events) > 0 && b.events[0].ID <= id
}

// flush writes the rows of the oldest events of the buffer: of as many as most says, or of
// fewer, but at least least, when their deliveries are more than flushRows. The buffer
// changes when they are durable.
func (t *tx) flush(least, most int) error {
	n := t.eventsToFlush(least, most)
	if n == 0 {
		return nil
	}
	evs := t.s.buffer.events[t.flushed : t.flushed+n]
	from, to := int64(t.s.buffer.flushedUpTo), int64(evs[n-1].ID)
	if t.flushed > 0 {
		from = int64(t.s.buffer.events[t.flushed-1].ID)
	}
	for _, sql := range []string{
		"INSERT INTO session_events SELECT key_no, session, sequence, id FROM events WHERE id > ? AND id <= ? ORDER BY key_no, session, sequence",
		"INSERT INTO key_events SELECT key_no, id FROM events WHERE id > ? AND id <= ? ORDER BY key_no, id",
	} {
		if err := t.query(sql, nil, from, to); err != nil {
			return err
		}
	}
	for _, ev := range evs {
		for _, cb := range ev.Targets {
			if id := (callbackd.DeliveryID{Event: ev.ID, Callback: cb}); t.isUnflushed(id) {
				if err := t.insertPending(untriedDelivery(ev, cb)); err != nil {
					return err
				}
			}
		}
	}
	t.flushed += n
	return t.query("UPDATE meta SET mark = ?", nil, to)
}

// eventsToFlush returns how many events a flush takes.
func (t *tx) eventsToFlush(least, most int) int {
	rows := 0
	for n, ev := range t.s.buffer.events[t.flushed : t.flushed+most] {
		if n >= least && rows >= flushRows {
			return n
		}
		for _, cb := range ev.Targets {
			if t.isUnflushed(callbackd.DeliveryID{Event: ev.ID, Callback: cb}) {
				rows++
			}
		}
	}
	return most
}

// flushAll writes the rows of all events of the buffer.
func (t *tx) flushAll() error {
	n := len(t.s.buffer.events) - t.flushed
	return t.flush(n, n)
}

// isUnflushed reports whether a delivery has no row, as this group sees it.
func (t *tx) isUnflushed(id callbackd.DeliveryID) bool {
	return !t.moved[id] && t.s.buffer.has(id)
}

// insertPending writes the row of a delivery, which leaves the buffer.
func (t *tx) insertPending(d callbackd.Delivery) error {
	t.moved[d.ID] = true
	return t.query("INSERT INTO pending ("+pendingColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", nil,
		int64(d.ID.Callback), int64(d.ID.Event), d.Session, d.Sequence, d.Test, d.Attempts, d.Step, d.Manual, roundUpMillis(d.FirstFailedAt), roundUpMillis(d.Due), roundUpMillis(d.HoldsUntil), int64(d.Replay), d.DeliverAt, d.ExpiresAt)
}

// withoutRow returns the targets of an event that the group accepted whose delivery has no
// row. Most often that is all of them.
func (t *tx) withoutRow(ev *callbackd.Event) []callbackd.CallbackID {
	hasRow := func(cb callbackd.CallbackID) bool { return t.moved[callbackd.DeliveryID{Event: ev.ID, Callback: cb}] }
	if len(t.moved) == 0 || !slices.ContainsFunc(ev.Targets, hasRow) {
		return ev.Targets
	}
	return slices.DeleteFunc(slices.Clone(ev.Targets), hasRow)
}

// committed applies a durable group to the buffer.
func (b *eventBuffer) committed(t *tx) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range t.moved {
		b.remove(id)
	}
	if t.flushed > 0 {
		b.flushedUpTo = b.events[t.flushed-1].ID
		b.events = slices.Delete(b.events, 0, t.flushed)
	}
	for _, ev := range t.accepted {
		header := *ev
		header.Data, header.Withheld, header.Trace = nil, nil, nil
		b.append(&header, t.withoutRow(ev))
	}
}

// loadBuffer reads the buffer after a start.
func (s *Store) loadBuffer() error {
	b := s.buffer
	err := s.w.query("SELECT mark FROM meta", func(st *sqlite3.Stmt) error { b.flushedUpTo = callbackd.EventID(st.ColumnInt64(0)); return nil })
	if err != nil {
		return err
	}
	return s.w.query("SELECT "+eventColumns+" FROM events WHERE id > ? ORDER BY id", func(st *sqlite3.Stmt) error {
		ev, err := scanEvent(s.EventTypes, st)
		if err != nil {
			return err
		}
		ev.Trace = nil
		var unflushed []callbackd.CallbackID
		for _, cb := range ev.Targets {
			known := false
			err := s.w.query("SELECT 1 FROM pending WHERE callback_no = ?1 AND event_id = ?2 UNION ALL SELECT 1 FROM attempts WHERE event_id = ?2 AND callback_no = ?1 LIMIT 1",
				func(*sqlite3.Stmt) error { known = true; return nil }, int64(cb), int64(ev.ID))
			if err != nil {
				return err
			}
			if !known {
				unflushed = append(unflushed, cb)
			}
		}
		b.append(ev, unflushed)
		s.w.ends.Put(store.SessionID{Key: ev.Key, SessionKey: ev.Session}, sessionEnd{sequence: ev.Sequence, callbacks: true})
		return nil
	}, int64(b.flushedUpTo))
}

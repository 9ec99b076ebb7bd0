package sqlite

import (
	"math"
	"slices"
	"sync"

	"callbackd"
	"callbackd/internal/store"

	"github.com/ncruces/go-sqlite3"
)

// The hot path appends and nothing else: an accepted event is one row, a
// delivery that succeeds at once is one more. The events above the mark are
// the tail. What the other tables say of older events (the indexes of events,
// the pending row of a delivery that has not ended) is known of the tail in
// memory, and is written for a whole piece of it at once when the piece is
// folded: in bulk and in order, which costs a fraction of one row at a time,
// and for most deliveries nothing, because they have ended by then. After a
// crash the tail is read again from the events above the mark.
const (
	foldAt = 8192 // events in the tail at which its oldest are folded
	foldN  = 2048 // events folded at once
)

// tail is the events above the mark, without their data. The writer alone
// changes it, once the change is durable; readers take what they need from
// it before they begin their snapshot: what was folded in between they meet
// in both, and nothing in neither.
type tail struct {
	mu     sync.RWMutex
	mark   callbackd.EventID
	events []*callbackd.Event               // ascending
	young  map[callbackd.CallbackID]*youngs // deliveries without any row of their own
	owed   int                              // how many those are
}

// youngs is the young deliveries of one callback: those of the tail that
// were neither recorded nor scheduled yet.
type youngs struct {
	ids  []callbackd.EventID // ascending
	evs  []*callbackd.Event  // nil: no longer young
	live int
}

func newTail() *tail { return &tail{young: map[callbackd.CallbackID]*youngs{}} }

// append adds an event with the callbacks it is freshly owed to.
func (l *tail) append(ev *callbackd.Event, fresh []callbackd.CallbackID) {
	l.events = append(l.events, ev)
	for _, no := range fresh {
		y := l.young[no]
		if y == nil {
			y = &youngs{}
			l.young[no] = y
		}
		y.ids = append(y.ids, ev.ID)
		y.evs = append(y.evs, ev)
		y.live++
		l.owed++
	}
}

func (l *tail) has(id callbackd.DeliveryID) bool {
	y := l.young[id.Callback]
	if y == nil {
		return false
	}
	i, ok := slices.BinarySearch(y.ids, id.Event)
	return ok && y.evs[i] != nil
}

// drop ends the youth of a delivery.
func (l *tail) drop(id callbackd.DeliveryID) {
	y := l.young[id.Callback]
	if y == nil {
		return
	}
	i, ok := slices.BinarySearch(y.ids, id.Event)
	if !ok || y.evs[i] == nil {
		return
	}
	y.evs[i] = nil
	y.live--
	l.owed--
	switch {
	case y.live == 0:
		delete(l.young, id.Callback)
	case y.live*2 < len(y.ids)-32:
		y.compact()
	}
}

func (y *youngs) compact() {
	n := 0
	for i, ev := range y.evs {
		if ev != nil {
			y.ids[n], y.evs[n] = y.ids[i], ev
			n++
		}
	}
	clear(y.evs[n:])
	y.ids, y.evs = y.ids[:n], y.evs[:n]
}

// of returns up to limit young deliveries of a callback above after, in
// order; session, when not empty, is the only one wanted.
func (l *tail) of(cb callbackd.CallbackID, session string, after callbackd.EventID, limit int) []callbackd.Delivery {
	l.mu.RLock()
	defer l.mu.RUnlock()
	y := l.young[cb]
	if y == nil {
		return nil
	}
	i, _ := slices.BinarySearch(y.ids, after+1)
	var out []callbackd.Delivery
	for ; i < len(y.ids) && len(out) < limit; i++ {
		if ev := y.evs[i]; ev != nil && (session == "" || ev.Session == session) {
			out = append(out, youngDelivery(ev, cb))
		}
	}
	return out
}

func youngDelivery(ev *callbackd.Event, cb callbackd.CallbackID) callbackd.Delivery {
	return callbackd.Delivery{ID: callbackd.DeliveryID{Event: ev.ID, Callback: cb}, Session: ev.Session, Sequence: ev.Sequence, Test: ev.Test}
}

// len returns how many events are in the tail.
func (l *tail) len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.events)
}

// callbacks is the callbacks with young deliveries.
func (l *tail) callbacks() []callbackd.CallbackID {
	l.mu.RLock()
	defer l.mu.RUnlock()
	out := make([]callbackd.CallbackID, 0, len(l.young))
	for no := range l.young {
		out = append(out, no)
	}
	slices.Sort(out)
	return out
}

// newest returns the ids of the tail's events of a key, and of one of its
// sessions when session is not empty, within [lo, hi), newest first, and the
// id below which no event is in the tail.
func (l *tail) newest(key callbackd.KeyID, session string, lo, hi int64) (ids []callbackd.EventID, floor int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	floor = hi
	if len(l.events) > 0 {
		floor = int64(l.events[0].ID)
	}
	for _, ev := range slices.Backward(l.events) {
		if int64(ev.ID) < lo {
			break
		}
		if (key == store.AllKeys || ev.Key == key) && int64(ev.ID) < hi && (session == "" || ev.Session == session) {
			ids = append(ids, ev.ID)
		}
	}
	return ids, floor
}

// latest returns the newest n of the tail's events of each session, newest
// first, and the id below which no event is in the tail. A session with AllKeys
// is one of any key.
func (l *tail) latest(sessions []store.SessionID, n int) (out map[store.SessionID][]*callbackd.Event, floor int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	out, floor = make(map[store.SessionID][]*callbackd.Event, len(sessions)), math.MaxInt64
	if len(l.events) > 0 {
		floor = int64(l.events[0].ID)
	}
	wanted := make(map[store.SessionID]bool, len(sessions))
	for _, s := range sessions {
		wanted[s] = true
	}
	for _, ev := range slices.Backward(l.events) {
		id := store.SessionID{Key: ev.Key, SessionKey: ev.Session}
		if (wanted[id] || wanted[store.SessionID{Key: store.AllKeys, SessionKey: ev.Session}]) && len(out[id]) < n {
			out[id] = append(out[id], ev)
		}
	}
	return out, floor
}

// fold writes what the tables say of the tail's n oldest events and moves the
// mark above them. The tail itself changes when that is durable.
func (t *tx) fold(n int) error {
	evs := t.s.tail.events[t.folded : t.folded+n]
	if n == 0 {
		return nil
	}
	from, to := int64(t.s.tail.mark), int64(evs[n-1].ID)
	if t.folded > 0 {
		from = int64(t.s.tail.events[t.folded-1].ID)
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
		for _, no := range ev.Targets {
			if id := (callbackd.DeliveryID{Event: ev.ID, Callback: no}); t.isYoung(id) {
				if err := t.insertPending(youngDelivery(ev, no)); err != nil {
					return err
				}
			}
		}
	}
	t.folded += n
	return t.query("UPDATE meta SET mark = ?", nil, to)
}

// isYoung tells whether a delivery has no row of its own, as this group sees it.
func (t *tx) isYoung(id callbackd.DeliveryID) bool {
	return !t.left[id] && t.s.tail.has(id)
}

// insertPending gives a delivery its row; it is no longer young.
func (t *tx) insertPending(d callbackd.Delivery) error {
	t.left[d.ID] = true
	return t.query("INSERT INTO pending ("+pendingColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", nil,
		int64(d.ID.Callback), int64(d.ID.Event), d.Session, d.Sequence, d.Test, d.Attempts, d.Step, d.Manual, notEarlier(d.FirstFailedAt), notEarlier(d.Due), notEarlier(d.HoldsUntil), int64(d.Replay))
}

// publish takes a durable group into the tail.
func (l *tail) publish(t *tx) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range t.left {
		l.drop(id)
	}
	if t.folded > 0 {
		l.mark = l.events[t.folded-1].ID
		l.events = slices.Delete(l.events, 0, t.folded)
	}
	for _, ev := range t.accepted {
		header := *ev
		header.Data = nil
		l.append(&header, ev.Targets)
	}
}

// loadTail reads the tail after a start.
func (s *Store) loadTail() error {
	l := s.tail
	err := s.w.query("SELECT mark FROM meta", func(st *sqlite3.Stmt) error { l.mark = callbackd.EventID(st.ColumnInt64(0)); return nil })
	if err != nil {
		return err
	}
	return s.w.query("SELECT "+eventColumns+" FROM events WHERE id > ? ORDER BY id", func(st *sqlite3.Stmt) error {
		ev := scanEvent(st)
		var fresh []callbackd.CallbackID
		for _, no := range ev.Targets {
			known := false
			err := s.w.query("SELECT 1 FROM pending WHERE callback_no = ?1 AND event_id = ?2 UNION ALL SELECT 1 FROM attempts WHERE event_id = ?2 AND callback_no = ?1 LIMIT 1",
				func(*sqlite3.Stmt) error { known = true; return nil }, int64(no), int64(ev.ID))
			if err != nil {
				return err
			}
			if !known {
				fresh = append(fresh, no)
			}
		}
		l.append(ev, fresh)
		s.seqs.Put(sessionID{ev.Key, ev.Session}, ev.Sequence)
		return nil
	}, int64(l.mark))
}

package sqlite

import (
	"context"
	"errors"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"

	"github.com/ncruces/go-sqlite3"
)

// Watch is part of [store.Events].
func (s *Store) Watch(key callbackd.KeyID) (<-chan struct{}, func()) { return s.hub.Watch(key) }

// above returns the ids of the tail's events of a key, and of one of its
// sessions when session is not empty, within [lo, hi), oldest first; the id
// below which no event is in the tail; and the newest event of the key in the
// tail, 0 when there is none.
func (l *tail) above(key callbackd.KeyID, session string, lo, hi int64) (ids []callbackd.EventID, floor int64, last callbackd.EventID) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	floor = int64(l.mark) + 1
	if len(l.events) > 0 {
		floor = int64(l.events[0].ID)
	}
	for _, ev := range l.events {
		if ev.Key == key {
			last = ev.ID
		}
		if ev.Key == key && int64(ev.ID) >= lo && int64(ev.ID) < hi && (session == "" || ev.Session == session) {
			ids = append(ids, ev.ID)
		}
	}
	return ids, floor, last
}

// EventsAfter is part of [store.Events]. Ids grow in the order of commits, so
// that everything up to the newest durable event is there to stay.
func (s *Store) EventsAfter(ctx context.Context, q store.EventQuery) (page store.EventPage, err error) {
	lo, hi, err := s.idRange(ctx, q.Since, q.Until, 0)
	if err != nil {
		return page, err
	}
	lo = max(lo, int64(q.After)+1)
	limit := min(max(q.Limit, 1), store.MaxPage)
	young, floor, last := s.tail.above(q.Key, q.Session, lo, hi)
	seen, size, at := 0, 0, callbackd.EventID(0)
	cut := false
	var later error
	err = s.read(ctx, func(d *db) error {
		if page.Removed, later = d.removed(q.Key); later != nil {
			return later
		}
		// What is said at the end is of this key alone: the newest event of all
		// would tell when, and how often, others publish.
		last = max(last, page.Removed.Newest)
		later = d.query("SELECT max(id) FROM key_events WHERE key_no = ? AND id < ?", func(st *sqlite3.Stmt) error {
			last = max(last, callbackd.EventID(st.ColumnInt64(0)))
			return nil
		}, int64(q.Key), floor) // what was folded since the tail was asked comes with the next page
		if later != nil {
			return later
		}
		return d.ascend(young, q.Key, q.Session, lo, min(hi, floor), ", e.data", func(st *sqlite3.Stmt) bool {
			if seen == store.MaxScan || len(page.Events) == limit || size >= store.MaxPageData {
				cut = true
				return false
			}
			seen++
			at = callbackd.EventID(st.ColumnInt64(0))
			if q.Type == "" || codec.Type(st.ColumnInt64(2)) == q.Type {
				ev := scanEvent(st)
				if !store.AcceptedWithin(ev, q.Since, q.Until) {
					return true
				}
				ev.Data = st.ColumnBlob(8, nil)
				size += len(ev.Data)
				later = d.addLater(ev)
				page.Events = append(page.Events, ev)
			}
			return later == nil
		})
	})
	if err = errors.Join(err, later); err != nil {
		return store.EventPage{}, err
	}
	page.Next = max(q.After, last)
	if cut {
		page.Next = at
	}
	return page, err
}

// removed is what retention took of a key's events.
func (d *db) removed(key callbackd.KeyID) (r store.Removed, err error) {
	err = d.query("SELECT newest, removals FROM removed_events WHERE key_no = ?", func(st *sqlite3.Stmt) error {
		r = store.Removed{Newest: callbackd.EventID(st.ColumnInt64(0)), Times: st.ColumnInt64(1)}
		return nil
	}, int64(key))
	return r, err
}

// ascend calls f for the events of a key, or of one of its sessions, oldest
// first, until f returns false: the indexed ones within [lo, hi), then the
// young ones of the tail. more names further columns.
func (d *db) ascend(young []callbackd.EventID, key callbackd.KeyID, session string, lo, hi int64, more string, f func(*sqlite3.Stmt) bool) error {
	enough := callbackd.Errorf(callbackd.KindInternal, "enough")
	row := func(st *sqlite3.Stmt) error {
		if !f(st) {
			return enough
		}
		return nil
	}
	var err error
	if session == "" {
		err = d.query("SELECT "+indexedColumns+more+" FROM key_events x CROSS JOIN events e ON e.id = x.id WHERE x.key_no = ? AND x.id >= ? AND x.id < ? ORDER BY x.id", row, int64(key), lo, hi)
	} else {
		err = d.query("SELECT "+indexedColumns+more+" FROM session_events x CROSS JOIN events e ON e.id = x.id WHERE x.key_no = ? AND x.session = ? AND x.id >= ? AND x.id < ? ORDER BY x.sequence", row, int64(key), session, lo, hi)
	}
	for i := 0; err == nil && i < len(young); i++ {
		err = d.query("SELECT "+indexedColumns+more+" FROM events e WHERE e.id = ?", row, int64(young[i]))
	}
	return only(err, enough)
}

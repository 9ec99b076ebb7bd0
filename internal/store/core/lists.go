package core

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"callbackd"
	"callbackd/internal/store"
)

// How many rows a list reads at a time. It should read few rows that do not fit on the
// page. Rows with data are larger.
const (
	listChunk = 512
	dataChunk = 64
)

// eventRange names events of a key or of all keys, or of one session, with ids in
// [lo, hi).
type eventRange struct {
	key      callbackd.KeyID
	session  string
	lo, hi   int64
	dataOf   int64 // whose data is read: a type's number, anyType or noType
	withheld bool  // only withheld events have their data read
}

// What dataOf may be instead of a type's number.
const (
	anyType = -1
	noType  = -2
)

// chunk returns how many events to read at a time for a page of limit.
func (r *eventRange) chunk(limit int) int {
	if r.dataOf == anyType {
		return min(dataChunk, limit+1)
	}
	return listChunk
}

const selectEvents = "SELECT " + eventColumns + ", CASE WHEN ($4 = -1 OR type = $4) AND ($5 = 0 OR withheld IS NOT NULL) THEN data END FROM "

// newest returns the newest limit events of a range, newest first.
func (s *Store) newest(tx Tx, r eventRange, limit int) (evs []*callbackd.Event, err error) {
	switch {
	case r.session != "" && r.key == store.AllKeys:
		return s.newestOfSession(tx, r, limit)
	case r.session != "":
		return s.eventsOf(tx, s.d.SessionEvents+" WHERE id >= $1 AND id < $2 AND key_no = $6 AND session = $7 ORDER BY "+newestOrder(s.d.SessionOrder),
			r, limit, r.key, r.session)
	case r.key == store.AllKeys:
		return s.eventsOf(tx, "events WHERE id >= $1 AND id < $2 ORDER BY id DESC", r, limit)
	}
	return s.eventsOf(tx, s.d.KeyEvents+" WHERE id >= $1 AND id < $2 AND key_no = $6 ORDER BY key_no DESC, id DESC", r, limit, r.key)
}

// oldest returns the oldest limit events of a range, oldest first. A range of all keys
// has no session.
func (s *Store) oldest(tx Tx, r eventRange, limit int) (evs []*callbackd.Event, err error) {
	switch {
	case r.key == store.AllKeys:
		return s.eventsOf(tx, "events WHERE id >= $1 AND id < $2 ORDER BY id", r, limit)
	case r.session != "":
		return s.eventsOf(tx, s.d.SessionEvents+" WHERE id >= $1 AND id < $2 AND key_no = $6 AND session = $7 ORDER BY "+s.d.SessionOrder,
			r, limit, r.key, r.session)
	}
	return s.eventsOf(tx, s.d.KeyEvents+" WHERE id >= $1 AND id < $2 AND key_no = $6 ORDER BY key_no, id", r, limit, r.key)
}

// newestOfSession is newest for the sessions of that name of all keys. Keys that
// have one are few: each is asked for its newest.
func (s *Store) newestOfSession(tx Tx, r eventRange, limit int) (all []*callbackd.Event, err error) {
	keys, err := s.keysWithEvents(tx, r.session)
	for _, r.key = range keys {
		evs, err := s.newest(tx, r, limit)
		if err != nil {
			return nil, err
		}
		all = append(all, evs...)
	}
	slices.SortFunc(all, func(a, b *callbackd.Event) int { return cmp.Compare(b.ID, a.ID) })
	return all[:min(len(all), limit)], err
}

// keysWithEvents returns the keys that have events of a session.
func (s *Store) keysWithEvents(tx Tx, session string) ([]callbackd.KeyID, error) {
	return keysWith(tx, s.d.SessionIndex+" e WHERE e.key_no = k.no AND e.session = $1", session)
}

// keysWith returns the keys k for which a table has rows with a value, which is
// $1. rows is the table and the condition.
func keysWith(tx Tx, rows string, value any) (keys []callbackd.KeyID, err error) {
	err = tx.Query("SELECT k.no FROM keys k WHERE (SELECT 1 FROM "+rows+" LIMIT 1) IS NOT NULL", func(row Row) error {
		var key callbackd.KeyID
		err := row.Scan(&key)
		keys = append(keys, key)
		return err
	}, value)
	return keys, err
}

func (s *Store) eventsOf(tx Tx, from string, r eventRange, limit int, more ...any) (evs []*callbackd.Event, err error) {
	var withheld int64
	if r.withheld {
		withheld = 1
	}
	args := append([]any{r.lo, r.hi, limit, r.dataOf, withheld}, more...)
	err = tx.Query(selectEvents+from+" LIMIT $3", func(row Row) error {
		var data []byte
		ev, err := s.scanEvent(row, &data)
		ev.Data = data
		evs = append(evs, ev)
		return err
	}, args...)
	return evs, err
}

// readEvent reads one event with its data and all its targets; nil when there is none.
// Attempts wait for it, so it is one query, unless a replay added a target.
func (s *Store) readEvent(tx Tx, id callbackd.EventID) (ev *callbackd.Event, err error) {
	hasLateTargets := false
	err = tx.Query("SELECT "+eventColumns+", data, (SELECT 1 FROM owed_later WHERE event_id = e.id LIMIT 1) IS NOT NULL FROM events e WHERE id = $1", func(row Row) error {
		var data []byte
		ev, err = s.scanEvent(row, &data, &hasLateTargets)
		ev.Data = data
		return err
	}, id)
	if err == nil && hasLateTargets {
		err = s.addLateTargets(tx, []*callbackd.Event{ev})
	}
	return ev, err
}

// NoEvent is the error for an event that is not stored.
func NoEvent(id callbackd.EventID) error {
	return callbackd.Errorf(callbackd.KindNotFound, "there is no event %s; events are removed some time after they ended", id)
}

// Event is part of [store.Events].
func (s *Store) Event(ctx context.Context, key callbackd.KeyID, id callbackd.EventID) (ev *callbackd.Event, err error) {
	err = s.db.Read(ctx, func(tx Tx) error {
		ev, err = s.readEvent(tx, id)
		if err == nil && (ev == nil || key != store.AllKeys && ev.Key != key) {
			err = NoEvent(id)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return ev, nil
}

// eventPager gathers a page of events.
type eventPager struct {
	q     store.EventQuery
	limit int
	page  store.EventPage
	seen  int
	size  int
}

// take adds an event to the page and reports whether it did. A full page does not take
// it: the event belongs to the next page.
func (p *eventPager) take(ev *callbackd.Event) bool {
	if len(p.page.Events) == p.limit || p.size >= store.MaxPageData || p.seen == store.MaxScan {
		return false
	}
	p.seen++
	if p.q.Matches(ev) {
		p.size += len(ev.Data)
		for _, w := range ev.Withheld {
			p.size += len(w.Term)
		}
		p.page.Events = append(p.page.Events, ev)
	}
	return true
}

func newEventPager(q store.EventQuery) *eventPager {
	return &eventPager{q: q, limit: min(max(q.Limit, 1), store.MaxPage)}
}

// ranged returns what the query chooses, without its cursor.
func (s *Store) ranged(tx Tx, p *eventPager) (r eventRange, err error) {
	r = eventRange{key: p.q.Key, session: p.q.Session, dataOf: anyType, withheld: p.q.Withheld}
	if p.q.Type != "" {
		r.dataOf = s.EventTypes.Number(p.q.Type)
	}
	r.lo, r.hi, err = idRange(tx, p.q.Since, p.q.Until, 0)
	return r, err
}

// ListEvents is part of [store.Events].
func (s *Store) ListEvents(ctx context.Context, q store.EventQuery) (page store.EventPage, err error) {
	if !storable(q.Session) {
		return page, nil
	}
	err = s.db.ReadFlushed(ctx, func(tx Tx) error {
		p := newEventPager(q)
		if err := s.fillNewest(tx, p); err != nil {
			return err
		}
		page = p.page
		return s.addLateTargets(tx, page.Events)
	})
	return page, err
}

// fillNewest fills a page of a list that begins with the newest events.
func (s *Store) fillNewest(tx Tx, p *eventPager) error {
	r, err := s.ranged(tx, p)
	if err != nil {
		return err
	}
	if p.q.After != 0 {
		r.hi = min(r.hi, int64(p.q.After))
	}
	for {
		chunk := r.chunk(p.limit)
		evs, err := s.newest(tx, r, chunk)
		if err != nil {
			return err
		}
		for _, ev := range evs {
			if !p.take(ev) {
				p.page.Next = callbackd.EventID(r.hi)
				return nil
			}
			r.hi = int64(ev.ID)
		}
		if len(evs) < chunk {
			return nil
		}
	}
}

// EventsAfter is part of [store.Events].
func (s *Store) EventsAfter(ctx context.Context, q store.EventQuery) (page store.EventPage, err error) {
	if q.Key == store.AllKeys && q.Session != "" {
		return page, fmt.Errorf("EventsAfter was called for a session of all keys, which has no cursor")
	}
	last, err := s.db.Horizon(ctx, q.Key, q.After)
	if err != nil {
		return page, err
	}
	err = s.db.ReadFlushed(ctx, func(tx Tx) error {
		p := newEventPager(q)
		if err := s.fillOldest(tx, p, last); err != nil {
			return err
		}
		page = p.page
		if err := s.addLateTargets(tx, page.Events); err != nil {
			return err
		}
		// This comes last, so that what retention removes meanwhile was read before or is
		// reported here.
		return tx.Query("SELECT newest, removals FROM removed_events WHERE key_no = $1", func(row Row) error {
			return row.Scan(&page.Removed.Newest, &page.Removed.Times)
		}, q.Key)
	})
	return page, err
}

// fillOldest fills a page of a list that begins with the oldest events after its
// cursor and ends with last.
func (s *Store) fillOldest(tx Tx, p *eventPager, last callbackd.EventID) error {
	p.page.Next = max(p.q.After, last)
	if !storable(p.q.Session) {
		return nil
	}
	r, err := s.ranged(tx, p)
	if err != nil {
		return err
	}
	r.lo, r.hi = max(r.lo, int64(p.q.After)+1), min(r.hi, int64(last)+1)
	full, err := p.takeAll(&r, func(limit int) ([]*callbackd.Event, error) { return s.oldest(tx, r, limit) })
	if err != nil || full || r.key == store.AllKeys {
		return err
	}
	flushed, err := s.db.FlushedUpTo(tx)
	if err != nil || int64(flushed) >= r.hi-1 {
		return err
	}
	r.lo = max(r.lo, int64(flushed)+1)
	_, err = p.takeAll(&r, func(limit int) ([]*callbackd.Event, error) {
		return s.eventsOf(tx, "events WHERE id >= $1 AND id < $2 AND key_no = $6 AND ($7 = '' OR session = $7) ORDER BY id", r, limit, r.key, r.session)
	})
	return err
}

// takeAll takes the events of a range, which read reads in chunks, oldest first. full says
// that the page did not take all of them.
func (p *eventPager) takeAll(r *eventRange, read func(limit int) ([]*callbackd.Event, error)) (full bool, err error) {
	for {
		chunk := r.chunk(p.limit)
		evs, err := read(chunk)
		if err != nil {
			return false, err
		}
		for _, ev := range evs {
			if !p.take(ev) {
				p.page.Next = callbackd.EventID(r.lo - 1)
				return true, nil
			}
			r.lo = int64(ev.ID) + 1
		}
		if len(evs) < chunk {
			return false, nil
		}
	}
}

// newestRows reads a page of a table whose rows have an id and a key: the newest rows of a key, or
// of all keys, with ids below after (0: any), newest first. more is a further condition, which
// begins with AND, or empty. It reports whether there are further rows.
func newestRows[T any](ctx context.Context, s *Store, columns, table, more string, key callbackd.KeyID, after int64, limit int, scan func(Row) (*T, error)) (rows []T, further bool, err error) {
	limit = min(max(limit, 1), store.MaxPage)
	where, order, args := "id < $1", "id DESC", []any{cmp.Or(after, math.MaxInt64), limit + 1}
	if key != store.AllKeys {
		where, order, args = "key_no = $3 AND id < $1", "key_no DESC, id DESC", append(args, key)
	}
	err = s.db.Read(ctx, func(tx Tx) error {
		rows = nil
		return tx.Query("SELECT "+columns+" FROM "+table+" WHERE "+where+more+" ORDER BY "+order+" LIMIT $2", func(row Row) error {
			r, err := scan(row)
			if err == nil {
				rows = append(rows, *r)
			}
			return err
		}, args...)
	})
	if len(rows) > limit {
		return rows[:limit], true, err
	}
	return rows, false, err
}

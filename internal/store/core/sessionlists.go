package core

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

const (
	// listedColumns are the columns of a session in a list, which does not show
	// its results. The last one is the text in which a list searches.
	listedColumns = "no, key_no, session, status, created_at, ended_at, reference, NULL, document, search"
	// sessionChunk is how many sessions a list reads at a time.
	sessionChunk = 200
)

// ListSessions is part of [store.Sessions].
func (s *Store) ListSessions(ctx context.Context, q store.SessionQuery) (page store.SessionPage, err error) {
	if !storable(q.SessionKey) {
		return page, nil
	}
	err = s.db.Read(ctx, func(tx Tx) error {
		l := newSessionList(tx, s.d, q)
		var err error
		switch {
		case q.VIN != "":
			err = l.named("sessions_by_vin", s.d.SessionVIN, Text(store.SearchText(q.VIN)))
		case q.SessionKey != "":
			err = l.named("sessions_by_key", "session", q.SessionKey)
		default:
			err = l.walk()
		}
		page = l.page
		return err
	})
	return page, err
}

// sessionList gathers one page of sessions.
type sessionList struct {
	tx    Tx
	d     *Dialect
	q     store.SessionQuery
	text  store.Search
	limit int
	since int64 // the earliest time of creation
	// at, session and key are the place of the session that was looked at last.
	// The page goes on behind it.
	at      int64
	session string
	key     callbackd.KeyID
	seen    int
	size    int
	page    store.SessionPage
}

func newSessionList(tx Tx, d *Dialect, q store.SessionQuery) *sessionList {
	l := &sessionList{
		tx:    tx,
		d:     d,
		q:     q,
		text:  store.NewSearch(q.Text),
		limit: min(max(q.Limit, 1), store.MaxPage),
		since: math.MinInt64,
		at:    math.MaxInt64,
		key:   q.Key,
	}
	if !q.Since.IsZero() {
		l.since = NotEarlier(q.Since).UnixMilli()
	}
	if !q.Until.IsZero() {
		l.at = NotEarlier(q.Until).UnixMilli()
	}
	if after := q.After.CreatedAt.UnixMilli(); q.After.SessionKey != "" && after < l.at {
		l.at, l.session = after, q.After.SessionKey
		if q.Key == store.AllKeys {
			l.key = q.After.Key
		}
	}
	return l
}

// walk reads the sessions that the query may choose, newest first, until the
// page is full. Each kind of list has an index in its order.
func (l *sessionList) walk() error {
	index, order := "sessions_by_time", "created_at DESC, session DESC"
	where := "created_at >= $1 AND (created_at, session) < ($2, $3) AND key_no = $5"
	byStatus := l.q.Status != "" && l.q.Key != store.AllKeys
	switch {
	case l.q.Key == store.AllKeys:
		index, order = "sessions_by_creation", order+", key_no DESC"
		where = "created_at >= $1 AND (created_at, session, key_no) < ($2, $3, $5)"
	case byStatus:
		index = "sessions_by_status"
		where += " AND status = $6"
	}
	sql := "SELECT " + listedColumns + " FROM " + l.d.By("sessions", index) + " WHERE " + where + " ORDER BY " + order + " LIMIT $4"
	for {
		args := []any{l.since, l.at, l.session, sessionChunk, l.key}
		if byStatus {
			args = append(args, l.q.Status)
		}
		before := l.seen
		err := l.tx.Query(sql, l.take, args...)
		if err != nil || l.page.Next.SessionKey != "" || l.seen-before < sessionChunk {
			return err
		}
	}
}

// take looks at the next session and adds it to the page when the query chooses
// it. When the page is full, it sets the cursor and reads no more.
func (l *sessionList) take(row Row) error {
	if len(l.page.Sessions) == l.limit || l.size >= store.MaxPageData || l.seen == store.MaxScan {
		l.page.Next = store.SessionCursor{CreatedAt: time.UnixMilli(l.at).UTC(), SessionKey: l.session}
		if l.q.Key == store.AllKeys {
			l.page.Next.Key = l.key
		}
		return ErrStop
	}
	var r sessionRow
	var search Text
	if err := r.scan(row, &search); err != nil {
		return err
	}
	l.seen++
	l.at, l.session, l.key = r.session.CreatedAt.UnixMilli(), r.session.SessionKey, r.session.Key
	if l.q.Status != "" && r.session.Status != l.q.Status || !l.text.Finds(string(search), r.session.Reference) {
		return nil
	}
	return l.add(&r)
}

func (l *sessionList) add(r *sessionRow) error {
	s, err := r.decode()
	if err != nil {
		return err
	}
	l.size += store.SessionSize(s)
	l.page.Sessions = append(l.page.Sessions, s)
	return nil
}

// named finds the sessions for which an SQL expression has a value, by the index of the
// expression. It reads the newest ones of each key.
func (l *sessionList) named(index, expression string, value any) error {
	from := l.d.By("sessions", index) + " WHERE "
	keys := []callbackd.KeyID{l.q.Key}
	if l.q.Key == store.AllKeys {
		var err error
		if keys, err = keysWith(l.tx, from+"key_no = k.no AND "+expression+" = $1", value); err != nil {
			return err
		}
	}
	sql := "SELECT " + listedColumns + " FROM " + from + "key_no = $1 AND " + expression + " = $2 ORDER BY created_at DESC, session DESC LIMIT $3"
	for _, key := range keys {
		err := l.tx.Query(sql, func(row Row) error {
			var r sessionRow
			var search Text
			if err := r.scan(row, &search); err != nil {
				return err
			}
			return l.add(&r)
		}, key, value, l.limit)
		if err != nil {
			return err
		}
	}
	slices.SortFunc(l.page.Sessions, func(a, b *callbackd.Session) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.SessionKey, a.SessionKey), cmp.Compare(b.Key, a.Key))
	})
	l.page.Sessions = l.page.Sessions[:min(len(l.page.Sessions), l.limit)]
	return nil
}

// SessionEvents is part of [store.Sessions].
func (s *Store) SessionEvents(ctx context.Context, q store.SessionEventQuery) (out []store.SessionEvent, err error) {
	if !storable(q.Session) {
		return nil, nil
	}
	err = s.db.ReadFlushed(ctx, func(tx Tx) error {
		evs, err := s.eventsOfSession(tx, q)
		if err == nil {
			out, err = s.withDeliveries(tx, q.Key, evs)
		}
		return err
	})
	return out, err
}

// eventsOfSession reads events of a session until there is a page of them.
func (s *Store) eventsOfSession(tx Tx, q store.SessionEventQuery) (evs []*callbackd.Event, err error) {
	if q.Before == 0 {
		q.Before = math.MaxInt64
	}
	order, limit := s.d.SessionOrder, min(max(q.Limit, 1), store.MaxPage)
	if q.Newest {
		order = newestOrder(order)
	}
	sql := "SELECT " + eventColumns + ", data FROM " + s.d.SessionEvents + " WHERE key_no = $1 AND session = $2 AND sequence > $3 AND sequence < $4 ORDER BY " + order + " LIMIT $5"
	for size := 0; len(evs) < limit && size < store.MaxPageData; {
		before, chunk := len(evs), min(dataChunk, limit-len(evs))
		err := tx.Query(sql, func(row Row) error {
			if size >= store.MaxPageData {
				return ErrStop
			}
			var data []byte
			ev, err := s.scanEvent(row, &data)
			ev.Data = data
			evs, size = append(evs, ev), size+len(data)
			if q.Newest {
				q.Before = ev.Sequence
			} else {
				q.After = ev.Sequence
			}
			return err
		}, q.Key, q.Session, q.After, q.Before, chunk)
		if err != nil || len(evs)-before < chunk {
			return evs, err
		}
	}
	return evs, nil
}

// withDeliveries returns events of a key with the states of their deliveries.
func (s *Store) withDeliveries(tx Tx, key callbackd.KeyID, evs []*callbackd.Event) ([]store.SessionEvent, error) {
	if err := s.addLateTargets(tx, evs); err != nil {
		return nil, err
	}
	ids, callbacks := deliveriesOf(evs), s.newListedCallbacks(store.DeliveryQuery{Key: key})
	if err := callbacks.needFor(tx, s.d, ids); err != nil {
		return nil, err
	}
	states, err := s.states(tx, eventsByID(evs), ids, callbacks.ended)
	if err != nil {
		return nil, err
	}
	last, err := s.d.lastAttempts(tx, slices.DeleteFunc(ids, func(id callbackd.DeliveryID) bool {
		return states[id].State == callbackd.Delivered || states[id].Attempts == 0
	}))
	if err != nil {
		return nil, err
	}
	out := make([]store.SessionEvent, len(evs))
	for i, ev := range evs {
		out[i].Event = ev
		for _, cb := range slices.Sorted(slices.Values(ev.Targets)) {
			id := callbackd.DeliveryID{Event: ev.ID, Callback: cb}
			out[i].Deliveries = append(out[i].Deliveries, store.DeliveryView{ID: id, Callback: callbacks.known[cb], DeliveryState: states[id], Last: last[id]})
		}
	}
	return out, nil
}

// LatestEvents is part of [store.Sessions].
func (s *Store) LatestEvents(ctx context.Context, sessions []store.SessionID, n int) (latest map[store.SessionID][]*callbackd.Event, err error) {
	err = s.db.ReadFlushed(ctx, func(tx Tx) error {
		latest = make(map[store.SessionID][]*callbackd.Event, len(sessions))
		ids, err := s.ofEachKey(tx, sessions)
		if err != nil || len(ids) == 0 {
			return err
		}
		args := make([][]any, len(ids))
		for i, id := range ids {
			args[i] = []any{id.Key, id.SessionKey, n}
		}
		return tx.Batch("SELECT "+eventColumns+" FROM "+s.d.SessionEvents+" WHERE key_no = $1 AND session = $2 ORDER BY "+newestOrder(s.d.SessionOrder)+" LIMIT $3", func(row Row) error {
			ev, err := s.scanEvent(row)
			id := store.SessionID{Key: ev.Key, SessionKey: ev.Session}
			latest[id] = append(latest[id], ev)
			return err
		}, args)
	})
	return latest, err
}

// ofEachKey returns sessions, each once. In the place of one with AllKeys it
// returns those of the keys that have events of it.
func (s *Store) ofEachKey(tx Tx, sessions []store.SessionID) (ids []store.SessionID, err error) {
	known := make(map[store.SessionID]bool, len(sessions))
	for _, id := range sessions {
		keys := []callbackd.KeyID{id.Key}
		if !storable(id.SessionKey) {
			continue
		}
		if id.Key == store.AllKeys {
			if keys, err = s.keysWithEvents(tx, id.SessionKey); err != nil {
				return nil, err
			}
		}
		for _, id.Key = range keys {
			if !known[id] {
				known[id] = true
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

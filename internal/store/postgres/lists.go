package postgres

import (
	"cmp"
	"context"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"

	"github.com/jackc/pgx/v5"
)

// Event is part of [store.Events].
func (s *Store) Event(ctx context.Context, key callbackd.KeyID, id callbackd.EventID) (*callbackd.Event, error) {
	var ev *callbackd.Event
	err := s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		events, err := loadEvents(ctx, conn, []callbackd.EventID{id}, true)
		if ev = events[id]; err == nil && (ev == nil || key != store.AllKeys && ev.Key != key) {
			err = noEvent(id)
		}
		if err == nil {
			err = addLater(ctx, conn, events)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return ev, nil
}

// addLater adds to events what they came to be owed after they were accepted.
func addLater(ctx context.Context, q querier, events map[callbackd.EventID]*callbackd.Event) error {
	if len(events) == 0 {
		return nil
	}
	ids := make([]int64, 0, len(events))
	for id := range events {
		ids = append(ids, int64(id))
	}
	return each(ctx, q, "SELECT event_id, callback_no FROM owed_later WHERE event_id = ANY ($1::bigint[]) ORDER BY event_id, callback_no", func(row pgx.CollectableRow) error {
		var id, no int64
		err := row.Scan(&id, &no)
		if ev := events[callbackd.EventID(id)]; err == nil {
			ev.Targets = append(ev.Targets, callbackd.CallbackID(no))
		}
		return err
	}, ids)
}

// The events of a key or of all keys, or of one of their sessions, newest first.
const (
	selectAllEvents        = "SELECT " + eventColumns + ", CASE WHEN $4 = -1 OR e.type = $4 THEN e.data END FROM events e WHERE e.id >= $1 AND e.id < $2 ORDER BY e.id DESC LIMIT $3"
	selectAllSessionEvents = "SELECT e.* FROM keys k CROSS JOIN LATERAL (SELECT " + eventColumns + `, CASE WHEN $4 = -1 OR e.type = $4 THEN e.data END FROM events e
		WHERE e.key_no = k.no AND e.id >= $1 AND e.id < $2 AND e.session = $5 ORDER BY e.key_no DESC, e.session DESC, e.id DESC LIMIT $3) e ORDER BY e.id DESC LIMIT $3`
	selectKeyEvents     = "SELECT " + eventColumns + ", CASE WHEN $5 = -1 OR e.type = $5 THEN e.data END FROM events e WHERE e.key_no = $1 AND e.id >= $2 AND e.id < $3 ORDER BY e.key_no, e.id DESC LIMIT $4"
	selectSessionEvents = "SELECT " + eventColumns + ", CASE WHEN $5 = -1 OR e.type = $5 THEN e.data END FROM events e WHERE e.key_no = $1 AND e.id >= $2 AND e.id < $3 AND e.session = $6 ORDER BY e.key_no, e.session, e.id DESC LIMIT $4"
)

// What dataOf may be instead of a type.
const (
	anyType = -1
	noType  = -2
)

// scanEvents calls f for the events of a key or of all keys, or of one of their
// sessions, newest first within [lo, hi), until f returns false or the limit. Those of
// the type dataOf come with their data.
func scanEvents(ctx context.Context, conn *pgx.Conn, key callbackd.KeyID, session string, lo, hi int64, limit int, dataOf int16, f func(*eventRow, []byte) bool) error {
	sql, args := selectKeyEvents, []any{int64(key), lo, hi, limit, dataOf}
	switch {
	case key == store.AllKeys && session == "":
		sql, args = selectAllEvents, args[1:]
	case key == store.AllKeys:
		sql, args = selectAllSessionEvents, append(args[1:], session)
	case session != "":
		sql, args = selectSessionEvents, append(args, session)
	}
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var r eventRow
		var data []byte
		if err := rows.Scan(r.into(&data)...); err != nil {
			return err
		}
		if !f(&r, data) {
			return nil
		}
	}
	return rows.Err()
}

// scanChunk is how many events a list reads at a time: a page is cut when it
// is full, and what was read for nothing should be little.
const scanChunk = 512

// ListEvents is part of [store.Events].
func (s *Store) ListEvents(ctx context.Context, q store.EventQuery) (page store.EventPage, err error) {
	limit := min(max(q.Limit, 1), store.MaxPage)
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		page = store.EventPage{}
		lo, hi, err := idRange(ctx, conn, q.Since, q.Until, q.After)
		if err != nil {
			return err
		}
		dataOf := int16(anyType)
		if q.Type != "" {
			dataOf = int16(codec.TypeNo(q.Type))
		}
		chunk := scanChunk
		if q.Type == "" { // each comes with its data
			chunk = min(upChunk, limit+1)
		}
		for seen, size := 0, 0; ; {
			n := 0
			err := scanEvents(ctx, conn, q.Key, q.Session, lo, hi, chunk, dataOf, func(r *eventRow, data []byte) bool {
				if len(page.Events) == limit || size >= store.MaxPageData || seen == store.MaxScan { // there is more
					page.Next = callbackd.EventID(hi)
					return false
				}
				n, seen, hi = n+1, seen+1, r.id
				if ev := r.event(data); (q.Type == "" || ev.Type == q.Type) && store.AcceptedWithin(ev, q.Since, q.Until) {
					size += len(data)
					page.Events = append(page.Events, ev)
				}
				return true
			})
			if err != nil {
				return err
			}
			if page.Next != 0 || n < chunk {
				return addLater(ctx, conn, byID(page.Events))
			}
		}
	})
	return page, err
}

func byID(evs []*callbackd.Event) map[callbackd.EventID]*callbackd.Event {
	out := make(map[callbackd.EventID]*callbackd.Event, len(evs))
	for _, ev := range evs {
		out[ev.ID] = ev
	}
	return out
}

// stand is where a delivery stands.
type stand struct {
	state    callbackd.State
	attempts int
	due      time.Time
	manual   bool
	replay   callbackd.ReplayID
	since    time.Time
}

// selectStands reads where deliveries stand: from the row of the queue, or
// else from the last of the attempts.
const selectStands = `SELECT o.i, p.attempts, p.due, p.manual, p.replay, p.first_failed_at, a.n, a.version, a.state
	FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS o (callback_no, event_id, i)
	LEFT JOIN LATERAL (SELECT attempts, due, manual, replay, first_failed_at FROM pending WHERE callback_no = o.callback_no AND event_id = o.event_id LIMIT 1) p ON true
	LEFT JOIN LATERAL (SELECT n, version, state FROM attempts WHERE event_id = o.event_id AND callback_no = o.callback_no ORDER BY n DESC LIMIT 1) a ON true`

// stands is where the deliveries stand; the state of one that does not exist
// is empty.
func stands(ctx context.Context, q querier, ids []callbackd.DeliveryID, ended func(callbackd.CallbackID) bool) ([]stand, error) {
	callbacks, events := split(ids)
	rows, err := q.Query(ctx, selectStands, callbacks, events)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := make([]stand, len(ids))
	for rows.Next() {
		var i int64
		var attempts, n *int32
		var due, version, replay, first *int64
		var manual *bool
		var state *string
		if err := rows.Scan(&i, &attempts, &due, &manual, &replay, &first, &n, &version, &state); err != nil {
			return nil, err
		}
		p := &out[i-1]
		switch {
		case attempts != nil:
			w := callbackd.Delivery{ID: ids[i-1], Due: fromNullMillis(due), Manual: *manual, Replay: callbackd.ReplayID(*replay), FirstFailedAt: fromNullMillis(first)}
			*p = stand{callbackd.Pending, int(*attempts), w.Due, w.Manual, w.Replay, w.WaitsSince()}
			if ended(ids[i-1].Callback) {
				p.state, p.due, p.since = callbackd.Canceled, time.Time{}, time.Time{}
			}
		case n != nil:
			p.attempts, p.state = int(*n), callbackd.State(*state)
			if *version == 0 {
				p.attempts-- // a cancellation is no attempt
			}
		}
	}
	return out, rows.Err()
}

// lister makes one page of deliveries.
type lister struct {
	s    *Store
	conn *pgx.Conn
	q    store.DeliveryQuery
	cbs  *keyCallbacks
	page store.DeliveryPage
	full bool
}

// ListDeliveries is part of [store.Events].
func (s *Store) ListDeliveries(ctx context.Context, q store.DeliveryQuery) (store.DeliveryPage, error) {
	q.Limit = min(max(q.Limit, 1), store.MaxPage)
	var page store.DeliveryPage
	err := s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		l := &lister{s: s, conn: conn, q: q, cbs: callbacksOf(q)}
		var err error
		rare := q.State == callbackd.Pending || q.State == callbackd.Failed || q.State == callbackd.Canceled || q.ByError()
		if rare && q.Session == "" { // a session's are found by walking its events: a session is short, a backlog need not be
			err = l.byIndex(ctx)
		} else {
			err = l.byEvent(ctx)
		}
		page = l.page
		return err
	})
	return page, err
}

// add puts those of the deliveries on the page that belong there, in order.
// It sets the cursor when there is more than the page holds.
func (l *lister) add(ctx context.Context, ids []callbackd.DeliveryID, events map[callbackd.EventID]*callbackd.Event) error {
	if len(ids) == 0 {
		return nil
	}
	places, err := stands(ctx, l.conn, ids, l.cbs.ended)
	if err != nil {
		return err
	}
	last, err := l.lastOf(ctx, ids, places)
	if err != nil {
		return err
	}
	for i, id := range ids {
		p, ev := places[i], events[id.Event]
		if ev == nil || p.state == "" || l.q.OfAttempts() && (last[id] == nil || !l.q.FitsAttempt(last[id])) || l.q.State != "" && p.state != l.q.State || l.q.Session != "" && ev.Session != l.q.Session || !store.AcceptedWithin(ev, l.q.Since, l.q.Until) {
			continue
		}
		if len(l.page.Deliveries) == l.q.Limit {
			l.page.Next, l.full = l.page.Deliveries[l.q.Limit-1].ID, true
			return nil
		}
		l.page.Deliveries = append(l.page.Deliveries, store.DeliveryView{
			ID: id, Event: ev, Callback: l.cbs.known[id.Callback], State: p.state, Attempts: p.attempts, Due: p.due, Manual: p.manual, Replay: p.replay, Since: store.WaitingSince(p.since, ev), Last: last[id],
		})
	}
	return nil
}

// lastOf returns the last attempts of those deliveries that may be on the page.
func (l *lister) lastOf(ctx context.Context, ids []callbackd.DeliveryID, places []stand) (map[callbackd.DeliveryID]*callbackd.Attempt, error) {
	var tried []callbackd.DeliveryID
	for i, id := range ids {
		if p := places[i]; p.attempts > 0 && (l.q.State == "" || l.q.State == p.state) {
			tried = append(tried, id)
		}
	}
	if !l.q.OfAttempts() {
		tried = tried[:min(len(tried), l.q.Limit)] // the others are not shown
	}
	return lastAttempts(ctx, l.conn, tried)
}

// split turns ids into the arrays of a statement.
func split(ids []callbackd.DeliveryID) (callbacks, events []int64) {
	callbacks, events = make([]int64, len(ids)), make([]int64, len(ids))
	for i, id := range ids {
		callbacks[i], events[i] = int64(id.Callback), int64(id.Event)
	}
	return callbacks, events
}

// byEvent walks the key's events, newest first, and what each was owed to.
func (l *lister) byEvent(ctx context.Context) error {
	lo, hi, err := idRange(ctx, l.conn, l.q.Since, l.q.Until, 0)
	if err != nil {
		return err
	}
	if l.q.After.Event != 0 {
		hi = min(hi, int64(l.q.After.Event)+1)
	}
	for seen := 0; ; {
		var ids []callbackd.DeliveryID
		var evs []*callbackd.Event
		n := 0
		err := scanEvents(ctx, l.conn, l.q.Key, l.q.Session, lo, hi, scanChunk, noType, func(r *eventRow, _ []byte) bool {
			n, hi, evs = n+1, r.id, append(evs, r.event(nil))
			return true
		})
		if err != nil {
			return err
		}
		events := byID(evs)
		if err := addLater(ctx, l.conn, events); err != nil {
			return err
		}
		if err := l.cbs.need(ctx, l.conn, owedBy(evs)); err != nil {
			return err
		}
		for _, ev := range evs {
			owed := slices.Sorted(slices.Values(ev.Targets))
			for _, no := range slices.Backward(owed) {
				id := callbackd.DeliveryID{Event: ev.ID, Callback: no}
				if l.cbs.known[no] != nil && (id.Event != l.q.After.Event || no < l.q.After.Callback) {
					ids = append(ids, id)
				}
			}
		}
		if err := l.add(ctx, ids, events); err != nil || l.full || n < scanChunk {
			return err
		}
		if seen += n; seen >= l.q.MaxScanOf() {
			l.page.Next = callbackd.DeliveryID{Event: callbackd.EventID(hi)} // callback 0: everything of that event is done
			return nil
		}
	}
}

// The places of deliveries in the rare states, by the indexes that hold those
// alone. A page can come only from as many callbacks as it has places: those with
// the newest deliveries.
const (
	selectEndedPlaces = `SELECT r.event_id, o.no FROM (SELECT h.no FROM unnest($1::bigint[]) AS h (no)
			CROSS JOIN LATERAL (SELECT event_id FROM attempts WHERE state = $6 AND state IN ('failed', 'canceled') AND callback_no = h.no AND event_id >= $2 AND event_id <= $3
				AND (event_id < $3 OR h.no < $4) ORDER BY event_id DESC LIMIT 1) r
			ORDER BY r.event_id DESC, h.no DESC LIMIT $5) o
		CROSS JOIN LATERAL (SELECT DISTINCT event_id FROM attempts WHERE state = $6 AND state IN ('failed', 'canceled') AND callback_no = o.no AND event_id >= $2 AND event_id <= $3
			AND (event_id < $3 OR o.no < $4) ORDER BY event_id DESC LIMIT $5) r
		ORDER BY r.event_id DESC, o.no DESC LIMIT $5`
	selectPendingPlaces = `SELECT r.event_id, o.no FROM (SELECT h.no FROM unnest($1::bigint[]) AS h (no)
			CROSS JOIN LATERAL (SELECT event_id FROM pending WHERE callback_no = h.no AND event_id >= $2 AND event_id <= $3
				AND (event_id < $3 OR h.no < $4) ORDER BY event_id DESC LIMIT 1) r
			ORDER BY r.event_id DESC, h.no DESC LIMIT $5) o
		CROSS JOIN LATERAL (SELECT event_id FROM pending WHERE callback_no = o.no AND event_id >= $2 AND event_id <= $3
			AND (event_id < $3 OR o.no < $4) ORDER BY event_id DESC LIMIT $5) r
		ORDER BY r.event_id DESC, o.no DESC LIMIT $5`
)

// byIndex finds the rare states and the errors through their own small indexes.
func (l *lister) byIndex(ctx context.Context) error {
	var from sources
	err := l.cbs.candidates(ctx, l.conn)
	if err != nil {
		return err
	}
	if l.q.ByError() {
		if from.erred, from.errors, err = l.lastErrors(ctx); err != nil {
			return err
		}
	} else {
		from.waiting, from.ended = l.byState()
	}
	lo, hi, err := idRange(ctx, l.conn, l.q.Since, l.q.Until, 0)
	if err != nil {
		return err
	}
	hi-- // inclusive from here on
	below := int64(1) << 62
	if a := l.q.After; a.Event != 0 && int64(a.Event) <= hi {
		hi, below = int64(a.Event), int64(a.Callback)
	}
	for seen, chunk := 0, min(l.q.Limit+1, scanChunk); ; chunk = min(2*chunk, scanChunk) {
		ids, err := l.places(ctx, from, lo, hi, below, chunk)
		if err != nil || len(ids) == 0 {
			return err
		}
		events, err := loadEvents(ctx, l.conn, eventsOf(ids), false)
		if err == nil {
			err = addLater(ctx, l.conn, events)
		}
		if err != nil {
			return err
		}
		if err := l.add(ctx, ids, events); err != nil || l.full || len(ids) < chunk {
			return err
		}
		last := ids[len(ids)-1]
		if seen += len(ids); seen >= l.q.MaxScanOf() {
			l.page.Next = last
			return nil
		}
		hi, below = int64(last.Event), int64(last.Callback)
	}
}

// sources is where candidates are: the pending rows and the ended attempts of
// callbacks, and their last errors by number.
type sources struct{ waiting, ended, erred, errors []int64 }

// byState returns the callbacks whose pending rows, and whose ended attempts,
// may be of the state.
func (l *lister) byState() (waiting, ended []int64) {
	for no, cb := range l.cbs.known {
		if cb == nil {
			continue
		}
		if l.q.State == callbackd.Pending && !cb.Deleted() || l.q.State == callbackd.Canceled && cb.Deleted() {
			waiting = append(waiting, int64(no))
		}
		if l.q.State != callbackd.Pending {
			ended = append(ended, int64(no))
		}
	}
	return waiting, ended
}

// places is the next candidates, newest first: those after the delivery of event hi
// to callback below.
func (l *lister) places(ctx context.Context, from sources, lo, hi, below int64, chunk int) (ids []callbackd.DeliveryID, err error) {
	row := func(row pgx.CollectableRow) error {
		var event, no int64
		err := row.Scan(&event, &no)
		ids = append(ids, callbackd.DeliveryID{Event: callbackd.EventID(event), Callback: callbackd.CallbackID(no)})
		return err
	}
	if len(from.erred) > 0 {
		err = each(ctx, l.conn, selectErrorPlaces, row, from.erred, lo, hi, below, chunk, from.errors)
	}
	if err == nil && len(from.waiting) > 0 {
		err = each(ctx, l.conn, selectPendingPlaces, row, from.waiting, lo, hi, below, chunk)
	}
	if err == nil && len(from.ended) > 0 {
		err = each(ctx, l.conn, selectEndedPlaces, row, from.ended, lo, hi, below, chunk, string(l.q.State))
	}
	slices.SortFunc(ids, newestFirst)
	ids = slices.Compact(ids)
	return ids[:min(len(ids), chunk)], err
}

func newestFirst(a, b callbackd.DeliveryID) int {
	return cmp.Or(cmp.Compare(b.Event, a.Event), cmp.Compare(b.Callback, a.Callback))
}

func eventsOf(ids []callbackd.DeliveryID) []callbackd.EventID {
	out := make([]callbackd.EventID, len(ids))
	for i, id := range ids {
		out[i] = id.Event
	}
	return slices.Compact(out)
}

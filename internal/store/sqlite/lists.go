package sqlite

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"

	"github.com/ncruces/go-sqlite3"
)

// Event is part of [store.Events].
func (s *Store) Event(ctx context.Context, key callbackd.KeyID, id callbackd.EventID) (*callbackd.Event, error) {
	var ev *callbackd.Event
	err := s.read(ctx, func(d *db) (err error) {
		if ev, err = d.event(id); err == nil {
			err = d.addLater(ev)
		}
		return err
	})
	if err == nil && key != store.AllKeys && ev.Key != key {
		err = callbackd.Errorf(callbackd.KindNotFound, "there is no event %s; events are removed some time after they ended", id)
	}
	if err != nil {
		return nil, err
	}
	return ev, nil
}

// scanEvents calls f for the events of a key or of all keys, or of one of their
// sessions, newest first within [lo, hi), until f returns false or the limit: those of
// the tail, which was asked before the snapshot began, then the indexed ones.
func (d *db) scanEvents(young []callbackd.EventID, floor int64, key callbackd.KeyID, session string, lo, hi int64, limit int, f func(*sqlite3.Stmt) bool) error {
	stop := callbackd.Errorf(callbackd.KindInternal, "enough")
	n := 0
	row := func(st *sqlite3.Stmt) error {
		if n++; !f(st) || n == limit {
			return stop
		}
		return nil
	}
	for _, id := range young {
		if err := d.query("SELECT "+eventColumns+", data FROM events WHERE id = ?", row, int64(id)); err != nil {
			return only(err, stop)
		}
	}
	hi = min(hi, floor)
	var err error
	switch {
	case key == store.AllKeys && session == "":
		err = d.query("SELECT "+indexedColumns+", e.data FROM events e WHERE e.id >= ? AND e.id < ? ORDER BY e.id DESC LIMIT ?", row, lo, hi, limit-n)
	case key == store.AllKeys:
		err = d.query("SELECT "+indexedColumns+", e.data FROM (SELECT x.id FROM keys k CROSS JOIN session_events x ON x.key_no = k.no AND x.session = ? WHERE x.id >= ? AND x.id < ? ORDER BY x.id DESC LIMIT ?) x CROSS JOIN events e ON e.id = x.id ORDER BY x.id DESC",
			row, session, lo, hi, limit-n)
	case session == "":
		err = d.query("SELECT "+indexedColumns+", e.data FROM key_events x CROSS JOIN events e ON e.id = x.id WHERE x.key_no = ? AND x.id >= ? AND x.id < ? ORDER BY x.id DESC LIMIT ?", row, int64(key), lo, hi, limit-n)
	default:
		// Within a session, sequence order is id order.
		err = d.query("SELECT "+indexedColumns+", e.data FROM session_events x CROSS JOIN events e ON e.id = x.id WHERE x.key_no = ? AND x.session = ? AND x.id >= ? AND x.id < ? ORDER BY x.sequence DESC LIMIT ?", row, int64(key), session, lo, hi, limit-n)
	}
	return only(err, stop)
}

// indexedColumns is eventColumns of an event that was found by an index.
const indexedColumns = "e.id, e.key_no, e.type, e.session, e.sequence, e.test, e.owed, e.accepted_at"

// only is err unless it is the one that means there is enough.
func only(err, enough error) error {
	if err == enough {
		return nil
	}
	return err
}

// ListEvents is part of [store.Events].
func (s *Store) ListEvents(ctx context.Context, q store.EventQuery) (page store.EventPage, err error) {
	lo, hi, err := s.idRange(ctx, q.Since, q.Until, q.After)
	if err != nil {
		return page, err
	}
	limit := min(max(q.Limit, 1), store.MaxPage)
	seen, size, last := 0, 0, callbackd.EventID(0)
	young, floor := s.tail.newest(q.Key, q.Session, lo, hi)
	var later error
	err = s.read(ctx, func(d *db) error {
		return d.scanEvents(young, floor, q.Key, q.Session, lo, hi, store.MaxScan, func(st *sqlite3.Stmt) bool {
			if len(page.Events) == limit || size >= store.MaxPageData { // there is more
				page.Next = last
				return false
			}
			seen++
			last = callbackd.EventID(st.ColumnInt64(0))
			if q.Type == "" || codec.Type(st.ColumnInt64(2)) == q.Type {
				ev := scanEvent(st)
				if !store.AcceptedWithin(ev, q.Since, q.Until) {
					return true
				}
				size += len(st.ColumnRawBlob(8))
				ev.Data = st.ColumnBlob(8, nil)
				later = d.addLater(ev)
				page.Events = append(page.Events, ev)
			}
			return later == nil
		})
	})
	if seen == store.MaxScan {
		page.Next = last
	}
	return page, errors.Join(err, later)
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

// stand reads the state of a delivery that is known to be owed from its
// pending row, or else from the last row of its attempts; without either it
// is young.
func (d *db) stand(id callbackd.DeliveryID, ended bool) (p stand, err error) {
	err = d.query("SELECT attempts, due, manual, replay, first_failed_at FROM pending WHERE callback_no = ? AND event_id = ?", func(st *sqlite3.Stmt) error {
		w := callbackd.Delivery{ID: id, Due: columnTime(st, 1), Manual: st.ColumnBool(2), Replay: callbackd.ReplayID(st.ColumnInt64(3)), FirstFailedAt: columnTime(st, 4)}
		p = stand{callbackd.Pending, st.ColumnInt(0), w.Due, w.Manual, w.Replay, w.WaitsSince()}
		if ended {
			p.state, p.due, p.since = callbackd.Canceled, time.Time{}, time.Time{}
		}
		return nil
	}, int64(id.Callback), int64(id.Event))
	if err != nil || p.state != "" {
		return p, err
	}
	p.state, p.since = callbackd.Pending, id.Event.Time()
	if ended {
		p.state, p.since = callbackd.Canceled, time.Time{}
	}
	err = d.query("SELECT n, version, state FROM attempts WHERE event_id = ? AND callback_no = ? ORDER BY n DESC LIMIT 1", func(st *sqlite3.Stmt) error {
		p.attempts, p.state, p.since = st.ColumnInt(0), callbackd.State(st.ColumnText(2)), time.Time{}
		if st.ColumnInt64(1) == 0 {
			p.attempts-- // a cancellation is no attempt
		}
		return nil
	}, int64(id.Event), int64(id.Callback))
	return p, err
}

// ListDeliveries is part of [store.Events].
func (s *Store) ListDeliveries(ctx context.Context, q store.DeliveryQuery) (store.DeliveryPage, error) {
	q.Limit = min(max(q.Limit, 1), store.MaxPage)
	cbs := callbacksOf(q)
	rare := q.State == callbackd.Failed || q.State == callbackd.Canceled || q.ByError()
	if q.State == callbackd.Pending && !q.ByError() || rare && q.Session == "" { // a session is short: its events are walked
		return s.listByIndex(ctx, &q, cbs)
	}
	return s.listByEvent(ctx, &q, cbs)
}

// candidate is the place of a delivery that may belong on the page.
func newestFirst(a, b callbackd.DeliveryID) int {
	return cmp.Or(cmp.Compare(b.Event, a.Event), cmp.Compare(b.Callback, a.Callback))
}

func afterCursor(id, cursor callbackd.DeliveryID) bool {
	return cursor == callbackd.DeliveryID{} || newestFirst(cursor, id) < 0
}

// listByIndex finds the rare states and the errors through their own small
// indexes, and what is young in the tail: a page of each callback, merged.
func (s *Store) listByIndex(ctx context.Context, q *store.DeliveryQuery, cbs *keyCallbacks) (page store.DeliveryPage, err error) {
	c := &candidates{q: q}
	if c.lo, c.hi, err = s.idRange(ctx, q.Since, q.Until, 0); err != nil {
		return page, err
	}
	if q.After.Event != 0 {
		c.hi = min(c.hi, int64(q.After.Event)+1)
	}
	err = s.read(ctx, func(d *db) error {
		return cbs.candidates(d, s.tail.callbacks())
	})
	if err != nil {
		return page, err
	}
	_ = cbs.chosen(func(no callbackd.CallbackID, cb keyCallback) error {
		if c.waiting(cb.ended) {
			for _, d := range s.tail.of(no, q.Session, callbackd.EventID(c.lo-1), math.MaxInt) {
				if int64(d.ID.Event) < c.hi {
					c.add(d.ID)
				}
			}
		}
		return nil
	})
	err = s.read(ctx, func(d *db) error {
		if err := c.readAll(d, cbs); err != nil {
			return err
		}
		page, err = s.choose(d, c, cbs)
		return err
	})
	return page, err
}

// waiting tells whether pending rows may be in the state asked for: of a
// callback that has ended they are canceled. One that was never tried has no
// error.
func (c *candidates) waiting(ended bool) bool {
	return !c.q.ByError() && c.q.State == callbackd.Pending != ended && c.q.State != callbackd.Failed
}

// candidates are deliveries that may be in the state asked for.
type candidates struct {
	q      *store.DeliveryQuery
	lo, hi int64
	ids    []callbackd.DeliveryID
	floor  callbackd.DeliveryID // behind it a callback may have more than was read; zero: none has
}

// end says that there may be more behind id than was read.
func (c *candidates) end(id callbackd.DeliveryID) {
	if c.floor == (callbackd.DeliveryID{}) || newestFirst(id, c.floor) < 0 {
		c.floor = id
	}
}

func (c *candidates) add(id callbackd.DeliveryID) {
	if afterCursor(id, c.q.After) {
		c.ids = append(c.ids, id)
	}
}

// perCallback is how many candidates of one callback are read at once.
const perCallback = store.MaxPage + 2

// readAll adds a page of each callback's. When there are many callbacks it begins
// with those that have the newest candidates, and ends when the page is sure to
// be full: below the newest one that was not read, the rest comes later.
func (c *candidates) readAll(d *db, cbs *keyCallbacks) error {
	type head struct {
		callback keyCallback
		newest   callbackd.DeliveryID
	}
	var heads []head
	err := cbs.chosen(func(no callbackd.CallbackID, cb keyCallback) error {
		one := &candidates{q: c.q, lo: c.lo, hi: c.hi}
		err := one.read(d, no, cb.ended, 1)
		for _, id := range one.ids {
			heads = append(heads, head{cb, id})
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.SortFunc(heads, func(a, b head) int { return newestFirst(a.newest, b.newest) })
	done := map[callbackd.CallbackID]bool{}
	for _, h := range heads {
		if len(done) > c.q.Limit { // each of them has one at least that is not older
			c.end(callbackd.DeliveryID{Event: h.newest.Event, Callback: h.newest.Callback + 1})
			return nil
		}
		if no := h.callback.ID; !done[no] {
			done[no] = true
			if err := c.read(d, no, h.callback.ended, perCallback); err != nil {
				return err
			}
		}
	}
	return nil
}

// read adds up to limit of one callback's from each place where they are.
func (c *candidates) read(d *db, no callbackd.CallbackID, ended bool, limit int) error {
	hi := c.hi
	if after := c.q.After; after.Event != 0 && no >= after.Callback {
		hi = min(hi, int64(after.Event))
	}
	query := func(sql string, args ...any) error {
		n := 0
		var last callbackd.EventID
		err := d.query(sql, func(st *sqlite3.Stmt) error {
			n++
			last = callbackd.EventID(st.ColumnInt64(0))
			c.add(callbackd.DeliveryID{Event: last, Callback: no})
			return nil
		}, append(args, c.lo, hi, limit)...)
		if n == limit {
			c.end(callbackd.DeliveryID{Event: last, Callback: no})
		}
		return err
	}
	q := c.q
	if q.ByError() {
		wanted := func(e codec.LastError) bool {
			a := callbackd.Attempt{Result: callbackd.Result{Fault: e.Fault, Status: e.Status}}
			return q.FitsAttempt(&a) && (q.State != callbackd.Failed || e.Ended)
		}
		all, err := d.lastErrors(no, wanted)
		for _, e := range all {
			if err == nil {
				err = query("SELECT event_id FROM last_errors WHERE callback_no = ? AND error = ? AND event_id >= ? AND event_id < ? ORDER BY event_id DESC LIMIT ?", int64(no), e)
			}
		}
		return err
	}
	if c.waiting(ended) {
		var err error
		if q.Session == "" {
			err = query("SELECT event_id FROM pending WHERE callback_no = ? AND event_id >= ? AND event_id < ? ORDER BY event_id DESC LIMIT ?", int64(no))
		} else {
			err = query("SELECT event_id FROM pending WHERE callback_no = ? AND session = ? AND event_id >= ? AND event_id < ? ORDER BY event_id DESC LIMIT ?", int64(no), q.Session)
		}
		if err != nil {
			return err
		}
	}
	if q.State == callbackd.Pending {
		return nil
	}
	return query("SELECT DISTINCT event_id FROM attempts WHERE state = ? AND state IN ('failed', 'canceled') AND callback_no = ? AND event_id >= ? AND event_id < ? ORDER BY event_id DESC LIMIT ?", string(q.State), int64(no))
}

// choose makes a page of the newest candidates that are in the state.
func (s *Store) choose(d *db, c *candidates, cbs *keyCallbacks) (page store.DeliveryPage, err error) {
	q := c.q
	slices.SortFunc(c.ids, newestFirst)
	for _, id := range slices.Compact(c.ids) {
		if c.floor != (callbackd.DeliveryID{}) && newestFirst(id, c.floor) > 0 {
			break
		}
		if len(page.Deliveries) == q.Limit {
			page.Next = page.Deliveries[q.Limit-1].ID
			return page, nil
		}
		if err := s.appendView(d, q, &page, id, cbs.known[id.Callback], nil); err != nil {
			return page, err
		}
		q.After = id
	}
	if c.floor != (callbackd.DeliveryID{}) {
		page.Next = q.After
	}
	return page, nil
}

// appendView adds the delivery to the page when it is in the state asked for.
func (s *Store) appendView(d *db, q *store.DeliveryQuery, page *store.DeliveryPage, id callbackd.DeliveryID, cb keyCallback, ev *callbackd.Event) error {
	p, err := d.stand(id, cb.ended)
	if err != nil || q.State != "" && p.state != q.State {
		return err
	}
	if ev == nil {
		if ev, err = d.event(id.Event); err != nil {
			return err
		}
		ev.Data = nil
	}
	if q.Session != "" && ev.Session != q.Session || !store.AcceptedWithin(ev, q.Since, q.Until) {
		return nil
	}
	last, err := d.lastAttempt(id)
	if err != nil || q.OfAttempts() && (last == nil || !q.FitsAttempt(last)) {
		return err
	}
	page.Deliveries = append(page.Deliveries, store.DeliveryView{
		ID: id, Event: ev, Callback: cb.Callback, State: p.state, Attempts: p.attempts, Due: p.due, Manual: p.manual, Replay: p.replay, Since: store.WaitingSince(p.since, ev), Last: last,
	})
	return nil
}

// listByEvent walks the key's events, newest first, and what each was owed to.
func (s *Store) listByEvent(ctx context.Context, q *store.DeliveryQuery, cbs *keyCallbacks) (page store.DeliveryPage, err error) {
	lo, hi, err := s.idRange(ctx, q.Since, q.Until, 0)
	if err != nil {
		return page, err
	}
	if q.After.Event != 0 {
		hi = min(hi, int64(q.After.Event)+1)
	}
	young, floor := s.tail.newest(q.Key, q.Session, lo, hi)
	err = s.read(ctx, func(d *db) error {
		page, err = s.walkEvents(d, q, cbs, func(f func(*sqlite3.Stmt) bool) error {
			return d.scanEvents(young, floor, q.Key, q.Session, lo, hi, q.MaxScanOf(), f)
		})
		return err
	})
	return page, err
}

func (s *Store) walkEvents(d *db, q *store.DeliveryQuery, cbs *keyCallbacks, scan func(func(*sqlite3.Stmt) bool) error) (page store.DeliveryPage, err error) {
	seen := 0
	var at callbackd.DeliveryID // the last one looked at
	var stood error
	err = scan(func(st *sqlite3.Stmt) bool {
		seen++
		ev := scanEvent(st)
		at = callbackd.DeliveryID{Event: ev.ID}
		if stood = d.addLater(ev); stood != nil {
			return false
		}
		slices.SortFunc(ev.Targets, func(a, b callbackd.CallbackID) int { return cmp.Compare(b, a) })
		for _, no := range ev.Targets {
			id := callbackd.DeliveryID{Event: ev.ID, Callback: no}
			cb, ok, err := cbs.get(d, no)
			if stood = err; err != nil {
				return false
			}
			if !ok || !afterCursor(id, q.After) {
				continue
			}
			if len(page.Deliveries) == q.Limit {
				page.Next = page.Deliveries[q.Limit-1].ID
				return false
			}
			if stood = s.appendView(d, q, &page, id, cb, ev); stood != nil {
				return false
			}
		}
		return true
	})
	if page.Next == (callbackd.DeliveryID{}) && seen == q.MaxScanOf() {
		page.Next = at // callback 0: everything of that event is done
	}
	return page, errors.Join(err, stood)
}

// Delivery is part of [store.Events].
func (s *Store) Delivery(ctx context.Context, key callbackd.KeyID, id callbackd.DeliveryID) (*store.DeliveryView, error) {
	return s.DeliveryBefore(ctx, key, id, math.MaxInt32)
}

// DeliveryBefore is part of [store.Events].
func (s *Store) DeliveryBefore(ctx context.Context, key callbackd.KeyID, id callbackd.DeliveryID, before int) (*store.DeliveryView, error) {
	none := callbackd.Errorf(callbackd.KindNotFound, "there is no delivery %s; deliveries are removed some time after they ended", id)
	cb, err := s.CallbackByID(ctx, id.Callback)
	if callbackd.KindOf(err) == callbackd.KindNotFound || err == nil && key != store.AllKeys && cb.Key != key {
		return nil, none
	}
	if err != nil {
		return nil, err
	}
	ended, err := s.ended(ctx, id.Callback)
	if err != nil {
		return nil, err
	}
	view := &store.DeliveryView{ID: id, Callback: cb}
	err = s.read(ctx, func(d *db) error {
		if view.Event, err = d.event(id.Event); err == nil {
			err = d.addLater(view.Event)
		}
		if callbackd.KindOf(err) == callbackd.KindNotFound || err == nil && !slices.Contains(view.Event.Targets, id.Callback) {
			return none
		} else if err != nil {
			return err
		}
		p, err := d.stand(id, ended)
		if err != nil {
			return err
		}
		view.State, view.Attempts, view.Due, view.Manual, view.Replay, view.Since = p.state, p.attempts, p.due, p.manual, p.replay, store.WaitingSince(p.since, view.Event)
		view.History, err = d.history(id, before)
		return err
	})
	if err != nil {
		return nil, err
	}
	return view, nil
}

// RetryDelivery is part of [store.Events].
func (s *Store) RetryDelivery(ctx context.Context, key callbackd.KeyID, id callbackd.DeliveryID, at time.Time) (*callbackd.Delivery, error) {
	view, err := s.Delivery(ctx, key, id)
	if err != nil {
		return nil, err
	}
	if view.State == callbackd.Canceled {
		return nil, callbackd.Errorf(callbackd.KindConflict, "delivery %s was canceled with its callback and cannot be retried", id)
	}
	if ended, err := s.ended(ctx, id.Callback); err != nil {
		return nil, err
	} else if ended {
		return nil, callbackd.Errorf(callbackd.KindConflict, "the callback of delivery %s was deleted; nothing is sent to it any more", id)
	}
	var out callbackd.Delivery
	err = s.deliver(ctx, func(t *tx) error {
		store.Made(ctx, id)
		if t.isYoung(id) { // never tried
			out = callbackd.Delivery{ID: id, Session: view.Event.Session, Sequence: view.Event.Sequence, Test: view.Event.Test}
			return nil
		}
		out = callbackd.Delivery{}
		t.left[id] = true // the row is its own from now on
		err := t.query(`INSERT INTO pending (callback_no, event_id, session, sequence, test, attempts, step, manual, due)
			VALUES (?, ?, ?, ?, ?6, (SELECT coalesce(max(n), 0) FROM attempts WHERE event_id = ?2 AND callback_no = ?1), 0, 1, ?5)
			ON CONFLICT (callback_no, event_id) DO UPDATE SET step = 0, manual = iif(attempts = 0 AND due IS NULL, manual, 1), first_failed_at = NULL, holds_until = NULL,
				due = iif(attempts = 0 AND due IS NULL, NULL, ?5)
			RETURNING `+pendingColumns, func(st *sqlite3.Stmt) error { out = scanPending(st); return nil },
			int64(id.Callback), int64(id.Event), view.Event.Session, view.Event.Sequence, at, view.Event.Test)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// addLater adds to an event what it came to be owed after it was accepted.
func (d *db) addLater(ev *callbackd.Event) error {
	return d.query("SELECT callback_no FROM owed_later WHERE event_id = ? ORDER BY callback_no", func(st *sqlite3.Stmt) error {
		ev.Targets = append(ev.Targets, callbackd.CallbackID(st.ColumnInt64(0)))
		return nil
	}, int64(ev.ID))
}

package postgres

import (
	"context"
	"fmt"
	"math"
	"slices"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"

	"github.com/jackc/pgx/v5"
)

// Check is part of [store.Upkeep]. It walks three cursors, all in the order
// of events, side by side: each event with its rows of the queue and its
// attempts, and rows that no event accounts for, in memory that depends on
// the number of callbacks only. It takes its time, in one snapshot.
func (s *Store) Check(ctx context.Context) (*store.Report, error) {
	if err := s.closed(); err != nil {
		return nil, err
	}
	conn, err := s.shared.Acquire(ctx)
	if err != nil {
		return nil, answer(err, again)
	}
	defer returnConn(context.WithoutCancel(ctx), conn)
	c := &checker{s: s, report: &store.Report{}, balance: map[callbackd.CallbackID]*store.Balance{}}
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		c.tx = tx
		return c.run(ctx)
	})
	if err != nil {
		return nil, answer(err, judge(err, false))
	}
	return c.report, nil
}

type checker struct {
	s       *Store
	tx      pgx.Tx
	report  *store.Report
	balance map[callbackd.CallbackID]*store.Balance
}

func (c *checker) fault(format string, args ...any) {
	c.report.FaultN++
	if len(c.report.Faults) < store.MaxFaults {
		c.report.Faults = append(c.report.Faults, fmt.Sprintf(format, args...))
	}
}

func (c *checker) run(ctx context.Context) error {
	// The whole of the tables is read: that is what a sequential scan is for.
	for _, sql := range []string{"SET LOCAL enable_seqscan = on", "SET LOCAL enable_hashjoin = on", "SET LOCAL enable_mergejoin = on"} {
		if _, err := c.tx.Exec(ctx, sql); err != nil {
			return err
		}
	}
	if err := readLong(ctx, c.tx); err != nil {
		return err
	}
	if err := c.callbacks(ctx); err != nil {
		return err
	}
	if err := c.sequences(ctx); err != nil {
		return err
	}
	events, err := newCursor(ctx, c.tx, "events", "SELECT id, key_no, type, session, sequence, test, owed, accepted_at FROM events ORDER BY id", func(row pgx.CollectableRow) (r eventRow, err error) {
		err = row.Scan(r.into()...)
		return r, err
	})
	if err != nil {
		return err
	}
	pending, err := newCursor(ctx, c.tx, "waiting", "SELECT event_id, callback_no, manual FROM pending ORDER BY event_id, callback_no", func(row pgx.CollectableRow) (r waitingRow, err error) {
		err = row.Scan(&r.event, &r.callback, &r.manual)
		return r, err
	})
	if err != nil {
		return err
	}
	attempts, err := newCursor(ctx, c.tx, "tries", "SELECT event_id, callback_no, n, version, state FROM attempts ORDER BY event_id, callback_no, n", func(row pgx.CollectableRow) (r triedRow, err error) {
		err = row.Scan(&r.event, &r.callback, &r.n, &r.version, &r.state)
		return r, err
	})
	if err != nil {
		return err
	}
	later, err := newCursor(ctx, c.tx, "later", "SELECT event_id, callback_no FROM owed_later ORDER BY event_id, callback_no", func(row pgx.CollectableRow) (r laterRow, err error) {
		err = row.Scan(&r.event, &r.callback)
		return r, err
	})
	if err != nil {
		return err
	}
	if err := c.walk(ctx, events, pending, attempts, later); err != nil {
		return err
	}
	return c.replays(ctx)
}

// replays checks that what replays made due has ended or waits.
func (c *checker) replays(ctx context.Context) error {
	return each(ctx, c.tx, `SELECT r.id, r.due - r.skipped - r.delivered - r.failed - r.canceled, coalesce(p.n, 0) FROM replays r
		LEFT JOIN (SELECT replay, count(*) AS n FROM pending WHERE replay <> 0 GROUP BY replay) p ON p.replay = r.id`, func(row pgx.CollectableRow) error {
		var id, want, have int64
		err := row.Scan(&id, &want, &have)
		if err == nil && want != have {
			c.fault("replay %s has %d deliveries pending by its counts, and %d that wait", callbackd.ReplayID(id), want, have)
		}
		return err
	})
}

func (c *checker) callbacks(ctx context.Context) error {
	all, err := c.s.AllCallbacks(seamTx{ctx, c.tx})
	if err != nil {
		return err
	}
	c.report.Callbacks = make([]store.Balance, len(all))
	for i, cb := range all {
		c.report.Callbacks[i].Callback = cb
		c.balance[cb.ID] = &c.report.Callbacks[i]
	}
	return nil
}

// sequences finds sessions whose numbers do not grow with their ids, or that
// go on below what they have given out.
func (c *checker) sequences(ctx context.Context) error {
	rows, err := c.tx.Query(ctx, `SELECT key_no, session, id FROM (
			SELECT key_no, session, id, sequence, lag(sequence) OVER (PARTITION BY key_no, session ORDER BY id) AS before FROM events) e
		WHERE sequence <= before
		UNION ALL SELECT e.key_no, e.session, max(e.id) FROM events e LEFT JOIN session_sequences s ON s.key_no = e.key_no AND s.session = e.session
		GROUP BY e.key_no, e.session, s.sequence, s.last_id HAVING s.sequence IS NULL OR max(e.sequence) > s.sequence OR max(e.id) > s.last_id`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key, id int64
		var session string
		if err := rows.Scan(&key, &session, &id); err != nil {
			return err
		}
		c.fault("session %q: event %s is out of sequence", session, callbackd.EventID(id))
	}
	return rows.Err()
}

type waitingRow struct {
	event, callback int64
	manual          bool
}

type triedRow struct {
	event, callback, version int64
	n                        int32
	state                    string
}

type laterRow struct{ event, callback int64 }

// of is what the queue and the attempts hold of one delivery.
type of struct {
	pending, manual bool
	attempts        []triedRow
}

func (c *checker) walk(ctx context.Context, events *cursor[eventRow], pending *cursor[waitingRow], attempts *cursor[triedRow], later *cursor[laterRow]) error {
	for {
		ev, more, err := events.next(ctx)
		if err != nil {
			return err
		}
		limit := int64(math.MaxInt64)
		if more {
			limit = ev.id
		}
		rows := map[callbackd.DeliveryID]*of{}
		at := func(event, callback int64) *of {
			id := callbackd.DeliveryID{Event: callbackd.EventID(event), Callback: callbackd.CallbackID(callback)}
			if rows[id] == nil {
				rows[id] = &of{}
			}
			return rows[id]
		}
		err = pending.until(ctx, func(r waitingRow) bool { return r.event <= limit }, func(r waitingRow) {
			if r.event < limit {
				c.stray("the pending row", r.event, r.callback)
				return
			}
			d := at(r.event, r.callback)
			d.pending, d.manual = true, r.manual
		})
		if err != nil {
			return err
		}
		err = attempts.until(ctx, func(r triedRow) bool { return r.event <= limit }, func(r triedRow) {
			if r.event < limit {
				c.stray("an attempt", r.event, r.callback)
				return
			}
			d := at(r.event, r.callback)
			d.attempts = append(d.attempts, r)
		})
		if err != nil {
			return err
		}
		owed := codec.Targets(ev.targets)
		err = later.until(ctx, func(r laterRow) bool { return r.event <= limit }, func(r laterRow) {
			if r.event < limit {
				c.stray("what is owed later", r.event, r.callback)
				return
			}
			owed = append(owed, callbackd.CallbackID(r.callback))
		})
		if err != nil || !more {
			return err
		}
		c.event(callbackd.EventID(ev.id), owed, rows)
	}
}

func (c *checker) stray(what string, event, callback int64) {
	c.fault("%s of delivery %s belongs to no event", what, callbackd.DeliveryID{Event: callbackd.EventID(event), Callback: callbackd.CallbackID(callback)})
}

func (c *checker) event(id callbackd.EventID, owed []callbackd.CallbackID, rows map[callbackd.DeliveryID]*of) {
	c.report.Events++
	for i, no := range owed {
		if slices.Contains(owed[:i], no) {
			c.fault("event %s is owed to callback %d twice", id, no)
			continue
		}
		b := c.balance[no]
		if b == nil {
			c.fault("event %s is owed to callback %d, which does not exist", id, no)
			continue
		}
		d := rows[callbackd.DeliveryID{Event: id, Callback: no}]
		if d == nil {
			d = &of{}
		}
		c.delivery(callbackd.DeliveryID{Event: id, Callback: no}, b, d)
	}
	for d, row := range rows {
		if slices.Contains(owed, d.Callback) {
			continue
		}
		if row.pending {
			c.stray("the pending row", int64(id), int64(d.Callback))
		}
		if len(row.attempts) > 0 {
			c.stray("an attempt", int64(id), int64(d.Callback))
		}
	}
}

// delivery checks that one delivery is in exactly one state.
func (c *checker) delivery(id callbackd.DeliveryID, b *store.Balance, d *of) {
	b.Accepted++
	var last callbackd.State
	for i, a := range d.attempts {
		if int(a.n) != i+1 {
			c.fault("delivery %s has attempt %d where %d was expected", id, a.n, i+1)
		}
		if a.version > 0 {
			b.Attempts++
			if last.Terminal() {
				b.Repeats++
			}
		}
		last = callbackd.State(a.state)
	}
	switch {
	case d.pending && last.Terminal() && !d.manual:
		c.fault("delivery %s is %s and still waits", id, last)
	case !d.pending && !last.Terminal():
		c.fault("delivery %s has not ended and does not wait: it is lost", id)
	}
	switch {
	case d.pending && b.Callback.Deleted():
		b.Canceled++
	case d.pending:
		b.Pending++
	case last == callbackd.Delivered:
		b.Delivered++
	case last == callbackd.Failed:
		b.Failed++
	case last == callbackd.Canceled:
		b.Canceled++
	}
}

// cursor reads a query a slice at a time, beside others on one connection.
type cursor[T any] struct {
	tx    pgx.Tx
	fetch string
	scan  pgx.RowToFunc[T]
	rows  []T
	ended bool
}

const cursorRows = 2000

func newCursor[T any](ctx context.Context, tx pgx.Tx, name, sql string, scan pgx.RowToFunc[T]) (*cursor[T], error) {
	_, err := tx.Exec(ctx, "DECLARE "+name+" NO SCROLL CURSOR FOR "+sql)
	return &cursor[T]{tx: tx, fetch: fmt.Sprintf("FETCH %d FROM %s", cursorRows, name), scan: scan}, err
}

// peek returns the next row without taking it.
func (c *cursor[T]) peek(ctx context.Context) (v T, ok bool, err error) {
	if len(c.rows) == 0 && !c.ended {
		rows, err := c.tx.Query(ctx, c.fetch)
		if err != nil {
			return v, false, err
		}
		if c.rows, err = pgx.CollectRows(rows, c.scan); err != nil {
			return v, false, err
		}
		c.ended = len(c.rows) < cursorRows
	}
	if len(c.rows) == 0 {
		return v, false, nil
	}
	return c.rows[0], true, nil
}

func (c *cursor[T]) next(ctx context.Context) (v T, ok bool, err error) {
	if v, ok, err = c.peek(ctx); ok {
		c.rows = c.rows[1:]
	}
	return v, ok, err
}

// until hands f the rows for which wanted is true.
func (c *cursor[T]) until(ctx context.Context, wanted func(T) bool, f func(T)) error {
	for {
		v, ok, err := c.peek(ctx)
		if err != nil || !ok || !wanted(v) {
			return err
		}
		c.rows = c.rows[1:]
		f(v)
	}
}

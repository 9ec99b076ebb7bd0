package postgres

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/core"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// seam is the store as package core sees it.
type seam struct{ s *Store }

var dialect = core.Dialect{
	Sealed: []core.SealedColumn{{Table: "settings", Column: "canary", Key: []string{"one"}, Start: []any{false}, Owner: func([]any) string { return canary }}},

	InList:   "= ANY (@)",
	PairsOf:  `(SELECT (value ->> 0)::bigint AS COLUMN1, (value ->> 1)::bigint AS COLUMN2 FROM json_array_elements(@::json)) AS o`,
	LookupIn: " CROSS JOIN LATERAL (SELECT * FROM TABLE AS ALIAS WHERE COND OFFSET 0) AS ALIAS",

	LookupOrNullIn: " LEFT JOIN LATERAL (SELECT * FROM TABLE AS ALIAS WHERE COND OFFSET 0) AS ALIAS ON true",

	KeyEvents:     "events",
	SessionEvents: "events",
	SessionIndex:  "events",
	SessionOrder:  "key_no, session, id",
	SessionVIN:    "substring(search FROM octet_length(session) + 2 FOR 17)",

	Lock:       " FOR UPDATE",
	LockShared: " FOR SHARE",
	SkipLocked: " FOR UPDATE SKIP LOCKED",

	NextCallback:   "SELECT nextval(pg_get_serial_sequence('callbacks', 'no'))",
	InsertNumbered: "OVERRIDING SYSTEM VALUE",
	SetRevision:    ", revision = " + thisRevision,
	RevisionColumn: ", revision",
	RevisionValue:  ", " + thisRevision,
	Count:          "INSERT INTO delivery_counts (what, n) VALUES ($1, $2)",
	AddCounts:      "ARRAY (SELECT coalesce(x, 0) + coalesce(y, 0) FROM unnest(slots.@, excluded.@) WITH ORDINALITY AS l (x, y, n) ORDER BY n)",
}

// Read is part of [core.Driver].
func (d seam) Read(ctx context.Context, f func(core.Tx) error) error {
	return d.s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error { return f(seamTx{ctx, conn}) })
}

// ReadSettings is part of [core.Driver].
func (d seam) ReadSettings(ctx context.Context, f func(core.Tx) error) error {
	return d.s.readOn(ctx, d.s.settings, func(ctx context.Context, conn *pgx.Conn) error { return f(seamTx{ctx, conn}) })
}

// ReadFlushed is part of [core.Driver].
func (d seam) ReadFlushed(ctx context.Context, f func(core.Tx) error) error { return d.Read(ctx, f) }

// Write is part of [core.Driver].
func (d seam) Write(ctx context.Context, mode core.Mode, f func(core.Tx) error) error {
	return d.s.change(ctx, mode&core.Repeatable != 0, func(ctx context.Context, tx pgx.Tx) error {
		if mode&core.Settings != 0 {
			if _, err := tx.Exec(ctx, nextRevision); err != nil {
				return err
			}
		}
		return f(seamTx{ctx, tx})
	})
}

// Snapshot is part of [core.Driver]. It opens a connection of its own, because it may
// take long.
func (d seam) Snapshot(ctx context.Context, f func(core.Tx) error) error {
	if err := d.s.closed(); err != nil {
		return err
	}
	conn, err := d.s.shared.Acquire(ctx)
	if err != nil {
		return answer(err, again)
	}
	defer returnConn(context.WithoutCancel(ctx), conn)
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := readLong(ctx, tx); err != nil {
			return err
		}
		return f(seamTx{ctx, tx})
	})
	if err != nil {
		return answer(err, judge(err, false))
	}
	return nil
}

// readLong lifts the time limits of a snapshot. That is safe, because it holds no lock
// that others wait for.
func readLong(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true)")
	return err
}

// insertPending adds rows of the queue.
const insertPending = `INSERT INTO pending (callback_no, event_id, attempts, step, manual, due, replay)
	SELECT a, b, c, 0, true, d, e FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) AS o (a, b, c, d, e)
	ON CONFLICT DO NOTHING RETURNING callback_no, event_id`

// Enqueue is part of [core.Driver].
func (d seam) Enqueue(tx core.Tx, ds []callbackd.Delivery) (added []callbackd.Delivery, err error) {
	var callbacks, events, attempts, dues, replays []int64
	waiting := make(map[callbackd.DeliveryID]callbackd.Delivery, len(ds))
	for _, d := range ds {
		waiting[d.ID] = d
		callbacks, events = append(callbacks, int64(d.ID.Callback)), append(events, int64(d.ID.Event))
		attempts, dues, replays = append(attempts, int64(d.Attempts)), append(dues, millis(d.Due)), append(replays, int64(d.Replay))
	}
	err = tx.Query(insertPending, func(row core.Row) error {
		var id callbackd.DeliveryID
		err := row.Scan(&id.Callback, &id.Event)
		added = append(added, waiting[id])
		return err
	}, callbacks, events, attempts, dues, replays)
	slices.SortFunc(added, func(a, b callbackd.Delivery) int { return a.Due.Compare(b.Due) })
	return added, err
}

// Flush is part of [core.Driver].
func (d seam) Flush(context.Context) error { return nil }

// FlushOfEnded is part of [core.Driver].
func (d seam) FlushOfEnded(context.Context) error { return nil }

// removeSequences deletes the sequence of a session with the last of its events.
// A session that has a newer event by now keeps it, and so does one that has a callback of
// its own.
const removeSequences = `DELETE FROM session_sequences WHERE ctid = ANY (ARRAY (
	SELECT s.place FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS o (key_no, session, last_id)
	CROSS JOIN LATERAL (
		SELECT ctid AS place FROM session_sequences WHERE key_no = o.key_no AND session = o.session AND last_id <= o.last_id AND NOT callbacks
		AND NOT EXISTS (SELECT 1 FROM events e WHERE e.key_no = o.key_no AND e.session = o.session)
		FOR UPDATE SKIP LOCKED) s))`

// Horizon is part of [core.Driver].
func (d seam) Horizon(ctx context.Context, key callbackd.KeyID, after callbackd.EventID) (callbackd.EventID, error) {
	if key == store.AllKeys {
		return d.s.settledOfAll(ctx, after)
	}
	return d.s.settled(ctx, key)
}

// FlushedUpTo is part of [core.Driver]. PostgreSQL buffers nothing.
func (d seam) FlushedUpTo(core.Tx) (callbackd.EventID, error) { return math.MaxInt64, nil }

// RemoveIndexes is part of [core.Driver].
func (d seam) RemoveIndexes(tx core.Tx, evs []*callbackd.Event) error {
	var keys, lasts []int64
	var sessions []string
	place := map[store.SessionID]int{}
	for _, ev := range evs {
		id := store.SessionID{Key: ev.Key, SessionKey: ev.Session}
		i, known := place[id]
		if !known {
			i = len(keys)
			place[id] = i
			keys, sessions, lasts = append(keys, int64(ev.Key)), append(sessions, ev.Session), append(lasts, 0)
		}
		lasts[i] = int64(ev.ID)
	}
	_, err := tx.Exec(removeSequences, keys, sessions, lasts)
	return err
}

// RemoveSessions is part of [core.Driver].
func (d seam) RemoveSessions(core.Tx, []store.SessionID) {}

const selectSequences = `SELECT s.key_no, s.session, s.last_id FROM unnest($1::bigint[], $2::text[]) AS o (key_no, session)
	CROSS JOIN LATERAL (SELECT * FROM session_sequences WHERE key_no = o.key_no AND session = o.session LIMIT 1) s`

// endSessions deletes the sequences of sessions that have no events. A sequence that an
// event was given out of meanwhile stays.
const endSessions = `DELETE FROM session_sequences WHERE ctid = ANY (ARRAY (
	SELECT s.place FROM unnest($1::bigint[], $2::text[], $3::bigint[]) AS o (key_no, session, last_id)
	CROSS JOIN LATERAL (
		SELECT ctid AS place FROM session_sequences WHERE key_no = o.key_no AND session = o.session AND last_id = o.last_id
		AND NOT EXISTS (SELECT 1 FROM events e WHERE e.key_no = o.key_no AND e.session = o.session)
		AND NOT EXISTS (SELECT 1 FROM callbacks c WHERE c.key_no = o.key_no AND c.session = o.session AND c.session IS NOT NULL)
		FOR UPDATE SKIP LOCKED) s))`

// EndSessions is part of [core.Driver].
func (d seam) EndSessions(tx core.Tx, ids []store.SessionID) error {
	keys, sessions := make([]int64, len(ids)), make([]string, len(ids))
	for i, id := range ids {
		keys[i], sessions[i] = int64(id.Key), id.SessionKey
	}
	var known sessionEnds
	err := tx.Query(selectSequences, func(row core.Row) error {
		var key, last int64
		var session string
		err := row.Scan(&key, &session, &last)
		known.keys, known.sessions, known.lasts = append(known.keys, key), append(known.sessions, session), append(known.lasts, last)
		return err
	}, keys, sessions)
	if err != nil || len(known.keys) == 0 {
		return err
	}
	_, err = tx.Exec(endSessions, known.keys, known.sessions, known.lasts)
	return err
}

// ChangeSession is part of [core.Driver].
func (d seam) ChangeSession(tx core.Tx, id store.SessionID, change func(*callbackd.Session)) (found bool, err error) {
	var w *core.SessionWork
	err = tx.Query("SELECT "+core.SessionColumns+" FROM sessions WHERE key_no = $1 AND session = $2 FOR UPDATE", func(row core.Row) (err error) {
		w, err = core.ScanSession(row)
		return err
	}, id.Key, id.SessionKey)
	if err != nil || w == nil {
		return false, err
	}
	next := *w.Current
	change(&next)
	w.Current, w.Changed = &next, true
	return true, w.Write(tx, core.Column{Name: "stamp", Value: newWriteToken()})
}

// Overwrite is part of [core.Driver]. VACUUM frees the rows as they were before. PostgreSQL
// overwrites their place when it is used again.
func (d seam) Overwrite(ctx context.Context) (done bool, err error) {
	conn, err := d.s.shared.Acquire(ctx)
	if err != nil {
		return false, answer(err, again)
	}
	defer returnConn(context.WithoutCancel(ctx), conn)
	if _, err := conn.Exec(ctx, "SET statement_timeout = 0"); err != nil {
		return false, answer(err, again)
	}
	defer conn.Exec(context.WithoutCancel(ctx), "RESET statement_timeout")
	for _, table := range erasedTables {
		if _, err := conn.Exec(ctx, "VACUUM "+table); err != nil {
			return false, answer(err, again)
		}
	}
	return true, nil
}

// erasedTables are those in which an erasure changes rows.
var erasedTables = []string{"events", "attempts", "pending", "idempotency", "answers", "sessions", "session_notes", "logs", "replays", "erases"}

// Refresh is part of [core.Driver].
func (d seam) Refresh(ctx context.Context) error { return d.s.refresh(ctx) }

// seamTx is a connection or a transaction as package core sees it.
type seamTx struct {
	ctx context.Context
	on  interface {
		querier
		Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
		SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
	}
}

// Query is part of [core.Tx].
func (t seamTx) Query(sql string, row func(core.Row) error, args ...any) error {
	plain, err := plainArgs(args)
	if err != nil {
		return err
	}
	err = each(t.ctx, t.on, sql, func(r pgx.CollectableRow) error { return row(seamRow{r}) }, plain...)
	if errors.Is(err, core.ErrStop) {
		return nil
	}
	return err
}

// Exec is part of [core.Tx].
func (t seamTx) Exec(sql string, args ...any) (int64, error) {
	plain, err := plainArgs(args)
	if err != nil {
		return 0, err
	}
	tag, err := t.on.Exec(t.ctx, sql, plain...)
	return tag.RowsAffected(), err
}

// Batch is part of [core.Tx].
func (t seamTx) Batch(sql string, row func(core.Row) error, args [][]any) error {
	if len(args) == 0 {
		return nil
	}
	var p pipeline
	for _, a := range args {
		plain, err := plainArgs(a)
		if err != nil {
			return err
		}
		if row == nil {
			p.add(sql, nil, plain...)
			continue
		}
		p.add(sql, func(r pgx.CollectableRow) error { return row(seamRow{r}) }, plain...)
	}
	return t.on.SendBatch(t.ctx, &p.batch).Close()
}

func plainArgs(args []any) ([]any, error) {
	out := make([]any, len(args))
	for i, arg := range args {
		plain, err := core.Plain(arg)
		if err != nil {
			return nil, damaged(fmt.Errorf("argument %d: %w", i+1, err))
		}
		switch v := plain.(type) {
		case core.Text:
			plain = []byte(v)
		case store.Counts:
			plain = countsColumn(v)
		}
		out[i] = plain
	}
	return out, nil
}

// seamRow is a row of a result as package core sees it.
type seamRow struct{ row pgx.CollectableRow }

// countsColumn returns counts as their column has them.
func countsColumn(counts store.Counts) []int64 {
	list := []int64{}
	for _, n := range counts.Trimmed() {
		list = append(list, int64(n))
	}
	return list
}

// countsArray reads a column of counts.
type countsArray struct {
	to   store.Counts
	list []int64
}

func (a *countsArray) copy() {
	clear(a.to)
	for i, n := range a.list[:min(len(a.list), len(a.to))] {
		a.to[i] = uint32(n)
	}
}

// Scan is part of [core.Row].
func (r seamRow) Scan(dest ...any) error {
	var arrays []*countsArray
	for i, d := range dest {
		switch d := d.(type) {
		case *time.Time:
			dest[i] = (*timeColumn)(d)
		case *time.Duration:
			dest[i] = (*durationColumn)(d)
		case *core.Text:
			dest[i] = (*textColumn)(d)
		case store.Counts:
			a := &countsArray{to: d}
			arrays, dest[i] = append(arrays, a), &a.list
		}
	}
	err := r.row.Scan(dest...)
	for _, a := range arrays {
		a.copy()
	}
	return err
}

// timeColumn reads a time in milliseconds; NULL is the zero time.
type timeColumn time.Time

// ScanInt64 is part of [pgtype.Int64Scanner].
func (t *timeColumn) ScanInt64(v pgtype.Int8) error {
	*t = timeColumn{}
	if v.Valid {
		*t = timeColumn(fromMillis(v.Int64))
	}
	return nil
}

// durationColumn reads a duration in microseconds.
type durationColumn time.Duration

// ScanInt64 is part of [pgtype.Int64Scanner].
func (d *durationColumn) ScanInt64(v pgtype.Int8) error {
	if !v.Valid {
		return errors.New("a duration is NULL")
	}
	*d = durationColumn(v.Int64 * int64(time.Microsecond))
	return nil
}

// textColumn reads a text that is kept as bytes.
type textColumn core.Text

// ScanBytes is part of [pgtype.BytesScanner].
func (t *textColumn) ScanBytes(v []byte) error {
	*t = textColumn(v)
	return nil
}

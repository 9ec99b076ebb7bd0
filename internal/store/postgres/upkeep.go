package postgres

import (
	"context"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"

	"github.com/jackc/pgx/v5"
)

// settlePending takes pending deliveries of ended callbacks out of the queue.
// A row that is being recorded is left to its outcome.
const settlePending = `WITH ended AS (
		SELECT no FROM callbacks WHERE deleted_at IS NOT NULL
		UNION SELECT c.no FROM (SELECT no FROM keys WHERE revoked_at IS NOT NULL) k CROSS JOIN LATERAL (SELECT no FROM callbacks WHERE key_no = k.no ORDER BY no) c),
	doomed AS (
		SELECT p.place FROM ended CROSS JOIN LATERAL (SELECT ctid AS place FROM pending WHERE callback_no = ended.no ORDER BY event_id LIMIT $1 FOR UPDATE SKIP LOCKED) p LIMIT $1),
	gone AS (
		DELETE FROM pending WHERE ctid = ANY (ARRAY (SELECT place FROM doomed)) RETURNING event_id, callback_no, attempts + 1 AS n, replay),
	counted AS (
		UPDATE replays r SET canceled = r.canceled + c.n FROM (SELECT replay, count(*) AS n FROM gone WHERE replay <> 0 GROUP BY replay ORDER BY replay) c WHERE r.id = c.replay),
	kept AS (
		INSERT INTO attempts (event_id, callback_no, n, version, state, detail) SELECT event_id, callback_no, n, 0, 'canceled', $2::bytea FROM gone)
	SELECT g.callback_no, c.key_no, count(*) FROM gone g CROSS JOIN LATERAL (SELECT key_no FROM callbacks WHERE no = g.callback_no LIMIT 1) c GROUP BY g.callback_no, c.key_no`

// FinalizeCanceled is part of [store.Upkeep].
func (s *Store) FinalizeCanceled(ctx context.Context, at time.Time, limit int) (int, error) {
	detail := codec.AppendAttempt(nil, &callbackd.Attempt{Result: callbackd.Result{StartedAt: at}, Decision: callbackd.Decision{Why: "its callback was deleted or its API key revoked"}})
	total := int64(0)
	err := s.change(ctx, true, func(ctx context.Context, tx pgx.Tx) error {
		total = 0
		m := sums{}
		err := each(ctx, tx, settlePending, func(row pgx.CollectableRow) error {
			var no, key, n int64
			err := row.Scan(&no, &key, &n)
			total += n
			m.add(callbackd.KeyID(key), callbackd.CallbackID(no), at, &store.Counters{Canceled: n})
			return err
		}, limit, detail)
		if err != nil || total == 0 {
			return err
		}
		var b pgx.Batch
		m.queue(&b)
		return tx.SendBatch(ctx, &b).Close()
	})
	return int(total), err
}

// The statements of the sweep. An event is locked before what is pending is
// looked for: a retry by hand locks it too, so that it cannot begin between.
const (
	lockOld = "SELECT id, key_no, session, owed FROM events WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED"
	// The last of the events that know what the clock said.
	selectLastSaid = "SELECT id FROM events WHERE accepted_at < $1 ORDER BY accepted_at DESC, id DESC LIMIT 1"
	selectWaits    = "SELECT o.event_id FROM unnest($1::bigint[], $2::bigint[]) AS o (callback_no, event_id) CROSS JOIN LATERAL (SELECT 1 FROM pending WHERE callback_no = o.callback_no AND event_id = o.event_id LIMIT 1) p"
	dropAttempts   = "DELETE FROM attempts WHERE event_id = ANY ($1::bigint[])"
	noteRemoved    = `INSERT INTO removed_events (key_no, newest, removals) SELECT key_no, max(id), 1 FROM unnest($1::bigint[], $2::bigint[]) AS o (key_no, id) GROUP BY key_no
		ON CONFLICT (key_no) DO UPDATE SET newest = greatest(removed_events.newest, excluded.newest), removals = removed_events.removals + 1`
	dropErrors  = "DELETE FROM last_errors WHERE event_id = ANY ($1::bigint[])"
	dropLater   = "DELETE FROM owed_later WHERE event_id = ANY ($1::bigint[])"
	dropRepeats = "DELETE FROM idempotency WHERE first = ANY ($1::bigint[])"
	dropEvents  = "DELETE FROM events WHERE id = ANY ($1::bigint[])"
	// A session goes with the last of its events. One that goes on meanwhile
	// is locked, or has a last event that is not old.
	dropSessions = `DELETE FROM session_sequences WHERE ctid = ANY (ARRAY (SELECT s.place FROM unnest($1::bigint[], $2::text[]) AS o (key_no, session)
		CROSS JOIN LATERAL (SELECT ctid AS place FROM session_sequences WHERE key_no = o.key_no AND session = o.session AND last_id < $3
			AND NOT EXISTS (SELECT 1 FROM events e WHERE e.key_no = o.key_no AND e.session = o.session) FOR UPDATE SKIP LOCKED) s))`
)

// oldEvent is an event that may be removed.
type oldEvent struct {
	id, key int64
	session string
	owed    []callbackd.CallbackID
}

// Sweep is part of [store.Upkeep].
func (s *Store) Sweep(ctx context.Context, before time.Time, after callbackd.EventID, limit int) (next callbackd.EventID, removed int, done bool, err error) {
	err = s.change(ctx, true, func(ctx context.Context, tx pgx.Tx) error {
		bound := callbackd.FirstEventID(before)
		old, err := readOld(ctx, tx, after, bound, limit)
		if err == nil && len(old) == 0 {
			var last callbackd.EventID
			last, err = lastSaid(ctx, tx, before)
			if from, to := store.SweepFuture(last, after, time.Now()); err == nil && from < to {
				bound = to + 1
				old, err = readOld(ctx, tx, from, bound, limit)
			}
		}
		next, removed, done = after, 0, len(old) == 0
		if err != nil || done {
			return err
		}
		next = callbackd.EventID(old[len(old)-1].id)
		waits, err := stillOwed(ctx, tx, old)
		if err != nil {
			return err
		}
		removed, err = drop(ctx, tx, old, waits, bound)
		return err
	})
	if err != nil {
		return after, 0, false, err
	}
	return next, removed, done, nil
}

// readOld locks the events above after and before an id.
func readOld(ctx context.Context, tx pgx.Tx, after, before callbackd.EventID, limit int) ([]oldEvent, error) {
	rows, err := tx.Query(ctx, lockOld, int64(after), int64(before), limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e oldEvent, err error) {
		var owed []byte
		err = row.Scan(&e.id, &e.key, &e.session, &owed)
		e.owed = codec.Owed(owed)
		return e, err
	})
}

// lastSaid is the last event that was accepted before a time by its ClockTime; 0
// when there is none.
func lastSaid(ctx context.Context, q querier, before time.Time) (callbackd.EventID, error) {
	rows, err := q.Query(ctx, selectLastSaid, before.UnixMilli())
	if err != nil {
		return 0, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	return callbackd.EventID(ids[0]), nil
}

// idRange is store.IDRange, widened where the clock ran ahead once.
func idRange(ctx context.Context, q querier, since, until time.Time, after callbackd.EventID) (lo, hi int64, err error) {
	lo, hi = store.IDRange(since, until, 0)
	var last callbackd.EventID
	if !until.IsZero() {
		last, err = lastSaid(ctx, q, until)
	}
	return lo, store.WidenedTo(hi, last, after), err
}

// stillOwed is the events of which a delivery is pending.
func stillOwed(ctx context.Context, tx pgx.Tx, old []oldEvent) (map[int64]bool, error) {
	later := make(map[callbackd.EventID]*callbackd.Event, len(old))
	for _, e := range old {
		later[callbackd.EventID(e.id)] = &callbackd.Event{Targets: e.owed}
	}
	if err := addLater(ctx, tx, later); err != nil {
		return nil, err
	}
	var callbacks, events []int64
	for id, ev := range later {
		for _, no := range ev.Targets {
			callbacks, events = append(callbacks, int64(no)), append(events, int64(id))
		}
	}
	rows, err := tx.Query(ctx, selectWaits, callbacks, events)
	if err != nil {
		return nil, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	waits := make(map[int64]bool, len(ids))
	for _, id := range ids {
		waits[id] = true
	}
	return waits, err
}

// drop removes the old events that nothing waits for, with all that is theirs.
func drop(ctx context.Context, tx pgx.Tx, old []oldEvent, waits map[int64]bool, before callbackd.EventID) (int, error) {
	var ids, keys []int64
	var sessions []string
	for _, e := range old {
		if !waits[e.id] {
			ids, keys, sessions = append(ids, e.id), append(keys, e.key), append(sessions, e.session)
		}
	}
	var b pgx.Batch
	for _, sql := range []string{dropAttempts, dropErrors, dropRepeats, dropLater, dropEvents} {
		b.Queue(sql, ids)
	}
	b.Queue(dropSessions, keys, sessions, int64(before))
	b.Queue(noteRemoved, keys, ids)
	return len(ids), tx.SendBatch(ctx, &b).Close()
}

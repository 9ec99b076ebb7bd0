package postgres

import (
	"context"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
	"callbackd/internal/store/core"

	"github.com/jackc/pgx/v5"
)

const eventColumns = "e.id, e.key_no, e.type, e.session, e.sequence, e.test, e.owed, e.accepted_at, e.deliver_at, e.expires_at, e.erased_at, e.trace"

// eventRow reads eventColumns and what follows them.
type eventRow struct {
	id, key, sequence int64
	typ               int16
	session           string
	test              bool
	targets           []byte
	clockTime         *int64 // the time of the clock, when it differs from that of the id
	deliver, expire   *int64
	erasedAt          *int64
	trace             []byte
}

func (r *eventRow) into(more ...any) []any {
	return append([]any{&r.id, &r.key, &r.typ, &r.session, &r.sequence, &r.test, &r.targets, &r.clockTime, &r.deliver, &r.expire, &r.erasedAt, &r.trace}, more...)
}

func (r *eventRow) event(types *codec.EventTypes, data []byte) (*callbackd.Event, error) {
	typ, err := types.Name(int64(r.typ))
	return &callbackd.Event{ID: callbackd.EventID(r.id), Key: callbackd.KeyID(r.key), Type: typ,
		Session: r.session, Sequence: r.sequence, Test: r.test, Targets: codec.Targets(r.targets), ClockTime: fromNullMillis(r.clockTime), DeliverAt: fromNullMillis(r.deliver), ExpiresAt: fromNullMillis(r.expire), ErasedAt: fromNullMillis(r.erasedAt), Trace: codec.Trace(r.trace), Data: data}, err
}

// loadEvents reads events by id, with their data.
func (s *Store) loadEvents(ctx context.Context, q querier, ids []callbackd.EventID) (map[callbackd.EventID]*callbackd.Event, error) {
	arg := make([]int64, len(ids))
	for i, id := range ids {
		arg[i] = int64(id)
	}
	rows, err := q.Query(ctx, "SELECT "+eventColumns+", e.data FROM events e WHERE e.id = ANY ($1::bigint[])", arg)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := make(map[callbackd.EventID]*callbackd.Event, len(ids))
	for rows.Next() {
		var r eventRow
		var data []byte
		if err := rows.Scan(r.into(&data)...); err != nil {
			return nil, err
		}
		ev, err := r.event(s.EventTypes, data)
		if err != nil {
			return nil, err
		}
		out[ev.ID] = ev
	}
	return out, rows.Err()
}

// A delivery of the queue, with the columns that it takes from its event.
const (
	pendingColumns = "p.callback_no, p.event_id, e.session, e.sequence, e.test, p.attempts, p.step, p.manual, p.first_failed_at, p.due, p.holds_until, p.replay, p.deliver_at, p.expires_at"
	pendingEvent   = " CROSS JOIN LATERAL (SELECT * FROM events WHERE id = p.event_id LIMIT 1) e"
)

type pendingRow struct {
	callback, event, sequence int64
	replay                    int64
	session                   string
	test, manual              bool
	attempts, step            int32
	failed, due, holds        *int64
	deliver, expire           *int64
}

func (r *pendingRow) into(more ...any) []any {
	return append([]any{&r.callback, &r.event, &r.session, &r.sequence, &r.test, &r.attempts, &r.step, &r.manual, &r.failed, &r.due, &r.holds, &r.replay, &r.deliver, &r.expire}, more...)
}

func (r *pendingRow) delivery() callbackd.Delivery {
	return callbackd.Delivery{
		ID:      callbackd.DeliveryID{Callback: callbackd.CallbackID(r.callback), Event: callbackd.EventID(r.event)},
		Session: r.session, Sequence: r.sequence, Test: r.test, Attempts: int(r.attempts), Step: int(r.step), Manual: r.manual,
		FirstFailedAt: fromNullMillis(r.failed), Due: fromNullMillis(r.due), HoldsUntil: fromNullMillis(r.holds),
		Replay: callbackd.ReplayID(r.replay), DeliverAt: fromNullMillis(r.deliver), ExpiresAt: fromNullMillis(r.expire),
	}
}

func scanDelivery(row pgx.CollectableRow) (callbackd.Delivery, error) {
	var r pendingRow
	err := row.Scan(r.into()...)
	return r.delivery(), err
}

// deliveries runs a query for pending deliveries of a callback. It returns none when the
// callback was deleted or its key revoked.
func (s *Store) deliveries(ctx context.Context, cb callbackd.CallbackID, sql string, args ...any) (ds []callbackd.Delivery, err error) {
	if ended, err := s.Ended(ctx, cb); err != nil || ended {
		return nil, err
	}
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, sql, append([]any{int64(cb)}, args...)...)
		if err != nil {
			return err
		}
		ds, err = pgx.CollectRows(rows, scanDelivery)
		return err
	})
	return ds, err
}

// The statements of the queue: each finds its rows by an index that has them
// in the order asked for, cuts them there, and then looks up their events.
const (
	selectFirstAttempts = `SELECT ` + pendingColumns + `, e.key_no, e.type, e.owed,
			CASE WHEN sum(octet_length(e.data)) OVER (ORDER BY p.event_id ROWS UNBOUNDED PRECEDING) - octet_length(e.data) < $4 THEN e.data END
		FROM (SELECT * FROM pending WHERE callback_no = $1 AND event_id > $2 AND due IS NULL ORDER BY event_id LIMIT $3) p` + pendingEvent + ` ORDER BY p.event_id`
	selectRetries = `SELECT ` + pendingColumns + ` FROM (SELECT * FROM pending WHERE callback_no = $1 AND due IS NOT NULL AND replay = 0 ORDER BY due LIMIT $2) p` + pendingEvent + ` ORDER BY p.due, p.event_id`
	selectReplays = `SELECT ` + pendingColumns + ` FROM (SELECT * FROM pending WHERE callback_no = $1 AND replay <> 0 ORDER BY due, event_id LIMIT $2) p` + pendingEvent + ` ORDER BY p.due, p.event_id`
	selectHeads   = `SELECT ` + pendingColumns + ` FROM (SELECT * FROM pending WHERE callback_no = $1 AND holds_until > $2 ORDER BY holds_until LIMIT $3) p` + pendingEvent + ` ORDER BY p.holds_until, p.event_id`
	// What follows the head of a lane is nearly all pending, so the session's
	// events are walked, and the queue needs no index by session.
	selectLanes = `SELECT callback_no, event_id, session, sequence, test, attempts, step, manual, first_failed_at, due, holds_until, replay, deliver_at, expires_at, key_no, type, owed,
			CASE WHEN sum(octet_length(data)) OVER (ORDER BY i, event_id ROWS UNBOUNDED PRECEDING) - octet_length(data) < $6 THEN data END
		FROM unnest($3::text[], $4::bigint[]) WITH ORDINALITY AS o (lane, after, i)
		CROSS JOIN LATERAL (SELECT ` + pendingColumns + `, e.key_no, e.type, e.owed, e.data
			FROM (SELECT * FROM events WHERE key_no = $2 AND session = o.lane AND id > o.after ORDER BY id) e
			CROSS JOIN LATERAL (SELECT * FROM pending WHERE callback_no = $1 AND event_id = e.id AND due IS NULL LIMIT 1) p LIMIT $5) d
		ORDER BY i, event_id`
	// For each callback the events of the session are walked back to the first that is
	// pending, and not further than the callback's oldest pending delivery.
	selectEarlier = `SELECT i, d.* FROM unnest($2::text[], $3::bigint[]) WITH ORDINALITY AS o (lane, before, i)
		CROSS JOIN LATERAL (SELECT no FROM callbacks WHERE key_no = $1 AND deleted_at IS NULL AND session IS NULL
			UNION ALL SELECT no FROM callbacks WHERE key_no = $1 AND session = o.lane AND session IS NOT NULL AND deleted_at IS NULL) c
		CROSS JOIN LATERAL (SELECT ` + pendingColumns + `
			FROM (SELECT * FROM events WHERE key_no = $1 AND session = o.lane AND id < o.before
				AND id >= (SELECT min(event_id) FROM pending WHERE callback_no = c.no) ORDER BY id DESC) e
			CROSS JOIN LATERAL (SELECT * FROM pending WHERE callback_no = c.no AND event_id = e.id
				AND (due IS NULL OR holds_until > $4) AND (expires_at IS NULL OR expires_at > $4) LIMIT 1) p
			ORDER BY e.id DESC LIMIT 1) d
		ORDER BY i, d.event_id, d.callback_no`
)

// Earlier is part of [store.Queue].
func (s *Store) Earlier(ctx context.Context, r callbackd.EarlierRead) (all [][]callbackd.Delivery, err error) {
	sessions, before := make([]string, len(r.Before)), make([]int64, len(r.Before))
	for i, b := range r.Before {
		sessions[i], before[i] = b.Session, int64(b.Event)
	}
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		all = make([][]callbackd.Delivery, len(r.Before))
		return each(ctx, conn, selectEarlier, func(row pgx.CollectableRow) error {
			var i int64
			var p pendingRow
			err := row.Scan(append([]any{&i}, p.into()...)...)
			if err == nil {
				all[i-1] = append(all[i-1], p.delivery())
			}
			return err
		}, int64(r.Key), sessions, before, millis(r.At))
	})
	return all, err
}

// Pending is part of [store.Queue].
func (s *Store) Pending(ctx context.Context, r callbackd.PendingRead) (ds []callbackd.Delivery, next time.Time, err error) {
	switch r.Source {
	case callbackd.Retries:
		ds, err = s.deliveries(ctx, r.Callback, selectRetries, r.Limit+1)
	case callbackd.Replays:
		ds, err = s.deliveries(ctx, r.Callback, selectReplays, r.Limit+1)
	case callbackd.Heads:
		ds, err = s.deliveries(ctx, r.Callback, selectHeads, millis(r.At), r.Limit)
		return ds, next, err
	default:
		ds, err = s.firstAttempts(ctx, r)
		return ds, next, err
	}
	ds, next = core.DueBy(ds, r.At, r.Limit)
	return ds, next, err
}

// firstAttempts returns first attempts with their events, of all sessions or lane by
// lane.
func (s *Store) firstAttempts(ctx context.Context, r callbackd.PendingRead) ([]callbackd.Delivery, error) {
	cb, err := s.CallbackByID(ctx, r.Callback)
	if err != nil || cb.Deleted() {
		return nil, err
	}
	if r.Lanes == nil {
		return s.withEvents(ctx, selectFirstAttempts, int64(r.Callback), int64(r.After), r.Limit, store.MaxEventDataPerRead)
	}
	sessions, afters := make([]string, len(r.Lanes)), make([]int64, len(r.Lanes))
	for i, c := range r.Lanes {
		sessions[i], afters[i] = c.Session, int64(c.After)
	}
	return s.withEvents(ctx, selectLanes, int64(r.Callback), int64(cb.Key), sessions, afters, r.Limit, store.MaxEventDataPerRead)
}

// withEvents reads first attempts with their events.
func (s *Store) withEvents(ctx context.Context, sql string, args ...any) (ds []callbackd.Delivery, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		ds = nil
		return each(ctx, conn, sql, func(row pgx.CollectableRow) error {
			var r pendingRow
			var ev eventRow
			var data []byte
			if err := row.Scan(r.into(&ev.key, &ev.typ, &ev.targets, &data)...); err != nil {
				return err
			}
			d := r.delivery()
			if data != nil {
				ev.id, ev.session, ev.sequence, ev.test = r.event, r.session, r.sequence, r.test
				var err error
				if d.Event, err = ev.event(s.EventTypes, data); err != nil {
					return err
				}
			}
			ds = append(ds, d)
			return nil
		}, args...)
	})
	return ds, err
}

// makeDueNext makes the next pending rows of a callback due. It skips a row that is being
// recorded: its outcome decides.
const makeDueNext = `WITH next AS MATERIALIZED (SELECT event_id, ctid AS place, due > $3 AND (replay = 0 AND (attempts > 0 OR manual) OR first_failed_at IS NOT NULL) AS waits FROM pending
		WHERE callback_no = $1 AND event_id > $2 ORDER BY event_id LIMIT $4),
	free AS MATERIALIZED (SELECT p.place FROM next CROSS JOIN LATERAL (SELECT ctid AS place FROM pending WHERE callback_no = $1 AND event_id = next.event_id AND due > $3 FOR UPDATE SKIP LOCKED) p WHERE next.waits),
	moved AS (UPDATE pending SET due = $3 WHERE ctid = ANY (ARRAY (SELECT place FROM free)) RETURNING 1)
	SELECT coalesce(max(event_id), 0), count(*), (SELECT count(*) FROM moved) FROM next`

// MakeDue is part of [store.Queue].
func (s *Store) MakeDue(ctx context.Context, cb callbackd.CallbackID, at time.Time, limit int) (moved int, done bool, err error) {
	err = s.change(ctx, true, func(ctx context.Context, tx pgx.Tx) error {
		moved, done = 0, true
		var after, last int64
		var seen int
		err := tx.QueryRow(ctx, "SELECT release_after FROM callbacks WHERE no = $1 AND release_after IS NOT NULL FOR UPDATE", int64(cb)).Scan(&after)
		if err == pgx.ErrNoRows {
			return nil
		}
		if err == nil {
			err = tx.QueryRow(ctx, makeDueNext, int64(cb), after, millis(at), limit).Scan(&last, &seen, &moved)
		}
		if err != nil {
			return err
		}
		// This needs no revision: a node that still considers the callback releasing
		// finds no rows.
		next := &last
		if done = seen < limit; done {
			next = nil
		}
		_, err = tx.Exec(ctx, "UPDATE callbacks SET release_after = $2 WHERE no = $1", int64(cb), next)
		return err
	})
	if done {
		s.DropCallbacks(cb)
	}
	return moved, done, err
}

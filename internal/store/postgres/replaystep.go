package postgres

import (
	"context"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"

	"github.com/jackc/pgx/v5"
)

// StepReplay is part of [store.Replays]. The replay's row is locked, so that
// of several nodes one makes a step at a time.
func (s *Store) StepReplay(ctx context.Context, id callbackd.ReplayID, at time.Time) (store.ReplayStep, error) {
	var step *replayStep
	err := s.change(ctx, false, func(ctx context.Context, tx pgx.Tx) error {
		step = &replayStep{tx: tx, at: at}
		return step.run(ctx, id)
	})
	if err != nil {
		return store.ReplayStep{}, err
	}
	return step.ReplayStep, nil
}

// replayStep is one step of a replay within a transaction.
type replayStep struct {
	store.ReplayStep
	tx     pgx.Tx
	at     time.Time
	replay *callbackd.Replay
	done   callbackd.ReplayProgress
}

func (r *replayStep) run(ctx context.Context, id callbackd.ReplayID) (err error) {
	if r.replay, err = replay(ctx, r.tx, 0, id, " FOR UPDATE"); err != nil {
		return err
	}
	r.State = r.replay.State
	ok, next := r.replay.CanStep(r.at)
	if r.Next = next; !ok {
		return nil
	}
	if err := r.parts(ctx); err != nil {
		return err
	}
	if !r.replay.Advance(r.done, r.at) {
		return nil
	}
	r.State, r.Next = r.replay.State, r.replay.NextDue
	if r.State.Ended() {
		if err := forgetSet(ctx, r.tx, id); err != nil {
			return err
		}
	}
	_, err = r.tx.Exec(ctx, "UPDATE replays SET due = $2, skipped = $3, created = $4, next_due = $5, state = $6, ended_at = $7 WHERE id = $1",
		int64(id), r.replay.Due, r.replay.Skipped, r.replay.Created, nullMillis(r.replay.NextDue), string(r.State), nullMillis(r.replay.EndedAt))
	return err
}

// part is the share of a replay that goes to one callback.
type part struct {
	callbackd.ReplayPart
	take int64 // of it, in this step
}

const selectParts = `SELECT o.callback_no, o.total, o.done, u.n, c.over
	FROM (SELECT callback_no, total, done FROM replay_parts WHERE replay_id = $1 AND done < total ORDER BY callback_no) o
	CROSS JOIN LATERAL (SELECT count(*) AS n FROM (SELECT 1 FROM pending WHERE replay = $1 AND replay <> 0 AND callback_no = o.callback_no AND first_failed_at IS NULL LIMIT $2) f LIMIT 1) u
	CROSS JOIN LATERAL (SELECT c.deleted_at IS NOT NULL OR k.revoked_at IS NOT NULL AS over FROM callbacks c JOIN keys k ON k.no = c.key_no WHERE c.no = o.callback_no LIMIT 1) c`

// parts takes from each part what the step may take.
func (r *replayStep) parts(ctx context.Context) error {
	rows, err := r.tx.Query(ctx, selectParts, int64(r.replay.ID), callbackd.ReplayWindow)
	if err != nil {
		return err
	}
	open, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p callbackd.ReplayPart, err error) {
		err = row.Scan((*int64)(&p.Callback), &p.Total, &p.Done, &p.Untried, &p.Ended)
		return p, err
	})
	if err != nil {
		return err
	}
	parts := make([]part, len(open))
	for i, n := range r.replay.Divide(open) {
		if parts[i] = (part{open[i], n}); open[i].Ended {
			r.done.Taken += n
			r.done.Skipped += n
		}
	}
	if err := r.makeDue(ctx, parts); err != nil {
		return err
	}
	var b pgx.Batch
	for _, p := range parts {
		if p.take > 0 {
			b.Queue("UPDATE replay_parts SET done = done + $3 WHERE replay_id = $1 AND callback_no = $2", int64(r.replay.ID), int64(p.Callback), p.take)
		}
	}
	return r.tx.SendBatch(ctx, &b).Close()
}

const selectChunks = `SELECT e.callback_no, e.chunk, e.ids FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS o (callback_no, first, last)
	CROSS JOIN LATERAL (SELECT callback_no, chunk, ids FROM replay_events WHERE replay_id = $1 AND callback_no = o.callback_no AND chunk BETWEEN o.first AND o.last ORDER BY chunk) e`

// slices reads what the parts take of the set, in order.
func (r *replayStep) slices(ctx context.Context, parts []part) (ids []callbackd.DeliveryID, err error) {
	var nos, firsts, lasts []int64
	taking := map[callbackd.CallbackID]*part{}
	want := int64(0)
	for i := range parts {
		p := &parts[i]
		if p.Ended || p.take == 0 {
			continue
		}
		first, last := codec.ChunksOf(p.Done, p.take)
		nos, firsts, lasts = append(nos, int64(p.Callback)), append(firsts, first), append(lasts, last)
		taking[p.Callback] = p
		want += p.take
	}
	if want == 0 {
		return nil, nil
	}
	err = each(ctx, r.tx, selectChunks, func(row pgx.CollectableRow) error {
		var no, chunk int64
		var raw []byte
		if err := row.Scan(&no, &chunk, &raw); err != nil {
			return err
		}
		p := taking[callbackd.CallbackID(no)]
		for _, ev := range codec.AppendSlice(nil, chunk, raw, p.Done, p.take) {
			ids = append(ids, callbackd.DeliveryID{Event: ev, Callback: p.Callback})
		}
		return nil
	}, int64(r.replay.ID), nos, firsts, lasts)
	if err == nil && int64(len(ids)) != want {
		err = codec.ErrSet
	}
	return ids, err
}

// The statements that make deliveries due. The events are locked, so that
// they are not removed meanwhile.
const (
	selectDueable = `SELECT o.i, e.session, e.sequence, e.owed, p.it IS NOT NULL, coalesce(a.n, 0)
		FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS o (callback_no, event_id, i)
		CROSS JOIN LATERAL (SELECT session, sequence, owed FROM events WHERE id = o.event_id FOR SHARE) e
		LEFT JOIN LATERAL (SELECT 1 AS it FROM pending WHERE callback_no = o.callback_no AND event_id = o.event_id LIMIT 1) p ON true
		LEFT JOIN LATERAL (SELECT n FROM attempts WHERE event_id = o.event_id AND callback_no = o.callback_no ORDER BY n DESC LIMIT 1) a ON true ORDER BY o.i`
	insertLater = "INSERT INTO owed_later (callback_no, event_id) SELECT * FROM unnest($1::bigint[], $2::bigint[]) ON CONFLICT DO NOTHING"
	insertDue   = `INSERT INTO pending (callback_no, event_id, attempts, step, manual, due, replay)
		SELECT a, b, c, 0, true, d, $5::bigint FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::bigint[]) AS o (a, b, c, d)
		ON CONFLICT DO NOTHING RETURNING callback_no, event_id`
	hastenDue = `UPDATE pending SET step = 0, manual = true, due = $3, first_failed_at = NULL, holds_until = NULL, replay = $4
		WHERE callback_no = $1 AND event_id = $2 AND due > $3 AND replay = 0 RETURNING attempts`
)

// makeDue makes what the parts take due, and creates what does not exist. One
// that waits already and one whose event is gone are skipped.
func (r *replayStep) makeDue(ctx context.Context, parts []part) error {
	ids, err := r.slices(ctx, parts)
	if err != nil || len(ids) == 0 {
		return err
	}
	callbacks, events := split(ids)
	var due, waiting []callbackd.Delivery
	var later []callbackd.DeliveryID
	err = each(ctx, r.tx, selectDueable, func(row pgx.CollectableRow) error {
		var i, sequence int64
		var session string
		var owed []byte
		var waits bool
		var attempts int
		if err := row.Scan(&i, &session, &sequence, &owed, &waits, &attempts); err != nil || waits && !r.replay.Filter.Hastens() {
			return err
		}
		id := ids[i-1]
		if waits {
			waiting = append(waiting, callbackd.Delivery{ID: id, Session: session, Sequence: sequence, Manual: true, Replay: r.replay.ID})
			return nil
		}
		if !slices.Contains(codec.Owed(owed), id.Callback) {
			later = append(later, id)
		}
		due = append(due, callbackd.Delivery{ID: id, Session: session, Sequence: sequence, Attempts: attempts, Manual: true, Replay: r.replay.ID, Due: r.dueAt(len(due))})
		return nil
	}, callbacks, events)
	if err == nil && len(later) > 0 {
		callbacks, events := split(later)
		tag, err2 := r.tx.Exec(ctx, insertLater, callbacks, events)
		r.done.Created, err = tag.RowsAffected(), err2
	}
	if err == nil && len(due) > 0 {
		err = r.insertDue(ctx, due)
	}
	if err == nil && len(waiting) > 0 {
		err = r.hasten(ctx, waiting)
	}
	r.done.Taken += int64(len(ids))
	r.done.Skipped += int64(len(ids) - len(r.Due))
	return err
}

// dueAt returns when the n-th delivery of the step is due.
func (r *replayStep) dueAt(n int) time.Time {
	return r.replay.DueAt(r.at, int64(n)).UTC().Truncate(time.Millisecond)
}

// hasten makes due those of the deliveries that wait for a later time.
func (r *replayStep) hasten(ctx context.Context, waiting []callbackd.Delivery) error {
	var p pipeline
	for i, d := range waiting {
		d.Due = r.dueAt(len(r.Due) + i)
		p.add(hastenDue, func(row pgx.CollectableRow) error {
			var attempts int32
			err := row.Scan(&attempts)
			d.Attempts = int(attempts)
			r.Due = append(r.Due, d)
			return err
		}, int64(d.ID.Callback), int64(d.ID.Event), millis(d.Due), int64(r.replay.ID))
	}
	return p.run(ctx, r.tx.Conn())
}

func (r *replayStep) insertDue(ctx context.Context, due []callbackd.Delivery) error {
	callbacks, events, times, attempts := make([]int64, len(due)), make([]int64, len(due)), make([]int64, len(due)), make([]int32, len(due))
	for i, d := range due {
		callbacks[i], events[i], times[i], attempts[i] = int64(d.ID.Callback), int64(d.ID.Event), millis(d.Due), int32(d.Attempts)
	}
	made := map[callbackd.DeliveryID]bool{}
	err := each(ctx, r.tx, insertDue, func(row pgx.CollectableRow) error {
		var no, event int64
		err := row.Scan(&no, &event)
		made[callbackd.DeliveryID{Event: callbackd.EventID(event), Callback: callbackd.CallbackID(no)}] = true
		return err
	}, callbacks, events, attempts, times, int64(r.replay.ID))
	for _, d := range due {
		if made[d.ID] {
			r.Due = append(r.Due, d)
		}
	}
	return err
}

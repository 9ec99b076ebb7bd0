package postgres

import (
	"context"

	"callbackd"

	"github.com/jackc/pgx/v5"
)

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

// selectStands reads where deliveries stand: from the row of the queue, or
// else from the last of the attempts.
const selectStands = `SELECT o.i, p.attempts, p.due, p.manual, p.replay, p.first_failed_at, a.n, a.version, a.state
	FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS o (callback_no, event_id, i)
	LEFT JOIN LATERAL (SELECT attempts, due, manual, replay, first_failed_at FROM pending WHERE callback_no = o.callback_no AND event_id = o.event_id LIMIT 1) p ON true
	LEFT JOIN LATERAL (SELECT n, version, state FROM attempts WHERE event_id = o.event_id AND callback_no = o.callback_no ORDER BY n DESC LIMIT 1) a ON true`

// stands is where the deliveries stand; the state of one that does not exist
// is empty.
func stands(ctx context.Context, q querier, ids []callbackd.DeliveryID, ended func(callbackd.CallbackID) bool) ([]callbackd.DeliveryState, error) {
	callbacks, events := split(ids)
	rows, err := q.Query(ctx, selectStands, callbacks, events)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := make([]callbackd.DeliveryState, len(ids))
	for rows.Next() {
		var i int64
		var attempts, n *int32
		var due, version, replay, first *int64
		var manual *bool
		var state *string
		if err := rows.Scan(&i, &attempts, &due, &manual, &replay, &first, &n, &version, &state); err != nil {
			return nil, err
		}
		var of callbackd.DeliveryRows
		if attempts != nil {
			of.Pending = &callbackd.Delivery{ID: ids[i-1], Attempts: int(*attempts), Due: fromNullMillis(due), Manual: *manual, Replay: callbackd.ReplayID(*replay), FirstFailedAt: fromNullMillis(first)}
		}
		if n != nil {
			of.Last = callbackd.AttemptRow{Number: int(*n), Version: *version, State: callbackd.State(*state)}
		}
		out[i-1] = callbackd.StateOf(of, ended(ids[i-1].Callback))
	}
	return out, rows.Err()
}

// split turns ids into the arrays of a statement.
func split(ids []callbackd.DeliveryID) (callbacks, events []int64) {
	callbacks, events = make([]int64, len(ids)), make([]int64, len(ids))
	for i, id := range ids {
		callbacks[i], events[i] = int64(id.Callback), int64(id.Event)
	}
	return callbacks, events
}

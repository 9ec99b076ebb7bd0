package postgres

import (
	"context"
	"fmt"

	"callbackd"
	"callbackd/internal/store/codec"

	"github.com/jackc/pgx/v5"
)

// keepLastErrors and dropLastErrors are parts of the statement of record. It has the
// outcomes in recorded; error is 0 for a success.
const (
	keepLastErrors = `erred AS (INSERT INTO last_errors AS l (event_id, callback_no, error) SELECT event_id, callback_no, error FROM recorded WHERE error <> 0
			ON CONFLICT (event_id, callback_no) DO UPDATE SET error = excluded.error)`
	dropLastErrors = `cured AS (DELETE FROM last_errors WHERE ctid = ANY (ARRAY (SELECT l.place FROM (SELECT * FROM recorded WHERE error = 0 AND n > 1) f
			CROSS JOIN LATERAL (SELECT ctid AS place FROM last_errors WHERE event_id = f.event_id AND callback_no = f.callback_no LIMIT 1) l)))`
)

// lastErrorNumber returns the value of error in the statement of record.
func lastErrorNumber(a *callbackd.Attempt, state callbackd.State) int64 {
	e, none := codec.LastErrorOf(a, state)
	if none {
		return 0
	}
	return e.Number()
}

// selectLastAttempts reads the beginning of the last attempt of each delivery, which has
// what lists show.
var selectLastAttempts = fmt.Sprintf(`SELECT o.callback_no, o.event_id, a.n, a.version, a.state, a.head FROM unnest($1::bigint[], $2::bigint[]) AS o (callback_no, event_id)
	CROSS JOIN LATERAL (SELECT n, version, state, substring(detail FROM 1 FOR %d) AS head FROM attempts WHERE event_id = o.event_id AND callback_no = o.callback_no AND version > 0 ORDER BY n DESC LIMIT 1) a`, codec.HeadBytes)

// lastAttempts returns the last attempts of deliveries, without headers and
// bodies.
func lastAttempts(ctx context.Context, q querier, ids []callbackd.DeliveryID) (map[callbackd.DeliveryID]*callbackd.Attempt, error) {
	out := make(map[callbackd.DeliveryID]*callbackd.Attempt, len(ids))
	if len(ids) == 0 {
		return out, nil
	}
	callbacks, events := split(ids)
	return out, each(ctx, q, selectLastAttempts, func(row pgx.CollectableRow) error {
		var no, event int64
		var n int32
		var state string
		var head []byte
		a := &callbackd.Attempt{}
		err := row.Scan(&no, &event, &n, &a.Version, &state, &head)
		if err == nil {
			err = damaged(codec.ReadHead(head, a))
		}
		a.Number, a.State = int(n), callbackd.State(state)
		out[callbackd.DeliveryID{Event: callbackd.EventID(event), Callback: callbackd.CallbackID(no)}] = a
		return err
	}, callbacks, events)
}

// The statements that read deliveries whose last attempt may have failed, page by page.
const (
	selectEndedForErrors   = "SELECT callback_no, event_id FROM attempts WHERE state = %s AND (callback_no, event_id) > ($1, $2) ORDER BY callback_no, event_id LIMIT 1000"
	selectPendingForErrors = "SELECT callback_no, event_id FROM pending WHERE attempts > 0 AND (callback_no, event_id) > ($1, $2) ORDER BY callback_no, event_id LIMIT 1000"
	fillErrors             = "INSERT INTO last_errors (event_id, callback_no, error) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) ON CONFLICT (event_id, callback_no) DO NOTHING"
)

// fillLastErrors stores the last errors of a database from before there was a table for
// them: those of deliveries that failed, were canceled or are pending.
func fillLastErrors(ctx context.Context, tx pgx.Tx) error {
	for _, sql := range []string{fmt.Sprintf(selectEndedForErrors, "'failed'"), fmt.Sprintf(selectEndedForErrors, "'canceled'"), selectPendingForErrors} {
		for last := (callbackd.DeliveryID{}); ; {
			var ids []callbackd.DeliveryID
			err := each(ctx, tx, sql, func(row pgx.CollectableRow) error {
				err := row.Scan((*int64)(&last.Callback), (*int64)(&last.Event))
				ids = append(ids, last)
				return err
			}, int64(last.Callback), int64(last.Event))
			if err != nil {
				return err
			}
			if len(ids) == 0 {
				break
			}
			if err := fillPage(ctx, tx, ids); err != nil {
				return err
			}
		}
	}
	return nil
}

// fillPage stores the last errors of a page of deliveries.
func fillPage(ctx context.Context, tx pgx.Tx, ids []callbackd.DeliveryID) error {
	last, err := lastAttempts(ctx, tx, ids)
	if err != nil {
		return err
	}
	var events, callbacks, numbers []int64
	for id, a := range last {
		if number := lastErrorNumber(a, a.State); number != 0 {
			events, callbacks, numbers = append(events, int64(id.Event)), append(callbacks, int64(id.Callback)), append(numbers, number)
		}
	}
	_, err = tx.Exec(ctx, fillErrors, events, callbacks, numbers)
	return err
}

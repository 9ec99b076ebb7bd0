package core

import (
	"callbackd"
	"callbackd/internal/store/codec"
)

// fillChunk is how many deliveries FillLastErrors looks at in one statement.
const fillChunk = 1000

// FillLastErrors finds the last errors of a database that was written before
// they were stored: those of deliveries that failed, were canceled, or wait. It
// is part of the migration that adds their table.
func FillLastErrors(tx Tx, d *Dialect) error {
	for _, rows := range []string{
		"attempts WHERE state = 'failed' AND state IN ('failed', 'canceled')",
		"attempts WHERE state = 'canceled' AND state IN ('failed', 'canceled')",
		"pending WHERE attempts > 0",
	} {
		for last := (callbackd.DeliveryID{}); ; {
			var ids []callbackd.DeliveryID
			err := tx.Query("SELECT callback_no, event_id FROM "+rows+" AND (callback_no, event_id) > ($1, $2) ORDER BY callback_no, event_id LIMIT $3", func(row Row) error {
				err := row.Scan(&last.Callback, &last.Event)
				ids = append(ids, last)
				return err
			}, last.Callback, last.Event, fillChunk)
			if err == nil {
				err = fillLastErrorsOf(tx, d, ids)
			}
			if err != nil {
				return err
			}
			if len(ids) < fillChunk {
				break
			}
		}
	}
	return nil
}

// fillLastErrorsOf stores the last errors of some deliveries.
func fillLastErrorsOf(tx Tx, d *Dialect, ids []callbackd.DeliveryID) error {
	last, err := d.lastAttempts(tx, ids)
	if err != nil {
		return err
	}
	var rows [][]any
	for id, a := range last {
		if e, none := codec.LastErrorOf(a, a.State); !none {
			rows = append(rows, []any{id.Event, id.Callback, e.Number()})
		}
	}
	return tx.Batch("INSERT INTO last_errors (event_id, callback_no, error) VALUES ($1, $2, $3) ON CONFLICT (event_id, callback_no) DO NOTHING", nil, rows)
}

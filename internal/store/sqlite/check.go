package sqlite

import (
	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/core"
)

// Audit is part of [core.Driver]. It checks the file, the two indexes of events that are
// tables, and the columns that pending rows copy from their events.
func (d seam) Audit(tx core.Tx, report *store.Report) (flushed callbackd.EventID, err error) {
	err = tx.Query("PRAGMA quick_check(10)", func(row core.Row) error {
		var text string
		err := row.Scan(&text)
		if text != "ok" {
			report.Fault("the database file is damaged: %s", text)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	if flushed, err = d.FlushedUpTo(tx); err != nil {
		return 0, err
	}
	err = tx.Query(`SELECT id, n FROM (SELECT id,
			(SELECT count(*) FROM key_events k WHERE k.key_no = e.key_no AND k.id = e.id) +
			(SELECT count(*) FROM session_events s WHERE s.key_no = e.key_no AND s.session = e.session AND s.sequence = e.sequence AND s.id = e.id) AS n
		FROM events e WHERE id <= $1) WHERE n <> 2`, func(row core.Row) error {
		var id callbackd.EventID
		var n int
		err := row.Scan(&id, &n)
		report.Fault("event %s is in %d of the 2 indexes", id, n)
		return err
	}, flushed)
	if err != nil {
		return 0, err
	}
	return flushed, tx.Query(`SELECT p.event_id, p.callback_no FROM pending p CROSS JOIN events e ON e.id = p.event_id
		WHERE p.session <> e.session OR p.sequence <> e.sequence`, func(row core.Row) error {
		var id callbackd.DeliveryID
		err := row.Scan(&id.Event, &id.Callback)
		report.Fault("the pending row of delivery %s has another session or sequence than its event", id)
		return err
	})
}

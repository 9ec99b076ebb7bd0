package sqlite

import (
	"callbackd"

	"github.com/ncruces/go-sqlite3"
)

// indexedColumns is eventColumns of an event that was found by an index.
const indexedColumns = "e.id, e.key_no, e.type, e.session, e.sequence, e.test, e.owed, e.accepted_at"

// ignoreStop returns err, or nil when it is the one that ends a query early.
func ignoreStop(err, enough error) error {
	if err == enough {
		return nil
	}
	return err
}

// stand reads where a delivery that is owed stands. Without any row it is
// unflushed: it has been pending since its event was accepted.
func (d *db) stand(id callbackd.DeliveryID, ended bool) (callbackd.DeliveryState, error) {
	var rows callbackd.DeliveryRows
	err := d.query("SELECT attempts, due, manual, replay, first_failed_at FROM pending WHERE callback_no = ? AND event_id = ?", func(st *sqlite3.Stmt) error {
		rows.Pending = &callbackd.Delivery{ID: id, Attempts: st.ColumnInt(0), Due: columnTime(st, 1), Manual: st.ColumnBool(2), Replay: callbackd.ReplayID(st.ColumnInt64(3)), FirstFailedAt: columnTime(st, 4)}
		return nil
	}, int64(id.Callback), int64(id.Event))
	if err != nil {
		return callbackd.DeliveryState{}, err
	}
	err = d.query("SELECT n, version, state FROM attempts WHERE event_id = ? AND callback_no = ? ORDER BY n DESC LIMIT 1", func(st *sqlite3.Stmt) error {
		rows.Last = callbackd.AttemptRow{Number: st.ColumnInt(0), Version: st.ColumnInt64(1), State: callbackd.State(st.ColumnText(2))}
		return nil
	}, int64(id.Event), int64(id.Callback))
	if rows.Pending == nil && rows.Last.Number == 0 {
		rows.Pending = &callbackd.Delivery{ID: id}
	}
	return callbackd.StateOf(rows, ended), err
}

// addLater adds to an event what it came to be owed after it was accepted.
func (d *db) addLater(ev *callbackd.Event) error {
	return d.query("SELECT callback_no FROM owed_later WHERE event_id = ? ORDER BY callback_no", func(st *sqlite3.Stmt) error {
		ev.Targets = append(ev.Targets, callbackd.CallbackID(st.ColumnInt64(0)))
		return nil
	}, int64(ev.ID))
}

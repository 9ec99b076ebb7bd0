package sqlite

import (
	"callbackd"
	"callbackd/internal/store/codec"

	"github.com/ncruces/go-sqlite3"
)

// keepLastError stores how attempt n of a delivery failed. After a success it removes what
// was stored for the attempts before. A first attempt that succeeds writes nothing.
func (t *tx) keepLastError(id callbackd.DeliveryID, n int64, a *callbackd.Attempt, state callbackd.State) error {
	e, none := codec.LastErrorOf(a, state)
	if !none {
		return t.query("INSERT OR REPLACE INTO last_errors (event_id, callback_no, error) VALUES (?, ?, ?)", nil, int64(id.Event), int64(id.Callback), e.Number())
	}
	if n == 1 {
		return nil
	}
	return t.query("DELETE FROM last_errors WHERE event_id = ? AND callback_no = ?", nil, int64(id.Event), int64(id.Callback))
}

// lastAttempt returns the last attempt of a delivery without headers and body;
// nil when there is none.
func (d *db) lastAttempt(id callbackd.DeliveryID) (a *callbackd.Attempt, err error) {
	err = d.query("SELECT n, version, state, detail FROM attempts WHERE event_id = ? AND callback_no = ? AND version > 0 ORDER BY n DESC LIMIT 1", func(st *sqlite3.Stmt) error {
		a = &callbackd.Attempt{Number: st.ColumnInt(0), Version: st.ColumnInt64(1)}
		a.State = callbackd.State(st.ColumnText(2))
		return codec.ReadHead(st.ColumnRawBlob(3), a)
	}, int64(id.Event), int64(id.Callback))
	return a, err
}

// fillLastErrors stores the last errors of a database from before there was a table for
// them: those of deliveries that failed, were canceled or are pending.
func fillLastErrors(d *db) error {
	fill := func(st *sqlite3.Stmt) error {
		id := callbackd.DeliveryID{Event: callbackd.EventID(st.ColumnInt64(0)), Callback: callbackd.CallbackID(st.ColumnInt64(1))}
		a, err := d.lastAttempt(id)
		if err != nil || a == nil {
			return err
		}
		return (&tx{db: d}).keepLastError(id, 1, a, a.State)
	}
	if err := d.query("SELECT event_id, callback_no FROM attempts WHERE state IN ('failed', 'canceled')", fill); err != nil {
		return err
	}
	return d.query("SELECT p.event_id, p.callback_no FROM callbacks c CROSS JOIN pending p ON p.callback_no = c.no WHERE p.attempts > 0", fill)
}

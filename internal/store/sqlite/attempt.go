package sqlite

import (
	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
	"slices"

	"github.com/ncruces/go-sqlite3"
)

// insertAttempt keeps an attempt, with the state its delivery has after it.
func (t *tx) insertAttempt(id callbackd.DeliveryID, n int64, a *callbackd.Attempt, state callbackd.State) error {
	t.scratch = codec.AppendAttempt(t.scratch[:0], a)
	return t.query("INSERT INTO attempts (event_id, callback_no, n, version, state, detail) VALUES (?, ?, ?, ?, ?, ?)", nil,
		int64(id.Event), int64(id.Callback), n, a.Version, string(state), t.scratch)
}

// history is every attempt of a delivery, oldest first.
func (d *db) history(id callbackd.DeliveryID, before int) (out []callbackd.Attempt, err error) {
	err = d.query("SELECT n, version, state, detail FROM attempts WHERE event_id = ? AND callback_no = ? AND version > 0 AND n < ? ORDER BY n DESC LIMIT ?", func(st *sqlite3.Stmt) error {
		a := callbackd.Attempt{Number: st.ColumnInt(0), Version: st.ColumnInt64(1)}
		a.State = callbackd.State(st.ColumnText(2))
		err := codec.ReadAttempt(st.ColumnRawBlob(3), &a)
		out = append(out, a)
		return err
	}, int64(id.Event), int64(id.Callback), before, store.MaxHistory)
	slices.Reverse(out)
	return out, err
}

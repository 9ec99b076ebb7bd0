package sqlite

import (
	"callbackd"
	"callbackd/internal/store/codec"
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

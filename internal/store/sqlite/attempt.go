package sqlite

import (
	"callbackd"
	"callbackd/internal/store/codec"
)

// insertAttempt stores an attempt, with the state that its delivery has after it.
func (t *tx) insertAttempt(id callbackd.DeliveryID, n int64, a *callbackd.Attempt, state callbackd.State) error {
	t.scratch = codec.AppendAttempt(t.scratch[:0], a)
	return t.query("INSERT INTO attempts (event_id, callback_no, n, version, state, detail) VALUES (?, ?, ?, ?, ?, ?)", nil,
		int64(id.Event), int64(id.Callback), n, a.Version, string(state), t.scratch)
}

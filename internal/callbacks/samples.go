package callbacks

import (
	"callbackd"
	"callbackd/internal/session"
	"callbackd/internal/store"
)

// Sample returns the event of a test-send. It is marked as a test, has complete data of
// the callback's event type, and the callback is its only target.
func Sample(cb *callbackd.Callback) store.NewEvent {
	return store.NewEvent{Type: cb.Event, Session: session.SampleKey, Data: session.Sample(cb.Event), OnlyTo: cb.ID}
}

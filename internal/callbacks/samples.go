package callbacks

import (
	"callbackd"
	"callbackd/internal/session"
	"callbackd/internal/store"
)

// Sample is the marked event that a test-send accepts: a whole one of the
// callback's type, owed to this callback alone.
func Sample(cb *callbackd.Callback) store.NewEvent {
	return store.NewEvent{Type: cb.Event, Session: session.SampleKey, Data: session.Sample(cb.Event), OnlyTo: cb.ID}
}

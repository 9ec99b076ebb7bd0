package callbacks

import (
	"time"

	"callbackd"
)

// Dispatcher is what the API and the console tell of the changes they have
// committed, and ask about deliveries under way. It is the engine of this
// process or, on a shared database, of the node that owns the callback.
type Dispatcher interface {
	// CallbackChanged makes the engines read a callback's setting again.
	CallbackChanged(callbackd.CallbackID)
	// ReplaysChanged says that a replay was created or changed.
	ReplaysChanged()
	// Resent says that a person resent a delivery: the store made it due.
	Resent(callbackd.Delivery)
	// Watch makes done ready when the next attempt of the delivery is recorded.
	// The caller must call stop in the end.
	Watch(callbackd.DeliveryID) (done <-chan struct{}, stop func())
	// Diagnosis returns what keeps the next delivery of a session to a callback
	// waiting.
	Diagnosis(id callbackd.CallbackID, session string, now time.Time) callbackd.Diagnosis
}

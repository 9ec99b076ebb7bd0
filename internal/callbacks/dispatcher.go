package callbacks

import (
	"time"

	"callbackd"
)

// Dispatcher passes changes that the API and the console have committed to the engine,
// and answers questions about deliveries in flight. The engine is that of this process
// or, on a shared database, of the node that owns the callback.
type Dispatcher interface {
	// CallbackChanged makes the engines read a callback's setting again.
	CallbackChanged(callbackd.CallbackID)
	// ReplaysChanged says that a replay was created or changed.
	ReplaysChanged()
	// Resent says that a person resent a delivery, which the store has made due.
	Resent(callbackd.Delivery)
	// Watch makes done ready when the next attempt of the delivery is recorded.
	// The caller must call stop in the end.
	Watch(callbackd.DeliveryID) (done <-chan struct{}, stop func())
	// Diagnosis returns what keeps the next delivery of a session to a callback
	// waiting.
	Diagnosis(id callbackd.CallbackID, session string, now time.Time) callbackd.Diagnosis
}

package store

import "callbackd"

// ErrStopping is the error of a command that comes when the store closes.
var ErrStopping = callbackd.Errorf(callbackd.KindUnavailable, "callbackd is stopping; try again")

// ErrOtherEvent is the error of an idempotency key that was used with other events
// before.
var ErrOtherEvent = callbackd.Errorf(callbackd.KindConflict, "this idempotency key was used with another body; use a new key for a new event")

// Busy returns the error of a command whose context ended before the store took the
// command. cause is the error of that context.
func Busy(cause error) error {
	return callbackd.Wrap(callbackd.KindUnavailable, cause, "the store is busy; try again")
}

// NotPending returns the error of an outcome for a delivery that is not pending.
func NotPending(id callbackd.DeliveryID) error {
	return callbackd.Errorf(callbackd.KindConflict, "delivery %s is not pending", id)
}

// NewerSchema returns the error of a database whose schema is newer than the one this
// program knows.
func NewerSchema(have, known int) error {
	return callbackd.Errorf(callbackd.KindSetting, "the database was written by a newer callbackd (schema %d, this one knows %d): run that version", have, known)
}

// NoCallback returns the error of a command for an event that has no such callback.
func NoCallback(ev callbackd.EventType) error {
	return callbackd.Errorf(callbackd.KindNotFound, "there is no callback for the event %s", ev)
}

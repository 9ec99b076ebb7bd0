package store

import (
	"context"

	"callbackd"
)

// EventTypes stores which types of events a platform has beside callbackd's own. Events and
// callbacks of another type are refused.
type EventTypes interface {
	// AddEventTypes stores the types that are not stored yet. None is ever removed, because
	// events have them.
	AddEventTypes(ctx context.Context, types []callbackd.EventType) error
}

// NoEventType is the error for a type that is neither callbackd's own nor was added.
func NoEventType(t callbackd.EventType) error {
	return callbackd.Invalid("There is no event %s. GET /v1/event-types lists all of them.", callbackd.Clip(string(t), 100))
}

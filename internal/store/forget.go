package store

import (
	"context"
	"time"

	"callbackd"
)

// Forgetting removes deleted callbacks and replaced settings that no stored event
// points at. Only the event and its attempts say what an event points at, so the
// events of a key are read from end to end, in pages.
type Forgetting interface {
	// Forgettable returns the keys that have callbacks that were deleted, or
	// settings that were replaced, before the time.
	Forgettable(ctx context.Context, before time.Time) ([]callbackd.KeyID, error)
	// Pointed reads up to limit events of a key with ids above after. It returns
	// what they point at and the id to go on from; done says that no event is
	// left. It returns settings only of callbacks that have had several.
	Pointed(ctx context.Context, key callbackd.KeyID, after callbackd.EventID, limit int) (to []Pointer, next callbackd.EventID, done bool, err error)
	// Forget removes up to limit callbacks and settings of a key that were
	// deleted or replaced before the time, and returns how many. It leaves those
	// that are pointed at, and callbacks with a replay or a pending delivery.
	Forget(ctx context.Context, key callbackd.KeyID, pointed map[Pointer]bool, before time.Time, limit int) (int, error)
}

// Pointer names what an event points at: a callback, or with a Version the
// setting that an attempt used.
type Pointer struct {
	Callback callbackd.CallbackID
	Version  int64
}

package store

import (
	"context"
	"time"

	"callbackd"
)

// Forgetting removes deleted callbacks and old versions of settings that no stored
// event refers to. Only an event and its attempts say what the event refers to, so all
// events of a key are read, in pages.
type Forgetting interface {
	// Forgettable returns the keys with callbacks that were deleted, or settings
	// that were replaced, before the time.
	Forgettable(ctx context.Context, before time.Time) ([]callbackd.KeyID, error)
	// Pointed reads up to limit events of a key with ids above after. It returns
	// what they refer to, and the after of the next call; done is true when no event
	// is left. It returns versions only of callbacks that have had several.
	Pointed(ctx context.Context, key callbackd.KeyID, after callbackd.EventID, limit int) (to []Pointer, next callbackd.EventID, done bool, err error)
	// Forget removes up to limit callbacks and settings of a key that were
	// deleted or replaced before the time, and returns how many. It does not remove
	// those in pointed, nor callbacks with a replay or a pending delivery.
	Forget(ctx context.Context, key callbackd.KeyID, pointed map[Pointer]bool, before time.Time, limit int) (int, error)
}

// Pointer names what an event refers to: a callback, or with a Version the setting that
// an attempt used.
type Pointer struct {
	Callback callbackd.CallbackID
	Version  int64
}

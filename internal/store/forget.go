package store

import (
	"context"
	"time"

	"callbackd"
)

// Forgetting removes what the events that are kept do not point at any more:
// deleted callbacks, and settings that were replaced. What an event points at
// is in the event and its attempts alone, so the events of a key are walked,
// in pages.
type Forgetting interface {
	// Forgettable returns the keys that have callbacks deleted, or settings
	// replaced, before the time.
	Forgettable(ctx context.Context, before time.Time) ([]callbackd.KeyID, error)
	// Pointed returns what up to limit events of a key after one of them
	// point at, and where to go on; done at the end. Settings are told of
	// callbacks that had more than one.
	Pointed(ctx context.Context, key callbackd.KeyID, after callbackd.EventID, limit int) (to []Pointer, next callbackd.EventID, done bool, err error)
	// Forget removes, of a key, up to limit callbacks that were deleted before
	// the time and settings that were replaced before it, unless they are
	// pointed at or a replay is of them. It returns how many.
	Forget(ctx context.Context, key callbackd.KeyID, pointed map[Pointer]bool, before time.Time, limit int) (int, error)
}

// Pointer is what an event points at: a callback, or with a Version the
// setting that an attempt was made with.
type Pointer struct {
	Callback callbackd.CallbackID
	Version  int64
}

package store

import (
	"context"

	"callbackd"
)

// Sealing keeps the secrets of a store sealed while the keys of its keyset are replaced.
type Sealing interface {
	// Keyset returns which keys are in use.
	Keyset() callbackd.Keyset
	// ReloadKeyset reads the keyset file again when it has changed, and reports whether
	// other keys are in use now. After an error the keys stay as they were.
	ReloadKeyset() (changed bool, err error)
	// WalkSealed does the next step of w. Other processes may use the store meanwhile.
	// What was changed since a step has read it is left as it is, and counted as it was.
	WalkSealed(ctx context.Context, w *SealedWalk) error
}

// SealedWalk is a walk over all secrets in a store, step by step. The zero value with
// Rows begins one.
type SealedWalk struct {
	Reseal bool // seal with the primary key what another one has sealed
	Rows   int  // that a step reads
	Count  bool // set Total in the first step

	// The store sets these.
	Sealed SealedCounts
	Total  int64 // secrets that there were in the first step
	Column int   // the column that is being read
	After  []any // the last row of it; nil at its start
	Done   bool  // there is no further step
}

// SealedCounts has the counts of a walk.
type SealedCounts struct {
	Secrets  int64
	ByKey    map[callbackd.SealingKey]int64 // by the key that had sealed them; 0: none that can be named
	Resealed int64
	Faults   []string // sentences about secrets that do not open; at most MaxFaults
	FaultN   int64    // how many there are
}

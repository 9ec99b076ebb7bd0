package callbackd

import "time"

// PendingCallback names a callback that has pending deliveries.
type PendingCallback struct {
	Key      KeyID // owns the callback
	Callback CallbackID
}

// Source is one of the orders in which the pending deliveries of a callback are read
// from the store.
type Source int

const (
	// FirstAttempts wait for their first attempt (Due is zero). They are read in the
	// order of acceptance, which is the order of sequence numbers within each session.
	FirstAttempts Source = iota
	// Retries are due by the retry schedule, or because a person resent them. They are
	// read soonest first.
	Retries
	// Replays belong to a replay, and so do their retries. They are read soonest first.
	Replays
	// Heads failed and block their lanes until HoldsUntil. They are read soonest
	// HoldsUntil first. They are retries or replays too.
	Heads
)

// PendingRead says which pending deliveries of a callback are read from a source.
type PendingRead struct {
	Callback CallbackID
	Source   Source
	// After is the event that first attempts follow; 0: read from the first one on.
	After EventID
	// Lanes limits the read to the first attempts of some sessions. They are read lane
	// by lane, each after its cursor, in place of After. No two of them may name the
	// same session. nil: read those of all sessions.
	Lanes []LaneCursor
	// At is the time by which retries and replays are due, and after which heads still
	// block their lanes.
	At time.Time
	// Limit is how many deliveries are read at most, of Lanes: of each lane.
	Limit int
}

// LaneCursor is a position in a lane. Reading goes on with the event after it.
type LaneCursor struct {
	Session string
	After   EventID // 0 at the beginning of the session
}

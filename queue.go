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

// EarlierRead asks for the deliveries of an API key that may have to go before others of
// their sessions.
type EarlierRead struct {
	Key KeyID
	// Before names the deliveries that others may have to go before: the session and the
	// event of each.
	Before []SessionEvent
	// At is the time after which a delivery that failed still blocks its lane.
	At time.Time
}

// SessionEvent is an event of a session.
type SessionEvent struct {
	Session string
	Event   EventID
}

// GivenOut is what a node remembers of a session whose sequence numbers it gives out.
type GivenOut struct {
	last  int64     // the last number that it gave out
	alone time.Time // since when no other node gave one out; zero: since the first
}

// OtherNodesDelay is how long after another node accepted an event its delivery may be
// unknown to the engine that delivers it: messages between nodes may be lost, and the
// store is read again within this time.
const OtherNodesDelay = 5 * time.Minute

// Next returns what the node remembers after it accepted ev. readLane says that another
// node may have accepted an event of the session that this node does not know: then it
// delivers ev only after it read the lane. The event before is not enough, because it may
// have gone to another callback.
func (g GivenOut) Next(ev EventID, sequence int64) (next GivenOut, readLane bool) {
	next = GivenOut{last: sequence, alone: g.alone}
	if g.last != sequence-1 {
		next.alone = ev.Time()
	}
	return next, ev.Time().Before(next.alone.Add(OtherNodesDelay))
}

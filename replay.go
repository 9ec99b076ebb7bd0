package callbackd

import (
	"slices"
	"strings"
	"time"
)

// ReplayID names a replay; like an event's id it holds the time it was made
// at and grows.
type ReplayID int64

// String is the id as the API writes it: "rpl_" and 13 digits of base32.
func (id ReplayID) String() string { return "rpl_" + encode63(int64(id)) }

// ParseReplayID reads what [ReplayID.String] writes.
func ParseReplayID(s string) (ReplayID, bool) {
	digits, ok := strings.CutPrefix(s, "rpl_")
	if !ok {
		return 0, false
	}
	n, ok := decode63(digits)
	return ReplayID(n), ok && n > 0
}

// ReplayState is where a replay stands.
type ReplayState string

// The states of a replay. The last two are ends.
const (
	ReplayRunning  ReplayState = "running"
	ReplayPaused   ReplayState = "paused"   // nothing more is made due until it is resumed
	ReplayDone     ReplayState = "done"     // everything was made due and has ended
	ReplayCanceled ReplayState = "canceled" // nothing more is made due
)

// Ended tells whether the replay makes nothing due any more.
func (s ReplayState) Ended() bool { return s == ReplayDone || s == ReplayCanceled }

// Limits of replays.
const (
	MaxReplay     = 1_000_000 // deliveries of one replay
	MaxReplays    = 20        // of one API key that have not ended
	MaxReplayRate = 10_000    // deliveries a second
)

// ReplayFilter chooses what a replay sends again. Zero members choose all.
//
// Without a target the set is deliveries to callbacks that are in force, of
// those that have ended unless States says otherwise. With one it is events, each sent to the target: those of the
// target's type, and when States or Callback is set, those with a delivery
// that fits.
type ReplayFilter struct {
	States   []State
	Type     EventType
	Callback CallbackID
	Session  string
	Since    time.Time // event accepted at or after
	Until    time.Time // event accepted before
	Target   CallbackID
}

// Hastens tells whether the replay makes due what waits for a later time: the
// set is what is pending, by name.
func (f *ReplayFilter) Hastens() bool { return f.Target == 0 && slices.Contains(f.States, Pending) }

// Replay is a lasting order to send a fixed set of deliveries again.
type Replay struct {
	ID        ReplayID
	Key       KeyID
	Filter    ReplayFilter
	Rate      float64 // deliveries made due a second; 0: as fast as they are taken
	State     ReplayState
	CreatedAt time.Time
	EndedAt   time.Time // zero: not yet

	Total int64 // the size of the set
	Due   int64 // of those, made due so far or skipped
	// Skipped were not made due: they waited already, and not for a later time
	// in a replay of what waits, or could not be sent any more (callback
	// deleted, event removed).
	Skipped int64
	Created int64 // deliveries that did not exist before
	// Outcomes so far of what was made due; what is missing is pending.
	Delivered, Failed, Canceled int64
}

// Pending is how many were made due and have not ended.
func (r *Replay) Pending() int64 {
	return r.Due - r.Skipped - r.Delivered - r.Failed - r.Canceled
}

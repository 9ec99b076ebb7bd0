package store

import (
	"context"
	"time"

	"callbackd"
)

// Upkeep has the steps of the background jobs, and the check of the whole database.
// A step is short: it looks at a limited number of rows, and the job repeats it.
type Upkeep interface {
	// FinalizeCanceled ends up to limit pending deliveries of deleted callbacks and
	// revoked keys as canceled, and returns how many.
	FinalizeCanceled(ctx context.Context, at time.Time, limit int) (int, error)
	// Expire ends up to limit pending deliveries that have expired by the time at, and
	// returns how many ended as expired. Those of deleted callbacks and revoked keys end
	// as canceled. more says that there may be more.
	Expire(ctx context.Context, at time.Time, limit int) (expired int, more bool, err error)
	// Sweep removes the events that q chooses and whose deliveries have all ended, with
	// their attempts and idempotency keys. The newest event of a session stays as long as
	// an earlier one does: its number must not be given to another event.
	Sweep(ctx context.Context, q Sweep) (Swept, error)
	// Prune removes up to limit rows of each kind that are older than p says, and
	// returns how many it removed.
	Prune(ctx context.Context, p Prune, limit int) (int, error)
	// Forgettable returns the keys with callbacks that were deleted, or settings
	// that were replaced, before the time.
	Forgettable(ctx context.Context, before time.Time) ([]callbackd.KeyID, error)
	// Forget does the next step of f, and returns how many callbacks and settings it
	// removed.
	Forget(ctx context.Context, f *Forget) (int, error)
	// SweepSessionCallbacks ends and removes callbacks that are for one session. It looks
	// at up to limit of them, with IDs above after. One that was created before the time,
	// and of whose session nothing is stored any more, neither the session nor an event,
	// ends at the time at; an hour later its rows are removed. next is the after of the
	// next call; done is true when none is left.
	SweepSessionCallbacks(ctx context.Context, before, at time.Time, after callbackd.CallbackID, limit int) (next callbackd.CallbackID, removed int, done bool, err error)
	// Check checks for the whole database that every delivery is in exactly one
	// state (guarantee 2 in docs/guarantees.md), and opens every secret. It returns the
	// counts of each callback and of each sealing key, and a sentence for each row
	// that breaks the rule or does not open.
	Check(ctx context.Context) (*Report, error)
}

// Sweep chooses the events that one step of retention looks at: up to Limit of them, with
// ids above After.
type Sweep struct {
	Key    callbackd.KeyID // only its events; 0 for those of all keys
	Before time.Time       // accepted before this time
	// Types has the time instead of Before for events of some types; only with Key. With Key
	// the zero time chooses no event.
	Types map[callbackd.EventType]time.Time
	After callbackd.EventID
	Limit int
	// Look returns the events that would be removed, and removes nothing.
	Look bool
	// Only, when it is not nil, names the events that may be removed, as a step with Look
	// has returned them. One that was attempted again since then stays.
	Only map[callbackd.EventID]int
}

// Latest returns the latest time before which q chooses events.
func (q *Sweep) Latest() time.Time {
	at := q.Before
	for _, t := range q.Types {
		if t.After(at) {
			at = t
		}
	}
	return at
}

// Chooses reports whether an event of q.Key was accepted early enough for its type.
func (q *Sweep) Chooses(ev *callbackd.Event) bool {
	before, ok := q.Types[ev.Type]
	if !ok {
		before = q.Before
	}
	return !before.IsZero() && ev.ID < callbackd.FirstEventID(before)
}

// Swept is what a step of retention did.
type Swept struct {
	Next    callbackd.EventID // After of the next step
	Done    bool              // no event is left
	Removed int
	// Events are those that would be removed, with the number of rows that their attempts
	// have; only with Look.
	Events map[callbackd.EventID]int
}

// Prune has the times before which rows of each kind are removed. Nothing is removed
// of a kind whose time is zero.
type Prune struct {
	Sessions time.Time // that ended before the time, with their notes
	Answers  time.Time // of idempotency keys
	Logs     time.Time
	Minutes  time.Time // buckets of statistics
	Hours    time.Time
	Replays  time.Time // that have ended
	Audit    time.Time // entries of the audit log
	// Incidents that were closed before the time. When it is not zero, those beyond
	// [callbackd.MaxClosedIncidents] of a key are removed too.
	Incidents time.Time
}

// Forget removes callbacks of a key that were deleted, and settings that were replaced,
// before a time, unless a stored event refers to them. Only an event and its attempts
// say what the event refers to. So the first steps read all events of the key, and the
// last ones remove what none of them refers to. They do not remove a callback with a
// replay or a pending delivery.
type Forget struct {
	Key    callbackd.KeyID
	Before time.Time
	Events int // how many events a step reads
	Rows   int // how many callbacks and settings a step removes

	// The store sets these.
	After callbackd.EventID // the last event that was read
	Used  map[Setting]bool  // what the events refer to
	Read  bool              // all events were read
	Done  bool              // there is no further step
}

// Setting names what an event refers to: a callback, or with a Version the setting that
// an attempt used.
type Setting struct {
	Callback callbackd.CallbackID
	Version  int64
}

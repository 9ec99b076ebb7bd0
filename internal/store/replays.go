package store

import (
	"context"
	"time"

	"callbackd"
)

// Replays stores replays and makes their deliveries due, or cancels them. A delivery that
// a replay made due is an ordinary pending delivery that carries the replay's id.
type Replays interface {
	// CountReplay returns how many deliveries a replay would send now.
	CountReplay(ctx context.Context, key callbackd.KeyID, f callbackd.ReplayFilter) (int64, error)
	// CreateReplay selects the deliveries of r.Filter in one snapshot and stores r
	// with this set. It reads only Key, Filter, Cancel, Rate and CreatedAt of r. The store
	// sets ID and Total, and the state is running. CreateReplay fails with
	// KindTooLarge beyond MaxReplay, with KindLimited beyond MaxReplays, and with
	// KindInvalid for a target of another key or type.
	CreateReplay(ctx context.Context, r callbackd.Replay) (*callbackd.Replay, error)
	// Replay returns one replay of the key, or of any key with AllKeys.
	Replay(ctx context.Context, key callbackd.KeyID, id callbackd.ReplayID) (*callbackd.Replay, error)
	// ListReplays returns replays, newest first.
	ListReplays(ctx context.Context, q ReplayQuery) (ReplayPage, error)
	// SetReplayState pauses, resumes (running) or cancels a replay, as
	// [callbackd.Replay.SetState] says. Deliveries that are due already are sent in
	// any case.
	SetReplayState(ctx context.Context, key callbackd.KeyID, id callbackd.ReplayID, s callbackd.ReplayState, at time.Time) (*callbackd.Replay, error)
	// StepReplay makes the next deliveries of the replay's set due, as
	// [callbackd.Replay.Divide] and [callbackd.Replay.DueAt] say. It writes
	// them in one transaction with the progress of the replay, so that a crash
	// makes none due twice. It creates a delivery that does not exist yet. A
	// delivery that [callbackd.ReplayFilter.Skips] names stays as it is. StepReplay
	// ends a replay that is done.
	//
	// When the replay cancels, the step instead ends what is still pending as canceled,
	// with a row that says [callbackd.Cancellation.Why]. Deliveries of a callback that
	// has ended are left to FinalizeCanceled.
	StepReplay(ctx context.Context, id callbackd.ReplayID, at time.Time) (ReplayStep, error)
}

// ReplayQuery chooses replays.
type ReplayQuery struct {
	Key     callbackd.KeyID    // AllKeys is possible
	Running bool               // only those in the state running
	After   callbackd.ReplayID // cursor; 0 at the start
	Limit   int                // 1 to MaxPage
}

// ReplayPage is one page. Next is 0 at the end.
type ReplayPage struct {
	Replays []callbackd.Replay
	Next    callbackd.ReplayID
}

// ReplayStep is what StepReplay did.
type ReplayStep struct {
	Due      []callbackd.Delivery // to hand to the engine
	Canceled []callbackd.Delivery // the engine must let go of them
	State    callbackd.ReplayState
	// Next is the earliest time at which the replay's rate allows another
	// step; zero when the rate does not matter.
	Next time.Time
}

// ResolveReplay reads the target of a filter from cbs and calls
// [callbackd.ReplayFilter.Resolve].
func ResolveReplay(ctx context.Context, cbs Callbacks, key callbackd.KeyID, f *callbackd.ReplayFilter) error {
	if f.Target == 0 {
		return f.Resolve(key, nil)
	}
	target, err := cbs.CallbackByID(ctx, f.Target)
	if err != nil && callbackd.KindOf(err) != callbackd.KindNotFound {
		return err
	}
	return f.Resolve(key, target)
}

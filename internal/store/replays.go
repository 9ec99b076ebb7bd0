package store

import (
	"context"
	"time"

	"callbackd"
)

// Replays keeps replays and works through them. Their rows in the queue are
// ordinary pending deliveries that carry the replay's id.
type Replays interface {
	// CountReplay is how large the set of a replay would be now.
	CountReplay(ctx context.Context, key callbackd.KeyID, f callbackd.ReplayFilter) (int64, error)
	// CreateReplay fixes the set of r.Filter as it stands at one moment
	// within the call, and stores r with it: the state is running, ID and
	// Total are set by the store. Only Key, Filter, Rate and CreatedAt are
	// read. TooLarge over MaxReplay, Limited over MaxReplays, Invalid for a
	// target of another key or type.
	CreateReplay(ctx context.Context, r callbackd.Replay) (*callbackd.Replay, error)
	// Replay returns one replay of the key, or with AllKeys of any.
	Replay(ctx context.Context, key callbackd.KeyID, id callbackd.ReplayID) (*callbackd.Replay, error)
	// ListReplays returns the replays of the key, or with AllKeys of all,
	// newest first, older than after when it is not 0. next is 0 at the end.
	ListReplays(ctx context.Context, key callbackd.KeyID, after callbackd.ReplayID, limit int) (rs []callbackd.Replay, next callbackd.ReplayID, err error)
	// SetReplayState pauses, resumes (running) or cancels. To set the state
	// it has is no error; to leave an end is a Conflict. What was made due
	// goes on either way.
	SetReplayState(ctx context.Context, key callbackd.KeyID, id callbackd.ReplayID, s callbackd.ReplayState, at time.Time) (*callbackd.Replay, error)
	// RunningReplays returns the replays of every key that run.
	RunningReplays(ctx context.Context) ([]callbackd.ReplayID, error)
	// StepReplay makes the next of the replay's set due, from at on, with the
	// replay's rate between them and no more than
	// [callbackd.ReplayWindow] for one callback that were not tried yet. The deliveries and how far the set
	// is done are written in one transaction: whatever crash there is, each
	// is made due once. A delivery of the set that does not exist is created
	// with it. One that is pending stays as it is, unless the replay
	// [callbackd.ReplayFilter.Hastens] and it waits for a later time, for no
	// other replay. A replay that is done is ended.
	StepReplay(ctx context.Context, id callbackd.ReplayID, at time.Time) (ReplayStep, error)
}

// ReplayStep is what StepReplay did.
type ReplayStep struct {
	Due   []callbackd.Delivery // to hand to the engine
	State callbackd.ReplayState
	// Next is the earliest time at which the replay's rate lets the next
	// step do something; zero: no rate holds it.
	Next time.Time
}

// ResolveReplay is [callbackd.ReplayFilter.Resolve] with the target read from cbs.
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

package replays

import (
	"context"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// overwriting is how long the runner waits while a reader keeps the database from
// overwriting what an erasure has freed.
const overwriting = time.Second

// eraseRound makes one step of each erasure that runs and is at home here. It returns how
// long to wait before the next round.
func (r *Runner) eraseRound(ctx context.Context, isHome func(callbackd.KeyID) bool, dispatch Dispatcher) time.Duration {
	ids, err := r.erasing(ctx, isHome)
	if err != nil {
		if ctx.Err() == nil {
			r.log.Error("erasures not read", "error", err)
		}
		return idle
	}
	wait, ctx := idle, store.WithActor(ctx, callbackd.Actor{Kind: callbackd.ActorSystem})
	for _, id := range ids {
		step, err := r.store.StepErase(ctx, id, time.Now())
		if err != nil {
			if ctx.Err() == nil {
				r.log.Error("erasure not continued, trying again", "erasure", id.String(), "error", err)
			}
			continue
		}
		if len(step.Canceled) > 0 {
			dispatch.Canceled(step.Canceled)
		}
		switch {
		case !step.Erase.Running():
			r.log.Info("erasure ended", "erasure", id.String(), "events", step.Erase.Progress.Counts.Events)
		case step.Waits:
			wait = min(wait, overwriting)
		default:
			wait = min(wait, busy)
		}
	}
	return wait
}

// erasing returns the erasures of the keys that are at home here and have not ended.
func (r *Runner) erasing(ctx context.Context, isHome func(callbackd.KeyID) bool) (ids []callbackd.EraseID, err error) {
	q := store.EraseQuery{Key: store.AllKeys, Running: true, Limit: store.MaxPage}
	for {
		page, err := r.store.ListErases(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range page.Erases {
			if isHome(page.Erases[i].Key) {
				ids = append(ids, page.Erases[i].ID)
			}
		}
		if q.After = page.Next; page.Next == 0 {
			return ids, nil
		}
	}
}

// Package replays runs replays, cancellations and erasures step by step. The store decides what a step does and
// remembers the progress. This package decides when the next step is made. It can stop
// between two steps without losing anything.
package replays

import (
	"context"
	"log/slog"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// Store has the methods of the store that the runner needs.
type Store interface {
	ListErases(ctx context.Context, q store.EraseQuery) (store.ErasePage, error)
	StepErase(ctx context.Context, id callbackd.EraseID, at time.Time) (store.EraseStep, error)
	ListReplays(ctx context.Context, q store.ReplayQuery) (store.ReplayPage, error)
	StepReplay(ctx context.Context, id callbackd.ReplayID, at time.Time) (store.ReplayStep, error)
}

// Dispatcher has the methods of the engine that the runner needs.
type Dispatcher interface {
	Replayed([]callbackd.Delivery)
	Canceled([]callbackd.Delivery)
}

// How long the runner waits.
const (
	idle    = 2 * time.Second        // while no replay runs; Wake ends it
	waiting = 100 * time.Millisecond // while due deliveries wait for their attempt
	busy    = 20 * time.Millisecond  // between two steps, because deliveries need the writer too
)

// Runner steps every replay that runs. Make it with [New].
type Runner struct {
	store Store
	log   *slog.Logger
	wake  chan struct{}
}

// New makes a runner.
func New(s Store, log *slog.Logger) *Runner {
	return &Runner{store: s, log: log, wake: make(chan struct{}, 1)}
}

// Wake makes the runner look for work at once. It is called when a replay or an erasure was
// created, or a replay resumed.
func (r *Runner) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run steps replays and erasures until ctx ends. Of many nodes only the home of their key
// does so: isHome says whether this node is. dispatch gets the deliveries of each step.
func (r *Runner) Run(ctx context.Context, isHome func(callbackd.KeyID) bool, dispatch Dispatcher) {
	for {
		t := time.NewTimer(min(r.round(ctx, isHome, dispatch), r.eraseRound(ctx, isHome, dispatch)))
		select {
		case <-t.C:
		case <-r.wake:
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
	}
}

// round makes one step of each replay that runs and is at home here. It returns how long
// to wait before the next round.
func (r *Runner) round(ctx context.Context, isHome func(callbackd.KeyID) bool, dispatch Dispatcher) time.Duration {
	ids, err := r.running(ctx, isHome)
	if err != nil {
		if ctx.Err() == nil {
			r.log.Error("replays not read", "error", err)
		}
		return idle
	}
	wait := idle
	for _, id := range ids {
		now := time.Now()
		step, err := r.store.StepReplay(ctx, id, now)
		if err != nil {
			if ctx.Err() == nil {
				r.log.Error("replay not continued, trying again", "replay", id.String(), "error", err)
			}
			continue
		}
		if len(step.Due) > 0 {
			dispatch.Replayed(step.Due)
		}
		if len(step.Canceled) > 0 {
			dispatch.Canceled(step.Canceled)
		}
		switch {
		case step.State.Ended():
			r.log.Info("replay ended", "replay", id.String(), "state", string(step.State))
		case !step.Next.IsZero():
			wait = min(wait, max(step.Next.Sub(now), busy))
		case len(step.Due)+len(step.Canceled) > 0:
			wait = min(wait, busy)
		default:
			wait = min(wait, waiting)
		}
	}
	return wait
}

// running returns the running replays of the keys that are at home here.
func (r *Runner) running(ctx context.Context, isHome func(callbackd.KeyID) bool) (ids []callbackd.ReplayID, err error) {
	q := store.ReplayQuery{Key: store.AllKeys, Running: true, Limit: store.MaxPage}
	for {
		page, err := r.store.ListReplays(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range page.Replays {
			if isHome(page.Replays[i].Key) {
				ids = append(ids, page.Replays[i].ID)
			}
		}
		if q.After = page.Next; page.Next == 0 {
			return ids, nil
		}
	}
}

// Package replays works through replays, step by step. The store decides what
// comes next and remembers how far each one is; this package decides when the
// next step is made, and stops between any two without losing anything.
package replays

import (
	"context"
	"log/slog"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// Store is what the runner needs; store.Replays has the contract.
type Store interface {
	RunningReplays(ctx context.Context) ([]callbackd.ReplayID, error)
	StepReplay(ctx context.Context, id callbackd.ReplayID, at time.Time) (store.ReplayStep, error)
}

// How long the runner waits.
const (
	idle    = 2 * time.Second        // while nothing runs; Kick ends it
	waiting = 100 * time.Millisecond // while what was made due is still to be tried
	busy    = 20 * time.Millisecond  // between two steps: the writer is left to deliveries
)

// Runner steps every replay that runs. Make it with [New].
type Runner struct {
	store Store
	hand  func([]callbackd.Delivery)
	log   *slog.Logger
	kick  chan struct{}
}

// New makes a runner. hand takes what was made due to the engine.
func New(s Store, hand func([]callbackd.Delivery), log *slog.Logger) *Runner {
	return &Runner{store: s, hand: hand, log: log, kick: make(chan struct{}, 1)}
}

// Kick makes the runner look at once: a replay was created or resumed.
func (r *Runner) Kick() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// Run steps replays until ctx ends.
func (r *Runner) Run(ctx context.Context) {
	for {
		t := time.NewTimer(r.round(ctx))
		select {
		case <-t.C:
		case <-r.kick:
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
	}
}

// round makes one step of each and returns how long to wait.
func (r *Runner) round(ctx context.Context) time.Duration {
	ids, err := r.store.RunningReplays(ctx)
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
			r.hand(step.Due)
		}
		switch {
		case step.State.Ended():
			r.log.Info("replay ended", "replay", id.String(), "state", string(step.State))
		case !step.Next.IsZero():
			wait = min(wait, max(step.Next.Sub(now), busy))
		case len(step.Due) > 0:
			wait = min(wait, busy)
		default:
			wait = min(wait, waiting)
		}
	}
	return wait
}

package app

import (
	"context"
	"time"

	"callbackd/internal/session"
)

// dueCheck bounds how long the soonest due time is taken for granted: a new
// session may be due sooner, another node may have changed what is due, and
// the clock may have been set. A check reads one row.
const dueCheck = time.Second

// advanceSessions makes what time itself changes: sessions expire, references
// go. It sleeps until the next is due.
func (a *App) advanceSessions(ctx context.Context, now func() time.Time) {
	for {
		if !a.singletonJobs() {
			if !pause(ctx, dueCheck) {
				return
			}
			continue
		}
		fired, next, err := session.Advance(ctx, a.store, now())
		a.accepted(fired)
		wait := dueCheck
		switch {
		case err != nil:
			if ctx.Err() == nil {
				a.log.Error("due sessions not changed", "error", err)
			}
		case !next.IsZero():
			wait = min(max(0, next.Sub(now())), dueCheck)
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

// sweepEnded removes a slice of sessions that ended before the time, and of the
// answers of idempotency keys from before it.
func (a *App) sweepEnded(ctx context.Context, before time.Time) (int, error) {
	n, err := a.store.SweepSessions(ctx, before, slice)
	if err != nil {
		return n, err
	}
	answers, err := a.store.SweepAnswers(ctx, before, slice)
	return max(n, answers), err
}

// sweepSessions removes sessions that ended longer ago than keep, and answers as
// old.
func (a *App) sweepSessions(ctx context.Context, keep time.Duration) {
	for {
		var n int
		var err error
		if a.singletonJobs() {
			n, err = a.sweepEnded(ctx, session.Now().Add(-keep))
		}
		if err != nil && ctx.Err() == nil {
			a.log.Error("old sessions not removed", "error", err)
		}
		wait := sweepIdle
		if err == nil && n == slice {
			wait = slicePause
		}
		if !pause(ctx, wait) {
			return
		}
	}
}

package app

import (
	"context"
	"time"

	"callbackd/internal/session"
)

// dueCheck bounds the wait before the next look for sessions that are due. A
// new session may be due sooner than those known now, another node may have
// changed what is due, and the clock may have been set. A look reads one row.
const dueCheck = time.Second

// advanceSessions returns the step that makes the changes which time itself
// makes: sessions expire, and references are removed. It waits until the next
// change is due, counted from clock: session times are whole milliseconds,
// and a wait counted from the millisecond that has begun would end late.
func (a *App) advanceSessions(clock func() time.Time) func(context.Context) (time.Duration, error) {
	return func(ctx context.Context) (time.Duration, error) {
		fired, next, err := session.Advance(ctx, a.store, session.Time(clock()))
		a.accepted(fired)
		if err != nil || next.IsZero() {
			return dueCheck, err
		}
		return min(max(next.Sub(clock()), 1), dueCheck), nil // 1 ns: at once
	}
}

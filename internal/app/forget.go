package app

import (
	"context"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// When deleted callbacks and replaced settings are looked at. An attempt with
// a setting that was replaced may still be under way, or wait to be recorded,
// so what is younger than settled stays.
const (
	forgetIdle = 10 * time.Minute
	settled    = time.Hour
	walkSlice  = 2000 // events
	// restAfterWalk is how many times as long as its walk a key is left alone.
	restAfterWalk = 200
)

// forget removes deleted callbacks and replaced settings that no event points
// at any more. It walks the events of the keys that have any.
func (a *App) forget(ctx context.Context) {
	next := map[callbackd.KeyID]time.Time{}
	for pause(ctx, forgetIdle) {
		if !a.singletonJobs() {
			continue
		}
		keys, err := a.store.Forgettable(ctx, time.Now().Add(-settled))
		for _, key := range keys {
			begun := time.Now()
			if err != nil || begun.Before(next[key]) {
				continue
			}
			var n int
			if n, err = forgetOf(ctx, a.store, key, begun.Add(-settled)); n > 0 {
				a.log.Debug("deleted callbacks and replaced settings removed", "key", int64(key), "rows", n)
			}
			next[key] = begun.Add(restAfterWalk * time.Since(begun))
		}
		if err != nil && ctx.Err() == nil {
			a.log.Error("deleted callbacks not removed", "error", err)
		}
	}
}

// forgetOf removes what can go of one key, and returns how much it was.
func forgetOf(ctx context.Context, s store.Store, key callbackd.KeyID, before time.Time) (removed int, err error) {
	pointed := map[store.Pointer]bool{}
	for after, done := callbackd.EventID(0), false; !done; {
		var to []store.Pointer
		if to, after, done, err = s.Pointed(ctx, key, after, walkSlice); err != nil {
			return 0, err
		}
		for _, p := range to {
			pointed[p] = true
		}
		if !pause(ctx, slicePause) {
			return 0, ctx.Err()
		}
	}
	for {
		n, err := s.Forget(ctx, key, pointed, before, slice)
		if removed += n; err != nil || n < slice || !pause(ctx, slicePause) {
			return removed, err
		}
	}
}

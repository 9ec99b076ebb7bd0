package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// How long data that no promise covers stays.
const (
	logRetention    = 7 * 24 * time.Hour
	minuteRetention = 26 * time.Hour
	hourRetention   = 35 * 24 * time.Hour
)

// finalizeCanceled ends the deliveries of deleted callbacks and revoked keys.
func (a *App) finalizeCanceled(ctx context.Context) (time.Duration, error) {
	n, err := a.store.FinalizeCanceled(ctx, time.Now(), stepSize)
	return soonIf(n > 0), err
}

// expire ends the deliveries that have expired.
func (a *App) expire(ctx context.Context) (time.Duration, error) {
	n, more, err := a.store.Expire(ctx, time.Now(), expirySize)
	a.expired(n)
	return soonIf(more), err
}

// prune returns the step that removes sessions and replays which ended before the
// retention, the answers of idempotency keys that are as old, and old logs and
// statistics. With audit it also removes entries of the audit log that are older.
func (a *App) prune(retention, audit time.Duration) func(context.Context) (time.Duration, error) {
	return func(ctx context.Context) (time.Duration, error) {
		now := time.Now()
		p := store.Prune{
			Sessions:  now.Add(-retention),
			Answers:   now.Add(-retention),
			Logs:      now.Add(-logRetention),
			Minutes:   now.Add(-minuteRetention),
			Hours:     now.Add(-hourRetention),
			Replays:   now.Add(-retention),
			Incidents: now.Add(-retention),
		}
		if audit > 0 {
			p.Audit = now.Add(-audit)
		}
		n, err := a.store.Prune(ctx, p, stepSize)
		return soonIf(n > 0), err
	}
}

// eventSweep removes the events that ended before the retention. It walks all
// events in order, and begins again when it has seen the last one.
type eventSweep struct {
	store     store.Store
	log       *slog.Logger
	retention time.Duration
	archive   *archiver         // nil: without one
	after     callbackd.EventID // the last event that was looked at
}

func (s *eventSweep) step(ctx context.Context) (time.Duration, error) {
	q := store.Sweep{Before: time.Now().Add(-s.retention), After: s.after, Limit: stepSize}
	swept, err := s.remove(ctx, q)
	if swept.Removed > 0 {
		s.log.Debug("old events removed", "events", swept.Removed)
	}
	if err != nil {
		return 0, err
	}
	s.after = swept.Next
	if swept.Done {
		s.after = 0
	}
	return soonIf(!swept.Done), nil
}

// keySweep removes what eventSweep does, and when that has seen all events, those of API keys
// that have a retention of their own: it walks the events of one key after the other. Both run
// in one job, so that the archive has one writer. A long walk lets eventSweep begin again
// each eventSweepEvery.
type keySweep struct {
	events *eventSweep // which removes, and writes the archive
	seen   time.Time   // when events had seen all

	due     []string                      // the API keys whose events are walked, the first one first
	after   callbackd.EventID             // the last event of the first key that was looked at
	started time.Time                     // when the walk over the first key began; zero before it has
	rest    map[callbackd.KeyID]time.Time // until when a key is not walked again
}

const (
	// eventSweepEvery is the time between two walks over the events of all keys.
	eventSweepEvery = time.Minute
	// keyRestFactor is how many times as long as its walk took a key is not walked again,
	// up to maxKeyRest: each walk reads again what stays.
	keyRestFactor = 20
	maxKeyRest    = time.Hour
)

func (s *keySweep) step(ctx context.Context) (time.Duration, error) {
	now := time.Now()
	if now.Sub(s.seen) >= eventSweepEvery {
		if wait, err := s.events.step(ctx); err != nil || wait > 0 {
			return wait, err
		}
		s.seen = now
	}
	if len(s.due) == 0 {
		if err := s.find(ctx, now); err != nil || len(s.due) == 0 {
			return 0, err
		}
	}
	err := s.walk(ctx, now)
	return soonIf(len(s.due) > 0), err
}

// find lists the keys that have a retention of their own and were left alone for long enough.
func (s *keySweep) find(ctx context.Context, now time.Time) error {
	keys, err := s.events.store.ListKeys(ctx)
	for i := range keys {
		key := &keys[i]
		if key.HasRetention() && !now.Before(s.rest[key.ID]) {
			s.due = append(s.due, key.APIKey)
		}
	}
	return err
}

// walk makes a step of the walk over the first key that is due. A walk that fails ends, so that
// the other keys have their turn.
func (s *keySweep) walk(ctx context.Context, now time.Time) error {
	if s.started.IsZero() {
		s.started = now
	}
	key, done, err := s.removeOf(ctx, s.due[0], now)
	if err == nil && !done {
		return nil
	}
	s.rest[key] = time.Now().Add(min(maxKeyRest, keyRestFactor*time.Since(s.started)))
	s.due, s.after, s.started = s.due[1:], 0, time.Time{}
	return err
}

// removeOf makes a step over the events of a key. It reads the retention of the key again,
// which may have changed since the last step.
func (s *keySweep) removeOf(ctx context.Context, apiKey string, now time.Time) (_ callbackd.KeyID, done bool, err error) {
	key, err := s.events.store.Key(ctx, apiKey)
	if err != nil {
		return 0, true, err
	}
	others, types, err := key.RemovedBefore(now)
	if err != nil || others.IsZero() && len(types) == 0 {
		return key.ID, true, err
	}
	swept, err := s.events.remove(ctx, store.Sweep{Key: key.ID, Before: others, Types: types, After: s.after, Limit: stepSize})
	if swept.Removed > 0 {
		s.events.log.Debug("old events removed", "key", int64(key.ID), "events", swept.Removed)
	}
	s.after = swept.Next
	return key.ID, swept.Done, err
}

// sessionCallbackSweep ends and removes the callbacks of sessions of which nothing is stored
// any more. It walks all callbacks that are for one session, and begins again when it has
// seen the last one.
type sessionCallbackSweep struct {
	store     store.Store
	retention time.Duration
	after     callbackd.CallbackID // the last one that was looked at
}

func (s *sessionCallbackSweep) step(ctx context.Context) (time.Duration, error) {
	now := time.Now()
	next, _, done, err := s.store.SweepSessionCallbacks(ctx, now.Add(-s.retention), now, s.after, stepSize)
	if err != nil {
		return 0, err
	}
	s.after = next
	if done {
		s.after = 0
	}
	return soonIf(!done), nil
}

const (
	// settingsEvery is how often deleted callbacks and replaced settings are
	// looked for.
	settingsEvery = 10 * time.Minute
	// settingsAge is how long a setting stays after it was replaced. An attempt
	// with it may still be in flight, or wait to be recorded.
	settingsAge = time.Hour
	// walkSize is how many events are read at a time.
	walkSize = 2000
	// restFactor is how many times as long as its walk took a key is not walked again.
	restFactor = 200
)

// settingSweep removes deleted callbacks and replaced settings that no event
// refers to any more. It walks all events of each key that has such settings.
type settingSweep struct {
	store store.Store
	log   *slog.Logger
	rest  map[callbackd.KeyID]time.Time // until when a key is left alone
}

func (s *settingSweep) step(ctx context.Context) (time.Duration, error) {
	keys, err := s.store.Forgettable(ctx, time.Now().Add(-settingsAge))
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, key := range keys {
		start := time.Now()
		if start.Before(s.rest[key]) {
			continue
		}
		removed, err := removeSettings(ctx, s.store, key, start.Add(-settingsAge))
		if removed > 0 {
			s.log.Debug("deleted callbacks and replaced settings removed", "key", int64(key), "rows", removed)
		}
		s.rest[key] = start.Add(restFactor * time.Since(start))
		errs = append(errs, err)
	}
	return 0, errors.Join(errs...)
}

// removeSettings removes one key's unused settings from before a time, and
// returns how many rows that were.
func removeSettings(ctx context.Context, s store.Store, key callbackd.KeyID, before time.Time) (removed int, err error) {
	f := &store.Forget{Key: key, Before: before, Events: walkSize, Rows: stepSize}
	for !f.Done {
		n, err := s.Forget(ctx, f)
		removed += n
		if err != nil {
			return removed, err
		}
		if !pause(ctx, stepPause) {
			return removed, ctx.Err()
		}
	}
	return removed, nil
}

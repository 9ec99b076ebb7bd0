package engine

import (
	"context"
	"time"

	"callbackd"

	"golang.org/x/time/rate"
)

// setting is a callback as the engine knows it.
type setting struct {
	cb      *callbackd.Callback // nil until it was read
	stale   bool                // cb must be read again
	changes int                 // how many changes the engine was told of
	read    int                 // how many of them cb has
	pause   pauseState
	limiter *rate.Limiter // nil: the policy has no rate
	// releasing means that deliveries that wait for a later time are being made due
	// now; see [callbackd.Callback.Releasing].
	releasing bool
}

// pauseState is whether a callback is paused.
type pauseState uint8

const (
	notPaused pauseState = iota
	pausing              // an attempt paused it; the store may not know yet
	paused
)

func (s *setting) isPaused() bool { return s.pause != notPaused }

// isOutdated reports whether cb was changed since it was read. No attempt starts with it: who
// got the answer to a change may count on it.
func (s *setting) isOutdated() bool { return s.read < s.changes }

// updatePause takes the pause from the callback, unless the store may not know it yet.
func (s *setting) updatePause() {
	switch {
	case s.pause == pausing:
	case s.cb.Paused():
		s.pause = paused
	default:
		s.pause = notPaused
	}
}

// active reports whether the callback was read and is neither paused nor deleted.
func (s *setting) active() bool {
	return s.cb != nil && !s.isPaused() && !s.cb.Deleted()
}

// busy reports whether the setting has something that the store does not know yet,
// or that is done step by step.
func (s *setting) busy() bool { return s.pause == pausing || s.releasing }

// updateLimiter gives the limiter the policy's rate. A burst has at most as many attempts
// as the rate allows in a tenth of a second, so that the attempts of a second do not come
// together.
func (s *setting) updateLimiter() {
	r := rate.Limit(s.cb.Policy.Rate)
	burst := max(1, int(r/10))
	switch {
	case r == 0:
		s.limiter = nil
	case s.limiter == nil:
		s.limiter = rate.NewLimiter(r, burst)
	case s.limiter.Limit() != r:
		s.limiter.SetLimit(r)
		s.limiter.SetBurst(burst)
	}
}

// nextToken returns when the rate lets the next attempt through; zero: now.
func (s *setting) nextToken(now time.Time) time.Time {
	if s.limiter == nil {
		return time.Time{}
	}
	missing := 1 - s.limiter.TokensAt(now)
	if missing <= 0 {
		return time.Time{}
	}
	wait := time.Duration(missing / float64(s.limiter.Limit()) * float64(time.Second))
	return now.Add(wait + time.Microsecond) // a microsecond more, because the limiter rounds
}

// mayHang reports whether the receiver may not answer: it has not answered yet, or the last
// attempt failed.
func (q *callbackQueue) mayHang() bool {
	return q.health.Allowance == 0 || q.health.Consecutive > 0
}

func (e *Engine) readCallback(q *callbackQueue, _ time.Time) storeRead {
	q.setting.stale = false // a change during the read sets it again
	changes := q.setting.changes
	return func(ctx context.Context) (func(time.Time), error) {
		cb, err := e.options.Queue.CallbackByID(ctx, q.id)
		if err != nil {
			e.mu.Lock()
			q.setting.stale = true
			e.mu.Unlock()
			return nil, err
		}
		return func(now time.Time) {
			q.setting.read = changes
			e.applySetting(q, cb, now)
			q.joinReady(e) // also when a newer setting was known
		}, nil
	}
}

// applySetting makes cb the queue's setting, unless a newer one is known.
func (e *Engine) applySetting(q *callbackQueue, cb *callbackd.Callback, now time.Time) {
	s := &q.setting
	before := s.cb
	if before != nil && cb.Version < before.Version {
		return
	}
	// Not After: the clock of the node that released it may have been set back.
	released := before != nil && !cb.ReleasedAt.Equal(before.ReleasedAt)
	if before == nil || before.Version != cb.Version || released {
		q.restoreHealth(cb, released, now)
	}
	s.cb = cb
	wasPaused := s.isPaused()
	s.updatePause()
	switch {
	case cb.Deleted():
		q.clear(e)
	case s.isPaused() && !wasPaused:
		q.cursor().more = true // what is accepted while it is paused stays in the store
	case wasPaused && !s.isPaused():
		q.sources[retry].note(longAgo)
	}
	s.updateLimiter()
	e.updateTrial(q)
	e.updateGroup(q)
	if o := q.trial.origin; released && o != nil {
		o.probation.Health = o.probation.Health.Released(now)
	}
	q.joinReady(e)
}

// restoreHealth takes the health of the receiver from the setting. A version that this
// engine has not sent to yet begins with the health that is stored, and so does a callback
// that a person resumed.
func (q *callbackQueue) restoreHealth(cb *callbackd.Callback, released bool, now time.Time) {
	closedUntil := cb.ClosedUntil
	known := q.setting.cb
	if known != nil && !released && callbackd.SameOrigin(known.URL, cb.URL) && q.health.ClosedUntil.After(closedUntil) {
		// Retry-After of an answer that the store does not have yet, or that
		// the version before got from the same origin.
		closedUntil = q.health.ClosedUntil
	}
	q.health = callbackd.RestoreHealth(cb.FailingSince, closedUntil, now)
	q.trial.proven = cb.Proven
	if cb.Releasing {
		q.setting.releasing = true
		q.makeHeadsDue(now)
	}
}

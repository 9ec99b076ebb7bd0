package callbackd

import "time"

// Rules of a callback's health.
const (
	// BreakerThreshold consecutive failed attempts open the breaker.
	BreakerThreshold = 10
	// BreakerFirstWait is the wait before the first probe. It doubles with each
	// failed probe, up to BreakerMaxWait.
	BreakerFirstWait = 10 * time.Second
	BreakerMaxWait   = 5 * time.Minute
	// RampStart is how many attempts may be in flight to a receiver of unknown
	// health. Each success allows one more, each failure halves the number.
	RampStart = 4
	// AutoPauseAfter is how long a callback may fail without a success before it
	// is paused.
	AutoPauseAfter = 5 * 24 * time.Hour
)

// Health is what the attempts so far say about a callback's receiver. It decides
// when to send, never whether a delivery is given up. The zero value is a receiver
// that no attempt has reached yet.
type Health struct {
	Consecutive  int       // failed attempts since the last success
	FailingSince time.Time // the first failure since the last success; zero after a success
	Allowance    int       // attempts that may be in flight; 0 means RampStart
	OpenUntil    time.Time // when the open breaker lets a probe through; zero when it is closed
	Wait         time.Duration
	// ClosedUntil is the time until which the receiver asked for no requests;
	// zero when it did not. See [Result.AsksToWaitUntil].
	ClosedUntil time.Time
}

// RestoreHealth returns the health of a callback at now from what is stored of it,
// after a restart or on another node. A callback that was failing begins with a
// probe.
func RestoreHealth(failingSince, closedUntil, now time.Time) Health {
	h := Health{FailingSince: failingSince, ClosedUntil: closedUntil}.Plausible(now)
	if !failingSince.IsZero() {
		h.Consecutive, h.Allowance = 1, 1
		h.OpenUntil, h.Wait = now, BreakerFirstWait/2
	}
	return h
}

// Open reports whether the breaker blocks all attempts at now.
func (h Health) Open(now time.Time) bool { return now.Before(h.OpenUntil) }

// Closed reports whether the receiver asked for no requests at now.
func (h Health) Closed(now time.Time) bool { return now.Before(h.ClosedUntil) }

// HeldUntil returns when the breaker and the receiver's Retry-After allow the next
// attempt: the later of both. Attempts may start at once when it is zero or not
// after now.
func (h Health) HeldUntil() time.Time { return later(h.OpenUntil, h.ClosedUntil) }

// Held reports whether no attempt may start at now.
func (h Health) Held(now time.Time) bool { return now.Before(h.HeldUntil()) }

// Probing reports whether the breaker's wait is over, so that the next attempt is a
// probe. Only one may be in flight.
func (h Health) Probing(now time.Time) bool { return !h.OpenUntil.IsZero() && !h.Held(now) }

// Limit returns how many attempts may be in flight at now.
func (h Health) Limit(p Policy, now time.Time) int {
	switch {
	case h.Held(now):
		return 0
	case h.Probing(now):
		return 1
	case h.Allowance == 0:
		return min(RampStart, p.WithDefaults().Concurrency)
	}
	return min(h.Allowance, p.WithDefaults().Concurrency)
}

// After returns the health after result r at now. Internal faults change nothing.
// jitter is uniform in [0, 1).
func (h Health) After(r *Result, now time.Time, jitter float64) Health {
	switch {
	case r.Fault.Internal():
		return h
	case r.Success():
		a := h.Allowance
		if a == 0 {
			a = RampStart
		}
		if !h.OpenUntil.IsZero() {
			a = 1 // the ramp starts with the successful probe
		}
		return Health{Allowance: min(a+1, MaxConcurrency), ClosedUntil: h.ClosedUntil}
	}
	h = h.Asked(r, now)
	wasOpen := !h.OpenUntil.IsZero()
	h.Consecutive++
	if h.FailingSince.IsZero() {
		h.FailingSince = now
	}
	if h.Allowance == 0 {
		h.Allowance = RampStart
	}
	h.Allowance = max(1, h.Allowance/2)
	switch {
	case h.Open(now): // the attempt was in flight when the breaker opened
	case wasOpen:
		h.Wait = min(2*h.Wait, BreakerMaxWait)
		h.OpenUntil = now.Add(spread(h.Wait, jitter))
	case h.Consecutive >= BreakerThreshold:
		h.Wait = BreakerFirstWait
		h.OpenUntil = now.Add(spread(h.Wait, jitter))
	}
	return h
}

// Asked returns h with the answer's Retry-After. Nothing else of the answer counts.
func (h Health) Asked(r *Result, now time.Time) Health {
	h.ClosedUntil = later(h.ClosedUntil, r.AsksToWaitUntil(now))
	return h
}

// Released returns h after a person made waiting deliveries due: Retry-After no
// longer counts, and an open breaker lets a probe through at once.
func (h Health) Released(now time.Time) Health {
	h.ClosedUntil = time.Time{}
	h.OpenUntil = earlier(h.OpenUntil, now)
	return h
}

// Plausible returns h without times that are further in the future than any rule
// sets them. They come from a clock that ran ahead and was corrected, and would
// hold the receiver for as long as the clock was ahead.
func (h Health) Plausible(now time.Time) Health {
	if h.OpenUntil.Sub(now) > BreakerMaxWait+clockMargin {
		h.OpenUntil = now
	}
	h.ClosedUntil = plausibleClose(h.ClosedUntil, now)
	return h
}

// clockMargin is how far the clock that set a time may be ahead of the one that
// reads it.
const clockMargin = time.Hour

// StillClosed returns the time until which the callback's receiver asked for no
// requests. It is zero when that time has passed, is implausible, or was never set.
func (c *Callback) StillClosed(now time.Time) time.Time {
	if until := plausibleClose(c.ClosedUntil, now); until.After(now) {
		return until
	}
	return time.Time{}
}

// plausibleClose returns until, or zero when it is further away than a Retry-After
// can be.
func plausibleClose(until, now time.Time) time.Time {
	if until.Sub(now) > MaxRetryAfter+clockMargin {
		return time.Time{}
	}
	return until
}

// ShouldPause returns why an attempt with result r pauses the callback, or
// NotPaused. An answer with the control pause and 410 Gone pause it at once, any other
// failure after [AutoPauseAfter] without a success.
func (h Health) ShouldPause(r *Result, now time.Time) PauseReason {
	switch {
	case r.Control.Pause:
		return PausedByReceiver
	case r.Status == 410:
		return PausedGone
	case !r.Success() && !r.Fault.Internal() && !h.FailingSince.IsZero() && now.Sub(h.FailingSince) >= AutoPauseAfter:
		return PausedNoAnswer
	}
	return NotPaused
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

package callbackd

import "time"

// Rules of a callback's health.
const (
	// BreakerThreshold consecutive failed attempts open the breaker.
	BreakerThreshold = 10
	// BreakerFirstWait and BreakerMaxWait bound the time until a probe; the
	// wait doubles with each failed probe.
	BreakerFirstWait = 10 * time.Second
	BreakerMaxWait   = 5 * time.Minute
	// RampStart is how many attempts may be in flight to a receiver that is
	// not known to be well; each success allows one more, each failure half.
	RampStart = 4
	// AutoPauseAfter without a success, and with failures, pauses a callback.
	AutoPauseAfter = 5 * 24 * time.Hour
)

// Health is what the attempts so far say about a callback's receiver. It
// decides when to send, never whether a delivery survives. The zero value is
// a receiver not heard from.
type Health struct {
	Consecutive  int       // failed attempts since the last success
	FailingSince time.Time // first failure since the last success; zero when well
	Allowance    int       // attempts that may be in flight; 0 means RampStart
	OpenUntil    time.Time // the breaker lets nothing through before; zero: closed
	Wait         time.Duration
	// ClosedUntil is until when the receiver asked to be left alone; zero: it
	// did not. See [Result.AsksToWaitUntil].
	ClosedUntil time.Time
}

// KeptHealth is the health of a callback at now of which nothing is known but
// what was kept: after a restart, or on another node. One that was failing
// begins with a probe.
func KeptHealth(failingSince, closedUntil, now time.Time) Health {
	h := Health{FailingSince: failingSince, ClosedUntil: closedUntil}.Plausible(now)
	if !failingSince.IsZero() {
		h.Consecutive, h.Allowance = 1, 1
		h.OpenUntil, h.Wait = now, BreakerFirstWait/2
	}
	return h
}

// Open tells whether the breaker holds everything at now.
func (h Health) Open(now time.Time) bool { return now.Before(h.OpenUntil) }

// Closed tells whether the receiver asked for nothing to be sent at now.
func (h Health) Closed(now time.Time) bool { return now.Before(h.ClosedUntil) }

// HeldUntil is when the next attempt may start, as far as the breaker and the
// receiver's own word go: the later of both. Zero, or not after now: at once.
func (h Health) HeldUntil() time.Time { return later(h.OpenUntil, h.ClosedUntil) }

// Held tells whether nothing may start at now.
func (h Health) Held(now time.Time) bool { return now.Before(h.HeldUntil()) }

// Probing tells whether the breaker's wait is over and the next attempt is a
// probe that must be alone.
func (h Health) Probing(now time.Time) bool { return !h.OpenUntil.IsZero() && !h.Held(now) }

// Limit is how many attempts may be in flight at now.
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

// After is the health after result r at now. jitter is uniform in [0, 1).
// Faults that are not the receiver's change nothing.
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
			a = 1 // the ramp begins at the probe that succeeded
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
	case h.Open(now): // an attempt that was in flight when the breaker opened
	case wasOpen:
		h.Wait = min(2*h.Wait, BreakerMaxWait)
		h.OpenUntil = now.Add(spread(h.Wait, jitter))
	case h.Consecutive >= BreakerThreshold:
		h.Wait = BreakerFirstWait
		h.OpenUntil = now.Add(spread(h.Wait, jitter))
	}
	return h
}

// Asked is h with what an answer asks for, and nothing else of it.
func (h Health) Asked(r *Result, now time.Time) Health {
	h.ClosedUntil = later(h.ClosedUntil, r.AsksToWaitUntil(now))
	return h
}

// Released is h after a person made due what waits: the receiver's own word no
// longer counts, and a breaker that is open lets a probe through at once.
func (h Health) Released(now time.Time) Health {
	h.ClosedUntil = time.Time{}
	h.OpenUntil = earlier(h.OpenUntil, now)
	return h
}

// Plausible is h without holds that no rule sets, so far away are they at now:
// the clock was set back after they were made, and they would last for as long
// as it went back.
func (h Health) Plausible(now time.Time) Health {
	if h.OpenUntil.Sub(now) > BreakerMaxWait+clockMargin {
		h.OpenUntil = now
	}
	h.ClosedUntil = plausibleClose(h.ClosedUntil, now)
	return h
}

// clockMargin is how far apart the clocks that set a time and read it may be.
const clockMargin = time.Hour

// StillClosed is until when the callback's receiver asked for nothing to be
// sent, as far as that can be at now; zero: it did not, or it is over.
func (c *Callback) StillClosed(now time.Time) time.Time {
	if until := plausibleClose(c.ClosedUntil, now); until.After(now) {
		return until
	}
	return time.Time{}
}

// plausibleClose is a time until which a receiver may have asked to be left
// alone; zero when no receiver could have asked for it at now.
func plausibleClose(until, now time.Time) time.Time {
	if until.Sub(now) > MaxRetryAfter+clockMargin {
		return time.Time{}
	}
	return until
}

// ShouldPause tells whether an attempt with result r pauses the callback, and
// why: 410 Gone at once, or no success for [AutoPauseAfter].
func (h Health) ShouldPause(r *Result, now time.Time) PauseReason {
	switch {
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

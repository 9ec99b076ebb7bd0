package engine

import (
	"time"

	"callbackd"
)

// Diagnosis tells what the engine has in mind for a callback and one of its
// sessions at now. It changes nothing.
func (e *Engine) Diagnosis(no callbackd.CallbackID, session string, now time.Time) callbackd.Diagnosis {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := callbackd.Diagnosis{Running: e.running && !e.draining}
	t := e.targets[no]
	if t == nil || t.cb == nil {
		return out
	}
	out.InFlight, out.Limit, out.Failures = t.inFlight, t.health.Limit(t.cb.Policy, now), t.health.Consecutive
	if t.health.Open(now) {
		out.OpenUntil = t.health.OpenUntil
	}
	if t.health.Closed(now) {
		out.ClosedUntil = t.health.ClosedUntil
	}
	if o := t.origin; o != nil {
		out.Probation, out.OriginInFlight, out.OriginLimit = true, o.inFlight, o.probation.Limit(now)
		out.BeginsAt = o.opensAt(t, now)
		if h := o.probation.Health; h.Open(now) {
			out.OriginOpenUntil, out.OriginFailures = h.OpenUntil, h.Consecutive
		}
	}
	if t.limiter != nil {
		if missing := 1 - t.limiter.TokensAt(now); missing > 0 {
			out.RateUntil = now.Add(time.Duration(missing / float64(t.limiter.Limit()) * float64(time.Second)))
		}
	}
	l := t.lanes[session]
	if l == nil {
		return out
	}
	out.Busy = l.busy
	if l.head != nil {
		out.Head, out.HeadNo, out.HeldUntil = l.head.ID, l.head.Sequence, l.wakeAt()
	}
	return out
}

package engine

import (
	"time"

	"callbackd"
)

// Diagnosis tells what the engine knows at now of a callback and of one of its
// sessions. It changes nothing.
func (e *Engine) Diagnosis(id callbackd.CallbackID, session string, now time.Time) callbackd.Diagnosis {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := callbackd.Diagnosis{Running: e.running && !e.draining}
	q := e.queues[id]
	if q == nil || q.cb == nil {
		return out
	}
	out.InFlight = q.inFlight
	out.Limit = q.health.Limit(q.cb.Policy, now)
	out.Failures = q.health.Consecutive
	if q.health.Open(now) {
		out.OpenUntil = q.health.OpenUntil
	}
	if q.health.Closed(now) {
		out.ClosedUntil = q.health.ClosedUntil
	}
	if o := q.origin; o != nil {
		out.Probation = true
		out.OriginInFlight = o.inFlight
		out.OriginLimit = o.probation.Limit(now)
		out.BeginsAt = o.opensAt(q, now)
		if h := o.probation.Health; h.Open(now) {
			out.OriginOpenUntil = h.OpenUntil
			out.OriginFailures = h.Consecutive
		}
	}
	if wait := q.untilToken(now); wait > 0 {
		out.RateUntil = now.Add(wait)
	}
	l := q.lanes[session]
	if l == nil {
		return out
	}
	out.Busy = l.busy
	if l.head != nil {
		out.Head = l.head.ID
		out.HeadNo = l.head.Sequence
		out.HeldUntil = l.wakeAt()
	}
	return out
}

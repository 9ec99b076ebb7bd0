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
	out := callbackd.Diagnosis{Running: e.phase == running}
	q := e.queues[id]
	if q == nil || q.setting.cb == nil {
		return out
	}
	out.InFlight = q.flight.attempts
	out.Limit = q.health.Limit(q.setting.cb.Policy, now)
	out.Failures = q.health.Consecutive
	if q.health.Open(now) {
		out.OpenUntil = q.health.OpenUntil
	}
	if q.health.Closed(now) {
		out.ClosedUntil = q.health.ClosedUntil
	}
	if o := q.trial.origin; o != nil {
		out.Probation = true
		out.OriginInFlight = o.inFlight
		out.OriginLimit = o.probation.Limit(now)
		out.BeginsAt = q.trial.opensAt(now)
		if h := o.probation.Health; h.Open(now) {
			out.OriginOpenUntil = h.OpenUntil
			out.OriginFailures = h.Consecutive
		}
	}
	out.RateUntil = q.setting.nextToken(now)
	l := q.lanes[session]
	if l == nil {
		return out
	}
	out.Busy = l.state.UnderWay()
	if l.head != nil {
		out.Head = l.head.ID
		out.HeadNo = l.head.Sequence
		out.HeldUntil = l.wakesAt()
	}
	return out
}

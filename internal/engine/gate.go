package engine

import (
	"slices"
	"time"

	"callbackd"
)

// gate returns what decides whether an attempt of q may start at now. class is the
// class that would start. Starts, the alarm, reads and explanations all go by it.
func (e *Engine) gate(q *callbackQueue, class int, now time.Time) callbackd.Gate {
	g := callbackd.Gate{
		Running:         e.mayStart(now),
		Paused:          !q.setting.active(),
		InFlight:        q.flight.attempts,
		ReplaysInFlight: q.replays,
	}
	if q.setting.cb == nil {
		return g
	}
	g.Limit = q.health.Limit(q.setting.cb.Policy, now)
	g.RateUntil = q.setting.nextToken(now)
	g.Full = e.isFull() || !e.hasSlot(q, now) || !e.hasBytes(q, class, now)
	if q.health.Open(now) {
		g.OpenUntil = q.health.OpenUntil
	}
	if q.health.Closed(now) {
		g.ClosedUntil = q.health.ClosedUntil
	}
	if o := q.trial.origin; o != nil {
		g.Probation = true
		g.OriginInFlight = o.inFlight
		g.OriginLimit = o.probation.Limit(q.setting.cb, now)
		if o.probation.Health.Open(now) {
			g.OriginOpenUntil = o.probation.Health.OpenUntil
		}
		if !q.trial.begun {
			g.BeginsAt = o.probation.NextBegin(q.setting.cb, now)
		}
	}
	return g
}

// wait makes q try again when what keeps its next attempt from starting has ended:
// its own attempts, those of others, or a time.
func (e *Engine) wait(q *callbackQueue, w callbackd.Wait, now time.Time) {
	switch w.Reason {
	case callbackd.WaitForProbe, callbackd.WaitForReceiver, callbackd.WaitForOriginProbe:
		e.noteShut(q)
	}
	switch w.Reason {
	case callbackd.WaitForSlot:
		e.slotWaiters.join(q, &q.inSlotWaiters)
		return
	case callbackd.WaitForOrigin, callbackd.WaitForOriginProbe:
		q.trial.origin.waiting.join(q, &q.trial.inWaiting)
	}
	if !w.Until.IsZero() {
		e.setAlarm(q, now)
	}
}

// nextStep returns when the passing of time makes something possible; zero:
// never.
func (e *Engine) nextStep(q *callbackQueue, now time.Time) (at time.Time) {
	consider := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if len(q.blocked.lanes) > 0 {
		consider(q.blocked.lanes[0].wakesAt())
	}
	for class := range q.ready {
		if q.ready[class].len() > 0 {
			g := e.gate(q, class, now)
			consider(g.First(class == replay, now).Until)
		}
	}
	g := e.gate(q, firstAttempt, now)
	if w := g.Receiver(now); w.Reason != callbackd.NoWait {
		consider(w.Until)
		return at
	}
	for class := range q.sources {
		if !q.reads.running && e.isLow(q, class) {
			consider(q.sources[class].next)
		}
	}
	return at
}

// Diagnosis returns what the engine knows at now of a callback and of one of its
// sessions. It changes nothing.
func (e *Engine) Diagnosis(id callbackd.CallbackID, session string, now time.Time) callbackd.Diagnosis {
	e.mu.Lock()
	defer e.mu.Unlock()
	q := e.queues[id]
	if q == nil {
		return callbackd.Diagnosis{Gate: callbackd.Gate{Running: e.mayStart(now)}}
	}
	out := callbackd.Diagnosis{Gate: e.gate(q, q.firstReadyClass(), now), Failures: q.health.Consecutive, TestSends: slices.Clone(q.testSends)}
	if o := q.trial.origin; o != nil {
		out.OriginFailures = o.probation.Health.Consecutive
	}
	l := q.lanes[session]
	if l == nil {
		return out
	}
	out.Busy = l.state.UnderWay()
	if l.head != nil {
		out.Head = l.head.ID
		out.HeadSequence = l.head.Sequence
		out.HeldUntil = l.wakesAt()
	}
	if l.waits {
		out.Order = q.order.group.turn(l).wait
	}
	return out
}

// firstReadyClass returns the class of the attempt that starts next.
func (q *callbackQueue) firstReadyClass() int {
	for class := range q.ready {
		if q.ready[class].len() > 0 {
			return class
		}
	}
	return firstAttempt
}

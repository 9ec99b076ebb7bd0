package engine

import (
	"time"

	"callbackd"
)

// originKey names an origin as the callbacks of one API key use it.
type originKey struct {
	key    callbackd.KeyID
	origin string
}

// origin is what the callbacks on probation at an origin share; see
// [callbackd.Probation].
type origin struct {
	probation callbackd.Probation
	callbacks int                  // callbacks on probation
	inFlight  int                  // their exchanges
	waiting   fifo[*callbackQueue] // those that wait for an exchange to end
}

// idleOrigins is the number of origins from which on idle ones are dropped.
const idleOrigins = 1024

// updateProbation puts a callback on probation at its origin, or ends that.
func (e *Engine) updateProbation(q *callbackQueue) {
	var next *origin
	if !q.proven && !q.cb.Deleted() {
		next = e.origin(originKey{q.cb.Key, callbackd.Origin(q.cb.URL)})
	}
	if next == q.origin {
		return
	}
	q.leaveOrigin()
	q.origin = next
	q.startedAtOrigin = false
	q.waitingAtOrigin = false
	if next != nil {
		next.callbacks++
	}
}

// origin returns an origin and makes it when there is none.
func (e *Engine) origin(key originKey) *origin {
	if o := e.origins[key]; o != nil {
		return o
	}
	if len(e.origins) >= max(e.dropOriginsAt, idleOrigins) {
		now := e.now()
		for k, o := range e.origins {
			if o.callbacks == 0 && o.inFlight == 0 && o.probation.Idle(now) {
				delete(e.origins, k)
			}
		}
		e.dropOriginsAt = 2 * len(e.origins)
	}
	o := &origin{}
	e.origins[key] = o
	return o
}

func (q *callbackQueue) leaveOrigin() {
	if q.origin != nil {
		q.origin.callbacks--
		q.origin = nil
	}
}

// mayStart tells whether one more attempt of q may start at the origin. A nil
// origin has no limit.
func (o *origin) mayStart(q *callbackQueue, now time.Time) bool {
	if o == nil {
		return true
	}
	return o.inFlight < o.probation.Limit(now) && o.mayBegin(q, now)
}

// mayBegin tells whether q made its first attempt at the origin, or may make it
// now.
func (o *origin) mayBegin(q *callbackQueue, now time.Time) bool {
	return q.startedAtOrigin || o.probation.MayBegin(now)
}

// opensAt returns when the passing of time lets the origin take an attempt of q;
// zero: it does not wait for a time.
func (o *origin) opensAt(q *callbackQueue, now time.Time) time.Time {
	at := o.probation.Health.HeldUntil()
	if !at.After(now) {
		at = time.Time{}
	}
	begin := o.probation.NextBegin(now)
	if !q.startedAtOrigin && begin.After(at) {
		at = begin
	}
	return at
}

// start counts an attempt of q.
func (o *origin) start(q *callbackQueue, now time.Time) {
	o.inFlight++
	if !q.startedAtOrigin {
		q.startedAtOrigin = true
		o.probation.Begin(now)
	}
}

// makeWait makes q try again when the origin may take an attempt of it: when an
// exchange there ends, or, before the first attempt of q, at its time.
func (o *origin) makeWait(e *Engine, q *callbackQueue, now time.Time) {
	if !q.waitingAtOrigin && o.mayBegin(q, now) {
		q.waitingAtOrigin = true
		o.waiting.push(q)
	}
	q.setTimer(e, now)
}

// attemptEnded lets all that wait try again. One alone would not be enough:
// something else may keep it from starting by now.
func (o *origin) attemptEnded(e *Engine, now time.Time) {
	o.inFlight--
	for range o.waiting.len() {
		q, _ := o.waiting.pop()
		q.waitingAtOrigin = false
		q.markReady(e)
		q.setTimer(e, now)
	}
}

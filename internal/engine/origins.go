package engine

import (
	"slices"
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
	waiting   line[*callbackQueue] // those that wait for an exchange to end
}

// trial is a callback's part in a probation.
type trial struct {
	proven    bool    // it has succeeded at its origin
	origin    *origin // where it is on probation; nil: nowhere
	begun     bool    // it made its first attempt there
	inWaiting bool    // it is in origin.waiting
}

// idleOrigins is the number of origins from which on idle ones are dropped.
const idleOrigins = 1024

// updateTrial puts a callback on probation at its origin, or ends that.
func (e *Engine) updateTrial(q *callbackQueue) {
	var next *origin
	if cb := q.setting.cb; (!q.trial.proven || cb.OfSession()) && !cb.Deleted() {
		next = e.origin(originKey{cb.Key, callbackd.Origin(cb.URL)})
	}
	if next == q.trial.origin {
		return
	}
	e.leaveOrigin(q)
	q.trial = trial{proven: q.trial.proven, origin: next}
	if next != nil {
		next.callbacks++
	}
}

// origin returns an origin and makes it when there is none.
func (e *Engine) origin(key originKey) *origin {
	if o := e.origins[key]; o != nil {
		return o
	}
	if len(e.origins) >= max(e.dropAt.origins, idleOrigins) {
		now := e.now()
		for k, o := range e.origins {
			if o.callbacks == 0 && o.inFlight == 0 && o.probation.Idle(now) {
				delete(e.origins, k)
			}
		}
		e.dropAt.origins = 2 * len(e.origins)
	}
	o := &origin{}
	e.origins[key] = o
	return o
}

// leaveOrigin ends the part of q in a probation. It passes its turn on, if it has one.
func (e *Engine) leaveOrigin(q *callbackQueue) {
	if o := q.trial.origin; o != nil {
		o.callbacks--
		q.trial.origin = nil
		e.wakeNext(o, e.now())
	}
}

// start counts an attempt of the callback cb.
func (t *trial) start(cb *callbackd.Callback, now time.Time) {
	t.origin.inFlight++
	if !t.begun {
		t.begun = true
		t.origin.probation.Begin(cb, now)
	}
}

// wakeAtOnce is how many callbacks that wait at an origin try again when an attempt has
// ended there. The end of one attempt can make room for two, because a success raises the
// limit. 100,000 callbacks may wait, so not all of them try each time.
const wakeAtOnce = 8

// attemptEndedAt lets some of those that wait at an origin try again. Each that cannot start
// for another reason lets one more try: see [Engine.passTurn].
func (e *Engine) attemptEndedAt(o *origin, now time.Time) {
	o.inFlight--
	for range min(wakeAtOnce, o.waiting.len()) {
		e.wakeNext(o, now)
	}
}

// wakeNext lets the next one try that is still at the origin and has something to send.
func (e *Engine) wakeNext(o *origin, now time.Time) {
	for {
		q, ok := o.waiting.next()
		if !ok {
			return
		}
		q.joinReady(e)
		e.setAlarm(q, now)
		if q.trial.origin == o && slices.Contains(q.inReady[:], true) {
			return
		}
	}
}

// passTurn lets the next callback that waits at the origin of q try, because q did not start
// an attempt though the origin has room for one.
func (e *Engine) passTurn(q *callbackQueue, now time.Time) {
	if o := q.trial.origin; o != nil {
		e.wakeNext(o, now)
	}
}

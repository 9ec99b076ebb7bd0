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
	if cb := q.setting.cb; !q.trial.proven && !cb.Deleted() {
		next = e.origin(originKey{cb.Key, callbackd.Origin(cb.URL)})
	}
	if next == q.trial.origin {
		return
	}
	q.leaveOrigin()
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

func (q *callbackQueue) leaveOrigin() {
	if q.trial.origin != nil {
		q.trial.origin.callbacks--
		q.trial.origin = nil
	}
}

// start counts an attempt of the callback.
func (t *trial) start(now time.Time) {
	t.origin.inFlight++
	if !t.begun {
		t.begun = true
		t.origin.probation.Begin(now)
	}
}

// attemptEndedAt lets all that wait at an origin try again. One alone would not be
// enough: something else may keep it from starting by now.
func (e *Engine) attemptEndedAt(o *origin, now time.Time) {
	o.inFlight--
	for range o.waiting.len() {
		q, _ := o.waiting.next()
		q.joinReady(e)
		e.setAlarm(q, now)
	}
}

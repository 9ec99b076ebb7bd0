package engine

import (
	"time"

	"callbackd"
)

// originOf names what the callbacks of one key have at one origin.
type originOf struct {
	key    callbackd.KeyID
	origin string
}

// origin is what the callbacks on probation there share.
type origin struct {
	probation callbackd.Probation
	members   int           // callbacks on probation
	inFlight  int           // their exchanges
	waiting   ring[*target] // those that wait for one to end
}

// idleOrigins is the number of origins at which idle ones are dropped.
const idleOrigins = 1024

// probation puts a callback on probation at its origin, or ends that.
func (e *Engine) probation(t *target) {
	var next *origin
	if !t.proven && !t.cb.Deleted() {
		next = e.origin(originOf{t.cb.Key, callbackd.Origin(t.cb.URL)})
	}
	if next == t.origin {
		return
	}
	t.leaveOrigin()
	t.origin, t.begun, t.atOrigin = next, false, false
	if next != nil {
		next.members++
	}
}

func (e *Engine) origin(of originOf) *origin {
	o := e.origins[of]
	if o == nil {
		if now := e.now(); len(e.origins) >= max(e.sweepOrigins, idleOrigins) {
			for k, v := range e.origins {
				if v.members == 0 && v.inFlight == 0 && v.probation.Idle(now) {
					delete(e.origins, k)
				}
			}
			e.sweepOrigins = 2 * len(e.origins)
		}
		o = &origin{}
		e.origins[of] = o
	}
	return o
}

func (t *target) leaveOrigin() {
	if t.origin != nil {
		t.origin.members--
		t.origin = nil
	}
}

// takes tells whether one more attempt of t may start at the origin.
func (o *origin) takes(t *target, now time.Time) bool {
	return o == nil || o.inFlight < o.probation.Limit(now) && (t.begun || o.probation.MayBegin(now))
}

// opensAt is when time itself lets the origin take an attempt of t; zero: it
// does not wait for time.
func (o *origin) opensAt(t *target, now time.Time) time.Time {
	at := o.probation.Health.HeldUntil()
	if !at.After(now) {
		at = time.Time{}
	}
	if begin := o.probation.NextBegin(now); !t.begun && begin.After(at) {
		at = begin
	}
	return at
}

// start counts an attempt of t.
func (o *origin) start(t *target, now time.Time) {
	o.inFlight++
	if !t.begun {
		t.begun = true
		o.probation.Begin(now)
	}
}

// wait makes t come back when the origin may take an attempt of it: when one
// there ends, or, before the callback's first one, when its time has come.
func (o *origin) wait(e *Engine, t *target, now time.Time) {
	if !t.atOrigin && (t.begun || o.probation.MayBegin(now)) {
		t.atOrigin = true
		o.waiting.push(t)
	}
	t.schedule(e, now)
}

// ended gives the place of an attempt to those that wait. All of them are
// asked: one may be held by something else by now.
func (o *origin) ended(e *Engine, now time.Time) {
	o.inFlight--
	for range o.waiting.len() {
		t, _ := o.waiting.pop()
		t.atOrigin = false
		t.enqueue(e)
		t.schedule(e, now)
	}
}

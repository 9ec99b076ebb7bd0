package engine

import "time"

// now is the clock that deliveries are due by. Leases have their own rule and
// do not use it.
func (e *Engine) now() time.Time {
	if e.o.Now != nil {
		return e.o.Now()
	}
	return time.Now()
}

// ClockSet tells the engine that the wall clock no longer agrees with its
// timers: the clock was set, or the machine slept, while timers count the time
// that the process has seen. Every callback is looked at again, so that what
// has become due is sent now, and nobody is held for as long as the clock went
// back.
func (e *Engine) ClockSet() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	for _, o := range e.origins {
		o.probation.Health = o.probation.Health.Plausible(now)
	}
	for _, t := range e.targets {
		t.health = t.health.Plausible(now)
		t.stopTimer()
		e.tickLocked(t, now)
	}
}

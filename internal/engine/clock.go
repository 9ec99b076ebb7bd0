package engine

import "time"

// now returns the time of the clock by which deliveries are due. Leases do not use it; see
// leaseHolds.
func (e *Engine) now() time.Time {
	if e.options.Now != nil {
		return e.options.Now()
	}
	return time.Now()
}

// ClockSet tells the engine that the wall clock no longer agrees with its timers, because
// the clock was set or the machine slept. Timers count only the time in which the process
// ran. The engine then looks at every callback. It sends what has become due, and it
// shortens waits that a clock that was set back would prolong.
func (e *Engine) ClockSet() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	for _, o := range e.origins {
		o.probation.Health = o.probation.Health.Plausible(now)
	}
	for _, g := range e.groups {
		e.lookAgain(g)
	}
	for _, q := range e.queues {
		q.health = q.health.Plausible(now)
		q.alarm.stop()
		e.advance(q, now)
	}
}

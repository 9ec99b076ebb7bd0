package callbackd

import "time"

// SameOrigin reports whether two URLs lead to the same receiver. A secret agreed
// with one receiver must not be used with another, and the answers of one say
// nothing about another.
func SameOrigin(a, b string) bool {
	o := Origin(a)
	return o != "" && o == Origin(b)
}

// Rules for receivers that have not accepted a delivery yet.
const (
	// ProbationBurst is how many callbacks of one key may make their first
	// attempt at one origin at once. One more may do so after each
	// ProbationEvery.
	ProbationBurst = 6
	ProbationEvery = 5 * time.Second
)

// Probation is shared by the callbacks of one API key at one origin, each until its
// first success there. They share an allowance of attempts in flight, a breaker and
// a rate of first attempts. So one event cannot cause a hundred requests to a host
// that never asked for them. The zero value is an origin without attempts so far.
type Probation struct {
	Health Health // after the attempts of all of them

	begun int       // first attempts that count against the burst
	since time.Time // when begun was last reduced
}

// After updates the shared health with result r of one of the callbacks at now; see
// [Health.After]. A Retry-After applies only to the callback that got it: several
// services may answer at one host. FaultAuth changes nothing: the host got no request.
func (p *Probation) After(r *Result, now time.Time, jitter float64) {
	if r.Fault == FaultAuth {
		return
	}
	p.Health = p.Health.After(r, now, jitter)
	p.Health.ClosedUntil = time.Time{}
}

// Limit returns how many attempts of all these callbacks may be in flight at now.
func (p *Probation) Limit(now time.Time) int { return p.Health.Limit(Policy{}, now) }

// MayBegin reports whether another callback may make its first attempt at now.
func (p *Probation) MayBegin(now time.Time) bool {
	p.refill(now)
	return p.begun < ProbationBurst
}

// Begin counts the first attempt of a callback at now.
func (p *Probation) Begin(now time.Time) {
	p.refill(now)
	if p.begun == 0 {
		p.since = now
	}
	p.begun++
}

// NextBegin returns when another callback may make its first attempt; zero means
// now.
func (p *Probation) NextBegin(now time.Time) time.Time {
	if p.MayBegin(now) {
		return time.Time{}
	}
	return p.since.Add(ProbationEvery)
}

func (p *Probation) refill(now time.Time) {
	if n := int(now.Sub(p.since) / ProbationEvery); n > 0 {
		p.begun = max(0, p.begun-n)
		p.since = p.since.Add(time.Duration(n) * ProbationEvery)
	}
}

// Idle reports whether p may be dropped at now, because it equals a new one.
func (p *Probation) Idle(now time.Time) bool {
	p.refill(now)
	return p.begun == 0 && p.Health.Consecutive == 0 && !p.Health.Held(now)
}

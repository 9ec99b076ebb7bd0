package callbackd

import "time"

// SameOrigin tells whether two URLs speak to the same receiver. A secret
// agreed with one must not be used with another, and what one answers says
// nothing about another.
func SameOrigin(a, b string) bool {
	o := Origin(a)
	return o != "" && o == Origin(b)
}

// Rules for receivers that have not shown yet that they want what they get.
const (
	// ProbationBurst callbacks of one key may begin at one origin at once, and
	// one more each ProbationEvery.
	ProbationBurst = 6
	ProbationEvery = 5 * time.Second
)

// Probation is what the callbacks of one API key at one origin share, each of
// them until its first success there: one allowance of attempts in flight, one
// breaker, and a pace at which callbacks make their first attempt. So one
// event is not a hundred requests at a host that asked for none of them. The
// zero value is an origin that was not heard from.
type Probation struct {
	Health Health // after the attempts of all of them

	begun int       // of the burst, used
	since time.Time // when begun was last reduced
}

// After takes into account result r of one of these callbacks at now; see
// [Health.After]. A Retry-After closes the callback that got it and no other:
// they share a host, and need not share what answers there.
func (p *Probation) After(r *Result, now time.Time, jitter float64) {
	p.Health = p.Health.After(r, now, jitter)
	p.Health.ClosedUntil = time.Time{}
}

// Limit is how many attempts of all these callbacks may be in flight at now.
func (p *Probation) Limit(now time.Time) int { return p.Health.Limit(Policy{}, now) }

// MayBegin tells whether one more callback may make its first attempt at now.
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

// NextBegin is when one more callback may make its first attempt; zero: at
// once.
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

// Idle tells whether p may be forgotten at now: a new one would not differ.
func (p *Probation) Idle(now time.Time) bool {
	p.refill(now)
	return p.begun == 0 && p.Health.Consecutive == 0 && !p.Health.Held(now)
}

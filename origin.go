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
//
// Callbacks that are for one session stay on probation: a key can have 100,000 of them at one
// origin, and together they may do what one callback may. Their Concurrency is that of all of
// them there.
type Probation struct {
	Health Health // after the attempts of all of them

	begun int       // first attempts that count against the burst
	since time.Time // when begun was last reduced
	met   bool      // an attempt has succeeded
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
	p.met = p.met || r.Success()
}

// Limit returns how many attempts of all these callbacks may be in flight at now, for one
// of them, cb.
func (p *Probation) Limit(cb *Callback, now time.Time) int {
	if cb.OfSession() {
		return p.Health.Limit(cb.Policy, now)
	}
	return p.Health.Limit(Policy{}, now)
}

// MayBegin reports whether another callback may make its first attempt at now.
func (p *Probation) MayBegin(now time.Time) bool {
	p.refill(now)
	return p.begun < ProbationBurst
}

// Begin counts the first attempt of the callback cb at now, unless NextBegin would let any
// number of them begin.
func (p *Probation) Begin(cb *Callback, now time.Time) {
	if p.met && cb.OfSession() {
		return
	}
	p.refill(now)
	if p.begun == 0 {
		p.since = now
	}
	p.begun++
}

// NextBegin returns when the callback cb may make its first attempt; zero means now. One for
// a session may do so at any time when the origin has accepted a request from any callback
// on probation.
func (p *Probation) NextBegin(cb *Callback, now time.Time) time.Time {
	if p.met && cb.OfSession() || p.MayBegin(now) {
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

// Idle reports whether p may be dropped at now: a new one knows at most no success.
func (p *Probation) Idle(now time.Time) bool {
	p.refill(now)
	return p.begun == 0 && p.Health.Consecutive == 0 && !p.Health.Held(now)
}

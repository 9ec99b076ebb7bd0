// Package keylimit holds API keys to their limits: how fast they publish, and how much
// they may leave pending. Limits come with the key, so that a change counts at once.
//
// The rate is a token bucket in memory. Each node has its own. All calls of a key are
// answered at its home, so there is one that counts; a node that answers in place of the
// home applies its own.
//
// What is pending is counted in the store, and then kept up with in memory: by the events
// that are accepted and the deliveries that end here. Replays, cancellations and what other
// nodes do change it too, so it is counted again now and then: see countEvery.
package keylimit

import (
	"context"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/ratelimit"
)

const (
	// countEvery is how old a count may be before it is made again beside the calls.
	// A count that refuses a call, or that is shown, may be countFresh old.
	countEvery = 10 * time.Second
	countFresh = time.Second
	// countShare is the least ratio of the time between two counts of a key to the time
	// that a count takes. freshShare is the same for a count that a call waits for.
	countShare = 50
	freshShare = 10
	// maxCountAge is the age at which nothing is accepted by a count any more. That a
	// key has no calls here for so long may mean that another node has become its home.
	maxCountAge = 30 * time.Second
	// countPatience bounds a count.
	countPatience = time.Minute

	// maxKeys is how many keys are in memory before those without calls are forgotten.
	maxKeys = 10_000
	forget  = 10 * time.Minute
)

// Options holds the options of a Limiter.
type Options struct {
	// Count reads from the store what a key uses.
	Count func(context.Context, callbackd.KeyID) (callbackd.KeyUse, error)
	// Defaults are the limits of keys that have none of their own.
	Defaults callbackd.KeyLimits
	Now      func() time.Time // nil: the real clock
}

// Limiter holds what the keys use. Make it with [New].
type Limiter struct {
	o Options

	mu   sync.Mutex
	keys map[callbackd.KeyID]*state
}

// state is what one key uses here.
type state struct {
	lastCall time.Time
	bucket   ratelimit.Bucket
	pending  *pending // nil: it is not counted
}

// pending is what a key has pending.
type pending struct {
	use       callbackd.KeyUse
	reserved  callbackd.KeyUse // of calls that are being accepted
	accepted  callbackd.KeyUse // since the count that runs began
	ended     callbackd.KeyUse // since then
	taken     int64            // deliveries that ended since the last count
	countedAt time.Time        // zero: never
	took      time.Duration    // the last count
	counting  chan struct{}    // closed at the end of the count that runs; nil: none does
	err       error            // of the last count
}

// New makes a Limiter.
func New(o Options) *Limiter {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Limiter{o: o, keys: map[callbackd.KeyID]*state{}}
}

// Of returns the limits in force of a key.
func (l *Limiter) Of(key *callbackd.Key) callbackd.KeyLimits {
	return key.Limits.WithDefaults(l.o.Defaults)
}

// state returns the state of a key. mu is held.
func (l *Limiter) state(key callbackd.KeyID, now time.Time) *state {
	s := l.keys[key]
	if s == nil {
		l.forget(now)
		s = &state{}
		l.keys[key] = s
	}
	s.lastCall = now
	return s
}

// forget makes room for another key. A key that is forgotten begins with a full bucket, and
// with a count.
func (l *Limiter) forget(now time.Time) {
	if len(l.keys) < maxKeys {
		return
	}
	for key, s := range l.keys {
		if now.Sub(s.lastCall) > forget && (s.pending == nil || s.pending.reserved == callbackd.KeyUse{}) {
			delete(l.keys, key)
		}
	}
}

// Call is a call that may make events. A nil one has no limits.
type Call struct {
	l      *Limiter
	key    callbackd.KeyID
	limits callbackd.KeyLimits
	events int
	size   callbackd.KeyUse // at least, when each event has a target

	mu       sync.Mutex
	asked    bool
	refused  error
	reserved bool
}

// Begin returns the call of a key that makes events with so many bytes of data. When the
// key limits what is pending, Begin waits for a count if there is none, or none that is
// new enough to refuse a call.
func (l *Limiter) Begin(ctx context.Context, key *callbackd.Key, events, bytes int) (*Call, error) {
	limits := l.Of(key)
	if !limits.LimitsRate() && !limits.LimitsPending() {
		return nil, nil
	}
	if limits.LimitsPending() {
		full := func(use callbackd.KeyUse) bool { return limits.CheckPending(use, 0) != nil }
		if _, err := l.counted(ctx, key.ID, full); err != nil {
			return nil, err
		}
	}
	return &Call{l: l, key: key.ID, limits: limits, events: events, size: callbackd.KeyUse{Deliveries: int64(events), Bytes: int64(bytes)}}, nil
}

// Admit returns an error of KindLimited when the call is over a limit. Otherwise it counts
// the call. It may be called again, and then returns what it returned first.
func (c *Call) Admit() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.asked {
		c.asked, c.refused = true, c.admit()
	}
	return c.refused
}

func (c *Call) admit() error {
	l := c.l
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.o.Now()
	s := l.state(c.key, now)
	if c.limits.LimitsPending() && s.pending != nil {
		if err := c.limits.CheckPending(s.pending.use.Add(s.pending.reserved), s.pending.retry(c.limits, now)); err != nil {
			return err
		}
	}
	if c.limits.LimitsRate() {
		if wait := s.bucket.Take(float64(c.events), c.limits.PublishRate, c.limits.PublishBurst(), now); wait > 0 {
			return c.limits.RefuseRate(c.events, wait)
		}
	}
	if s.pending != nil {
		s.pending.reserved = s.pending.reserved.Add(c.size)
		c.reserved = true
	}
	return nil
}

// Done ends the call with the events that it has made, if any. A call that was a repeat
// has made none: its Admit was not called.
func (c *Call) Done(events []*callbackd.Event) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reserved {
		return
	}
	c.reserved = false
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	s := c.l.keys[c.key]
	if s == nil || s.pending == nil {
		return
	}
	use := callbackd.UseOf(events)
	s.pending.reserved = s.pending.reserved.Sub(c.size)
	s.pending.use = s.pending.use.Add(use)
	s.pending.accepted = s.pending.accepted.Add(use)
}

// Left returns how many events the key may publish at once now, and how long it takes until
// it may publish as many as ever. ok is false when its rate is not limited.
func (c *Call) Left() (limits callbackd.KeyLimits, left float64, full time.Duration, ok bool) {
	if c == nil || !c.limits.LimitsRate() {
		return limits, 0, 0, false
	}
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	now := c.l.o.Now()
	left, full = c.l.state(c.key, now).bucket.Left(c.limits.PublishRate, c.limits.PublishBurst(), now)
	return c.limits, left, full, true
}

// Ended counts a delivery that has ended.
func (l *Limiter) Ended(key callbackd.KeyID, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.keys[key]
	if s == nil || s.pending == nil {
		return
	}
	use := callbackd.KeyUse{Deliveries: 1, Bytes: int64(bytes)}
	s.pending.use = s.pending.use.Sub(use)
	s.pending.ended = s.pending.ended.Add(use)
	s.pending.taken++
}

// Bounds of the Retry-After of a call that is refused because too much is pending.
const (
	minRetry = time.Second
	maxRetry = time.Minute
)

// retry estimates when a hundredth of the limit will have been delivered, by what was
// delivered since the last count.
func (p *pending) retry(limits callbackd.KeyLimits, now time.Time) time.Duration {
	if p.taken == 0 {
		return maxRetry
	}
	room := max(1, limits.Pending/100, p.use.Deliveries-limits.Pending)
	if limits.Pending <= 0 {
		room = max(1, p.use.Deliveries/100)
	}
	each := float64(max(now.Sub(p.countedAt), time.Millisecond)) / float64(p.taken)
	return time.Duration(min(max(each*float64(room), float64(minRetry)), float64(maxRetry)))
}

// Use is what a key uses, for people.
type Use struct {
	callbackd.KeyUse
	CountedAt time.Time
	Publish   float64       // events that may be published at once now; 0 without a limit
	Full      time.Duration // until as many may be published at once as ever
}

// Use returns what a key uses. It is a second old at most, or older when a count takes
// long.
func (l *Limiter) Use(ctx context.Context, key *callbackd.Key) (out Use, err error) {
	limits := l.Of(key)
	p, err := l.counted(ctx, key.ID, func(callbackd.KeyUse) bool { return true })
	if err != nil {
		return out, err
	}
	out.KeyUse, out.CountedAt = p.use, p.countedAt
	if limits.LimitsRate() {
		l.mu.Lock()
		defer l.mu.Unlock()
		now := l.o.Now()
		out.Publish, out.Full = l.state(key.ID, now).bucket.Left(limits.PublishRate, limits.PublishBurst(), now)
	}
	return out, nil
}

// counted returns what a key has pending. It waits for a count when there is none that is
// new enough, or when strict says that only a fresh one will do.
func (l *Limiter) counted(ctx context.Context, key callbackd.KeyID, strict func(callbackd.KeyUse) bool) (pending, error) {
	l.mu.Lock()
	now := l.o.Now()
	s := l.state(key, now)
	if s.pending == nil {
		s.pending = &pending{}
	}
	p := s.pending
	age := now.Sub(p.countedAt)
	wait := age > max(maxCountAge, countShare*p.took) || age > max(countFresh, freshShare*p.took) && strict(p.use.Add(p.reserved))
	if p.counting == nil && (wait || age > max(countEvery, countShare*p.took)) {
		p.counting = make(chan struct{})
		p.accepted, p.ended = callbackd.KeyUse{}, callbackd.KeyUse{}
		go l.count(key, p, now)
	}
	counting, copied := p.counting, *p
	l.mu.Unlock()
	if !wait {
		return copied, nil
	}
	select {
	case <-counting:
	case <-ctx.Done():
		return pending{}, callbackd.Wrap(callbackd.KindUnavailable, ctx.Err(), "the pending deliveries of this API key are being counted; try again")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return *p, p.err
}

// count counts what a key has pending. Deliveries that are accepted or end meanwhile may be
// in the count or not; they count as not being in it until the next one.
func (l *Limiter) count(key callbackd.KeyID, p *pending, start time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), countPatience)
	defer cancel()
	use, err := l.o.Count(ctx, key)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.o.Now()
	if p.err = err; err == nil {
		p.use = use.Add(p.accepted).Sub(p.ended)
		p.countedAt, p.took, p.taken = now, now.Sub(start), 0
	}
	close(p.counting)
	p.counting = nil
}

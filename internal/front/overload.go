package front

import (
	"container/list"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"callbackd"
)

// Constants of [Overload]. Limits are events that are being accepted at the same time.
const (
	// firstAccepting is the limit of a server that has had no overload lately. It becomes
	// smaller only when something is refused: clients that send single events on fewer
	// connections wait for each other, and no longer than that.
	firstAccepting = 256
	// MinAccepting is always allowed, and to each of up to four keys. So a client that sends
	// single events on fewer connections is never refused, however slow the disk is.
	MinAccepting = 64
	maxAccepting = 4096
	// MinCalls is how many calls are always allowed, however many events they have. So
	// arrays follow each other without a gap.
	MinCalls = 2
	// maxWait is how long an array waits for room before it is refused: no longer than
	// clients wait for an answer.
	maxWait = 5 * time.Second
	// overloadInterval is how often the limit is set anew.
	overloadInterval = 100 * time.Millisecond
	// A call may wait for the store for normalTimes of what is normal, and for minTarget
	// at least.
	normalTimes = 2
	minTarget   = 10 * time.Millisecond
	// eventsOfWait is how many events of an array may take as long as one call: an array
	// takes its time also when nothing else comes.
	eventsOfWait = 64
	// maxOverloadRetry bounds Retry-After. It is random, so that calls that were refused
	// together do not come back together.
	maxOverloadRetry = 3
	// holdRefusal is how long the answer to a refused call is held back. A client that
	// ignores Retry-After then has no more than two refusals a second for a connection, and
	// refusing takes little of the processors from what was accepted.
	holdRefusal = 500 * time.Millisecond
	// maxHeldShare is which share of the connections may wait for a refusal. Further calls
	// are refused at once, so that requests of other kinds find a place.
	maxHeldShare = 4
)

// Overload refuses calls before so many events wait for the store that all of them become
// slow. It limits how many are being accepted at the same time, as a queue that is full, and
// sets the limit by how long their calls wait: when they wait longer than twice the normal, it
// allows fewer, and when they do not, more. What is normal is learned while no more are being
// accepted than are always allowed; when more are, it is the queue that makes them wait. An
// array counts as its events. A call is accepted while the limit is not reached, so the last one
// may go over it by an array.
//
// A client that sends single events wants an answer soon, so it is refused at once. A client that
// sends arrays wants many events to be stored, so an array waits until there is room.
//
// The room is divided by API key: a key that has less than its share of the limit is not
// refused because of others, which then get less.
//
// Make it with [NewOverload]. It may be used concurrently.
type Overload struct {
	now  func() time.Time
	hold chan struct{} // has room for the refusals that are held back

	mu     sync.Mutex
	calls  list.List      // being accepted, oldest first: *Accepting
	queues queues         // of arrays that wait for room
	events int            // of these calls
	byKey  map[string]int // the number of these events
	limit  float64
	normal time.Duration // how long a call waits without overload; 0: not known

	// Of the present interval.
	begun   time.Time
	waits   time.Duration // of the calls that ended
	ended   int
	full    bool // the limit was reached
	refused bool
	many    bool // more were being accepted than are always allowed
}

// Accepting is a call that is being accepted.
type Accepting struct {
	key    string
	events int
	begun  time.Time
	at     *list.Element
}

// wait returns how long the call has waited, less for an array: see eventsOfWait.
func (a *Accepting) wait(now time.Time) time.Duration {
	return now.Sub(a.begun) / time.Duration((a.events+eventsOfWait-1)/eventsOfWait)
}

// NewOverload makes an Overload of a server with the connections of f. Without a Front it
// holds no refusals back.
func NewOverload(f *Front) *Overload {
	held := 0
	if f != nil {
		held = f.options.MaxConns / maxHeldShare
	}
	return &Overload{now: time.Now, hold: make(chan struct{}, held), byKey: map[string]int{}, limit: firstAccepting, begun: time.Now()}
}

// Hold waits for some time before a call is refused. It returns at once when the caller has
// gone, or when enough refusals wait already.
func (o *Overload) Hold(ctx context.Context) {
	select {
	case o.hold <- struct{}{}:
	default:
		return
	}
	timer := time.NewTimer(holdRefusal)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	<-o.hold
}

// Check returns an error when a call of a key with one event would be refused now. It costs
// little, so that it comes before the call is authenticated and read. A key that is only
// claimed harms nobody, because nothing is counted.
func (o *Overload) Check(key string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.adjust(o.now())
	if !o.hasRoom(key, 1) {
		return o.refusal()
	}
	return nil
}

// Begin counts a call with so many events, 1 or more, that was read, until End. It returns an
// error when the call is refused. An array waits for room, see [Overload].
func (o *Overload) Begin(ctx context.Context, key string, events int) (*Accepting, error) {
	o.mu.Lock()
	o.adjust(o.now())
	if o.hasRoom(key, events) && !(events > 1 && o.queues.has(key)) {
		defer o.mu.Unlock()
		return o.begin(key, events), nil
	}
	if events == 1 {
		defer o.mu.Unlock()
		return nil, o.refusal()
	}
	return o.wait(ctx, key, events)
}

// begin counts a call. mu is held.
func (o *Overload) begin(key string, events int) *Accepting {
	a := &Accepting{key: key, events: events, begun: o.now()}
	a.at = o.calls.PushBack(a)
	o.events += events
	o.byKey[key] += events
	o.many = o.many || o.isMany()
	return a
}

// isMany reports whether more is being accepted than what is always allowed. mu is held.
func (o *Overload) isMany() bool { return o.events > MinAccepting && o.calls.Len() > MinCalls }

// End ends a call of Begin.
func (o *Overload) End(a *Accepting) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	o.calls.Remove(a.at)
	o.events -= a.events
	if o.byKey[a.key] -= a.events; o.byKey[a.key] == 0 {
		delete(o.byKey, a.key)
	}
	o.waits += a.wait(now)
	o.ended++
	o.adjust(now)
	o.admit()
}

// hasRoom reports whether there is room for one more call of a key, with so many events. It
// notes for the present interval that the limit was reached. mu is held.
func (o *Overload) hasRoom(key string, events int) bool {
	limit := int(o.limit)
	if o.events < limit {
		return true
	}
	o.full = true
	if o.calls.Len() < MinCalls {
		return true
	}
	keys := len(o.byKey)
	if o.byKey[key] == 0 {
		keys++
	}
	// All shares together are the limit, or firstAccepting when that is more: a client on
	// MinAccepting connections is not refused because of three others. Arrays may go over the
	// shares, but not over twice the limit by more than one array.
	share := max(limit/keys, min(MinAccepting, firstAccepting/keys))
	return o.byKey[key] < share && (events == 1 || o.events < 2*limit)
}

// refusal returns the error of a call without room, and notes for the present interval that there
// was one. mu is held.
func (o *Overload) refusal() error {
	o.refused = true
	return &callbackd.Error{
		Kind: callbackd.KindUnavailable, Limit: callbackd.LimitOverload, RetryAfter: time.Duration(1+rand.N(maxOverloadRetry)) * time.Second,
		Message: "More events come than callbackd can store in time. Nothing of this call was accepted; send it again after the time in Retry-After.",
	}
}

// adjust sets the limit when an interval is over. mu is held.
func (o *Overload) adjust(now time.Time) {
	if now.Sub(o.begun) < overloadInterval {
		return
	}
	wait, known := o.waited(now)
	if known {
		o.set(wait)
	}
	o.begun, o.waits, o.ended, o.full, o.refused, o.many = now, 0, 0, false, false, o.isMany()
}

// waited returns how long calls wait: those that ended in the interval, or the oldest one when
// none has ended.
func (o *Overload) waited(now time.Time) (wait time.Duration, known bool) {
	if o.ended > 0 {
		return o.waits / time.Duration(o.ended), true
	}
	if oldest := o.calls.Front(); oldest != nil {
		return oldest.Value.(*Accepting).wait(now), true
	}
	return 0, false
}

// set sets the limit after an interval in which calls waited for so long.
func (o *Overload) set(wait time.Duration) {
	target := max(minTarget, normalTimes*o.normal)
	least := float64(MinAccepting)
	if o.ended > 0 && !o.refused {
		least = firstAccepting
	}
	switch {
	case o.limit < least, wait <= target && (o.full || o.limit < firstAccepting):
		o.limit = min(maxAccepting, o.limit+max(1, o.limit/16))
	case wait > target:
		o.limit = max(least, o.limit*max(0.5, float64(target)/float64(wait)))
	}
	if !o.many && o.ended > 0 {
		o.learn(wait, target)
	}
}

// learn updates what is normal after an interval in which few calls were being accepted.
func (o *Overload) learn(wait, target time.Duration) {
	switch {
	case o.normal == 0:
		o.normal = min(wait, minTarget)
	case wait <= target:
		o.normal += (wait - o.normal) / 16
	default: // slowly, because it may only be for a while that the disk is slow
		o.normal += (wait/normalTimes - o.normal) / 64
	}
}

// Figures returns how many events are being accepted, the limit, and how many arrays wait for
// room.
func (o *Overload) Figures() (accepting, limit, arrays int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.events, int(o.limit), o.queues.n
}

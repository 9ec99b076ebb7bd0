package engine

import (
	"container/heap"
	"slices"
	"time"

	"callbackd"

	"golang.org/x/time/rate"
)

// target is what the engine knows of one callback that is owed something.
type target struct {
	id      callbackd.CallbackID
	cb      *callbackd.Callback // nil until it was read
	stale   bool                // cb must be read again
	paused  bool
	pausing bool // an attempt paused it, which is on its way into the store
	proven  bool // it has succeeded at its origin
	// origin is where it is on probation; nil: it is not.
	origin   *origin
	begun    bool // it made its first attempt there
	atOrigin bool // it waits for an attempt there to end
	// releasing: what waits for a later time is being made due.
	releasing bool
	health    callbackd.Health
	limiter   *rate.Limiter // nil without a rate

	lanes     map[string]*lane
	ready     [classes]ring[*lane] // lanes that may start one, by class
	queued    [classes]bool        // in the engine's rings
	parked    bool                 // waits for a place
	held      heldLanes
	inFlight  int   // exchanges with the receiver
	replaying int   // of those, what a replay sends again
	flight    int64 // bytes of their bodies
	recording int   // outcomes on their way into the store
	count     int   // fresh deliveries in memory that no held lane has
	retries   int   // scheduled deliveries in memory
	replays   int   // of replays

	cursor  callbackd.EventID // newest fresh delivery ever taken
	seen    callbackd.EventID // newest one that was offered
	behind  bool              // the store has fresh deliveries beyond cursor
	holding bool              // held lanes must be read from the store
	nextDue time.Time         // soonest Due in the store and not in memory; zero: none
	// nextReplay is nextDue for what replays made due.
	nextReplay time.Time
	wants      []*lane // lanes with more in the store

	// rewind is the lowest id that FirstAttempts must be read from again; 0: none.
	rewind callbackd.EventID
	// leaving: the shard goes to another node, or went. Nothing starts; what
	// is under way ends, and then drained is told.
	leaving bool
	// abandoned: it went already, and nothing is recorded any more.
	abandoned bool
	drained   *release

	fetching bool
	// settled is what was recorded while a query ran: its result may still
	// show it.
	settled map[callbackd.EventID]bool
	taken   map[callbackd.EventID]bool // scheduled deliveries in memory
	// revived is what was made due again before the engine heard of the end of
	// its attempt.
	revived map[callbackd.EventID]callbackd.Delivery

	timer   *time.Timer
	timerAt time.Time
}

// lane is one session's deliveries to one callback.
type lane struct {
	session string
	queue   []callbackd.Delivery // fresh, in order
	again   []callbackd.Delivery // scheduled or manual, due
	later   []callbackd.Delivery // of replays, due
	head    *callbackd.Delivery  // failed, holds the lane until HoldsUntil
	busy    bool                 // one is in flight
	flying  callbackd.EventID    // which, while busy
	ready   [classes]bool        // in the target's rings
	more    bool                 // the store has later ones, after last
	wanted  bool                 // in the target's wants
	last    callbackd.EventID    // newest that was taken
	number  int64                // its sequence number; 0: not known
	seen    callbackd.EventID    // newest that was offered
	index   int                  // in held
}

func (e *Engine) target(no callbackd.CallbackID) *target {
	t := e.targets[no]
	if t == nil {
		if len(e.targets) >= max(e.sweepAt, idleTargets) {
			e.dropIdle()
			e.sweepAt = 2 * len(e.targets)
		}
		t = &target{id: no, lanes: map[string]*lane{}, settled: map[callbackd.EventID]bool{}, taken: map[callbackd.EventID]bool{}, revived: map[callbackd.EventID]callbackd.Delivery{}, stale: true}
		e.targets[no] = t
		if e.o.Shared && e.shards[callbackd.ShardOf(no)] == adopting {
			t.forget() // what the store holds of it is being asked for
		}
	}
	return t
}

// dropIdle forgets targets with nothing to do and nothing to remember.
func (e *Engine) dropIdle() {
	now := e.now()
	for no, t := range e.targets {
		if len(t.lanes) == 0 && t.inFlight == 0 && t.recording == 0 && !t.behind && !t.holding && !t.fetching && !t.parked && !t.atOrigin && t.nextDue.IsZero() && t.nextReplay.IsZero() && t.health.Consecutive == 0 && !t.health.Held(now) && !t.releasing && !t.pausing {
			t.stopTimer()
			t.leaveOrigin()
			delete(e.targets, no)
		}
	}
}

// offer takes a fresh delivery into the window, or leaves it to the store.
func (e *Engine) offer(t *target, d callbackd.Delivery) {
	t.seen = max(t.seen, d.ID.Event)
	if d.ID.Event <= t.cursor { // most likely a query saw it first
		e.look(t, d.Session, d.ID.Event)
		e.fetch(t)
		return
	}
	if !e.running || t.behind || t.paused || t.count >= e.o.Window || len(t.held.lanes) >= maxHeld {
		t.behind = true
	} else {
		t.cursor = d.ID.Event
		e.put(t, d)
	}
	e.fetch(t)
}

// put adds a fresh delivery to its lane.
func (e *Engine) put(t *target, d callbackd.Delivery) {
	l := t.lane(d.Session)
	l.seen = max(l.seen, d.ID.Event)
	if d.ID.Event <= l.last || t.settled[d.ID.Event] || t.taken[d.ID.Event] {
		t.wake(e, l) // or it stays, empty
		return
	}
	if l.more || len(l.queue) >= laneCap {
		l.more = true
		return
	}
	l.last, l.number = d.ID.Event, d.Sequence
	if d.Event != nil {
		if e.data+int64(len(d.Event.Data)) > e.o.DataBudget {
			d.Event = nil
		} else {
			e.data += int64(len(d.Event.Data))
		}
	}
	l.queue = append(l.queue, d)
	if l.head == nil {
		t.count++
	}
	t.wake(e, l)
}

// unqueue takes a fresh delivery out of its lane: it was scheduled meanwhile.
func (t *target) unqueue(e *Engine, l *lane, id callbackd.EventID) {
	i := slices.IndexFunc(l.queue, func(d callbackd.Delivery) bool { return d.ID.Event == id })
	if i < 0 {
		return
	}
	if l.queue[i].Event != nil {
		e.data -= int64(len(l.queue[i].Event.Data))
	}
	l.queue = slices.Delete(l.queue, i, i+1)
	if l.head == nil {
		t.count--
	}
}

func (t *target) lane(session string) *lane {
	l := t.lanes[session]
	if l == nil {
		l = &lane{session: session, index: -1}
		t.lanes[session] = l
	}
	return l
}

// wake puts a lane that has something to start into its ring, and forgets
// one that has nothing left.
func (t *target) wake(e *Engine, l *lane) {
	if l.busy {
		return
	}
	switch {
	case l.head != nil && l.index < 0:
		t.makeReady(l, retry)
	case len(l.again) > 0:
		t.makeReady(l, retry)
		if l.head == nil && len(l.queue) > 0 { // a retry that holds nothing
			t.makeReady(l, fresh)
		}
	case l.head == nil && len(l.queue) > 0:
		t.makeReady(l, fresh)
	case l.head == nil && l.more:
		if !l.wanted {
			l.wanted = true
			t.wants = append(t.wants, l)
		}
	case len(l.later) > 0:
		t.makeReady(l, replay)
	case l.head != nil: // held
	default:
		if t.lanes[l.session] == l && l.ready == [classes]bool{} {
			delete(t.lanes, l.session)
			if e.o.Shared {
				e.floors.keep(t.id, l.session, floor{l.last, l.number})
			}
		}
	}
	t.enqueue(e)
}

func (t *target) makeReady(l *lane, class int) {
	if !l.ready[class] {
		l.ready[class] = true
		t.ready[class].push(l)
	}
}

// enqueue puts the target into the engine's rings where it has ready lanes.
func (t *target) enqueue(e *Engine) {
	if t.leaving {
		return
	}
	for class := range t.ready {
		if t.ready[class].len() > 0 && !t.queued[class] {
			t.queued[class] = true
			e.rings[class].push(t)
		}
	}
}

// mayStart tells whether the callback takes one more attempt of a class now.
// Replays leave half of the places free for what comes in meanwhile.
func (t *target) mayStart(class int, now time.Time) bool {
	if t.cb == nil || t.paused || t.cb.Deleted() {
		return false
	}
	limit := t.health.Limit(t.cb.Policy, now)
	if t.inFlight >= limit || class == replay && t.replaying >= max(1, limit/2) {
		return false
	}
	return t.limiter == nil || t.limiter.TokensAt(now) >= 1
}

// suspect tells whether the receiver may be one that hangs: it was not heard
// from yet, or failed last.
func (t *target) suspect() bool { return t.health.Allowance == 0 || t.health.Consecutive > 0 }

// next is the next delivery of a class in a lane; nil when there is none.
func (l *lane) next(class int) *callbackd.Delivery {
	switch {
	case l.busy: // wake sees to it when it ends
	case class == retry && l.head != nil && l.index < 0:
		return l.head
	case class == retry && len(l.again) > 0:
		return &l.again[0]
	case class == replay && len(l.later) > 0:
		return &l.later[0]
	case class == fresh && l.head == nil && len(l.queue) > 0:
		return &l.queue[0]
	}
	return nil
}

// take removes the next delivery of a class from its lane.
func (t *target) take(l *lane, class int) (d callbackd.Delivery, ok bool) {
	next := l.next(class)
	if next == nil {
		return d, false
	}
	d = *next
	switch {
	case next == l.head:
		l.head = nil
		t.count += len(l.queue)
	case class == retry:
		l.again = l.again[1:]
		t.retries--
	case class == replay:
		l.later = l.later[1:]
		t.replays--
	default:
		l.queue[0] = callbackd.Delivery{}
		l.queue = l.queue[1:]
		t.count--
	}
	return d, true
}

// finish takes the outcome into account and moves on.
func (e *Engine) finish(t *target, l *lane, o *callbackd.Outcome, state callbackd.State, err error, data int64) {
	now := e.now()
	e.mu.Lock()
	defer e.mu.Unlock()
	t.recording--
	e.recording--
	e.data -= data
	id := o.Delivery.ID
	t.ended(id.Event)
	if e.inbox.settled != nil {
		e.inbox.settled[id] = true
	}
	if l != nil {
		l.busy, l.flying = false, 0
		e.settle(t, l, o, state, err, now)
	}
	if o.Change.Pause != callbackd.NotPaused {
		t.pausing, t.stale = false, true // the store knows whether it is paused
	}
	for _, ch := range e.watchers[id] {
		close(ch)
	}
	delete(e.watchers, id)
	e.left(t)
	e.tickLocked(t, now)
}

// settle moves the lane after one of its deliveries was recorded.
func (e *Engine) settle(t *target, l *lane, o *callbackd.Outcome, state callbackd.State, err error, now time.Time) {
	switch {
	case err == errEnded, err == nil && state == callbackd.Canceled:
		t.stale = true
		t.clear(e)
		return
	case err == nil && state == callbackd.Pending:
		d := o.Delivery
		a := &o.Attempt
		d.Attempts, d.Step, d.Due, d.HoldsUntil, d.Event = d.Attempts+1, a.Step, a.Due, a.HoldsUntil, nil
		if d.HoldsUntil.After(now) && l.head == nil && len(t.held.lanes) < 2*maxHeld {
			t.hold(l, d)
		} else {
			t.note(&d)
		}
	case err == errLease && l != nil:
		t.putBack(l, o.Delivery)
	}
	// With an error there is nothing to do: the delivery ended elsewhere, or
	// the engine stops and the store has it still.
	t.wake(e, l)
}

// hold closes the lane behind its failed head.
func (t *target) hold(l *lane, d callbackd.Delivery) {
	l.head = &d
	t.taken[d.ID.Event] = true
	t.count -= len(l.queue)
	heap.Push(&t.held, l)
}

// clear forgets everything that waits for a callback that is owed nothing.
func (t *target) clear(e *Engine) {
	for _, l := range t.lanes {
		for i := range l.queue {
			if l.queue[i].Event != nil {
				e.data -= int64(len(l.queue[i].Event.Data))
			}
		}
		l.queue, l.again, l.later, l.head, l.more, l.index = nil, nil, nil, nil, false, -1
	}
	clear(t.lanes)
	clear(t.taken)
	clear(t.revived)
	t.held.lanes, t.wants, t.count, t.retries, t.replays = nil, nil, 0, 0, 0
	t.behind, t.rewind, t.nextDue, t.nextReplay = false, 0, time.Time{}, time.Time{}
}

// tick is tickLocked for now, with a pump.
func (e *Engine) tick(t *target) { e.tickLocked(t, e.now()) }

// tickLocked does what time has made possible for a target.
func (e *Engine) tickLocked(t *target, now time.Time) {
	if e.draining || t.leaving {
		return
	}
	for len(t.held.lanes) > 0 && !t.held.lanes[0].wakeAt().After(now) {
		l := heap.Pop(&t.held).(*lane)
		if l.head.Due.After(now) { // its wait is over: later ones may pass
			t.noteDue(l.head.Due)
			delete(t.taken, l.head.ID.Event)
			l.head = nil
			t.count += len(l.queue)
		}
		t.wake(e, l)
	}
	t.enqueue(e)
	e.fetch(t)
	e.pump(now)
	t.schedule(e, now)
}

// wakeAt is when a held lane has something to do.
func (l *lane) wakeAt() time.Time {
	if l.head.Due.Before(l.head.HoldsUntil) || l.head.Manual {
		return l.head.Due
	}
	return l.head.HoldsUntil
}

// schedule sets the timer to the next time something can happen by itself.
func (t *target) schedule(e *Engine, now time.Time) {
	if e.draining || t.leaving || t.cb == nil || t.paused || t.cb.Deleted() {
		t.stopTimer()
		return
	}
	var at time.Time
	sooner := func(c time.Time) {
		if at.IsZero() || c.Before(at) {
			at = c
		}
	}
	held := t.health.Held(now)
	if held {
		sooner(t.health.HeldUntil())
	}
	ready := t.ready[fresh].len() > 0 || t.ready[retry].len() > 0 || t.ready[replay].len() > 0
	if t.origin != nil && ready {
		if at := t.origin.opensAt(t, now); !at.IsZero() {
			sooner(at)
		}
	}
	if len(t.held.lanes) > 0 {
		sooner(t.held.lanes[0].wakeAt())
	}
	if !t.nextDue.IsZero() && !held && t.retries < retryPage && !t.fetching {
		sooner(t.nextDue)
	}
	if !t.nextReplay.IsZero() && !held && t.replays < retryPage && !t.fetching {
		sooner(t.nextReplay)
	}
	if t.limiter != nil && ready {
		if missing := 1 - t.limiter.TokensAt(now); missing > 0 {
			sooner(now.Add(time.Duration(missing/float64(t.limiter.Limit())*float64(time.Second)) + time.Microsecond))
		}
	}
	if at.IsZero() {
		t.stopTimer()
		return
	}
	if at.Equal(t.timerAt) && t.timer != nil {
		return
	}
	t.stopTimer()
	t.timerAt = at
	t.timer = time.AfterFunc(max(at.Sub(now), 0), func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		t.timerAt = time.Time{}
		e.tick(t)
	})
}

func (t *target) stopTimer() {
	if t.timer != nil {
		t.timer.Stop()
		t.timer, t.timerAt = nil, time.Time{}
	}
}

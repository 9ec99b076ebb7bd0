// Package engine decides when deliveries are attempted. The rules at the root
// decide what comes next, the sender says what happened, and the store is the
// queue: the engine holds a bounded window of it for each callback and never
// more, whatever the backlog.
//
// A lane is one session's deliveries to one callback, in order, one in flight
// at a time; the next starts when the outcome of the one before is recorded.
// All state is behind one mutex; queries and attempts run outside it.
package engine

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"callbackd"
)

// Queue is what the engine needs of the store; store.Store has the contract.
type Queue interface {
	Backlogs(ctx context.Context) ([]callbackd.CallbackID, error)
	FirstAttempts(ctx context.Context, cb callbackd.CallbackID, after callbackd.EventID, limit int) ([]callbackd.Delivery, error)
	Due(ctx context.Context, class callbackd.DueClass, cb callbackd.CallbackID, until time.Time, limit int) (ds []callbackd.Delivery, next time.Time, err error)
	Blocked(ctx context.Context, cb callbackd.CallbackID, now time.Time, limit int) ([]callbackd.Delivery, error)
	Lanes(ctx context.Context, cb callbackd.CallbackID, from []callbackd.LaneCursor, limit int) ([]callbackd.Delivery, error)
	FirstAttemptsByID(ctx context.Context, ids []callbackd.DeliveryID) ([]callbackd.Delivery, error)
	EventByID(ctx context.Context, id callbackd.EventID) (*callbackd.Event, error)
	Record(ctx context.Context, o callbackd.Outcome) (callbackd.Recorded, error)
	MakeDue(ctx context.Context, cb callbackd.CallbackID, at time.Time, limit int) (moved int, done bool, err error)
	CallbackByID(ctx context.Context, no callbackd.CallbackID) (*callbackd.Callback, error)
}

// Sender makes one attempt. It returns when the exchange is over.
type Sender interface {
	Send(ctx context.Context, cb *callbackd.Callback, ev *callbackd.Event, attempt int) callbackd.Result
}

// Observer is told what happens, for metrics. Its methods must not block and
// must not call the engine.
type Observer interface {
	// AttemptDone tells of every attempt that was sent; state is empty when the
	// delivery was another's by then, so that only the sending counts.
	AttemptDone(o *callbackd.Outcome, state callbackd.State, sinceAccepted time.Duration)
	BreakerOpened()
	CallbackPaused(callbackd.PauseReason)
	StaleOutcome()
}

// Defaults of [Options].
const (
	DefaultMaxInFlight = 4096
	DefaultWindow      = 1024
	DefaultDataBudget  = 64 << 20 // bytes
	DefaultFlight      = 64 << 20 // bytes
)

const (
	laneCap     = 16   // deliveries of one lane in memory
	laneBatch   = 64   // lanes read at a time
	maxHeld     = 4096 // held lanes of one callback in memory
	retryPage   = 64   // scheduled deliveries of one callback in memory, and as many of replays
	makeDuePage = 1024 // pending deliveries looked at by one step of making them due
	maxFetches  = 8    // queries at a time
	idleTargets = 4096 // targets kept before idle ones are dropped
	recordRetry = time.Second
)

// Options of an engine. Queue and Sender are required.
type Options struct {
	Queue       Queue
	Sender      Sender
	Log         *slog.Logger
	Observer    Observer
	MaxInFlight int   // attempts at a time over all callbacks
	Window      int   // deliveries of one callback in memory
	DataBudget  int64 // bytes of event data in memory over all callbacks
	// FlightBudget is the bytes of bodies in flight over all callbacks.
	FlightBudget int64
	// Now is the clock that deliveries are due by; nil: the real one.
	Now func() time.Time
	// Shared says that other nodes work from the same queue. The engine then
	// delivers for the shards it adopts, for as long as its lease holds.
	Shared bool
}

// Engine delivers. Make it with [New], then Start it.
type Engine struct {
	o       Options
	ctx     context.Context // of attempts; ends when Drain gives up on them
	cancel  context.CancelFunc
	fetches chan struct{}
	work    sync.WaitGroup // attempts and fetches

	mu       sync.Mutex
	shards   [callbackd.Shards]holding // of a shared queue
	lease    time.Time                 // when it ends
	floors   floors
	inbox    inbox
	targets  map[callbackd.CallbackID]*target
	sweepAt  int                    // number of targets at which idle ones are dropped
	rings    [classes]ring[*target] // targets with a lane that is ready, by class
	parked   ring[*target]          // targets that wait for a place
	inFlight int                    // exchanges with receivers
	suspects int                    // those with receivers that may be hanging
	origins  map[originOf]*origin   // with callbacks on probation
	// sweepOrigins is the number of origins at which idle ones are dropped.
	sweepOrigins int
	recording    int           // outcomes on their way into the store
	writing      int           // of them, those that were given to it
	quiet        chan struct{} // closed when there is none; nil: nobody waits
	data         int64         // bytes of event data in memory
	flight       int64         // bytes of bodies in flight
	// suspectFlight is those of them with receivers that may be hanging.
	suspectFlight int64
	loads         map[callbackd.EventID]*load
	running       bool
	draining      bool
	watchers      map[callbackd.DeliveryID][]chan struct{}
}

// Classes of work: first attempts go ahead of retries, and both ahead of what
// a replay sends again.
const (
	fresh = iota
	retry
	replay
	classes
)

// New makes an engine that is not started; what is handed over before Start
// waits in the store.
func New(o Options) *Engine {
	if o.MaxInFlight == 0 {
		o.MaxInFlight = DefaultMaxInFlight
	}
	if o.Window == 0 {
		o.Window = DefaultWindow
	}
	if o.DataBudget == 0 {
		o.DataBudget = DefaultDataBudget
	}
	if o.FlightBudget == 0 {
		o.FlightBudget = DefaultFlight
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Observer == nil {
		o.Observer = silent{}
	}
	e := &Engine{o: o, fetches: make(chan struct{}, maxFetches), targets: map[callbackd.CallbackID]*target{}, origins: map[originOf]*origin{}, loads: map[callbackd.EventID]*load{}, watchers: map[callbackd.DeliveryID][]chan struct{}{}}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

type silent struct{}

func (silent) AttemptDone(*callbackd.Outcome, callbackd.State, time.Duration) {}
func (silent) BreakerOpened()                                                 {}
func (silent) CallbackPaused(callbackd.PauseReason)                           {}
func (silent) StaleOutcome()                                                  {}

// Start begins with what the store holds. It reads which callbacks are owed
// something, not what: windows fill while deliveries already run.
func (e *Engine) Start(ctx context.Context) error {
	if e.o.Shared { // nothing is ours before it is adopted
		e.mu.Lock()
		defer e.mu.Unlock()
		e.running = true
		return nil
	}
	backlogs, err := e.o.Queue.Backlogs(ctx)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running = true
	for _, no := range backlogs {
		e.target(no).forget()
	}
	for _, t := range e.targets {
		e.fetch(t)
	}
	return nil
}

// Running tells whether deliveries are being started.
func (e *Engine) Running() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.running && !e.draining
}

// InFlight is the number of attempts under way.
func (e *Engine) InFlight() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.inFlight
}

// OnCommit takes deliveries that were just committed. The store calls it in
// commit order; it never blocks on anything but the engine's own mutex.
func (e *Engine) OnCommit(ds []callbackd.Delivery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	for i := range ds {
		d := ds[i]
		if !e.owns(d.ID.Callback) {
			continue
		}
		t := e.target(d.ID.Callback)
		switch {
		case d.Test && e.mayStart(now):
			e.startTest(t, d)
		case e.o.Shared:
			e.admit(t, d, !d.ReadLane)
		default:
			e.offer(t, d)
		}
	}
	e.pump(now)
}

// Retry tells the engine of a delivery that a person made due.
func (e *Engine) Retry(d callbackd.Delivery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if d.Due.IsZero() || !e.owns(d.ID.Callback) { // never tried: it takes its turn
		return
	}
	t := e.target(d.ID.Callback)
	l := t.lanes[d.Session]
	switch {
	case t.hasten(&d):
	case l != nil && slices.ContainsFunc(l.again, func(a callbackd.Delivery) bool { return a.ID == d.ID }):
		i := slices.IndexFunc(l.again, func(a callbackd.Delivery) bool { return a.ID == d.ID })
		l.again[i].Manual, l.again[i].Step = true, 0
	default:
		t.revive(&d)
	}
	e.tick(t)
}

// Replay tells the engine of deliveries that a replay made due.
func (e *Engine) Replay(ds []callbackd.Delivery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	for i := range ds {
		if e.owns(ds[i].ID.Callback) {
			t := e.target(ds[i].ID.Callback)
			if !t.hasten(&ds[i]) {
				t.revive(&ds[i])
			}
		}
	}
	for i := range ds {
		if e.owns(ds[i].ID.Callback) {
			e.tickLocked(e.target(ds[i].ID.Callback), now)
		}
	}
}

// CallbackChanged makes the engine read a callback's setting again: it was
// created, replaced, paused, resumed or deleted.
func (e *Engine) CallbackChanged(no callbackd.CallbackID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if t := e.targets[no]; t != nil {
		t.stale = true
		e.fetch(t)
	}
}

// Watch returns a channel that is closed when the next attempt of a delivery
// is recorded. Call stop when it is no longer needed.
func (e *Engine) Watch(id callbackd.DeliveryID) (done <-chan struct{}, stop func()) {
	ch := make(chan struct{})
	e.mu.Lock()
	defer e.mu.Unlock()
	e.watchers[id] = append(e.watchers[id], ch)
	return ch, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.watchers[id] = slices.DeleteFunc(e.watchers[id], func(c chan struct{}) bool { return c == ch })
		if len(e.watchers[id]) == 0 {
			delete(e.watchers, id)
		}
	}
}

// Drain starts nothing more and waits for the attempts in flight. When ctx
// ends it breaks them off; they are recorded as interrupted and are repeated
// after the next start.
func (e *Engine) Drain(ctx context.Context) {
	e.mu.Lock()
	e.draining = true
	for _, t := range e.targets {
		t.stopTimer()
	}
	e.mu.Unlock()
	done := make(chan struct{})
	go func() { e.work.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		e.cancel()
		<-done
	}
	e.cancel()
}

// pump starts what may start: round robin over callbacks, one attempt a turn,
// retries only when no first attempt of any callback can start.
func (e *Engine) pump(now time.Time) {
	if !e.mayStart(now) {
		return
	}
	// What waits to be recorded is bounded too: a store that falls behind
	// holds the starts back.
	for e.inFlight < e.o.MaxInFlight && e.recording < e.o.MaxInFlight {
		started := false
		for class := range e.rings {
			if t, ok := e.rings[class].pop(); ok {
				t.queued[class] = false
				e.startOne(t, class, now)
				started = true
				break
			}
		}
		if !started {
			return
		}
	}
}

// startOne gives target t its turn in a class.
func (e *Engine) startOne(t *target, class int, now time.Time) {
	if t.leaving {
		return
	}
	if !t.mayStart(class, now) {
		t.schedule(e, now)
		return // it comes back when an attempt ends or its timer fires
	}
	if !t.origin.takes(t, now) {
		t.origin.wait(e, t, now)
		return // it comes back when one there ends or its timer fires
	}
	if e.placesFor(t) <= 0 || !t.fits(e, class) {
		if !t.parked {
			t.parked = true
			e.parked.push(t)
		}
		return // it comes back when attempts end, of any target
	}
	l, ok := t.ready[class].pop()
	if !ok {
		return
	}
	l.ready[class] = false
	if d, ok := t.take(l, class); ok {
		if t.limiter != nil {
			t.limiter.AllowN(now, 1)
		}
		l.busy, l.flying = true, d.ID.Event
		e.start(t, l, d)
	}
	t.enqueue(e)
}

// placesFor is how many more places target t may take. The last eighth is
// for targets that hold none, so that a crowd of hanging receivers leaves a
// place to the next one; suspects together get half, and three quarters
// with those that hold none, so that the rest is for receivers known to
// answer.
func (e *Engine) placesFor(t *target) int {
	left, suspects := e.o.MaxInFlight-e.inFlight, e.o.MaxInFlight*3/4
	if t.inFlight > 0 {
		left -= e.o.MaxInFlight / 8
		suspects = e.o.MaxInFlight / 2
	}
	if t.suspect() {
		left = min(left, max(1, suspects)-e.suspects)
	}
	return left
}

// startTest sends a test at once, beside the lanes, the pause and the
// breaker.
func (e *Engine) startTest(t *target, d callbackd.Delivery) {
	if d.ID.Event <= t.cursor || t.taken[d.ID.Event] {
		e.look(t, d.Session, d.ID.Event) // a query may have seen it first: it goes its lane's way
		e.fetch(t)
		return
	}
	t.seen = max(t.seen, d.ID.Event)
	if !t.behind {
		t.cursor = max(t.cursor, d.ID.Event)
	}
	t.taken[d.ID.Event] = true
	if d.Event != nil {
		e.data += int64(len(d.Event.Data))
	}
	e.start(t, nil, d)
}

// place is what an attempt in flight takes up.
type place struct {
	replayed bool
	suspect  bool
	bytes    int64
	origin   *origin // nil: its callback is not on probation, or it is a test
}

func (e *Engine) start(t *target, l *lane, d callbackd.Delivery) {
	t.inFlight++
	e.inFlight++
	p := place{replayed: d.Replay != 0, suspect: t.suspect()}
	if p.replayed {
		t.replaying++
	}
	if p.suspect {
		e.suspects++
	}
	e.carry(t, &p, t.bytesOf(&d))
	if t.origin != nil && !d.Test {
		p.origin = t.origin
		p.origin.start(t, e.now())
	}
	cb := t.cb
	e.work.Go(func() { e.attempt(t, l, d, cb, p) })
}

// Package engine decides when deliveries are attempted. The rules in package
// callbackd decide what comes next, the sender makes the attempt, and the store
// is the queue. For each callback the engine has a window of bounded size in memory,
// however large the backlog.
//
// A lane has one session's deliveries to one callback, in order and one in
// flight at a time: the next starts when the outcome of the one before is
// recorded. Its states are [callbackd.LaneState]. Deliveries come into memory from
// three sources: first attempts, retries and replays. An attempt starts when the
// callback's gate is open; see [callbackd.Gate].
//
// One mutex guards all state. Reads from the store and attempts run outside it.
package engine

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"callbackd"
)

// Queue has the methods of the store that the engine calls. store.Queue says what each
// does.
type Queue interface {
	PendingCallbacks(ctx context.Context) ([]callbackd.PendingCallback, error)
	Pending(ctx context.Context, r callbackd.PendingRead) (ds []callbackd.Delivery, next time.Time, err error)
	TakeTurns(ctx context.Context, cb callbackd.CallbackID, at time.Time, limit int) (ds []callbackd.Delivery, next time.Time, err error)
	Earlier(ctx context.Context, r callbackd.EarlierRead) ([][]callbackd.Delivery, error)
	Event(ctx context.Context, key callbackd.KeyID, id callbackd.EventID) (*callbackd.Event, error)
	Record(ctx context.Context, o *callbackd.Outcome) (callbackd.Recorded, error)
	MakeDue(ctx context.Context, cb callbackd.CallbackID, at time.Time, limit int) (moved int, done bool, err error)
	CallbackByID(ctx context.Context, id callbackd.CallbackID) (*callbackd.Callback, error)
}

// Sender makes one attempt. It returns when the exchange is over.
type Sender interface {
	Send(ctx context.Context, cb *callbackd.Callback, ev *callbackd.Event, attempt int) callbackd.Result
}

// Observer is called when something happens, for metrics. Its methods must not block and
// must not call the engine.
type Observer interface {
	// AttemptDone is called for every attempt that was sent. state is empty when
	// the outcome could not be recorded, because the delivery has ended or is
	// another node's by then: then only the sending counts.
	AttemptDone(o *callbackd.Outcome, state callbackd.State, sinceAccepted time.Duration)
	BreakerOpened()
	CallbackPaused(callbackd.PauseReason)
	StaleOutcome()
	// Canceled is called with the number of deliveries that a person canceled.
	Canceled(n int)
}

// Defaults of [Options].
const (
	DefaultMaxInFlight  = 4096
	DefaultWindow       = 1024
	DefaultDataBudget   = 64 << 20 // bytes
	DefaultFlightBudget = 64 << 20 // bytes
)

// retryInterval is the time between two tries of a command that the store refused.
const retryInterval = time.Second

// Options holds the options of an Engine. Queue and Sender are required.
type Options struct {
	Queue       Queue
	Sender      Sender
	Log         *slog.Logger
	Observer    Observer
	MaxInFlight int   // attempts at a time, of all callbacks
	Window      int   // first attempts of one callback in memory
	DataBudget  int64 // bytes of event data in memory, of all callbacks
	// FlightBudget bounds the bytes of bodies in flight, of all callbacks.
	FlightBudget int64
	// Now returns the time by which deliveries are due; nil: the real time.
	Now func() time.Time
	// Shared means that other nodes deliver from the same queue. The engine then
	// delivers for the shards it adopts, for as long as its lease holds.
	Shared bool
}

// Engine delivers. Make it with [New], then call Start.
type Engine struct {
	options   Options
	ctx       context.Context // of attempts; ends when Drain breaks them off
	cancel    context.CancelFunc
	work      sync.WaitGroup // attempts and reads
	workers   workers        // run the attempts
	readSlots chan struct{}

	mu    sync.Mutex
	phase phase

	// Of a shared queue:
	shards   [callbackd.Shards]shardState
	leaseEnd time.Time

	queues   map[callbackd.CallbackID]*callbackQueue
	origins  map[originKey]*origin
	groups   map[groupKey]*orderGroup
	watchers map[callbackd.DeliveryID][]chan struct{}
	dropAt   struct{ queues, origins int } // numbers at which idle ones are dropped

	ready       [numClasses]line[*callbackQueue] // callbacks with a lane that is ready, by class
	slotWaiters line[*callbackQueue]

	flight  flight
	mayHang flight // the part of it for receivers that may hang
	events  eventData

	records recordCalls
}

// phase is what the engine does.
type phase uint8

const (
	stopped phase = iota // Start was not called
	running
	draining // nothing more starts
)

// New makes an engine that is not started. Deliveries that are accepted before Start wait
// in the store.
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
		o.FlightBudget = DefaultFlightBudget
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Observer == nil {
		o.Observer = noObserver{}
	}
	e := &Engine{
		options:   o,
		readSlots: make(chan struct{}, maxReads),
		queues:    map[callbackd.CallbackID]*callbackQueue{},
		origins:   map[originKey]*origin{},
		groups:    map[groupKey]*orderGroup{},
		events:    eventData{reads: map[callbackd.EventID]*eventRead{}},
		watchers:  map[callbackd.DeliveryID][]chan struct{}{},
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

type noObserver struct{}

func (noObserver) AttemptDone(*callbackd.Outcome, callbackd.State, time.Duration) {}
func (noObserver) BreakerOpened()                                                 {}
func (noObserver) CallbackPaused(callbackd.PauseReason)                           {}
func (noObserver) StaleOutcome()                                                  {}
func (noObserver) Canceled(int)                                                   {}

// Start begins to deliver. It reads which callbacks have pending deliveries, but
// not the deliveries: those are read while the first attempts already run. The
// engine of a shared queue delivers nothing before it adopts a shard.
func (e *Engine) Start(ctx context.Context) error {
	var pending []callbackd.PendingCallback
	if !e.options.Shared {
		var err error
		if pending, err = e.options.Queue.PendingCallbacks(ctx); err != nil {
			return err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.phase = running
	if e.options.Shared {
		return nil
	}
	for _, c := range pending {
		e.queue(c.Key, c.Callback).rereadAll()
	}
	for _, q := range e.queues {
		e.readMore(q)
	}
	return nil
}

// Running reports whether deliveries are being started.
func (e *Engine) Running() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.phase == running
}

// InFlight returns the number of attempts in flight.
func (e *Engine) InFlight() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.flight.attempts
}

// OnCommit takes deliveries that were just committed. The store calls it in
// commit order. It waits for nothing but the engine's own mutex.
func (e *Engine) OnCommit(ds []callbackd.Delivery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	for i := range ds {
		d := ds[i]
		if !e.owns(d.Key) {
			continue
		}
		q := e.queue(d.Key, d.ID.Callback)
		switch {
		case !d.Due.IsZero():
			e.deferUntil(q, d.Due, now)
		case d.AtOnce && e.mayStart(now):
			e.sendAtOnce(q, d)
		default:
			e.offer(q, d)
		}
	}
	e.dispatch(now)
}

// Resent tells the engine about a delivery that a person resent. The store has made it due.
func (e *Engine) Resent(d callbackd.Delivery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if d.Due.IsZero() { // its first attempt is still to come
		return
	}
	if !e.owns(d.Key) {
		return
	}
	q := e.queue(d.Key, d.ID.Callback)
	if !q.makeHeadDue(&d) && !q.restartRetry(&d) {
		q.noteDueAgain(&d)
	}
	e.deliveryChanged(q, d.Session)
	e.advance(q, e.now())
}

// Replayed tells the engine about deliveries that a replay made due.
func (e *Engine) Replayed(ds []callbackd.Delivery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var changed []*callbackQueue
	for i := range ds {
		if !e.owns(ds[i].Key) {
			continue
		}
		q := e.queue(ds[i].Key, ds[i].ID.Callback)
		if !q.makeHeadDue(&ds[i]) {
			q.noteDueAgain(&ds[i])
		}
		e.deliveryChanged(q, ds[i].Session)
		if n := len(changed); n == 0 || changed[n-1] != q { // deliveries of a callback come together
			changed = append(changed, q)
		}
	}
	now := e.now()
	for _, q := range changed {
		e.advance(q, now)
	}
}

// CallbackChanged makes the engine read a callback's setting again: it was
// created, replaced, paused, resumed or deleted.
func (e *Engine) CallbackChanged(id callbackd.CallbackID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if q := e.queues[id]; q != nil {
		q.setting.stale = true
		q.setting.changes++
		e.readMore(q)
	}
}

// Watch returns a channel that is closed when the next attempt of a delivery is
// recorded. Call stop when it is no longer needed.
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

// Drain starts nothing more and waits for the attempts in flight. When ctx ends
// it breaks them off; they are recorded as interrupted and are repeated after
// the next start.
func (e *Engine) Drain(ctx context.Context) {
	e.mu.Lock()
	e.phase = draining
	for _, q := range e.queues {
		q.alarm.stop()
	}
	e.mu.Unlock()
	done := make(chan struct{})
	go func() {
		e.work.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		e.cancel()
		<-done
	}
	e.cancel()
}

// dispatch starts the attempts that may start. Callbacks take turns of one
// attempt each. A class has its turn only when no callback can start an attempt
// of the class before.
func (e *Engine) dispatch(now time.Time) {
	if !e.mayStart(now) {
		return
	}
	for !e.isFull() {
		q, class, ok := e.nextReady()
		if !ok {
			return
		}
		e.startNext(q, class, now)
	}
}

// nextReady takes the callback whose turn it is out of its line, and returns its class.
func (e *Engine) nextReady() (q *callbackQueue, class int, ok bool) {
	for class := range e.ready {
		if q, ok := e.ready[class].next(); ok {
			return q, class, true
		}
	}
	return nil, 0, false
}

// startNext starts the next attempt of q in a class, when its gate is open.
// Otherwise q has its turn again when what it waits for has happened.
func (e *Engine) startNext(q *callbackQueue, class int, now time.Time) {
	if q.stage != serving {
		return
	}
	if q.setting.isOutdated() { // it joins the line again when it was read
		e.passTurn(q, now)
		return
	}
	g := e.gate(q, class, now)
	if w := g.First(class == replay, now); w.Reason != callbackd.NoWait {
		e.wait(q, w, now)
		if !w.Reason.OfOrigin() {
			e.passTurn(q, now)
		}
		return
	}
	q.order.shut = false
	l, ok := q.ready[class].next()
	if !ok {
		e.passTurn(q, now)
		return
	}
	if d, ok := q.takeNext(l, class); ok && d.Expired(now) {
		e.dropExpired(q, l, &d)
	} else if ok {
		if limiter := q.setting.limiter; limiter != nil {
			limiter.AllowN(now, 1)
		}
		if q.order.group != nil && class == firstAttempt {
			q.order.group.drop(l)
		}
		l.on(callbackd.LaneStarted)
		l.current = d.ID.Event
		e.start(q, l, &d)
	} else {
		e.passTurn(q, now)
	}
	q.joinReady(e)
}

// sendAtOnce sends a test-send. The order of its lane, a pause and the breaker
// do not hold it back.
func (e *Engine) sendAtOnce(q *callbackQueue, d callbackd.Delivery) {
	id := d.ID.Event
	c := q.cursor()
	if id <= c.at || q.known.inMemory[id] {
		// A read may have seen it first. Then it is sent in its lane's order.
		e.readDelivery(q, d.Session, id)
		e.readMore(q)
		return
	}
	c.tell(id)
	if !c.more {
		c.at = max(c.at, id)
	}
	q.known.inMemory[id] = true
	q.testSends = append(q.testSends, id)
	e.events.bytes += dataOf(&d)
	e.start(q, nil, &d)
}

package engine

import (
	"time"

	"callbackd"

	"golang.org/x/time/rate"
)

// callbackQueue holds what the engine knows of one callback that has pending
// deliveries: its setting, the health of its receiver, and the window of its
// deliveries that is in memory.
type callbackQueue struct {
	id      callbackd.CallbackID
	cb      *callbackd.Callback // nil until it was read
	stale   bool                // cb must be read again
	paused  bool
	pausing bool // an attempt paused the callback; the store may not know yet

	// releasing means that deliveries that wait for a later time are being made
	// due now; see [callbackd.Callback.Releasing].
	releasing bool
	health    callbackd.Health
	limiter   *rate.Limiter // nil: the policy has no rate

	proven          bool    // it has succeeded at its origin
	origin          *origin // where it is on probation; nil: nowhere
	startedAtOrigin bool    // it made its first attempt there
	waitingAtOrigin bool    // it waits for an attempt there to end
	waitingForSlot  bool    // it is in Engine.waitingForSlot
	inFlight        int     // exchanges with the receiver
	replaysInFlight int     // of those, deliveries of replays
	flightBytes     int64   // bytes of the bodies in flight
	recording       int     // outcomes on their way into the store

	lanes   map[string]*lane        // by session
	ready   [numClasses]fifo[*lane] // lanes that can start an attempt, by class
	inReady [numClasses]bool        // it is in Engine.ready of the class
	blocked blockedLanes

	firstAttemptCount int // first attempts in memory, without those of blocked lanes
	retryCount        int // retries in memory
	replayCount       int // deliveries of replays in memory

	// inMemory holds the deliveries in memory that are not first attempts, and
	// the tests in flight.
	inMemory map[callbackd.EventID]bool
	// dueAgain holds what was made due again before the engine heard of the end
	// of its attempt.
	dueAgain map[callbackd.EventID]callbackd.Delivery

	cursor      callbackd.EventID // first attempts up to here were read or handed over
	lastOffered callbackd.EventID // newest first attempt that the engine was told of
	moreInStore bool              // the store has first attempts that follow cursor
	rereadFrom  callbackd.EventID // lowest id that must be read again; 0: none

	blockedUnread bool      // the store's blocked lanes must be read
	nextRetry     time.Time // when the store's next retry is due; zero: it has none
	nextReplay    time.Time // the same for replays
	lanesToRead   []*lane

	reading bool // a goroutine reads from the store
	// recordedDuringRead holds what was recorded while a read ran: the result
	// of the read may still show it.
	recordedDuringRead map[callbackd.EventID]bool

	// leaving means that the shard is no longer this node's, or soon will not
	// be. Nothing starts; drain is told when everything under way has ended.
	leaving   bool
	drain     *shardDrain
	abandoned bool // another node has the shard already: record nothing more

	timer   *time.Timer
	timerAt time.Time
}

// queue returns the queue of a callback and makes it when there is none.
func (e *Engine) queue(id callbackd.CallbackID) *callbackQueue {
	if q := e.queues[id]; q != nil {
		return q
	}
	if len(e.queues) >= max(e.dropQueuesAt, idleQueues) {
		e.dropIdle()
		e.dropQueuesAt = 2 * len(e.queues)
	}
	q := &callbackQueue{
		id:                 id,
		stale:              true,
		lanes:              map[string]*lane{},
		recordedDuringRead: map[callbackd.EventID]bool{},
		inMemory:           map[callbackd.EventID]bool{},
		dueAgain:           map[callbackd.EventID]callbackd.Delivery{},
	}
	e.queues[id] = q
	if e.options.Shared && e.shards[callbackd.ShardOf(id)] == adopting {
		// The read of Adopt may have passed this callback already.
		q.rereadAll()
	}
	return q
}

// dropIdle drops the queues that have nothing to do and nothing to remember.
func (e *Engine) dropIdle() {
	now := e.now()
	for id, q := range e.queues {
		if q.idle(now) {
			q.stopTimer()
			q.leaveOrigin()
			delete(e.queues, id)
		}
	}
}

// idle tells whether the queue can be dropped and made again without loss.
func (q *callbackQueue) idle(now time.Time) bool {
	underWay := q.inFlight > 0 || q.recording > 0 || q.reading || q.pausing || q.releasing
	waiting := len(q.lanes) > 0 || q.waitingForSlot || q.waitingAtOrigin
	toRead := q.moreInStore || q.blockedUnread || !q.nextRetry.IsZero() || !q.nextReplay.IsZero()
	unhealthy := q.health.Consecutive > 0 || q.health.Held(now)
	return !underWay && !waiting && !toRead && !unhealthy
}

// markReady puts the queue among those that dispatch looks at, for each class
// in which one of its lanes is ready.
func (q *callbackQueue) markReady(e *Engine) {
	if q.leaving {
		return
	}
	for class := range q.ready {
		if q.ready[class].len() > 0 && !q.inReady[class] {
			q.inReady[class] = true
			e.ready[class].push(q)
		}
	}
}

// active tells whether the callback was read and is neither paused nor deleted.
func (q *callbackQueue) active() bool {
	return q.cb != nil && !q.paused && !q.cb.Deleted()
}

// mayStart tells whether the callback may start one more attempt of a class
// now. Replays use at most half of its concurrency, so that new events find
// the other half free.
func (q *callbackQueue) mayStart(class int, now time.Time) bool {
	if !q.active() {
		return false
	}
	limit := q.health.Limit(q.cb.Policy, now)
	if q.inFlight >= limit {
		return false
	}
	if class == replay && q.replaysInFlight >= max(1, limit/2) {
		return false
	}
	return q.limiter == nil || q.limiter.TokensAt(now) >= 1
}

// mayHang tells whether the receiver may be one that does not answer: it has
// not answered yet, or its last attempt failed.
func (q *callbackQueue) mayHang() bool {
	return q.health.Allowance == 0 || q.health.Consecutive > 0
}

// updateLimiter follows the policy's rate. A burst is what comes in a tenth of
// a second: the receiver did not agree to more.
func (q *callbackQueue) updateLimiter() {
	r := rate.Limit(q.cb.Policy.Rate)
	burst := max(1, int(r/10))
	switch {
	case r == 0:
		q.limiter = nil
	case q.limiter == nil:
		q.limiter = rate.NewLimiter(r, burst)
	case q.limiter.Limit() != r:
		q.limiter.SetLimit(r)
		q.limiter.SetBurst(burst)
	}
}

// untilToken returns how long the rate holds the next attempt back; 0: it does
// not.
func (q *callbackQueue) untilToken(now time.Time) time.Duration {
	if q.limiter == nil {
		return 0
	}
	missing := 1 - q.limiter.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing / float64(q.limiter.Limit()) * float64(time.Second))
}

// clear forgets everything that waits, because the callback has no pending
// deliveries any more or its shard is no longer this node's.
func (q *callbackQueue) clear(e *Engine) {
	for _, l := range q.lanes {
		for i := range l.firstAttempts {
			e.dropData(&l.firstAttempts[i])
		}
		l.firstAttempts = nil
		l.retries = nil
		l.replays = nil
		l.head = nil
		l.moreInStore = false
		l.heapIndex = -1
	}
	clear(q.lanes)
	clear(q.inMemory)
	clear(q.dueAgain)
	q.blocked.lanes = nil
	q.lanesToRead = nil
	q.firstAttemptCount = 0
	q.retryCount = 0
	q.replayCount = 0
	q.moreInStore = false
	q.rereadFrom = 0
	q.nextRetry = time.Time{}
	q.nextReplay = time.Time{}
}

// dropData subtracts the event of a delivery, which leaves memory, from the
// data in memory.
func (e *Engine) dropData(d *callbackd.Delivery) {
	if d.Event != nil {
		e.dataBytes -= int64(len(d.Event.Data))
	}
}

// advance does what became possible for the queue by now: it opens blocked
// lanes, starts attempts, reads from the store and sets the timer.
func (e *Engine) advance(q *callbackQueue, now time.Time) {
	if e.draining || q.leaving {
		return
	}
	q.openBlocked(e, now)
	q.markReady(e)
	e.readMore(q)
	e.dispatch(now)
	q.setTimer(e, now)
}

// setTimer sets the timer to the next time at which something becomes possible
// without an event.
func (q *callbackQueue) setTimer(e *Engine, now time.Time) {
	at := time.Time{}
	if !e.draining && !q.leaving && q.active() {
		at = q.nextStep(now)
	}
	if at.IsZero() {
		q.stopTimer()
		return
	}
	if at.Equal(q.timerAt) && q.timer != nil {
		return
	}
	q.stopTimer()
	q.timerAt = at
	q.timer = time.AfterFunc(max(at.Sub(now), 0), func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		q.timerAt = time.Time{}
		e.advance(q, e.now())
	})
}

// nextStep returns when the passing of time makes something possible; zero:
// never.
func (q *callbackQueue) nextStep(now time.Time) (at time.Time) {
	consider := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	held := q.health.Held(now)
	if held {
		consider(q.health.HeldUntil())
	}
	if len(q.blocked.lanes) > 0 {
		consider(q.blocked.lanes[0].wakeAt())
	}
	if !held && !q.reading && q.retryCount < retryPage {
		consider(q.nextRetry)
	}
	if !held && !q.reading && q.replayCount < retryPage {
		consider(q.nextReplay)
	}
	if !q.hasReadyLane() {
		return at
	}
	if q.origin != nil {
		consider(q.origin.opensAt(q, now))
	}
	if wait := q.untilToken(now); wait > 0 {
		consider(now.Add(wait + time.Microsecond))
	}
	return at
}

func (q *callbackQueue) hasReadyLane() bool {
	for class := range q.ready {
		if q.ready[class].len() > 0 {
			return true
		}
	}
	return false
}

func (q *callbackQueue) stopTimer() {
	if q.timer != nil {
		q.timer.Stop()
		q.timer = nil
		q.timerAt = time.Time{}
	}
}

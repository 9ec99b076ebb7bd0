package engine

import (
	"time"

	"callbackd"
)

const idleQueues = 4096 // number of queues from which on idle ones are dropped

// callbackQueue is what the engine knows of one callback that has pending
// deliveries: its setting, the health of its receiver, and the window of its
// deliveries that is in memory.
type callbackQueue struct {
	id      callbackd.CallbackID
	key     callbackd.KeyID // owns the callback
	setting setting
	health  callbackd.Health
	trial   trial
	order   member

	flight     flight    // of its attempts
	replays    int       // exchanges with the receiver for replays
	answeredAt time.Time // when the receiver answered last, with any status
	// testSends are the events of test-sends until their outcome is recorded.
	testSends []callbackd.EventID

	lanes   map[string]*lane // by session
	blocked blockedLanes
	sources [numClasses]source
	// deferred says when the store's next deferred delivery may be sent. None is in memory.
	deferred source
	known    known
	reads    queueReads

	ready         [numClasses]line[*lane] // lanes that can start an attempt, by class
	inReady       [numClasses]bool        // it is in Engine.ready of the class
	inSlotWaiters bool                    // it is in Engine.slotWaiters

	stage stage
	drain *shardDrain // is told when everything under way has ended; nil: nobody asks
	alarm alarm
}

// stage says how far a queue is on its way out of the engine.
type stage uint8

const (
	serving   stage = iota
	leaving         // the shard is no longer this node's, or soon will not be: nothing starts
	abandoned       // another node has the shard already: nothing more is recorded
)

// queue returns the queue of a callback and makes it when there is none.
func (e *Engine) queue(key callbackd.KeyID, id callbackd.CallbackID) *callbackQueue {
	if q := e.queues[id]; q != nil {
		return q
	}
	if len(e.queues) >= max(e.dropAt.queues, idleQueues) {
		e.dropIdle()
		e.dropAt.queues = 2 * len(e.queues)
	}
	q := &callbackQueue{
		id:      id,
		key:     key,
		setting: setting{stale: true},
		lanes:   map[string]*lane{},
		known:   newKnown(),
	}
	e.queues[id] = q
	if e.options.Shared && e.shards[callbackd.ShardOf(key)] == adopting {
		// The read of Adopt may have passed this callback already.
		q.rereadAll()
	}
	return q
}

// cursor returns the cursor of the queue's first attempts.
func (q *callbackQueue) cursor() *cursor { return &q.sources[firstAttempt].cursor }

// dropIdle drops the queues that have nothing to do and nothing to remember.
func (e *Engine) dropIdle() {
	now := e.now()
	for id, q := range e.queues {
		if q.idle(now) {
			q.alarm.stop()
			e.leaveOrigin(q)
			q.leaveGroup(e)
			delete(e.queues, id)
		}
	}
}

// idle reports whether the queue can be dropped and made again without loss.
func (q *callbackQueue) idle(now time.Time) bool {
	for class := range q.sources {
		if !q.sources[class].isEmpty() {
			return false
		}
	}
	if !q.deferred.isEmpty() {
		return false
	}
	underWay := q.flight.attempts > 0 || q.flight.recording > 0 || q.reads.running || q.setting.busy()
	waiting := len(q.lanes) > 0 || q.inSlotWaiters || q.trial.inWaiting
	unhealthy := q.health.Consecutive > 0 || q.health.Held(now)
	return !underWay && !waiting && !q.reads.heads && !unhealthy
}

// joinReady puts the queue among those that dispatch looks at, for each class in
// which one of its lanes is ready.
func (q *callbackQueue) joinReady(e *Engine) {
	if q.stage != serving {
		return
	}
	for class := range q.ready {
		if q.ready[class].len() > 0 {
			e.ready[class].join(q, &q.inReady[class])
		}
	}
}

// clear forgets everything that waits, because the callback has no pending
// deliveries any more or its shard is no longer this node's.
func (q *callbackQueue) clear(e *Engine) {
	for _, l := range q.lanes {
		if g := q.order.group; g != nil {
			g.drop(l)
			e.lookAtSession(g, l.session)
		}
		l.waits = false
		for i := range l.waiting[firstAttempt] {
			e.events.bytes -= dataOf(&l.waiting[firstAttempt][i])
		}
		l.waiting = [numClasses][]callbackd.Delivery{}
		l.head = nil
		l.place = -1
		l.cursor.more = false
	}
	clear(q.lanes)
	q.known.clear()
	q.blocked.lanes = nil
	q.order.waiting = 0
	q.reads.unread = nil
	for class := range q.sources {
		s := &q.sources[class]
		*s = source{cursor: cursor{at: s.cursor.at, told: s.cursor.told}}
	}
	q.deferred = source{}
}

// advance does what became possible for the queue by now: it opens blocked
// lanes, starts attempts, reads from the store and sets the alarm.
func (e *Engine) advance(q *callbackQueue, now time.Time) {
	if e.phase == draining || q.stage != serving {
		return
	}
	e.openBlocked(q, now)
	q.joinReady(e)
	e.readMore(q)
	e.dispatch(now)
	e.setAlarm(q, now)
}

// alarm wakes a queue when the passing of time makes something possible.
type alarm struct {
	timer *time.Timer // nil: it is not set
	at    time.Time
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
		*a = alarm{}
	}
}

// setAlarm sets the alarm to the next time at which something becomes possible
// without an event.
func (e *Engine) setAlarm(q *callbackQueue, now time.Time) {
	at := time.Time{}
	if e.phase != draining && q.stage == serving && q.setting.active() {
		at = e.nextStep(q, now)
	}
	if next := q.deferred.next; e.phase == running && q.stage == serving && !q.reads.running && !next.IsZero() && (at.IsZero() || next.Before(at)) {
		at = next // also while nothing is sent: what is deferred takes its turn among what waits
	}
	if at.IsZero() {
		q.alarm.stop()
		return
	}
	if at.Equal(q.alarm.at) && q.alarm.timer != nil {
		return
	}
	q.alarm.stop()
	q.alarm.at = at
	q.alarm.timer = time.AfterFunc(max(at.Sub(now), 0), func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		q.alarm.at = time.Time{}
		e.advance(q, e.now())
	})
}

package engine

import (
	"context"
	"slices"
	"time"

	"callbackd"

	"golang.org/x/time/rate"
)

// query is one question to the store. It runs outside the mutex and returns
// what to do with its answer inside it.
type query func(ctx context.Context) (apply func(now time.Time), err error)

// fetch starts reading what the target needs, unless that is under way.
func (e *Engine) fetch(t *target) {
	if t.fetching || t.leaving || !e.running || e.draining || e.needs(t, e.now()) == nothing {
		return
	}
	t.fetching = true
	e.work.Go(func() {
		e.fetches <- struct{}{}
		defer func() { <-e.fetches }()
		e.fetchAll(t)
	})
}

// fetchAll asks one question after the other until none is left.
func (e *Engine) fetchAll(t *target) {
	for {
		e.mu.Lock()
		now := e.now()
		q := e.nextQuery(t, now)
		if q == nil || e.draining || t.leaving {
			t.fetching = false
			e.left(t)
			e.tickLocked(t, now)
			e.mu.Unlock()
			return
		}
		clear(t.settled) // what was recorded by now, the query sees
		e.mu.Unlock()
		apply, err := q(e.ctx)
		if err != nil {
			e.o.Log.Error("queue not read, trying again", "callback", int64(t.id), "error", err)
			<-e.fetches // others may be readable
			select {
			case <-time.After(recordRetry):
			case <-e.ctx.Done():
			}
			e.fetches <- struct{}{}
			continue
		}
		e.mu.Lock()
		if !t.leaving {
			apply(e.now())
		}
		e.pump(e.now())
		e.mu.Unlock()
	}
}

// need is what a target lacks in memory.
type need int

const (
	nothing need = iota
	callback
	heads
	laneRest
	dueRetries
	moreDue
	freshOnes
	dueReplays
)

// needs tells what must be read next; nothing when memory has all it may hold.
func (e *Engine) needs(t *target, now time.Time) need {
	switch {
	case t.stale:
		return callback
	case t.cb == nil || t.paused || t.cb.Deleted():
		return nothing
	case t.holding:
		return heads
	case len(t.wants) > 0:
		return laneRest
	case t.health.Held(now):
		return nothing
	case !t.nextDue.IsZero() && !t.nextDue.After(now) && t.retries < retryPage:
		return dueRetries
	case t.releasing && t.retries < retryPage:
		return moreDue
	case t.behind && t.count <= e.o.Window/2 && len(t.held.lanes) < maxHeld:
		return freshOnes
	case !t.nextReplay.IsZero() && !t.nextReplay.After(now) && t.replays < retryPage:
		return dueReplays
	}
	return nothing
}

// nextQuery prepares the question for what is needed; nil for nothing.
func (e *Engine) nextQuery(t *target, now time.Time) query {
	switch e.needs(t, now) {
	case callback:
		return e.readCallback(t)
	case heads:
		return e.readHolding(t, now)
	case laneRest:
		return e.readLanes(t)
	case dueRetries:
		return e.readScheduled(t, now)
	case moreDue:
		return e.makeDue(t, now)
	case freshOnes:
		return e.readFresh(t)
	case dueReplays:
		return e.readReplayed(t, now)
	}
	return nil
}

func (e *Engine) readCallback(t *target) query {
	t.stale = false // a change during the read sets it again
	return func(ctx context.Context) (func(time.Time), error) {
		cb, err := e.o.Queue.CallbackByID(ctx, t.id)
		if err != nil {
			e.mu.Lock()
			t.stale = true
			e.mu.Unlock()
			return nil, err
		}
		return func(now time.Time) { e.setting(t, cb, now) }, nil
	}
}

// setting takes the callback's setting as it is by now. A version of which
// nothing is known yet begins with what was kept of it, and so does one for
// which a person vouches.
func (e *Engine) setting(t *target, cb *callbackd.Callback, now time.Time) {
	if t.cb != nil && cb.Version < t.cb.Version {
		return // it was read before
	}
	vouched := t.cb != nil && !cb.ReleasedAt.Equal(t.cb.ReleasedAt) // earlier is possible too: clocks are set back
	if t.cb == nil || t.cb.Version != cb.Version || vouched {
		closed := cb.ClosedUntil
		if t.cb != nil && !vouched && t.health.ClosedUntil.After(closed) && callbackd.SameOrigin(t.cb.URL, cb.URL) {
			closed = t.health.ClosedUntil // an answer that the store does not have yet, or of the version before
		}
		t.health, t.proven = callbackd.KeptHealth(cb.FailingSince, closed, now), cb.Proven
		if cb.Releasing {
			t.release(now)
		}
	}
	wasPaused := t.paused
	t.cb, t.paused = cb, cb.Paused() || t.pausing
	switch {
	case cb.Deleted():
		t.clear(e)
	case t.paused && !wasPaused:
		t.behind = true // what comes meanwhile stays in the store
	case wasPaused && !t.paused:
		t.noteDue(time.Unix(0, 0))
	}
	t.limit()
	e.probation(t)
	if vouched && t.origin != nil {
		t.origin.probation.Health = t.origin.probation.Health.Released(now)
	}
	t.enqueue(e)
}

// limit follows the policy's rate. A tenth of a second's worth may come at
// once; more would be a burst the receiver did not agree to.
func (t *target) limit() {
	r := rate.Limit(t.cb.Policy.Rate)
	switch {
	case r == 0:
		t.limiter = nil
	case t.limiter == nil:
		t.limiter = rate.NewLimiter(r, max(1, int(r/10)))
	case t.limiter.Limit() != r:
		t.limiter.SetLimit(r)
		t.limiter.SetBurst(max(1, int(r/10)))
	}
}

func (e *Engine) readHolding(t *target, now time.Time) query {
	return func(ctx context.Context) (func(time.Time), error) {
		ds, err := e.o.Queue.Blocked(ctx, t.id, now, maxHeld)
		return func(time.Time) {
			t.holding = false
			for _, d := range ds {
				l := t.lane(d.Session)
				if l.head != nil || l.busy || t.taken[d.ID.Event] || t.settled[d.ID.Event] {
					continue
				}
				if t.releasing && d.Due.After(now) {
					d.Due = now
				}
				t.hold(l, d)
			}
		}, err
	}
}

func (e *Engine) readLanes(t *target) query {
	n := min(len(t.wants), laneBatch)
	lanes := slices.Clone(t.wants[:n])
	t.wants = t.wants[n:]
	from, seen := make([]callbackd.LaneCursor, n), make([]callbackd.EventID, n)
	for i, l := range lanes {
		from[i], seen[i] = callbackd.LaneCursor{Session: l.session, After: l.last}, l.seen
	}
	return func(ctx context.Context) (func(time.Time), error) {
		ds, err := e.o.Queue.Lanes(ctx, t.id, from, laneCap)
		if err != nil {
			e.mu.Lock()
			t.wants = append(t.wants, lanes...)
			e.mu.Unlock()
			return nil, err
		}
		return func(time.Time) {
			found := map[string]int{}
			for _, l := range lanes {
				l.wanted, l.more = false, false
			}
			for _, d := range ds {
				found[d.Session]++
				e.put(t, d)
			}
			for i, l := range lanes {
				// The query saw all that was offered before it; what was offered
				// while it ran is in the store only.
				full := found[l.session] == laneCap
				if !full {
					l.last = max(l.last, seen[i])
				}
				l.more = full || l.seen > l.last
				t.wake(e, l)
			}
		}, nil
	}
}

func (e *Engine) readScheduled(t *target, now time.Time) query {
	t.nextDue = time.Time{} // completions may note another meanwhile
	return e.readDue(t, callbackd.DueRetries, now, t.noteDue, func(l *lane, d callbackd.Delivery) {
		l.again = append(l.again, d)
		t.retries++
	})
}

func (e *Engine) readReplayed(t *target, now time.Time) query {
	t.nextReplay = time.Time{}
	return e.readDue(t, callbackd.DueReplays, now, t.noteReplay, func(l *lane, d callbackd.Delivery) {
		l.later = append(l.later, d)
		t.replays++
	})
}

func (e *Engine) readDue(t *target, class callbackd.DueClass, now time.Time, note func(time.Time), add func(*lane, callbackd.Delivery)) query {
	limit := retryPage + len(t.taken)
	return func(ctx context.Context) (func(time.Time), error) {
		ds, next, err := e.o.Queue.Due(ctx, class, t.id, now, limit)
		if err != nil {
			e.mu.Lock()
			note(now)
			e.mu.Unlock()
			return nil, err
		}
		return func(time.Time) {
			for _, d := range ds {
				l := t.lane(d.Session)
				// A person may retry what waits in memory or is in flight.
				if t.taken[d.ID.Event] || t.settled[d.ID.Event] || l.busy && l.flying == d.ID.Event {
					t.wake(e, l)
					continue
				}
				t.unqueue(e, l, d.ID.Event)
				t.taken[d.ID.Event] = true
				add(l, d)
				t.wake(e, l)
			}
			if !next.IsZero() {
				note(next)
			}
		}, nil
	}
}

// young bounds, by the time in its id, which delivery may follow one of its
// session that was accepted elsewhere and is still unknown here: nodes' clocks
// may differ by [callbackd.MaxSkew], and what no message told of is found by
// the next Rescan.
const young = 5 * time.Minute

func (e *Engine) readFresh(t *target) query {
	t.rewound()
	after, seen, limit := t.cursor, t.seen, e.o.Window
	return func(ctx context.Context) (func(time.Time), error) {
		ds, err := e.o.Queue.FirstAttempts(ctx, t.id, after, limit)
		return func(now time.Time) {
			for _, d := range ds {
				t.cursor = max(t.cursor, d.ID.Event)
				if e.o.Shared && d.ID.Event.Time().After(now.Add(-young)) {
					e.ask(t, d.Session, d.ID.Event)
				} else {
					e.put(t, d)
				}
			}
			// The query saw all that was offered before it; what was offered
			// while it ran is in the store only.
			if err == nil && len(ds) < limit {
				t.cursor = max(t.cursor, seen)
			}
			t.behind = len(ds) == limit || t.seen > t.cursor || t.rewind != 0
		}, err
	}
}

package engine

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"callbackd"
)

// attempt is an attempt under way.
type attempt struct {
	q       *callbackQueue
	l       *lane // nil for a test-send
	cb      *callbackd.Callback
	slot    slot
	outcome callbackd.Outcome // its delivery, and the rest once it was sent
}

// start begins an attempt of d. l is nil for a test-send.
func (e *Engine) start(q *callbackQueue, l *lane, d *callbackd.Delivery) {
	a := &attempt{q: q, l: l, cb: q.setting.cb, slot: e.takeSlot(q, d)}
	a.outcome.Delivery = *d
	e.work.Add(1)
	e.workers.run(func() {
		defer e.work.Done()
		e.attempt(a)
	})
}

// attempt loads, sends and records one attempt, and then advances the lane. It
// runs outside the mutex.
func (e *Engine) attempt(a *attempt) {
	d := &a.outcome.Delivery
	dataInMemory := dataOf(d)
	var rec callbackd.Recorded
	done, err := e.loadDelivery(a)
	defer done()
	if err == nil {
		e.correctBytes(a.q, &a.slot, int64(len(d.Event.Data)+len(a.cb.Payload)))
		if !e.mayDeliver(a.q) {
			err = errLeaseEnded
		} else if d.Expired(e.now()) {
			err = errExpired
		}
	}
	sent := err == nil
	if sent {
		e.send(a)
	}
	if mayRecord := e.freeSlot(a, sent); sent && !mayRecord {
		err = errLeaseEnded
	}
	switch err {
	case nil:
		rec, err = e.record(&a.outcome)
		e.recordAnswered()
	case errCallbackEnded, errLeaseEnded, errExpired, errErased:
	default:
		e.options.Log.Error("delivery cannot be attempted now", "delivery", d.ID.String(), "error", err)
	}
	if sent {
		e.reportAttempt(&a.outcome, rec, err)
	}
	e.finish(a, rec.State, err, dataInMemory)
}

// errCallbackEnded means that the callback was deleted or its key revoked after
// the attempt was chosen. Nothing is sent, and the store cancels what is pending.
var errCallbackEnded = callbackd.Errorf(callbackd.KindNotFound, "the callback has ended")

// errExpired means that the delivery expired after the attempt was chosen. Nothing is sent,
// and the store ends the delivery.
var errExpired = callbackd.Errorf(callbackd.KindConflict, "the delivery has expired")

// errErased means that the data of the event was erased after the attempt was chosen. The
// delivery is canceled already.
var errErased = callbackd.Errorf(callbackd.KindNotFound, "the data of the event was erased")

// loadDelivery loads the event, unless it is in memory, and reads the callback as it is
// now, so that a deleted callback or a revoked key gets no more requests. It tries until it
// succeeds or the engine stops.
func (e *Engine) loadDelivery(a *attempt) (done func(), err error) {
	d := &a.outcome.Delivery
	done = func() {}
	for {
		err = nil
		if d.Event == nil {
			d.Event, done, err = e.loadEvent(a.cb.Key, d.ID.Event)
		}
		if err == nil && d.Event.IsErased() {
			return done, errErased
		}
		if err == nil {
			var now *callbackd.Callback
			now, err = e.options.Queue.CallbackByID(e.ctx, d.ID.Callback)
			if err == nil && now.Deleted() {
				return done, errCallbackEnded
			}
			a.cb = now
		}
		if err == nil || callbackd.KindOf(err) == callbackd.KindNotFound {
			return done, err
		}
		e.options.Log.Error("delivery not loaded, trying again", "delivery", d.ID.String(), "error", err)
		select {
		case <-time.After(retryInterval):
		case <-e.ctx.Done():
			return done, err
		}
	}
}

// correctBytes replaces the estimate of the bytes in flight by the real number.
func (e *Engine) correctBytes(q *callbackQueue, s *slot, n int64) {
	if n == s.bytes {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.addBytes(q, s, n-s.bytes)
	e.wakeSlotWaiters()
	e.dispatch(e.now())
}

// send makes the attempt and decides what follows from its result.
func (e *Engine) send(a *attempt) {
	q, cb, o := a.q, a.cb, &a.outcome
	d, res := &o.Delivery, &o.Attempt.Result
	o.Attempt.Number, o.Attempt.Version = d.Attempts+1, cb.Version
	*res = e.sendSafely(cb, d.Event, o.Attempt.Number)
	now := e.now().Round(0)
	if d.FirstFailedAt.IsZero() && !res.Success() {
		d.FirstFailedAt = now
	}
	o.Attempt.Decision = callbackd.Decide(*d, res, cb.Policy, now, rand.Float64())
	if cb.Policy.NoResponse {
		defer res.DropResponse() // when everything has been decided
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if a.slot.origin != nil {
		a.slot.origin.probation.After(res, now, rand.Float64())
	}
	if d.Test { // a test says nothing about the health of real traffic
		if known := q.setting.cb; known != nil && cb.Version == known.Version {
			o.Change.Version = cb.Version
			e.noteSuccess(q, o)
		}
		return
	}
	e.updateHealth(q, cb, o, now)
}

// sendSafely sends, and turns a panic of the sender into a failed attempt: one delivery
// must not end the process.
func (e *Engine) sendSafely(cb *callbackd.Callback, ev *callbackd.Event, n int) (res callbackd.Result) {
	began := time.Now().UTC() // the panic may come long after the request
	defer func() {
		if p := recover(); p != nil {
			e.options.Log.Error("attempt panicked", "event", ev.ID.String(), "panic", p)
			res = callbackd.Result{
				StartedAt: began,
				Fault:     callbackd.FaultLocal,
				Error:     "callbackd failed; the attempt is made again",
			}
		}
	}()
	return e.options.Sender.Send(e.ctx, cb, ev, n)
}

// noteSuccess notes the first success of a callback at its origin. The success of a test
// counts too, because the receiver has accepted a request.
func (e *Engine) noteSuccess(q *callbackQueue, o *callbackd.Outcome) {
	if o.Attempt.Success() && !q.trial.proven && !q.setting.cb.OfSession() {
		o.Change.Proven = true
		q.trial.proven = true
		e.updateTrial(q)
	}
}

// updateHealth updates the health of the receiver after an attempt that was made with the
// setting cb. The setting may have changed since. An answer counts only for the receiver
// that gave it and for the version of the setting that was sent.
func (e *Engine) updateHealth(q *callbackQueue, cb *callbackd.Callback, o *callbackd.Outcome, now time.Time) {
	if cb.Version > q.setting.cb.Version { // the engine has not read that version yet
		e.applySetting(q, cb, now)
	}
	known := q.setting.cb
	o.Change.Version = known.Version
	before := q.health
	switch {
	case cb.Version == known.Version:
		q.health = before.After(&o.Attempt.Result, now, rand.Float64())
		o.Change.Pause = q.health.ShouldPause(&o.Attempt.Result, now)
		if o.Change.Pause != callbackd.NotPaused {
			q.setting.pause = pausing
		}
		o.Change.HealthTurned = before.FailingSince.IsZero() != q.health.FailingSince.IsZero()
		o.Change.FailingSince = q.health.FailingSince
		e.noteSuccess(q, o)
	case callbackd.SameOrigin(cb.URL, known.URL):
		// Only what the receiver asked for (Retry-After) holds for the new version.
		q.health = before.Asked(&o.Attempt.Result, now)
	default:
		o.Attempt.Decision = o.Attempt.AfterMove(now)
		return
	}
	if q.health.ClosedUntil.After(before.ClosedUntil) {
		o.Change.ClosedUntil = q.health.ClosedUntil
	}
	if q.health.Open(now) && !before.Open(now) {
		e.options.Observer.BreakerOpened()
		e.options.Log.Warn("breaker opened: the receiver fails", "callback", int64(q.id), "failures", q.health.Consecutive, "probe_at", q.health.HeldUntil())
	}
}

// freeSlot frees the slot of an attempt for the next one. The exchange with the receiver is
// over, and only the lane waits for the record. It reports whether the outcome may be
// recorded.
func (e *Engine) freeSlot(a *attempt, sent bool) (mayRecord bool) {
	q := a.q
	e.mu.Lock()
	defer e.mu.Unlock()
	mayRecord = sent && q.stage != abandoned
	if mayRecord {
		e.records.underWay++
		a.outcome.CanWait = !e.awaited(q, a.l, a.outcome.Delivery.ID)
	}
	if a.l != nil {
		a.l.on(callbackd.LaneAnswered)
	}
	e.returnSlot(q, &a.slot)
	now := e.now()
	if sent && a.outcome.Attempt.Status != 0 {
		q.answeredAt = now
	}
	e.wakeSlotWaiters()
	if a.slot.origin != nil {
		e.attemptEndedAt(a.slot.origin, now)
	}
	q.joinReady(e)
	e.dispatch(now)
	return mayRecord
}

// awaited reports whether something waits for the outcome of a delivery: the next one of
// its lane, a watcher, or what is to end. A delivery that its lane gets later needs no
// look: its event is a commit, which takes the outcome along.
func (e *Engine) awaited(q *callbackQueue, l *lane, id callbackd.DeliveryID) bool {
	ending := e.phase != running || q.stage != serving || e.records.none != nil
	return ending || l == nil || l.hasNext() || len(e.watchers[id]) > 0 || e.flight.recording >= e.options.MaxInFlight/2
}

// wakeSlotWaiters makes two of the callbacks that wait for a slot try again. It is called
// for each free slot. With one callback for each slot, the slots of those that have nothing
// to start any more would go to nobody, and the last would wait for ever.
func (e *Engine) wakeSlotWaiters() {
	for range 2 {
		if q, ok := e.slotWaiters.next(); ok {
			q.joinReady(e)
		}
	}
}

// record writes the outcome. It tries until it succeeds or the engine stops. Meanwhile the
// lane starts nothing, and the attempt is not repeated. When the engine stops first, the
// attempt is repeated after the next start.
func (e *Engine) record(o *callbackd.Outcome) (callbackd.Recorded, error) {
	for {
		// Not with the context of the attempts, because an attempt that was broken off is
		// recorded too.
		rec, err := e.options.Queue.Record(context.WithoutCancel(e.ctx), o)
		if err == nil || callbackd.KindOf(err) == callbackd.KindConflict {
			return rec, err
		}
		e.options.Log.Error("outcome not recorded, trying again", "delivery", o.Delivery.ID.String(), "error", err)
		select {
		case <-time.After(retryInterval):
		case <-e.ctx.Done():
			return callbackd.Recorded{}, err
		}
	}
}

// reportAttempt tells the observer and the log of an attempt that was sent, also
// when it could not be recorded.
func (e *Engine) reportAttempt(o *callbackd.Outcome, rec callbackd.Recorded, err error) {
	e.options.Observer.AttemptDone(o, rec.State, e.now().Sub(o.Delivery.MaySendFrom()))
	e.logAttempt(o, rec.State)
	if err != nil {
		e.options.Observer.StaleOutcome()
		e.options.Log.Warn("an attempt is not in the history: the delivery has ended or is another node's by now",
			"delivery", o.Delivery.ID.String(), "status", o.Attempt.Status, "fault", string(o.Attempt.Fault), "error", err)
	}
	if rec.Paused {
		e.options.Observer.CallbackPaused(o.Change.Pause)
		e.options.Log.Warn("callback paused", "callback", int64(o.Delivery.ID.Callback), "reason", string(o.Change.Pause))
	}
}

// logAttempt writes one log line with everything about an attempt.
func (e *Engine) logAttempt(o *callbackd.Outcome, state callbackd.State) {
	d, a := &o.Delivery, &o.Attempt
	level := slog.LevelDebug
	if a.Fault != callbackd.NoFault {
		level = slog.LevelInfo
	}
	ctx := context.Background()
	if !e.options.Log.Enabled(ctx, level) {
		return
	}
	e.options.Log.Log(ctx, level, "attempt",
		"delivery", d.ID.String(), "session", d.Session, "sequence", d.Sequence, "attempt", a.Number,
		"state", string(state), "status", a.Status, "fault", string(a.Fault), "address", a.Address,
		"duration", a.Timings.Total, "due", a.Due, "why", a.Why)
}

// finish takes the recorded outcome into account and makes the lane and its callback go on.
// dataInMemory is the size of the event's data that counted as in memory.
func (e *Engine) finish(a *attempt, state callbackd.State, err error, dataInMemory int64) {
	q, l, o := a.q, a.l, &a.outcome
	now := e.now()
	e.mu.Lock()
	defer e.mu.Unlock()
	q.flight.recording--
	e.flight.recording--
	e.events.bytes -= dataInMemory
	id := o.Delivery.ID
	q.attemptEnded(id.Event)
	if l != nil {
		l.on(callbackd.LaneRecorded)
		e.advanceLane(q, l, o, state, err, now)
	} else {
		q.testSends = slices.DeleteFunc(q.testSends, func(ev callbackd.EventID) bool { return ev == id.Event })
	}
	e.deliveryChanged(q, o.Delivery.Session)
	if o.Change.Pause != callbackd.NotPaused {
		if q.setting.pause == pausing {
			q.setting.pause = paused
		}
		q.setting.stale = true // the store knows whether the callback is paused
	}
	for _, ch := range e.watchers[id] {
		close(ch)
	}
	delete(e.watchers, id)
	e.finishLeaving(q)
	e.advance(q, now)
}

// advanceLane decides how the lane goes on after one of its deliveries.
func (e *Engine) advanceLane(q *callbackQueue, l *lane, o *callbackd.Outcome, state callbackd.State, err error, now time.Time) {
	switch {
	case err == errCallbackEnded:
		q.setting.stale = true
		q.clear(e)
		return
	case err == nil && state == callbackd.Canceled:
		q.setting.stale = true // the callback was perhaps deleted
	case err == nil && state == callbackd.Pending:
		d := o.Delivery
		d.Event = nil
		d.Attempts++
		d.Step = o.Attempt.Step
		d.Due = o.Attempt.Due
		d.HoldsUntil = o.Attempt.HoldsUntil
		if d.HoldsUntil.After(now) && l.head == nil && len(q.blocked.lanes) < 2*maxBlockedLanes {
			q.block(l, d)
		} else {
			q.noteDue(&d)
		}
	case err == errLeaseEnded:
		q.returnToLane(l, o.Delivery)
	}
	// After other errors there is nothing to do: the delivery has ended already,
	// or the engine stops and the store still has it.
	e.reviewLane(q, l)
}

package engine

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"callbackd"
)

// attempt runs outside the mutex: send, decide, record, then move the lane.
func (e *Engine) attempt(t *target, l *lane, d callbackd.Delivery, cb *callbackd.Callback, p place) {
	var held int64
	if d.Event != nil {
		held = int64(len(d.Event.Data))
	}
	o := callbackd.Outcome{Delivery: d}
	var rec callbackd.Recorded
	done, err := e.prepare(&d, &cb)
	defer done()
	if err == nil {
		e.weigh(t, &p, int64(len(d.Event.Data)+len(cb.Payload)))
	}
	if err == nil && !e.holds(t) {
		err = errLease
	}
	sent := err == nil
	if sent {
		o = e.send(t, d, cb, p)
	}
	if mayRecord := e.exchanged(t, p, sent); sent && !mayRecord {
		err = errLease
	}
	switch err {
	case nil:
		rec, err = e.record(o)
		e.written()
	case errEnded, errLease:
	default:
		e.o.Log.Error("delivery cannot be attempted now", "delivery", d.ID.String(), "error", err)
	}
	if sent {
		e.tell(&o, rec, err)
	}
	e.finish(t, l, &o, rec.State, err, held)
}

// tell tells of what happened on the wire, whoever's the delivery is by now.
func (e *Engine) tell(o *callbackd.Outcome, rec callbackd.Recorded, err error) {
	e.o.Observer.AttemptDone(o, rec.State, e.now().Sub(o.Delivery.Accepted()))
	e.logAttempt(o, rec.State)
	if err != nil {
		e.o.Observer.StaleOutcome()
		e.o.Log.Warn("an attempt is not in the history: another node has its delivery by now, or nobody any more", "delivery", o.Delivery.ID.String(), "status", o.Attempt.Status, "fault", string(o.Attempt.Fault), "error", err)
	}
	if rec.Paused {
		e.o.Observer.CallbackPaused(o.Change.Pause)
		e.o.Log.Warn("callback paused", "callback", int64(o.Delivery.ID.Callback), "reason", string(o.Change.Pause))
	}
}

// exchanged gives the place of an attempt to the next one: the receiver is
// free, only the lane waits for the record.
func (e *Engine) exchanged(t *target, p place, sent bool) (mayRecord bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if mayRecord = sent && !t.abandoned; mayRecord {
		e.writing++
	}
	t.inFlight--
	if p.replayed {
		t.replaying--
	}
	t.recording++
	e.inFlight--
	e.carry(t, &p, -p.bytes)
	e.recording++
	now := e.now()
	if p.suspect {
		e.suspects--
	}
	e.unpark()
	if p.origin != nil {
		p.origin.ended(e, now)
	}
	t.enqueue(e)
	e.pump(now)
	return mayRecord
}

// errEnded: the callback was deleted or its key revoked after the attempt was
// chosen. Nothing is sent; the store cancels what was owed.
var errEnded = callbackd.Errorf(callbackd.KindNotFound, "the callback has ended")

// prepare loads what is not in memory, for as long as it takes, and asks the
// store once more whether the callback is still owed anything: what was
// revoked gets no request after that.
func (e *Engine) prepare(d *callbackd.Delivery, cb **callbackd.Callback) (done func(), err error) {
	done = func() {}
	for {
		err = nil
		if d.Event == nil {
			d.Event, done, err = e.event(d.ID.Event)
		}
		if err == nil {
			var now *callbackd.Callback
			if now, err = e.o.Queue.CallbackByID(e.ctx, d.ID.Callback); err == nil && now.Deleted() {
				return done, errEnded
			}
			*cb = now
		}
		if err == nil || callbackd.KindOf(err) == callbackd.KindNotFound {
			return done, err
		}
		e.o.Log.Error("delivery not loaded, trying again", "delivery", d.ID.String(), "error", err)
		select {
		case <-time.After(recordRetry):
		case <-e.ctx.Done():
			return done, err
		}
	}
}

// weigh corrects what an attempt has in flight, now that it is known.
func (e *Engine) weigh(t *target, p *place, n int64) {
	if n == p.bytes {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.carry(t, p, n-p.bytes)
	e.unpark()
	e.pump(e.now())
}

// unpark gives those that wait for a place another try: more than one, so that
// none waits for ever.
func (e *Engine) unpark() {
	for range 2 {
		if next, ok := e.parked.pop(); ok {
			next.parked = false
			next.enqueue(e)
		}
	}
}

func (e *Engine) send(t *target, d callbackd.Delivery, cb *callbackd.Callback, p place) callbackd.Outcome {
	res := e.safeSend(cb, d.Event, d.Attempts+1)
	now := e.now().Round(0)
	if d.FirstFailedAt.IsZero() && !res.Success() {
		d.FirstFailedAt = now
	}
	o := callbackd.Outcome{Delivery: d, Attempt: callbackd.Attempt{Number: d.Attempts + 1, Version: cb.Version, Result: res}}
	o.Attempt.Decision = callbackd.Decide(d, &res, cb.Policy, now, rand.Float64())
	e.mu.Lock()
	defer e.mu.Unlock()
	if d.Test { // says nothing about the health of real traffic
		if t.cb != nil && cb.Version == t.cb.Version {
			o.Change.Version = cb.Version
			e.prove(t, &o)
		}
		return o
	}
	if p.origin != nil {
		p.origin.probation.After(&res, now, rand.Float64())
	}
	e.judge(t, cb, &o, now)
	return o
}

// prove notes the first success of a callback at its origin, a test's too: the
// receiver has shown that it takes what is sent.
func (e *Engine) prove(t *target, o *callbackd.Outcome) {
	if o.Attempt.Success() && !t.proven {
		o.Change.Proven, t.proven = true, true
		e.probation(t)
	}
}

// judge takes into account what an attempt with setting cb says about the
// callback's receiver. It is asked for what the callback is by now: an answer
// says something about the receiver that gave it, and about the version that
// it was given to.
func (e *Engine) judge(t *target, cb *callbackd.Callback, o *callbackd.Outcome, now time.Time) {
	if cb.Version > t.cb.Version { // the attempt knew it first
		e.setting(t, cb, now)
	}
	o.Change.Version = t.cb.Version
	before := t.health
	switch {
	case cb.Version == t.cb.Version:
		t.health = before.After(&o.Attempt.Result, now, rand.Float64())
		if o.Change.Pause = t.health.ShouldPause(&o.Attempt.Result, now); o.Change.Pause != callbackd.NotPaused {
			t.paused, t.pausing = true, true // at once; the store says so from the record on
		}
		o.Change.HealthTurned = before.FailingSince.IsZero() != t.health.FailingSince.IsZero()
		o.Change.FailingSince = t.health.FailingSince
		e.prove(t, o)
	case callbackd.SameOrigin(cb.URL, t.cb.URL): // what the receiver asked for holds there
		t.health = before.Asked(&o.Attempt.Result, now)
	default:
		o.Attempt.Decision = o.Attempt.AfterMove(now)
		return
	}
	if t.health.ClosedUntil.After(before.ClosedUntil) {
		o.Change.ClosedUntil = t.health.ClosedUntil
	}
	if t.health.Open(now) && !before.Open(now) {
		e.o.Observer.BreakerOpened()
		e.o.Log.Warn("breaker opened: the receiver fails", "callback", int64(t.id), "failures", t.health.Consecutive, "probe_at", t.health.HeldUntil())
	}
}

// safeSend contains a sender that panics: one delivery must not end the
// process.
func (e *Engine) safeSend(cb *callbackd.Callback, ev *callbackd.Event, n int) (res callbackd.Result) {
	defer func() {
		if p := recover(); p != nil {
			e.o.Log.Error("attempt panicked", "event", ev.ID.String(), "panic", p)
			res = callbackd.Result{StartedAt: time.Now().UTC(), Fault: callbackd.FaultLocal, Error: "callbackd failed; the attempt is made again"}
		}
	}()
	return e.o.Sender.Send(e.ctx, cb, ev, n)
}

// record writes the outcome, for as long as it takes: the lane stays closed
// and the attempt is not repeated meanwhile. It gives up when the engine is
// stopped; the delivery is then repeated after the next start.
func (e *Engine) record(o callbackd.Outcome) (callbackd.Recorded, error) {
	for {
		// Without the attempts' context: what was sent is recorded also when
		// the attempt was broken off.
		rec, err := e.o.Queue.Record(context.WithoutCancel(e.ctx), o)
		if err == nil || callbackd.KindOf(err) == callbackd.KindConflict {
			return rec, err
		}
		e.o.Log.Error("outcome not recorded, trying again", "delivery", o.Delivery.ID.String(), "error", err)
		select {
		case <-time.After(recordRetry):
		case <-e.ctx.Done():
			return callbackd.Recorded{}, err
		}
	}
}

// logAttempt is the one wide line of an attempt.
func (e *Engine) logAttempt(o *callbackd.Outcome, state callbackd.State) {
	a := &o.Attempt
	level := slog.LevelDebug
	if a.Fault != callbackd.NoFault {
		level = slog.LevelInfo
	}
	if !e.o.Log.Enabled(context.Background(), level) {
		return
	}
	e.o.Log.Log(context.Background(), level, "attempt", "delivery", o.Delivery.ID.String(), "session", o.Delivery.Session, "sequence", o.Delivery.Sequence, "attempt", a.Number,
		"state", string(state), "status", a.Status, "fault", string(a.Fault), "address", a.Address, "duration", a.Timings.Total, "due", a.Due, "why", a.Why)
}

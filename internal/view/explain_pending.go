package view

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/store"
)

// pauses says why a callback is paused, and what to do.
var pauses = map[callbackd.PauseReason]struct{ why, advice string }{
	callbackd.PausedByUser:     {"somebody paused it", "Resume the callback."},
	callbackd.PausedGone:       {"its receiver answered 410 Gone", "Correct the callback's url, or resume it when the receiver is back."},
	callbackd.PausedByReceiver: {"its receiver asked for it (callback-control: pause)", "Ask the receiver's operator, then resume the callback."},
	callbackd.PausedNoAnswer:   {"no attempt has succeeded for five days", "Fix the receiver, then resume the callback."},
}

// testSend says that a test-send is under way. It waits for nothing: pause, breaker, rate
// and older deliveries do not count, and it is tried once. One that was interrupted by a
// stop, or that a person resends, waits like other deliveries.
func (e *explainer) testSend(v *store.DeliveryView) {
	timeout := v.Callback.Policy.WithDefaults().Timeout
	e.add(Sending, v.Event.Accepted(), time.Time{}, "The test is being sent. A test-send waits for nothing, is tried once, and ends after %s at the latest.", humanize.Duration(timeout))
}

// pending says what a delivery waits for.
func (e *explainer) pending(v *store.DeliveryView, d *callbackd.Diagnosis, older store.Backlog, receiver *store.Receiver) {
	cb := v.Callback
	if cb.Paused() {
		p := pauses[cb.Pause.Reason]
		e.add(IsPaused, cb.Pause.At, time.Time{}, "The callback has been paused since %s: %s.", humanize.Time(cb.Pause.At), p.why)
		e.next("%s POST %s does it.", p.advice, cb.Path("/resume"))
	}
	if closed := cb.StillClosed(e.now); closed.After(d.ClosedUntil) {
		d.ClosedUntil = closed // another node sends, and did not answer
	}
	waits := d.Waits(v.Replay != 0, e.now)
	ofReceiver := len(waits)
	if i := slices.IndexFunc(waits, func(w callbackd.Wait) bool { return w.Reason > callbackd.WaitForOrigin }); i >= 0 {
		ofReceiver = i
	}
	e.receiver(cb, d, receiver, waits[:ofReceiver])
	if n := len(v.History); n > 0 {
		e.advise(v, &v.History[n-1])
	}
	e.lane(v, d)
	e.limits(cb, d, waits[ofReceiver:])
	if v.Replay != 0 {
		e.add(InReplay, time.Time{}, time.Time{}, "It is part of replay %s. New events and retries go ahead of replays.", v.Replay)
	}
	if older.Pending > 0 && !older.Since.After(e.now) { // not when all of them are deferred
		e.add(InBacklog, older.Since, time.Time{}, "%s pending; the longest wait is %s.",
			counted(older.Pending, "older delivery to the callback is", "older deliveries to the callback are"), humanize.Duration(e.now.Sub(older.Since)))
	}
	if len(e.reasons.Reasons) == 0 {
		e.add(DueNow, time.Time{}, time.Time{}, "It is due and is sent at once.")
	}
	if !v.ExpiresAt.IsZero() {
		e.add(Expires, time.Time{}, v.ExpiresAt, "No attempt starts from %s on: it then ends as expired.", humanize.Time(v.ExpiresAt))
	}
	e.lastAttempt(v)
}

// receiver adds the reasons why nothing is sent to the receiver.
func (e *explainer) receiver(cb *callbackd.Callback, d *callbackd.Diagnosis, receiver *store.Receiver, waits []callbackd.Wait) {
	if len(waits) > 0 && waits[0].Reason == callbackd.WaitForStart {
		e.add(NotRunning, time.Time{}, time.Time{}, "callbackd is starting or stopping and sends nothing now.")
	}
	if d.Busy && !cb.Paused() {
		e.add(Sending, time.Time{}, time.Time{}, "An attempt of its session to the callback is in flight.")
	}
	onProbation := false
	for _, w := range waits {
		switch {
		case w.Reason == callbackd.WaitForResume && !cb.Paused():
			e.add(IsPaused, time.Time{}, time.Time{}, "callbackd is reading the callback's setting, which has just changed.")
		case w.Reason == callbackd.WaitForProbe:
			e.add(BreakerOpen, receiver.LastFailure, w.Until, "%s. Nothing is sent to it before a probe at %s.", failing(cb, d, receiver), humanize.Time(w.Until))
			e.next("%s", cmp.Or(addressAdvice[receiver.LastFault], "Fix the receiver; callbackd finds out by itself when it is back."))
		case w.Reason == callbackd.WaitForReceiver:
			e.add(AskedToWait, time.Time{}, w.Until, "The receiver asked for no requests (Retry-After); nothing is sent to it before %s.", humanize.Time(w.Until))
			e.next("Wait. To send earlier, resume the callback: POST %s.", cb.Path("/resume"))
		case w.Reason.OfOrigin() && !d.Busy && !onProbation:
			onProbation = true
			e.probation(cb, d, w)
		}
	}
}

// limits adds the reasons why a receiver that may get requests gets no more now.
func (e *explainer) limits(cb *callbackd.Callback, d *callbackd.Diagnosis, waits []callbackd.Wait) {
	for _, w := range waits {
		switch w.Reason {
		case callbackd.WaitForAttempt:
			if d.Limit > 0 {
				e.add(AtLimit, time.Time{}, time.Time{}, "%s in flight, which is the limit now.", counted(d.InFlight, "attempt to the callback is", "attempts to the callback are"))
			}
		case callbackd.WaitForReplay:
			e.add(AtLimit, time.Time{}, time.Time{}, "%s in flight. Replays may use half of the callback's limit, which is %s now.",
				counted(d.ReplaysInFlight, "attempt of a replay is", "attempts of replays are"), humanize.Number(d.Limit))
		case callbackd.WaitForRate:
			e.add(RateLimited, time.Time{}, w.Until, "The callback's rate of %g a second allows the next attempt at %s.", cb.Policy.Rate, humanize.Time(w.Until))
		case callbackd.WaitForSlot:
			e.add(AtLimit, time.Time{}, time.Time{}, "The server has as many attempts in flight as it may have for such a callback.")
		}
	}
}

// failing says since when the receiver has been failing, and how it failed last. Until
// that time is recorded, it says how often the receiver failed, which the engine counts
// since its start.
func failing(cb *callbackd.Callback, d *callbackd.Diagnosis, receiver *store.Receiver) string {
	s := fmt.Sprintf("The receiver failed %s times in a row", humanize.Number(d.Failures))
	if !cb.FailingSince.IsZero() {
		s = "The receiver has been failing since " + humanize.Time(cb.FailingSince)
	}
	if last := LastFailure(receiver); last != "" {
		s += "; the last time, " + last
	}
	return s
}

// probation says what a callback on probation waits for: the breaker that it shares with
// others at its origin, the rate of their first attempts, or their attempts in flight.
func (e *explainer) probation(cb *callbackd.Callback, d *callbackd.Diagnosis, w callbackd.Wait) {
	shared := fmt.Sprintf("The callback has not succeeded at %s yet. ", callbackd.Origin(cb.URL))
	if cb.OfSession() {
		shared = fmt.Sprintf("The callback is for one session, and all such callbacks share their attempts at %s. ", callbackd.Origin(cb.URL))
	}
	switch w.Reason {
	case callbackd.WaitForOriginProbe:
		e.add(OnProbation, time.Time{}, w.Until, "%sAttempts to such callbacks of the API key failed %s times in a row there, and nothing is sent to any of them before a probe at %s.",
			shared, humanize.Number(d.OriginFailures), humanize.Time(w.Until))
		e.next("Fix the receivers there; callbackd finds out by itself when one is back.")
	case callbackd.WaitToBegin:
		e.add(OnProbation, time.Time{}, w.Until, "%sOf such callbacks of the API key, at most %d may begin at once there, and one more every %s.",
			shared, callbackd.ProbationBurst, humanize.Duration(callbackd.ProbationEvery))
	default:
		e.add(OnProbation, time.Time{}, time.Time{}, "%sSuch callbacks of the API key may have %s in flight there at a time, and that many are in flight now.",
			shared, counted(d.OriginLimit, "attempt", "attempts"))
	}
}

// lane says whether the delivery waits for its retry, or for an earlier delivery of its
// session.
func (e *explainer) lane(v *store.DeliveryView, d *callbackd.Diagnosis) {
	if v.Deferred {
		e.add(IsDeferred, time.Time{}, v.Due, "Its event is not to be delivered before %s (deliver_at).", humanize.Time(v.Due))
		e.next("Wait, or send it now: POST /v1/deliveries/%s/retry.", v.ID)
		return
	}
	if v.Due.After(e.now) {
		why := ""
		if n := len(v.History); n > 0 {
			why = ": " + v.History[n-1].Why
		}
		e.add(WaitingRetry, time.Time{}, v.Due, "Attempt %d is due at %s%s.", v.Attempts+1, humanize.Time(v.Due), why)
		e.next("Wait, or send it now: POST /v1/deliveries/%s/retry.", v.ID)
		return
	}
	if d.Head.Event != 0 && d.Head != v.ID && !v.Manual {
		e.add(LaneBlocked, time.Time{}, d.HeldUntil, "Event %d of its session failed and blocks later ones until %s.", d.HeadSequence, humanize.Time(d.HeldUntil))
		e.next("Find out why %s fails: GET /v1/deliveries/%s/explain.", d.Head, d.Head)
	}
	if o := &d.Order; o.Earlier.Event != 0 && o.Earlier.Event < v.Event.ID && v.Due.IsZero() {
		e.orderGroup(o)
	}
}

// orderGroup says which delivery of its session, to another callback of the order group,
// the delivery waits for.
func (e *explainer) orderGroup(o *callbackd.OrderWait) {
	why := "has not been sent yet"
	switch {
	case o.Failed:
		why = "failed and holds later ones until " + humanize.Time(o.Until)
	case !o.Until.IsZero():
		why = "has not been sent yet and holds later ones until " + humanize.Time(o.Until) + " at the latest"
	}
	e.add(InOrderGroup, time.Time{}, o.Until, "It waits for %s of its session (event %d) to another callback of the order group, which %s.", o.Earlier.Event, o.Sequence, why)
	e.next("Find out what that one waits for: GET /v1/deliveries/%s/explain.", o.Earlier)
}

func (e *explainer) lastAttempt(v *store.DeliveryView) {
	n := len(v.History)
	if n == 0 {
		return
	}
	last := &v.History[n-1]
	if last.Fault == callbackd.FaultRefused {
		e.refused(last)
	} else if last.Fault != callbackd.NoFault {
		e.add(LastAttempt, last.StartedAt, time.Time{}, "Attempt %d at %s failed: %s.", last.Number, humanize.Time(last.StartedAt), last.Error)
	}
}

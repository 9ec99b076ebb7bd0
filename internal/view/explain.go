package view

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/store"
	"callbackd/wire"
)

// Reader is what an explanation is made of; store.Store has the contracts.
type Reader interface {
	Event(ctx context.Context, key callbackd.KeyID, id callbackd.EventID) (*callbackd.Event, error)
	Delivery(ctx context.Context, key callbackd.KeyID, id callbackd.DeliveryID, before int) (*store.DeliveryView, error)
	CallbackByID(ctx context.Context, no callbackd.CallbackID) (*callbackd.Callback, error)
	ListCallbacks(ctx context.Context, q store.CallbackQuery) (store.CallbackPage, error)
	CountPending(ctx context.Context, cb callbackd.CallbackID, q store.PendingQuery) (store.Backlog, error)
	Receiver(ctx context.Context, cb callbackd.CallbackID) (store.Receiver, error)
}

// Diagnosis asks the engine what it has in mind for a callback and a session.
type Diagnosis func(no callbackd.CallbackID, session string, now time.Time) callbackd.Diagnosis

// The codes of reasons.
const (
	NotRegistered  = "not_registered_yet" // the callback was created later
	DeletedBefore  = "deleted_before"     // the callback was deleted before
	OtherEvent     = "other_event"        // the callback is for another type
	OnlyATest      = "test"               // a test goes to its own callback alone
	NotOwed        = "not_owed"
	Sent           = "delivered"
	GaveUp         = "failed"
	RefusedAddress = "refused_address"
	LastAttempt    = "last_attempt"
	Deleted        = "callback_deleted"
	Revoked        = "key_revoked"
	IsPaused       = "paused"
	NotRunning     = "not_running"
	BreakerOpen    = "breaker_open"
	AskedToWait    = "asked_to_wait" // Retry-After closed the callback
	OnProbation    = "probation"     // nothing has succeeded yet at its origin
	WaitingRetry   = "waiting_retry"
	Held           = "held"
	Sending        = "sending"
	RateLimited    = "rate_limited"
	AtLimit        = "at_limit"
	InReplay       = "replay"
	InBacklog      = "backlog"
	DueNow         = "due"
)

// testSlack is how long a test may take to begin, and to be recorded.
const testSlack = 5 * time.Second

// testUnderWay tells whether a test is being sent. One that was cut off by a
// stop, or that a person sends again, waits as others do.
func testUnderWay(v *store.DeliveryView, look *callbackd.Diagnosis, now time.Time) bool {
	if !v.Event.Test || v.Manual || v.Attempts > 0 || !look.Running {
		return false
	}
	age := now.Sub(v.Event.Accepted())
	return age < testSlack || look.InFlight > 0 && age < v.Callback.Policy.WithDefaults().Timeout+testSlack
}

// Explain says why a delivery of the key is where it is.
func Explain(ctx context.Context, from Reader, outlook Diagnosis, key callbackd.KeyID, id callbackd.DeliveryID, now time.Time) (*wire.Explanation, error) {
	v, err := from.Delivery(ctx, key, id, 0)
	if err != nil {
		return nil, err
	}
	text := id.String()
	e := &explainer{now: now, reasons: &wire.Explanation{Delivery: &text, EventID: id.Event.String(), Callback: int64(id.Callback), CallbackName: v.Callback.Name, State: string(v.State), Reasons: []wire.Reason{}}}
	look := outlook(id.Callback, v.Event.Session, now)
	switch v.State {
	case callbackd.Pending:
		if testUnderWay(v, &look, now) {
			e.test(v)
			break
		}
		ahead, err := from.CountPending(ctx, id.Callback, store.PendingQuery{Below: id.Event, Limit: store.MaxPendingShown})
		if err != nil {
			return nil, err
		}
		receiver, err := from.Receiver(ctx, id.Callback)
		if err != nil {
			return nil, err
		}
		e.pending(v, &look, ahead, &receiver)
	default:
		e.ended(v, &look)
	}
	return e.reasons, nil
}

// ExplainEvent says it for an event and one callback, or with 0 for every
// callback that the event was owed to or that is registered for its type.
func ExplainEvent(ctx context.Context, from Reader, outlook Diagnosis, key callbackd.KeyID, id callbackd.EventID, callback callbackd.CallbackID, now time.Time) ([]wire.Explanation, error) {
	ev, err := from.Event(ctx, key, id)
	if err != nil {
		return nil, err
	}
	nos := []callbackd.CallbackID{callback}
	if callback == 0 {
		nos = slices.Clone(ev.Targets)
		inForce, err := from.ListCallbacks(ctx, store.CallbackQuery{Key: key})
		if err != nil {
			return nil, err
		}
		for _, cb := range inForce.Callbacks {
			if cb.Event == ev.Type {
				nos = append(nos, cb.ID)
			}
		}
		slices.Sort(nos)
		nos = slices.Compact(nos)
	}
	out := []wire.Explanation{}
	for _, no := range nos {
		if slices.Contains(ev.Targets, no) {
			e, err := Explain(ctx, from, outlook, key, callbackd.DeliveryID{Event: id, Callback: no}, now)
			if err != nil {
				return nil, err
			}
			out = append(out, *e)
			continue
		}
		cb, err := from.CallbackByID(ctx, no)
		if callbackd.KindOf(err) == callbackd.KindNotFound || err == nil && cb.Key != key {
			return nil, callbackd.Errorf(callbackd.KindNotFound, "There is no callback %d; GET /v1/callbacks/:event/policy shows the numbers.", no)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, *notOwed(ev, cb, now))
	}
	return out, nil
}

// explainer gathers reasons.
type explainer struct {
	now     time.Time
	reasons *wire.Explanation
}

func (e *explainer) add(code string, since, until time.Time, format string, args ...any) {
	e.reasons.Reasons = append(e.reasons.Reasons, wire.Reason{Code: code, Message: fmt.Sprintf(format, args...), Since: timeOrNull(since), Until: timeOrNull(until)})
}

func (e *explainer) next(format string, args ...any) {
	if e.reasons.Next == "" { // of several, what belongs to the decisive one
		e.reasons.Next = fmt.Sprintf(format, args...)
	}
}

// notOwed says why an event was never owed to a callback.
func notOwed(ev *callbackd.Event, cb *callbackd.Callback, now time.Time) *wire.Explanation {
	e := &explainer{now: now, reasons: &wire.Explanation{EventID: ev.ID.String(), Callback: int64(cb.ID), CallbackName: cb.Name, Reasons: []wire.Reason{}}}
	at := ev.Accepted()
	switch {
	case cb.Event != ev.Type:
		e.add(OtherEvent, time.Time{}, time.Time{}, "The callback is registered for %s, and the event is %s.", cb.Event, ev.Type)
		e.next("Register a callback for %s.", ev.Type)
	case ev.Test:
		e.add(OnlyATest, time.Time{}, time.Time{}, "The event is a test of another callback; a test goes to its own callback alone.")
	case cb.Deleted() && !cb.DeletedAt.After(at):
		e.add(DeletedBefore, cb.DeletedAt, time.Time{}, "The callback was deleted at %s, before the event was accepted at %s.", humanize.Time(cb.DeletedAt), humanize.Time(at))
		e.next("Register the callback again, and replay the event to it.")
	case !cb.CreatedAt.Before(at):
		e.add(NotRegistered, time.Time{}, cb.CreatedAt, "The callback was created at %s, after the event was accepted at %s.", humanize.Time(cb.CreatedAt), humanize.Time(at))
		e.next("Replay the event to it: POST /v1/replays with target %d, session_key %s and a since that is not after %s.", cb.ID, ev.Session, humanize.Time(at))
	default:
		e.add(NotOwed, time.Time{}, time.Time{}, "The event was not owed to the callback when it was accepted at %s.", humanize.Time(at))
		e.next("Replay the event to it: POST /v1/replays with target %d.", cb.ID)
	}
	return e.reasons
}

// ended says how a delivery ended.
func (e *explainer) ended(v *store.DeliveryView, look *callbackd.Diagnosis) {
	var last *callbackd.Attempt
	if n := len(v.History); n > 0 {
		last = &v.History[n-1]
	}
	switch {
	case v.State == callbackd.Canceled:
		e.canceled(v, look)
	case last == nil:
		e.add(string(v.State), time.Time{}, time.Time{}, "The delivery is %s.", v.State)
	case v.State == callbackd.Delivered:
		odd := ""
		if last.Error != "" {
			odd = "; " + last.Error + ", and the status decides"
		}
		e.add(Sent, last.StartedAt, time.Time{}, "The receiver at %s answered %d to attempt %d at %s%s.", cmp.Or(last.Address, "its address"), last.Status, last.Number, humanize.Time(last.StartedAt), odd)
		e.next("If the receiver has no trace of it, look there for webhook-id %s.", v.ID.Event)
	default:
		if last.Fault == callbackd.FaultRefused {
			e.refused(last)
		}
		e.advise(v.ID, last)
		e.add(GaveUp, last.StartedAt, time.Time{}, "%s %s: %s.", attempts(last.Number), humanize.Time(last.StartedAt), last.Error)
		if v.Callback.Deleted() {
			e.next(replayAnew)
			return
		}
		e.next("See to the receiver, then send it again: POST /v1/deliveries/%s/retry, or POST /v1/replays for many.", v.ID)
	}
}

const replayAnew = "Register the callback again, and replay the event to it."

// canceled says why a delivery was given up, and what its attempts came to.
func (e *explainer) canceled(v *store.DeliveryView, look *callbackd.Diagnosis) {
	if v.Callback.Deleted() {
		e.add(Deleted, v.Callback.DeletedAt, time.Time{}, "The callback was deleted at %s; what it was still owed was canceled.", humanize.Time(v.Callback.DeletedAt))
		e.next(replayAnew)
	} else {
		e.add(Revoked, time.Time{}, time.Time{}, "The API key was revoked; what its callbacks were still owed was canceled.")
	}
	if look.InFlight > 0 {
		e.add(Sending, time.Time{}, time.Time{}, "%s still under way. If one is of this delivery, it is recorded as it ends: delivered, when the receiver takes it.", counted(look.InFlight, "attempt to the callback that began before is", "attempts to the callback that began before are"))
	}
	e.lastAttempt(v)
}

// counted is a number of things, of which no more than MaxPendingShown are counted.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return humanize.Count(n, store.MaxPendingShown) + " " + many
}

// attempts begins to say that all n of them failed.
func attempts(n int) string {
	switch n {
	case 1:
		return "The only attempt failed at"
	case 2:
		return "Both attempts failed; the last one at"
	}
	return "All " + humanize.Number(n) + " attempts failed; the last one at"
}

func (e *explainer) refused(a *callbackd.Attempt) {
	e.add(RefusedAddress, a.StartedAt, time.Time{}, "The address is not one that callbackd may send to: %s.", a.Error)
	e.next("%s", addressAdvice[callbackd.FaultRefused])
}

// addressAdvice says what to do about a host that nothing can be sent to.
var addressAdvice = map[callbackd.Fault]string{
	callbackd.FaultRefused: "Give the callback a public address, or have the operator allow the range with --allow-target.",
	callbackd.FaultDNS:     "Correct the host name in the callback's url. A name of the operator's own network is written in full, and the operator allows its range with --allow-target.",
}

// advise says what to do about faults that are not for the receiver to mend.
func (e *explainer) advise(id callbackd.DeliveryID, a *callbackd.Attempt) {
	switch a.Fault {
	case callbackd.FaultDNS:
		e.next("%s", addressAdvice[a.Fault])
	case callbackd.FaultQuery:
		e.next("Change the callback's method to POST, then send it again: POST /v1/deliveries/%s/retry.", id)
	case callbackd.FaultLocal, callbackd.FaultProxy:
		e.next("There is nothing to do at the receiver; the operator's log says what callbackd lacked.")
	}
}

// pauses says why a callback is paused, and what to do.
var pauses = map[callbackd.PauseReason][2]string{
	callbackd.PausedByUser:   {"somebody paused it", "Resume the callback."},
	callbackd.PausedGone:     {"its receiver answered 410 Gone", "Correct the callback's url, or resume it when the receiver is back."},
	callbackd.PausedNoAnswer: {"its receiver did not succeed once for five days", "See to the receiver, then resume the callback."},
}

// test says that a test waits for nothing: it passes pause, breaker, rate and
// what is ahead of it, and is tried once.
func (e *explainer) test(v *store.DeliveryView) {
	timeout := v.Callback.Policy.WithDefaults().Timeout
	e.add(Sending, v.Event.Accepted(), time.Time{}, "The test is under way: a test waits for nothing, is sent once, and ends after %s at the latest.", humanize.Duration(timeout))
}

// pending says what a delivery waits for.
func (e *explainer) pending(v *store.DeliveryView, look *callbackd.Diagnosis, ahead store.Backlog, receiver *store.Receiver) {
	cb := v.Callback
	if cb.Paused() {
		p := pauses[cb.Pause.Reason]
		e.add(IsPaused, cb.Pause.At, time.Time{}, "The callback has been paused since %s: %s.", humanize.Time(cb.Pause.At), p[0])
		e.next("%s POST /v1/callbacks/%s/resume does it.", p[1], cb.Event)
	}
	if !look.Running {
		e.add(NotRunning, time.Time{}, time.Time{}, "callbackd is starting or stopping and sends nothing now.")
	}
	if look.Busy && !cb.Paused() {
		e.add(Sending, time.Time{}, time.Time{}, "An attempt of its session is under way to the callback.")
	}
	held := e.held(cb, look, receiver)
	if n := len(v.History); n > 0 {
		e.advise(v.ID, &v.History[n-1])
	}
	e.waits(v, look)
	if look.InFlight > 0 && look.InFlight >= look.Limit && !held {
		e.add(AtLimit, time.Time{}, time.Time{}, "%s under way, which is what it may have now.", counted(look.InFlight, "attempt to the callback is", "attempts to the callback are"))
	}
	if !look.RateUntil.IsZero() {
		e.add(RateLimited, time.Time{}, look.RateUntil, "The callback's rate of %g a second lets the next attempt through at %s.", cb.Policy.Rate, humanize.Time(look.RateUntil))
	}
	if v.Replay != 0 {
		e.add(InReplay, time.Time{}, time.Time{}, "It is part of replay %s, which runs behind new events and retries.", v.Replay)
	}
	if ahead.Pending > 0 {
		e.add(InBacklog, ahead.Since, time.Time{}, "%s not done; the longest wait is %s.",
			counted(ahead.Pending, "older delivery to the callback is", "older deliveries to the callback are"), humanize.Duration(e.now.Sub(ahead.Since)))
	}
	if len(e.reasons.Reasons) == 0 {
		e.add(DueNow, time.Time{}, time.Time{}, "It is due and is sent at once.")
	}
	e.lastAttempt(v)
}

// held says what is known of the receiver that keeps everything from it, and
// tells whether something does.
func (e *explainer) held(cb *callbackd.Callback, look *callbackd.Diagnosis, receiver *store.Receiver) bool {
	if !look.OpenUntil.IsZero() {
		e.add(BreakerOpen, receiver.LastFailure, look.OpenUntil, "%s. Nothing is sent to it before a probe at %s.", failing(cb, look, receiver), humanize.Time(look.OpenUntil))
		e.next("%s", cmp.Or(addressAdvice[receiver.LastFault], "See to the receiver; callbackd finds out by itself when it is back."))
	}
	closed := cb.StillClosed(e.now) // also when another node sends
	if look.ClosedUntil.After(closed) {
		closed = look.ClosedUntil
	}
	if closed.After(e.now) {
		e.add(AskedToWait, time.Time{}, closed, "The receiver asked to be left alone with Retry-After; nothing is sent to it before %s.", humanize.Time(closed))
		e.next("Wait. To send before, resume the callback: POST /v1/callbacks/%s/resume.", cb.Event)
	}
	if look.Probation && !look.Busy && (look.OriginInFlight >= look.OriginLimit || look.BeginsAt.After(e.now)) {
		e.probation(cb, look)
	}
	return !look.OpenUntil.IsZero() || closed.After(e.now)
}

// failing says since when the receiver fails, and how it did last. The engine's
// count begins anew with a restart, and serves until the time is recorded.
func failing(cb *callbackd.Callback, look *callbackd.Diagnosis, receiver *store.Receiver) string {
	s := fmt.Sprintf("The receiver failed %s times in a row", humanize.Number(look.Failures))
	if !cb.FailingSince.IsZero() {
		s = "The receiver has been failing since " + humanize.Time(cb.FailingSince)
	}
	if last := LastFailure(receiver); last != "" {
		s += "; the last time, " + last
	}
	return s
}

// probation says what holds a callback that has not succeeded at its origin:
// the breaker that it shares there, their pace, or their attempts in flight.
func (e *explainer) probation(cb *callbackd.Callback, look *callbackd.Diagnosis) {
	shared := fmt.Sprintf("The callback has not succeeded at %s yet. ", callbackd.Origin(cb.URL))
	switch {
	case !look.OriginOpenUntil.IsZero():
		e.add(OnProbation, time.Time{}, look.BeginsAt, "%sAttempts to such callbacks of the API key failed %s times in a row there, and nothing is sent to any of them before a probe at %s.",
			shared, humanize.Number(look.OriginFailures), humanize.Time(look.OriginOpenUntil))
		e.next("See to the receivers there; callbackd finds out by itself when one is back.")
	case look.BeginsAt.After(e.now):
		e.add(OnProbation, time.Time{}, look.BeginsAt, "%sOf such callbacks of the API key, no more than %d begin at once there, and one more each %s.",
			shared, callbackd.ProbationBurst, humanize.Duration(callbackd.ProbationEvery))
	default:
		e.add(OnProbation, time.Time{}, time.Time{}, "%sSuch callbacks of the API key may have %s under way there at a time, and that many are under way now.",
			shared, counted(look.OriginLimit, "attempt", "attempts"))
	}
}

// waits says whether it waits for its own time, or for one before it.
func (e *explainer) waits(v *store.DeliveryView, look *callbackd.Diagnosis) {
	if v.Due.After(e.now) {
		why := ""
		if n := len(v.History); n > 0 {
			why = ": " + v.History[n-1].Why
		}
		e.add(WaitingRetry, time.Time{}, v.Due, "Attempt %d is due at %s%s.", v.Attempts+1, humanize.Time(v.Due), why)
		e.next("Wait, or send it now: POST /v1/deliveries/%s/retry.", v.ID)
		return
	}
	if look.Head.Event != 0 && look.Head != v.ID && !v.Manual {
		e.add(Held, time.Time{}, look.HeldUntil, "Number %d of its session failed and is ahead of it; later ones may pass at %s.", look.HeadNo, humanize.Time(look.HeldUntil))
		e.next("See why %s fails: GET /v1/deliveries/%s/explain.", look.Head, look.Head)
	}
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

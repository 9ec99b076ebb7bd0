package view

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/store"
	"callbackd/wire"
)

// Reader has the methods of the store that an explanation needs.
type Reader interface {
	Event(ctx context.Context, key callbackd.KeyID, id callbackd.EventID) (*callbackd.Event, error)
	Delivery(ctx context.Context, key callbackd.KeyID, id callbackd.DeliveryID, before int) (*store.DeliveryView, error)
	CallbackByID(ctx context.Context, id callbackd.CallbackID) (*callbackd.Callback, error)
	ListCallbacks(ctx context.Context, q store.CallbackQuery) (store.CallbackPage, error)
	Health(ctx context.Context, id callbackd.CallbackID, q store.PendingQuery) (store.Health, error)
}

// Diagnosis returns the engine's state for a callback and one of its sessions.
type Diagnosis func(id callbackd.CallbackID, session string, now time.Time) callbackd.Diagnosis

// The codes of reasons.
const (
	NotRegistered  = "not_registered_yet" // the callback was created later
	DeletedBefore  = "deleted_before"     // the callback was deleted before the event
	OtherEvent     = "other_event"        // the callback is for another type
	OtherSession   = "other_session"      // the callback is for one session, and that is another
	OnlyATest      = "test"               // the event is a test-send of another callback
	Filtered       = "filtered"           // the callback's filter did not match
	NotATarget     = "not_owed"
	Sent           = "delivered"
	GaveUp         = "failed"
	TooLate        = "expired"
	RefusedAddress = "refused_address"
	LastAttempt    = "last_attempt"
	WasErased      = "erased"   // the data of the event
	ByPerson       = "canceled" // a person canceled what was pending
	Deleted        = "callback_deleted"
	Revoked        = "key_revoked"
	IsPaused       = "paused"
	NotRunning     = "not_running"
	BreakerOpen    = "breaker_open"
	AskedToWait    = "asked_to_wait" // Retry-After closed the callback
	OnProbation    = "probation"     // nothing has succeeded yet at its origin
	WaitingRetry   = "waiting_retry"
	IsDeferred     = "deferred" // its event has a deliver_at
	Expires        = "expires"  // it is pending and has an expiry
	LaneBlocked    = "held"
	InOrderGroup   = "order_group" // it waits for another callback of its order group
	Sending        = "sending"
	RateLimited    = "rate_limited"
	AtLimit        = "at_limit"
	InReplay       = "replay"
	InBacklog      = "backlog"
	DueNow         = "due"
)

// Explain says why a delivery of the key is in its state.
func Explain(ctx context.Context, from Reader, diagnose Diagnosis, key callbackd.KeyID, id callbackd.DeliveryID, now time.Time) (*wire.Explanation, error) {
	v, err := from.Delivery(ctx, key, id, 0)
	if err != nil {
		return nil, err
	}
	text := id.String()
	e := &explainer{now: now, reasons: &wire.Explanation{Delivery: &text, EventID: id.Event.String(), Callback: int64(id.Callback), CallbackName: v.Callback.Name, State: string(v.State), Reasons: []wire.Reason{}}}
	d := diagnose(id.Callback, v.Event.Session, now)
	e.erased(v.Event)
	switch v.State {
	case callbackd.Pending:
		if slices.Contains(d.TestSends, v.ID.Event) {
			e.testSend(v)
			break
		}
		health, err := from.Health(ctx, id.Callback, store.PendingQuery{Below: id.Event, Limit: store.MaxPendingShown})
		if err != nil {
			return nil, err
		}
		e.pending(v, &d, health.Backlog, &health.Receiver)
	default:
		e.ended(v, &d)
	}
	return e.reasons, nil
}

// ExplainEvent says why an event did or did not go to a callback. When callback is 0, it
// does so for all targets of the event, those that withheld it, and all callbacks in force that
// are for such an event.
func ExplainEvent(ctx context.Context, from Reader, diagnose Diagnosis, key callbackd.KeyID, id callbackd.EventID, callback callbackd.CallbackID, now time.Time) ([]wire.Explanation, error) {
	ev, err := from.Event(ctx, key, id)
	if err != nil {
		return nil, err
	}
	ids := []callbackd.CallbackID{callback}
	if callback == 0 {
		if ids, err = concerned(ctx, from, ev); err != nil {
			return nil, err
		}
	}
	out := []wire.Explanation{}
	for _, cbID := range ids {
		if slices.Contains(ev.Targets, cbID) {
			e, err := Explain(ctx, from, diagnose, key, callbackd.DeliveryID{Event: id, Callback: cbID}, now)
			if err != nil {
				return nil, err
			}
			out = append(out, *e)
			continue
		}
		cb, err := from.CallbackByID(ctx, cbID)
		if callbackd.KindOf(err) == callbackd.KindNotFound && callback == 0 {
			continue // it withheld the event, and is not stored any more
		}
		if callbackd.KindOf(err) == callbackd.KindNotFound || err == nil && cb.Key != ev.Key {
			return nil, callbackd.Errorf(callbackd.KindNotFound, "There is no callback %d; GET /v1/callbacks/:event/policy shows the numbers.", cbID)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, *notATarget(ev, cb, now))
	}
	return out, nil
}

// concerned returns the callbacks that an event is explained for: its targets, those that withheld
// it, and those in force that are for such events, of all sessions or of its own.
func concerned(ctx context.Context, from Reader, ev *callbackd.Event) ([]callbackd.CallbackID, error) {
	ids := slices.Clone(ev.Targets)
	for _, w := range ev.Withheld {
		ids = append(ids, w.Callback)
	}
	for _, q := range []store.CallbackQuery{{Key: ev.Key, Event: ev.Type}, {Key: ev.Key, Session: ev.Session}} {
		inForce, err := from.ListCallbacks(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, cb := range inForce.Callbacks {
			if cb.Takes(ev.Type, ev.Session) {
				ids = append(ids, cb.ID)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// erased says that nothing is left to send, when the data of an event was erased.
func (e *explainer) erased(ev *callbackd.Event) {
	if ev.IsErased() {
		e.add(WasErased, ev.ErasedAt, time.Time{}, "The data of the event was erased at %s, with the requests and answers of its attempts.", humanize.Time(ev.ErasedAt))
		e.next("Nothing is left to send. If the receiver still needs the event, publish it again.")
	}
}

// explainer collects the reasons of an explanation.
type explainer struct {
	now     time.Time
	reasons *wire.Explanation
}

func (e *explainer) add(code string, since, until time.Time, format string, args ...any) {
	e.reasons.Reasons = append(e.reasons.Reasons, wire.Reason{Code: code, Message: fmt.Sprintf(format, args...), Since: timeOrNull(since), Until: timeOrNull(until)})
}

// next sets what to do. The first call counts, because it belongs to the decisive reason.
func (e *explainer) next(format string, args ...any) {
	if e.reasons.Next == "" {
		e.reasons.Next = fmt.Sprintf(format, args...)
	}
}

// notATarget says why a callback was no target of an event.
func notATarget(ev *callbackd.Event, cb *callbackd.Callback, now time.Time) *wire.Explanation {
	e := &explainer{now: now, reasons: &wire.Explanation{EventID: ev.ID.String(), Callback: int64(cb.ID), CallbackName: cb.Name, Reasons: []wire.Reason{}}}
	at := ev.Accepted()
	e.erased(ev)
	replay := func(format string, args ...any) {
		if ev.Test {
			format, args = "Publish another test: a replay leaves tests out.", nil
		}
		e.next(format, args...)
	}
	withheld := slices.IndexFunc(ev.Withheld, func(w callbackd.Withheld) bool { return w.Callback == cb.ID })
	switch {
	case withheld >= 0:
		e.add(Filtered, at, time.Time{}, "The callback's filter did not match the event when it was accepted at %s: %s.", humanize.Time(at), cmp.Or(ev.Withheld[withheld].Term, "the term was erased"))
		replay("To send it all the same, replay it: POST /v1/replays with target %d and session_key %s; or with missing true, which sends every event that the callback did not get.", cb.ID, ev.Session)
	case cb.OfSession() && cb.Session != ev.Session:
		e.add(OtherSession, time.Time{}, time.Time{}, "The callback is for the session %s, and the event is of %s.", cb.Session, ev.Session)
		e.next("Give that session a callback: the member callback of POST /v1/events.")
	case !cb.Takes(ev.Type, ev.Session):
		e.add(OtherEvent, time.Time{}, time.Time{}, "The callback is registered for %s, and the event is %s.", strings.Join(cb.EventNames(), ", "), ev.Type)
		e.next("Register a callback for %s.", ev.Type)
	case cb.Deleted() && !cb.DeletedAt.After(at):
		e.add(DeletedBefore, cb.DeletedAt, time.Time{}, "The callback was deleted at %s, before the event was accepted at %s.", humanize.Time(cb.DeletedAt), humanize.Time(at))
		replay("Register the callback again, and replay the event to it.")
	case !cb.CreatedAt.Before(at):
		e.add(NotRegistered, time.Time{}, cb.CreatedAt, "The callback was created at %s, after the event was accepted at %s.", humanize.Time(cb.CreatedAt), humanize.Time(at))
		replay("Replay the event to it: POST /v1/replays with target %d, session_key %s and a since that is not after %s.", cb.ID, ev.Session, humanize.Time(at))
	case ev.Test:
		e.add(OnlyATest, time.Time{}, time.Time{}, "The event is a test of another callback; a test-send goes to its own callback alone.")
	default:
		e.add(NotATarget, time.Time{}, time.Time{}, "The callback was not a target of the event when it was accepted at %s.", humanize.Time(at))
		replay("Replay the event to it: POST /v1/replays with target %d.", cb.ID)
	}
	return e.reasons
}

// ended says how a delivery ended.
func (e *explainer) ended(v *store.DeliveryView, d *callbackd.Diagnosis) {
	var last *callbackd.Attempt
	if n := len(v.History); n > 0 {
		last = &v.History[n-1]
	}
	switch {
	case v.State == callbackd.Canceled:
		e.canceled(v, d)
	case v.State == callbackd.Expired:
		e.expired(v, d)
	case last == nil:
		e.add(string(v.State), time.Time{}, time.Time{}, "The delivery is %s.", v.State)
	case v.State == callbackd.Delivered:
		warning := ""
		if last.Error != "" {
			warning = "; " + last.Error + ", but the status decides"
		}
		e.add(Sent, last.StartedAt, time.Time{}, "The receiver at %s answered %d to attempt %d at %s%s.", cmp.Or(last.Address, "its address"), last.Status, last.Number, humanize.Time(last.StartedAt), warning)
		e.next("If it seems to be missing at the receiver, search there for webhook-id %s.", v.ID.Event)
	default:
		if last.Fault == callbackd.FaultRefused {
			e.refused(last)
		}
		e.advise(v, last)
		stopped := ""
		if last.Why == callbackd.WhyStopped {
			stopped = "; " + last.Why
		}
		e.add(GaveUp, last.StartedAt, time.Time{}, "%s %s: %s%s.", attempts(last.Number), humanize.Time(last.StartedAt), last.Error, stopped)
		if v.Callback.Deleted() {
			e.next(registerAndReplay)
			return
		}
		e.next("Fix the receiver, then send it again: POST /v1/deliveries/%s/retry, or POST /v1/replays for many.", v.ID)
	}
}

const registerAndReplay = "Register the callback again, and replay the event to it."

// canceled says why a delivery was canceled, and how its last attempt failed.
func (e *explainer) canceled(v *store.DeliveryView, d *callbackd.Diagnosis) {
	at := unsent(v)
	deleted := v.Callback.Deleted()
	switch {
	case at != nil && !strings.Contains(at.Why, callbackd.WhyEnded):
		e.add(ByPerson, at.StartedAt, time.Time{}, "It was canceled at %s (%s).", humanize.Time(at.StartedAt), at.Why)
		if !deleted {
			e.next("To send it after all: POST /v1/deliveries/%s/retry, or POST /v1/replays with states canceled for many.", v.ID)
		}
		if !deleted && d.Busy {
			e.add(Sending, time.Time{}, time.Time{}, "An attempt of its session to the callback is in flight. If it is of this delivery, its result is recorded: delivered, when the receiver accepts it.")
		}
	case deleted:
		e.add(Deleted, v.Callback.DeletedAt, time.Time{}, "The callback was deleted at %s; its pending deliveries were canceled.", humanize.Time(v.Callback.DeletedAt))
	default:
		e.add(Revoked, time.Time{}, time.Time{}, "The API key was revoked; the pending deliveries of its callbacks were canceled.")
	}
	if deleted {
		e.next(registerAndReplay)
		if d.InFlight > 0 {
			e.add(Sending, time.Time{}, time.Time{}, "%s still in flight. If one is of this delivery, its result is recorded: delivered, when the receiver accepts it.", counted(d.InFlight, "attempt to the callback that began before is", "attempts to the callback that began before are"))
		}
	}
	e.lastAttempt(v)
}

// expired says when a delivery expired, by whose wish, and how its last attempt failed.
func (e *explainer) expired(v *store.DeliveryView, d *callbackd.Diagnosis) {
	at := time.Time{}
	why := "it was not delivered in time"
	if row := unsent(v); row != nil {
		at, why = row.StartedAt, row.Why
	}
	if v.Attempts == 0 {
		why += "; no attempt was made"
	}
	e.add(TooLate, at, time.Time{}, "It is not sent any more: %s. An event's expires_at and the ttl of a callback's policy set the expiry; the earlier one counts.", why)
	if v.Callback.Deleted() {
		e.next(registerAndReplay)
	} else {
		e.next("To send it after all, without an expiry: POST /v1/deliveries/%s/retry, or POST /v1/replays with states expired for many.", v.ID)
		if d.Busy {
			e.add(Sending, time.Time{}, time.Time{}, "An attempt of its session to the callback is in flight. If it is of this delivery, its result is recorded: delivered, when the receiver accepts it.")
		}
	}
	e.lastAttempt(v)
}

// unsent returns the row that canceled or expired a delivery: its last attempt, when that
// happened during it. It is nil before a row says so.
func unsent(v *store.DeliveryView) *callbackd.Attempt {
	if n := len(v.History); v.Unsent == nil && n > 0 && v.History[n-1].State == v.State {
		return &v.History[n-1]
	}
	return v.Unsent
}

// counted returns a number and what it counts. It writes MaxPendingShown as "≥ 1,000",
// because the count stops there.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return humanize.Count(n, store.MaxPendingShown) + " " + many
}

// attempts begins the sentence that says when the last of n failed attempts was made.
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
	e.add(RefusedAddress, a.StartedAt, time.Time{}, "callbackd may not send to the address: %s.", a.Error)
	e.next("%s", addressAdvice[callbackd.FaultRefused])
}

// addressAdvice says what to do about a host that has no allowed address.
var addressAdvice = map[callbackd.Fault]string{
	callbackd.FaultRefused: "Give the callback a public address, or have the operator allow the range with --allow-target.",
	callbackd.FaultDNS:     "Correct the host name in the callback's url. Write the name of a host in the operator's own network in full, and have the operator allow its range with --allow-target.",
}

// advise says what to do about faults that are not the receiver's.
func (e *explainer) advise(v *store.DeliveryView, a *callbackd.Attempt) {
	switch a.Fault {
	case callbackd.FaultDNS:
		e.next("%s", addressAdvice[a.Fault])
	case callbackd.FaultQuery:
		e.next("Change the callback's method to POST, then send it again: POST /v1/deliveries/%s/retry.", v.ID)
	case callbackd.FaultAuth:
		e.next("Correct policy.auth.oauth2, or ask the provider of the tokens why it refuses. POST %s says what it answers now.", v.Callback.Path("/auth/test"))
	case callbackd.FaultStatus:
		if a.Status == http.StatusUnauthorized && v.Callback.Policy.Auth.Authorizes() && !v.Callback.Deleted() {
			e.next("The receiver refuses the credentials of policy.auth. Give it the right ones: POST %s.", v.Callback.Path("/auth/rotate"))
		}
	case callbackd.FaultLocal, callbackd.FaultProxy:
		e.next("Nothing is wrong with the receiver; the operator's log has the reason.")
	}
}

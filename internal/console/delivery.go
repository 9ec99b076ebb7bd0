package console

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"callbackd"
	"callbackd/internal/view"
	"callbackd/wire"
)

type attemptView struct {
	wire.Attempt
	Timing        timing
	Tone, Mark    string
	StatusText    string
	PrettyRequest string
}

type dot struct {
	X     float64
	Class string
}

type deliveryPage struct {
	base
	D        *wire.Delivery
	Word     string // its state
	Receiver string
	Earlier  string // where the attempts before these are; empty: there are none
	Stands   []string
	Actions  []action
	CanRetry bool
	Path     []dot
	PathEnd  string
	Attempts []attemptView
	Coming   string
}

// action is what a page offers to do about what it says.
type action struct {
	Label  string
	Post   string            // where the form goes
	Fields map[string]string // and what it holds
}

// deliveryOf is the delivery that the path names and its callback, when they
// may be seen.
func (c *Console) deliveryOf(v *visit) (id callbackd.DeliveryID, cb *callbackd.Callback, err error) {
	id, ok := callbackd.ParseDeliveryID(v.PathValue("id"))
	if !ok {
		return id, nil, errNoPage
	}
	cb, err = c.Store.CallbackByID(v.Context(), id.Callback)
	if callbackd.KindOf(err) == callbackd.KindNotFound || err == nil && !v.sees(cb.Key) {
		return id, nil, errNoPage
	}
	return id, cb, err
}

func (c *Console) delivery(w http.ResponseWriter, v *visit) error {
	id, cb, err := c.deliveryOf(v)
	if err != nil {
		return err
	}
	d, err := view.Describe(v.Context(), c.Store, c.Preview, cb.Key, id, beforeAttempt(v))
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return errNoPage
	}
	if err != nil {
		return err
	}
	st, err := c.newWhy(v).callback(id.Callback)
	if err != nil {
		return err
	}
	p := &deliveryPage{base: c.base(v, "deliveries", "Delivery "+d.ID), D: d, Word: d.State, Receiver: st.name(), CanRetry: d.State != string(callbackd.Canceled) && !cb.Deleted()}
	if d.State == string(callbackd.Pending) {
		p.Refresh, p.Watch = 2, withValues(link("deliveries", "stream"), map[string][]string{"delivery": {d.ID}})
		if d.Test {
			p.Reload = p.Refresh
		}
	}
	if n := len(d.History); n > 0 {
		last := d.History[n-1]
		if d.State == string(callbackd.Pending) && last.Fault != "" {
			p.Word = retrying
		}
	}
	most := 0.0
	for _, a := range d.History {
		most = max(most, a.Timings.Total)
	}
	for _, a := range d.History {
		p.Attempts = append(p.Attempts, viewAttempt(a, most))
	}
	if err := c.explain(v, p, cb.Key, id); err != nil {
		return err
	}
	if d.Earlier > 0 {
		p.Earlier = withValues(link("deliveries", d.ID), map[string][]string{"before": {strconv.Itoa(d.Earlier)}})
	}
	p.Path, p.PathEnd = trail(d)
	return c.render(w, http.StatusOK, "delivery", p)
}

// beforeAttempt is the attempt before which those of the page are; 0: the newest.
func beforeAttempt(v *visit) int {
	n, err := strconv.Atoi(v.URL.Query().Get("before"))
	if err != nil || n < 1 || n > math.MaxInt32 {
		return 0
	}
	return n
}

func viewAttempt(a wire.Attempt, most float64) attemptView {
	out := attemptView{Attempt: a, Timing: bars(a.Timings, most, callbackd.Fault(a.Fault)), Tone: "bad", Mark: "failed", PrettyRequest: pretty(a.Request.Body)}
	if a.Fault == "" {
		out.Tone, out.Mark = "ok", "delivered"
	}
	if a.Response != nil {
		out.StatusText = http.StatusText(a.Response.Status)
	}
	return out
}

// explain fills in where the delivery is, why, and what comes next.
func (c *Console) explain(v *visit, p *deliveryPage, key callbackd.KeyID, id callbackd.DeliveryID) error {
	d := p.D
	if n := len(d.History); n > 0 && d.State == string(callbackd.Delivered) && d.History[n-1].Number == d.Attempts {
		p.Stands = []string{deliveredText(d)}
		return nil
	}
	e, err := view.Explain(v.Context(), c.Store, c.Dispatcher.Diagnosis, key, id, c.now())
	if err != nil {
		return err
	}
	for _, r := range e.Reasons {
		p.Stands = append(p.Stands, r.Message)
		if r.Code == view.IsPaused {
			p.Actions = append(p.Actions, action{Label: "Resume the callback", Post: link("webhooks", id.Callback, "resume")})
		}
	}
	if d.State == string(callbackd.Pending) {
		p.Coming = coming(e, d, c.now())
	}
	return nil
}

// deliveredText says with how many attempts a delivery succeeded, and how long
// that took: since it was accepted, or since it was sent again.
func deliveredText(d *wire.Delivery) string {
	first, since, from := 1, d.AcceptedAt, "it was accepted"
	for _, a := range d.History {
		if a.Repeat {
			first, since, from = a.Number, a.StartedAt, "it was sent again"
		}
	}
	last := d.History[len(d.History)-1]
	took := last.StartedAt.Add(time.Duration(last.Timings.Total * float64(time.Millisecond))).Sub(since)
	return fmt.Sprintf("Delivered with %s, %s after %s.", counted(last.Number-first+1, "attempt"), span(took), from)
}

// soon is what a pending delivery waits for, by the code of the reason.
var soon = map[string]string{
	view.IsPaused:    "the callback is resumed",
	view.NotRunning:  "callbackd runs",
	view.BreakerOpen: "a probe of the receiver succeeds",
	view.OnProbation: "others of the API key at the same host leave room",
	view.Held:        "the one before it in its session is done",
	view.AtLimit:     "an attempt that is under way ends",
	view.RateLimited: "the rate allows it",
	view.InBacklog:   "older ones are done",
	view.InReplay:    "new events and retries leave room",
}

// coming says when the next attempt starts.
func coming(e *wire.Explanation, d *wire.Delivery, now time.Time) string {
	n := d.Attempts + 1
	for _, r := range e.Reasons {
		switch {
		case r.Code == view.Sending && d.Test:
			return "Waiting for the receiver's answer"
		case r.Code == view.Sending:
			return fmt.Sprintf("Waiting: attempt %d starts as soon as the one that is under way in its session ends", n)
		case r.Code == view.WaitingRetry && d.NextAttempt != nil:
			return fmt.Sprintf("Attempt %d at %s, in %s", n, stamp(d.NextAttempt).Short, span(d.NextAttempt.Sub(now).Round(time.Second)))
		case r.Code == view.OnProbation && r.Until != nil:
			return fmt.Sprintf("Waiting: attempt %d starts after %s, in turn with others of the API key at the same host", n, stamp(r.Until).Short)
		case r.Code == view.AskedToWait && r.Until != nil:
			return fmt.Sprintf("Waiting: attempt %d starts after %s, as the receiver asked", n, stamp(r.Until).Short)
		case soon[r.Code] != "":
			return fmt.Sprintf("Waiting: attempt %d starts as soon as %s", n, soon[r.Code])
		}
	}
	return fmt.Sprintf("Attempt %d starts now", n)
}

// counted is a number of things.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return num(n) + " " + thing + "s"
}

type explained struct {
	wire.Explanation
	Receiver string
	Action   *action
}

type eventPage struct {
	base
	Event   *callbackd.Event
	Data    string
	Session string // its page
	Owed    []explained
}

// event shows what happened, and for every webhook why it was told or not.
func (c *Console) event(w http.ResponseWriter, v *visit) error {
	id, ok := callbackd.ParseEventID(v.PathValue("event"))
	if !ok {
		return errNoPage
	}
	s, err := c.scope(v)
	if err != nil {
		return err
	}
	why := c.newWhy(v)
	for _, key := range s.every() {
		ev, err := c.Store.Event(v.Context(), key, id)
		if callbackd.KindOf(err) == callbackd.KindNotFound {
			continue
		}
		if err != nil {
			return err
		}
		p := &eventPage{base: c.base(v, "sessions", "Event "+id.String()), Event: ev, Data: pretty(string(ev.Data)), Session: s.sessionHref(key, ev.Session)}
		es, err := view.ExplainEvent(v.Context(), c.Store, c.Dispatcher.Diagnosis, key, id, 0, c.now())
		if err != nil {
			return err
		}
		for _, e := range es {
			st, err := why.callback(callbackd.CallbackID(e.Callback))
			if err != nil {
				return err
			}
			p.Owed = append(p.Owed, explained{e, st.name(), actionFor(&e, st)})
		}
		return c.render(w, http.StatusOK, "event", p)
	}
	return errNoPage
}

// actionFor is the button that does what an explanation advises; nil when no
// button can.
func actionFor(e *wire.Explanation, st *standing) *action {
	if st.Deleted() || len(e.Reasons) == 0 {
		return nil
	}
	switch e.Reasons[0].Code {
	case view.NotRegistered, view.NotOwed:
		return &action{"Replay to it", link("events", e.EventID, "replay"), map[string]string{"callback": fmt.Sprint(e.Callback)}}
	case view.IsPaused:
		return &action{Label: "Resume the callback", Post: link("webhooks", e.Callback, "resume")}
	case view.GaveUp, view.RefusedAddress:
		if e.Delivery != nil && e.State == string(callbackd.Failed) {
			return &action{Label: "Send again", Post: link("deliveries", *e.Delivery, "retry")}
		}
	}
	return nil
}

// replayEvent replays one event to one callback that was not owed it.
func (c *Console) replayEvent(w http.ResponseWriter, v *visit) error {
	id, ok := callbackd.ParseEventID(v.PathValue("event"))
	no, err := strconv.ParseInt(v.PostFormValue("callback"), 10, 64)
	if !ok || err != nil {
		return errNoPage
	}
	cb, err := c.Store.CallbackByID(v.Context(), callbackd.CallbackID(no))
	if callbackd.KindOf(err) == callbackd.KindNotFound || err == nil && !v.sees(cb.Key) {
		return errNoPage
	}
	if err != nil {
		return err
	}
	ev, err := c.Store.Event(v.Context(), cb.Key, id)
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return errNoPage
	}
	if err != nil {
		return err
	}
	filter := callbackd.ReplayFilter{Type: ev.Type, Session: ev.Session, Since: id.Time(), Until: id.Time().Add(time.Millisecond), Target: cb.ID}
	r, err := c.Store.CreateReplay(v.Context(), callbackd.Replay{Key: cb.Key, Filter: filter, CreatedAt: c.now()})
	if err != nil {
		return err
	}
	c.Dispatcher.ReplaysChanged()
	return see(w, v, link("replays", r.ID), "")
}

// squeeze places a time within whole between 0 and 1, so that milliseconds
// and days both have room.
func squeeze(at, whole time.Duration) float64 {
	if whole <= 0 || at <= 0 {
		return 0
	}
	scale := func(d time.Duration) float64 { return math.Log1p(d.Seconds() * 20) }
	return min(1, scale(at)/scale(whole))
}

// trail is the attempts as dots from the acceptance on.
func trail(d *wire.Delivery) (dots []dot, end string) {
	if len(d.History) == 0 {
		return nil, ""
	}
	whole := d.History[len(d.History)-1].StartedAt.Sub(d.AcceptedAt)
	if d.NextAttempt != nil {
		whole = max(whole, d.NextAttempt.Sub(d.AcceptedAt))
	}
	whole = max(whole, time.Second)
	dots = append(dots, dot{8, "s-idle"})
	for _, a := range d.History {
		class := "s-bad"
		if a.Fault == "" {
			class = "s-ok"
		}
		dots = append(dots, dot{8 + 984*squeeze(a.StartedAt.Sub(d.AcceptedAt), whole), class})
	}
	if d.NextAttempt != nil {
		dots = append(dots, dot{8 + 984*squeeze(d.NextAttempt.Sub(d.AcceptedAt), whole), "s-accent"})
	}
	return dots, span(whole) + " later"
}

func (c *Console) retry(w http.ResponseWriter, v *visit) error {
	id, cb, err := c.deliveryOf(v)
	if err != nil {
		return err
	}
	d, err := c.Store.RetryDelivery(v.Context(), cb.Key, id, c.now())
	if err != nil {
		return err
	}
	c.Dispatcher.Resent(*d)
	return see(w, v, link("deliveries", id), "retried")
}

package console

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/view"
	"callbackd/wire"
)

// attemptView is an attempt as its delivery's page shows it.
type attemptView struct {
	wire.Attempt
	Timing          attemptTiming
	Tone, Mark      string
	StatusText      string
	IndentedRequest string
}

type deliveryPage struct {
	base
	D         *wire.Delivery
	State     string
	Receiver  string
	Earlier   string // where earlier attempts are; empty when there are none
	Reasons   []string
	Actions   []action
	CanResend bool
	Dots      []dot
	DotsEnd   string
	Attempts  []attemptView
	NextStep  string
	First     *firstRun // of a test only
}

// action is a button that does what a page advises.
type action struct {
	Label  string
	Post   string            // the address of the form
	Fields map[string]string // and its hidden fields
}

// deliveryFromPath returns the delivery that the path names and its callback,
// when the user may see them.
func (c *Console) deliveryFromPath(req *userRequest) (id callbackd.DeliveryID, cb *callbackd.Callback, err error) {
	id, ok := callbackd.ParseDeliveryID(req.PathValue("id"))
	if !ok {
		return id, nil, errPageNotFound
	}
	cb, err = c.readableCallback(req, id.Callback)
	return id, cb, err
}

func (c *Console) delivery(w http.ResponseWriter, req *userRequest) error {
	id, cb, err := c.deliveryFromPath(req)
	if err != nil {
		return err
	}
	d, err := view.Describe(req.Context(), c.Store, c.Preview, cb.Key, id, beforeAttempt(req))
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return errPageNotFound
	}
	if err != nil {
		return err
	}
	to, err := c.newRowBuilder(req).receiverOf(id.Callback)
	if err != nil {
		return err
	}
	p := &deliveryPage{
		base:      c.base(req, "deliveries", "Delivery "+d.ID),
		D:         d,
		State:     d.State,
		Receiver:  to.name(),
		CanResend: !cb.Deleted(),
		Attempts:  newAttemptViews(d.History),
	}
	if d.State == string(callbackd.Pending) {
		p.keepCurrent()
	}
	if d.Earlier > 0 {
		p.Earlier = withQuery(link("deliveries", d.ID), "before", d.Earlier)
	}
	p.Dots, p.DotsEnd = attemptDots(d)
	if err := c.explain(req, p, cb.Key, id); err != nil {
		return err
	}
	if d.Test && !cb.OfSession() {
		if p.First, err = c.firstRun(req, cb.Key, ""); err != nil {
			return err
		}
	}
	return c.render(w, http.StatusOK, "delivery", p)
}

// keepCurrent makes the page of a pending delivery update itself.
func (p *deliveryPage) keepCurrent() {
	p.Refresh = 2
	p.Watch = withQuery(link("deliveries", "stream"), "delivery", p.D.ID)
	if p.D.Test {
		p.Reload = p.Refresh
	}
	if n := len(p.D.History); n > 0 && p.D.History[n-1].Fault != "" {
		p.State = retrying
	}
}

// beforeAttempt returns the attempt before which those of the page are, or 0
// for the newest.
func beforeAttempt(req *userRequest) int {
	n, err := strconv.Atoi(req.URL.Query().Get("before"))
	if err != nil || n < 1 || n > math.MaxInt32 {
		return 0
	}
	return n
}

func newAttemptViews(attempts []wire.Attempt) (views []attemptView) {
	longest := 0.0
	for _, a := range attempts {
		longest = max(longest, a.Timings.Total)
	}
	for _, a := range attempts {
		v := attemptView{
			Attempt:         a,
			Timing:          timingBars(a.Timings, longest, callbackd.Fault(a.Fault)),
			Tone:            "bad",
			Mark:            string(callbackd.Failed),
			IndentedRequest: indented(a.Request.Body),
		}
		if a.Fault == "" {
			v.Tone, v.Mark = "ok", string(callbackd.Delivered)
		}
		if a.Response != nil {
			v.StatusText = http.StatusText(a.Response.Status)
		}
		views = append(views, v)
	}
	return views
}

// explain fills in why the delivery is in its state, and what comes next.
func (c *Console) explain(req *userRequest, p *deliveryPage, key callbackd.KeyID, id callbackd.DeliveryID) error {
	d := p.D
	if n := len(d.History); n > 0 && d.State == string(callbackd.Delivered) && d.History[n-1].Number == d.Attempts {
		p.Reasons = []string{deliveredText(d)}
		return nil
	}
	e, err := view.Explain(req.Context(), c.Store, c.Dispatcher.Diagnosis, key, id, c.now())
	if err != nil {
		return err
	}
	for _, r := range e.Reasons {
		p.Reasons = append(p.Reasons, r.Message)
		if r.Code == view.IsPaused {
			p.Actions = append(p.Actions, resumeAction(id.Callback))
		}
	}
	if d.State == string(callbackd.Pending) {
		p.NextStep = nextStepText(e, d, c.now())
	}
	return nil
}

func resumeAction(id callbackd.CallbackID) action {
	return action{Label: "Resume the callback", Post: link("callbacks", id, "resume")}
}

// deliveredText says how many attempts it took to deliver, and how long: since
// the delivery was accepted, or since it was resent.
func deliveredText(d *wire.Delivery) string {
	first, since, event := 1, d.AcceptedAt, "it was accepted"
	for _, a := range d.History {
		if a.Repeat {
			first, since, event = a.Number, a.StartedAt, "it was resent"
		}
	}
	last := d.History[len(d.History)-1]
	took := last.StartedAt.Add(milliseconds(last.Timings.Total)).Sub(since)
	return fmt.Sprintf("Delivered with %s, %s after %s.", humanize.Plural(last.Number-first+1, "attempt"), latency(took), event)
}

// waitTexts say what ends the wait of a pending delivery, by the code of the
// reason.
var waitTexts = map[string]string{
	view.IsPaused:     "the callback is resumed",
	view.NotRunning:   "callbackd runs",
	view.BreakerOpen:  "a probe of the receiver succeeds",
	view.OnProbation:  "the other callbacks of the API key at the same host leave room",
	view.IsDeferred:   "its time has come",
	view.LaneBlocked:  "the delivery before it in its session has ended",
	view.InOrderGroup: "an earlier delivery of its session to the same receiver has ended",
	view.AtLimit:      "an attempt in flight ends",
	view.RateLimited:  "the rate limit allows it",
	view.InBacklog:    "older deliveries have ended",
	view.InReplay:     "new events and retries leave room",
}

// nextStepText says when the next attempt starts.
func nextStepText(e *wire.Explanation, d *wire.Delivery, now time.Time) string {
	for _, r := range e.Reasons {
		if text := waitText(r, d, now); text != "" {
			return text
		}
	}
	return fmt.Sprintf("Attempt %d starts now", d.Attempts+1)
}

// waitText says when the next attempt starts for one reason. It is empty for a
// reason that nothing waits for.
func waitText(r wire.Reason, d *wire.Delivery, now time.Time) string {
	n := d.Attempts + 1
	switch {
	case r.Code == view.Sending && d.Test:
		return "Waiting for the receiver's answer"
	case r.Code == view.Sending:
		return fmt.Sprintf("Waiting: attempt %d starts as soon as the attempt in flight of its session ends", n)
	case r.Code == view.WaitingRetry && d.NextAttempt != nil:
		in := d.NextAttempt.Sub(now).Round(time.Second)
		return fmt.Sprintf("Attempt %d at %s, in %s", n, formatTime(d.NextAttempt).Short, duration(in))
	case r.Code == view.OnProbation && r.Until != nil:
		return fmt.Sprintf("Waiting: attempt %d starts after %s, in turn with other callbacks of the API key at the same host", n, formatTime(r.Until).Short)
	case r.Code == view.AskedToWait && r.Until != nil:
		return fmt.Sprintf("Waiting: attempt %d starts after %s, as the receiver asked", n, formatTime(r.Until).Short)
	case waitTexts[r.Code] != "":
		return fmt.Sprintf("Waiting: attempt %d starts as soon as %s", n, waitTexts[r.Code])
	}
	return ""
}

// logScale places a time between 0 and 1, on a scale that shows milliseconds
// and days alike.
func logScale(at, whole time.Duration) float64 {
	if whole <= 0 || at <= 0 {
		return 0
	}
	scale := func(d time.Duration) float64 { return math.Log1p(d.Seconds() * 20) }
	return min(1, scale(at)/scale(whole))
}

// attemptDots draws the attempts on a line of time that begins at the
// acceptance.
func attemptDots(d *wire.Delivery) (dots []dot, end string) {
	if len(d.History) == 0 {
		return nil, ""
	}
	since := func(t time.Time) time.Duration { return t.Sub(d.AcceptedAt) }
	whole := max(time.Second, since(d.History[len(d.History)-1].StartedAt))
	if d.NextAttempt != nil {
		whole = max(whole, since(*d.NextAttempt))
	}
	dots = append(dots, dotAt(0, "s-idle"))
	for _, a := range d.History {
		class := "s-bad"
		if a.Fault == "" {
			class = "s-ok"
		}
		dots = append(dots, dotAt(logScale(since(a.StartedAt), whole), class))
	}
	if d.NextAttempt != nil {
		dots = append(dots, dotAt(logScale(since(*d.NextAttempt), whole), "s-accent"))
	}
	return dots, duration(whole) + " later"
}

// resend makes a delivery due again.
func (c *Console) resend(w http.ResponseWriter, req *userRequest) error {
	id, cb, err := c.deliveryFromPath(req)
	if err != nil {
		return err
	}
	d, err := c.Store.Resend(req.Context(), cb.Key, id, c.now())
	if err != nil {
		return err
	}
	c.Dispatcher.Resent(*d)
	return redirect(w, req, link("deliveries", id), "resent")
}

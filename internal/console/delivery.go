package console

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"callbackd"
	"callbackd/internal/story"
	"callbackd/wire"
)

type attemptView struct {
	wire.Attempt
	Timing        timing
	Tone, Mark    string
	StatusText    string
	PrettyRequest string
	Curl          string
}

type dot struct {
	X     float64
	Class string
}

type deliveryPage struct {
	base
	D        *wire.Delivery
	URL      string
	Stands   []string
	CanRetry bool
	Path     []dot
	PathEnd  string
	Attempts []attemptView
	Coming   string
}

// deliveryOf is the delivery that the path names and its callback, when they
// may be seen.
func (c *Console) deliveryOf(v *visit) (id callbackd.DeliveryID, cb *callbackd.Callback, err error) {
	id, ok := callbackd.ParseDeliveryID(v.PathValue("id"))
	if !ok {
		return id, nil, errNoPage
	}
	cb, err = c.Store.CallbackByNo(v.Context(), id.Callback)
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
	d, err := story.Tell(v.Context(), c.Store, c.Preview, cb.Key, id)
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return errNoPage
	}
	if err != nil {
		return err
	}
	p := &deliveryPage{base: c.base(v, "deliveries", "Delivery "+d.ID), D: d, URL: cb.URL, CanRetry: d.State != string(callbackd.Canceled)}
	if d.State == string(callbackd.Pending) {
		p.Refresh, p.Watch = 2, withValues(link("deliveries", "stream"), map[string][]string{"delivery": {d.ID}})
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
	p.Path, p.PathEnd = trail(d)
	return c.render(w, http.StatusOK, "delivery", p)
}

func viewAttempt(a wire.Attempt, most float64) attemptView {
	out := attemptView{Attempt: a, Timing: bars(a.Timings, most), Tone: "bad", Mark: "failed", PrettyRequest: pretty(a.Request.Body), Curl: curl(a.Request)}
	if a.Fault == "" {
		out.Tone, out.Mark = "ok", "delivered"
	}
	if a.Response != nil {
		out.StatusText = http.StatusText(a.Response.Status)
	}
	return out
}

// explain fills in where the delivery is, why, and what comes next.
func (c *Console) explain(v *visit, p *deliveryPage, key callbackd.KeyNo, id callbackd.DeliveryID) error {
	d, n := p.D, len(p.D.History)
	if d.State == string(callbackd.Delivered) && n > 0 {
		last := d.History[n-1]
		took := last.StartedAt.Add(time.Duration(last.Timings.Total * float64(time.Millisecond))).Sub(d.AcceptedAt)
		p.Stands = []string{fmt.Sprintf("Delivered with %s, %s after it was accepted.", counted(n, "attempt"), span(took))}
		return nil
	}
	e, err := story.Explain(v.Context(), c.Store, c.Dispatcher.Outlook, key, id, c.now())
	if err != nil {
		return err
	}
	for _, r := range e.Reasons {
		p.Stands = append(p.Stands, r.Message)
	}
	if d.State == string(callbackd.Pending) {
		p.Coming = fmt.Sprintf("Attempt %d as soon as nothing holds it", n+1)
		if d.NextAttempt != nil && d.NextAttempt.After(c.now()) {
			p.Coming = fmt.Sprintf("Attempt %d, in %s", n+1, span(d.NextAttempt.Sub(c.now()).Round(time.Second)))
		}
	}
	return nil
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
	Name, URL string
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
	for _, key := range s.every() {
		ev, err := c.Store.Event(v.Context(), key, id)
		if callbackd.KindOf(err) == callbackd.KindNotFound {
			continue
		}
		if err != nil {
			return err
		}
		p := &eventPage{base: c.base(v, "sessions", "Event "+id.String()), Event: ev, Data: pretty(string(ev.Data)), Session: s.sessionHref(key, ev.Session)}
		es, err := story.ExplainEvent(v.Context(), c.Store, c.Dispatcher.Outlook, key, id, 0, c.now())
		if err != nil {
			return err
		}
		for _, e := range es {
			cb, err := c.Store.CallbackByNo(v.Context(), callbackd.CallbackNo(e.Callback))
			if err != nil {
				return err
			}
			p.Owed = append(p.Owed, explained{e, cb.Name, cb.URL})
		}
		return c.render(w, http.StatusOK, "event", p)
	}
	return errNoPage
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

// curl writes a request as a command for bash. What was redacted stays so.
func curl(r wire.Request) string {
	var b strings.Builder
	b.WriteString("curl -X " + r.Method + " " + quote(r.URL))
	for _, h := range r.Headers {
		b.WriteString(" \\\n  -H " + quote(h.Name+": "+h.Value))
	}
	if r.Body != "" {
		b.WriteString(" \\\n  --data-binary " + quote(r.Body))
	}
	return b.String()
}

// quote quotes a text for bash. What would hide in it is written by its bytes.
func quote(s string) string {
	if clean(s) == s {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\'' || r == '\\':
			b.WriteString("\\" + string(r))
		case hidden(r) || r == utf8.RuneError:
			for _, c := range []byte(s[i : i+n]) {
				fmt.Fprintf(&b, "\\x%02x", c)
			}
		default:
			b.WriteRune(r)
		}
		i += n
	}
	b.WriteString("'")
	return b.String()
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
	c.Dispatcher.Retry(*d)
	return see(w, v, link("deliveries", id), "retried")
}

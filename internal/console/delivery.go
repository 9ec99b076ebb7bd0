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
	Stands   string
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
		p.Refresh, p.Watch = 2, href("/deliveries/stream", map[string][]string{"delivery": {d.ID}})
	}
	most := 0.0
	for _, a := range d.History {
		most = max(most, a.Timings.Total)
	}
	for _, a := range d.History {
		p.Attempts = append(p.Attempts, viewAttempt(a, most))
	}
	p.Stands, p.Coming = stands(d, cb, c.now())
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

// stands says in a sentence where the delivery is and what comes next.
func stands(d *wire.Delivery, cb *callbackd.Callback, now time.Time) (now_, coming string) {
	n := len(d.History)
	attempts := fmt.Sprintf("%d attempts", n)
	if n == 1 {
		attempts = "1 attempt"
	}
	var last wire.Attempt
	if n > 0 {
		last = d.History[n-1]
	}
	switch d.State {
	case string(callbackd.Delivered):
		return fmt.Sprintf("Delivered with %s, %s after it was accepted.", attempts, span(last.StartedAt.Add(time.Duration(last.Timings.Total*1e6)).Sub(d.AcceptedAt))), ""
	case string(callbackd.Failed):
		return fmt.Sprintf("Given up after %s: %s.", attempts, strings.TrimSuffix(last.Why, ".")), ""
	case string(callbackd.Canceled):
		return "Canceled: its webhook was deleted or its key revoked before it was delivered.", ""
	}
	switch {
	case cb.Paused():
		return "Waits: the webhook is paused.", "Goes on when the webhook is resumed"
	case d.NextAttempt != nil && d.NextAttempt.After(now):
		return fmt.Sprintf("The next attempt is in %s: %s.", span(d.NextAttempt.Sub(now).Round(time.Second)), strings.TrimSuffix(last.Why, ".")), "Attempt " + fmt.Sprint(n+1) + " at " + stamp(d.NextAttempt).Short
	case n == 0:
		return "Waits for its first attempt, behind what came before it in its session.", "Attempt 1 as soon as it is its turn"
	}
	return "The next attempt is due and made as soon as it is its turn.", "Attempt " + fmt.Sprint(n+1) + " as soon as it is its turn"
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
	return see(w, v, "/deliveries/"+id.String(), "retried")
}

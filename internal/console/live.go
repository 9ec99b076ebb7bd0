package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/front"
	"callbackd/internal/live"
)

// Limits of live streams.
const (
	maxStreams  = 8                      // at a time, of one API key
	allStreams  = 256                    // of all API keys
	operators   = 32                     // of the operator, beside those
	streamTick  = 250 * time.Millisecond // rows go out together
	rowsPerTick = 10                     // of each stream; what is more is counted
	streamBeat  = 15 * time.Second       // something is sent at least this often
)

// Feed is what happens now.
type Feed interface {
	Subscribe(key callbackd.KeyID) *live.Subscription
}

type livePage struct {
	base
	Back, Stream string
	Others       int // nodes whose attempts are not seen here
}

func (c *Console) livePage(w http.ResponseWriter, v *visit) error {
	s, err := c.scope(v)
	if err != nil {
		return err
	}
	q := readFilter(v.URL.Query()).values(s.Chosen)
	p := &livePage{base: c.base(v, "deliveries", "Live tail"), Back: withValues(link("deliveries"), q), Stream: withValues(link("deliveries", "stream"), q)}
	nodes, err := c.Nodes(v.Context())
	if err != nil {
		return err
	}
	p.Others = max(0, len(nodes)-1)
	return c.render(w, http.StatusOK, "live", p)
}

// stream sends attempts as they happen, until the browser leaves, the login
// ends or callbackd stops.
func (c *Console) stream(w http.ResponseWriter, v *visit) error {
	s, err := c.scope(v)
	if err != nil {
		return err
	}
	f := readFilter(v.URL.Query())
	bad := wrong{}
	q := f.query(s.No, bad)
	for _, message := range bad {
		return callbackd.Errorf(callbackd.KindInvalid, "%s", message)
	}
	only, named := callbackd.ParseDeliveryID(v.URL.Query().Get("delivery"))
	wants := func(d *live.Item) bool {
		return (!named || d.Delivery == only) && (q.State == "" || q.State == d.State) && (q.Type == "" || q.Type == d.Event) &&
			(q.Callback == 0 || q.Callback == d.Delivery.Callback) && (q.Session == "" || q.Session == d.Session) &&
			(q.Fault == "" || q.Fault == d.Fault) && (q.Status == 0 || q.Status == d.Status || q.Status == d.Status/100)
	}
	leave, err := c.streams.enter(v)
	if err != nil {
		return err
	}
	defer leave()
	front.EndCall(v.Request)
	front.EndAnswer(w)
	sub := c.Stream.Subscribe(s.No)
	defer sub.Close()
	out := &eventWriter{w: w, control: http.NewResponseController(w)}
	w.Header().Set("Content-Type", "text/event-stream")
	out.event("hello", "")
	c.follow(v, sub, wants, out)
	return nil
}

func (c *Console) follow(v *visit, sub *live.Subscription, wants func(*live.Item) bool, out *eventWriter) {
	tick, beat := time.NewTicker(streamTick), time.NewTicker(streamBeat)
	defer tick.Stop()
	defer beat.Stop()
	var window, shown int
	begun := time.Now()
	for out.err == nil { // an error: the browser is gone
		select {
		case <-v.Context().Done():
			return
		case <-c.closing:
			return
		case <-beat.C:
			if still, err := c.visitor(v.Request); err != nil || still == nil {
				return
			}
			out.event("beat", "")
		case <-tick.C:
			total, rows := sample(sub, wants)
			for i := range rows {
				out.event("row", rowText(&rows[i], c.callbackName(v, rows[i].Delivery.Callback), Base(c.Public)))
			}
			window, shown = window+total, shown+len(rows)
			if time.Since(begun) >= time.Second {
				out.event("rate", rateText(window, shown, time.Since(begun)))
				window, shown, begun = 0, 0, time.Now()
			}
		}
	}
}

// sample takes what came: some rows, spread over all, and how many there
// were. Of those that the buffer had no room for, as many are taken to be
// wanted as of the others.
func sample(sub *live.Subscription, wants func(*live.Item) bool) (total int, rows []live.Item) {
	items, missed := sub.Take()
	all := len(items)
	items = slices.DeleteFunc(items, func(d live.Item) bool { return !wants(&d) })
	total = len(items)
	if all > 0 {
		total += int(missed) * len(items) / all
	}
	for i := range min(len(items), rowsPerTick) {
		rows = append(rows, items[i*len(items)/min(len(items), rowsPerTick)])
	}
	return total, rows
}

// rateText says how much of what happens is shown.
func rateText(total, shown int, in time.Duration) string {
	rate := func(n int) string { return num(int64(float64(n)/in.Seconds() + .5)) }
	switch {
	case total == 0:
		return "Listening: nothing happens right now."
	case shown < total:
		return fmt.Sprintf("A sample: %s of %s attempts a second are shown.", rate(shown), rate(total))
	}
	return fmt.Sprintf("Every attempt is shown, %s a second.", rate(total))
}

// liveWord is the state of a delivery after an attempt, as [stateWord] has it.
func liveWord(d *live.Item) string {
	if d.State == callbackd.Pending && d.Fault != callbackd.NoFault {
		return retrying
	}
	return string(d.State)
}

// callbackName is how the tail names a callback; empty when it is not known.
func (c *Console) callbackName(v *visit, no callbackd.CallbackID) string {
	cb, err := c.Store.CallbackByID(v.Context(), no)
	if err != nil {
		return ""
	}
	return (&standing{Callback: cb}).name()
}

func rowText(d *live.Item, to, base string) string {
	row := struct {
		Time    string `json:"time"`
		State   string `json:"state"`
		Event   string `json:"event"`
		Session string `json:"session"`
		To      string `json:"to"`
		Status  string `json:"status"`
		Took    string `json:"took"`
		Href    string `json:"href"`
	}{unbroken(d.At.UTC().Format("15:04:05.000") + " UTC"), liveWord(d), strings.TrimPrefix(string(d.Event), "SESSION:"), clip(clean(d.Session), 40), clip(clean(to), 40), string(d.Fault),
		millis(float64(d.Total.Microseconds()) / 1000), base + link("deliveries", d.Delivery)}
	if d.Status != 0 {
		row.Status = strconv.Itoa(d.Status)
	}
	raw, err := json.Marshal(row)
	if err != nil {
		return "{}"
	}
	return string(raw)
}

// eventWriter writes server-sent events; the first error ends it.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	err     error
}

func (e *eventWriter) event(name, data string) {
	if e.err != nil {
		return
	}
	e.control.SetWriteDeadline(time.Now().Add(10 * time.Second)) // a server without deadlines has none to move
	if _, e.err = fmt.Fprintf(e.w, "event: %s\ndata: %s\n\n", name, data); e.err == nil {
		e.err = e.control.Flush()
	}
}

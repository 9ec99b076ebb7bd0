package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"callbackd"
	"callbackd/internal/front"
	"callbackd/internal/humanize"
	"callbackd/internal/live"
	"callbackd/internal/safetext"
	"callbackd/internal/store"
)

// Pace of a live stream.
const (
	streamTick      = 250 * time.Millisecond // rows are sent together
	rowsPerTick     = 10                     // further rows are only counted
	streamHeartbeat = 15 * time.Second       // the longest time without a message
)

// Feed publishes attempts as they happen.
type Feed interface {
	Subscribe(key callbackd.KeyID) *live.Subscription
}

type livePage struct {
	base
	scope
	F            typed
	Kept         typed // the filter of the list, which the form of this page keeps
	Callbacks    []*callbackd.Callback
	Back, Stream string
	Others       int // nodes whose attempts the page does not show; 0 when one key's are asked for
}

// liveFields are the fields of the filter of the live tail: those of the list, and failures,
// which chooses the attempts that failed.
var liveFields = append(slices.Clone(deliveryFields), "failures")

func (c *Console) livePage(w http.ResponseWriter, req *userRequest) error {
	s, err := c.scope(req)
	if err != nil {
		return err
	}
	f := readTyped(req.URL.Query(), liveFields...)
	list := f.with("failures", "")
	p := &livePage{
		base:   c.base(req, "deliveries", "Live tail"),
		scope:  s,
		F:      f,
		Kept:   list.with("callback", ""),
		Back:   withValues(link("deliveries"), list.values()),
		Stream: withValues(link("deliveries", "stream"), f.values()),
	}
	if p.Callbacks, err = c.callbackChoices(req, s.KeyID, f); err != nil {
		return err
	}
	if readDeliveryQuery(list, s.KeyID, p.Errors); len(p.Errors) > 0 {
		return c.render(w, http.StatusBadRequest, "live", p)
	}
	if s.KeyID == store.AllKeys && f["callback"] == "" { // else the home of the key answers
		nodes, err := c.Nodes(req.Context())
		if err != nil {
			return err
		}
		p.Others = max(0, len(nodes)-1)
	}
	return c.render(w, http.StatusOK, "live", p)
}

// stream sends attempts as they happen, until the browser leaves, the login
// ends or callbackd stops.
func (c *Console) stream(w http.ResponseWriter, req *userRequest) error {
	s, err := c.scope(req)
	if err != nil {
		return err
	}
	errs := formErrors{}
	f := readTyped(req.URL.Query(), liveFields...)
	q := readDeliveryQuery(f, s.KeyID, errs)
	for _, message := range errs {
		return callbackd.Errorf(callbackd.KindInvalid, "%s", message)
	}
	id, oneDelivery := callbackd.ParseDeliveryID(req.URL.Query().Get("delivery"))
	wants := func(item *live.Item) bool {
		return (!oneDelivery || item.Delivery == id) && (f["failures"] == "" || item.Fault != callbackd.NoFault) && fitsItem(&q, item)
	}
	release, err := c.streams.acquire(req.principal)
	if err != nil {
		return err
	}
	defer release()
	front.EndCall(req.Request)
	front.EndAnswer(w)
	sub := c.Stream.Subscribe(s.KeyID)
	defer sub.Close()
	out := &eventWriter{w: w, control: http.NewResponseController(w)}
	w.Header().Set("Content-Type", "text/event-stream")
	out.event("hello", "")
	c.follow(req, sub, wants, out)
	return nil
}

// fitsItem reports whether an attempt fits the filter of the list of deliveries.
func fitsItem(q *store.DeliveryQuery, item *live.Item) bool {
	switch {
	case q.State != "" && q.State != item.State,
		q.Type != "" && q.Type != item.Event,
		q.Callback != 0 && q.Callback != item.Delivery.Callback,
		q.Session != "" && q.Session != item.Session,
		q.Fault != "" && q.Fault != item.Fault,
		q.Status != 0 && q.Status != item.Status && q.Status != item.Status/100:
		return false
	}
	return true
}

// follow sends rows until the browser leaves, the login ends or the console is
// closed.
func (c *Console) follow(req *userRequest, sub *live.Subscription, wants func(*live.Item) bool, out *eventWriter) {
	tick := time.NewTicker(streamTick)
	defer tick.Stop()
	heartbeat := time.NewTicker(streamHeartbeat)
	defer heartbeat.Stop()
	var total, shown int
	since := time.Now()
	for out.err == nil { // an error: the browser is gone
		select {
		case <-req.Context().Done():
			return
		case <-c.closing:
			return
		case <-heartbeat.C:
			still, err := c.authenticate(req.Request)
			if err != nil || still == nil {
				return
			}
			out.event("heartbeat", "")
		case <-tick.C:
			n, rows := sample(sub, wants)
			if len(rows) > 0 || time.Since(since) >= time.Second {
				// After the rows were taken, so that a login that has ended gets none from later on.
				still, err := c.authenticate(req.Request)
				if err != nil {
					continue // the heartbeat ends the stream when that lasts
				}
				if still == nil {
					return
				}
			}
			for i := range rows {
				receiver := c.receiverName(req, rows[i].Delivery.Callback)
				out.event("row", liveRowText(&rows[i], receiver, Base(c.Public)))
			}
			total, shown = total+n, shown+len(rows)
			if elapsed := time.Since(since); elapsed >= time.Second {
				out.event("rate", rateText(total, shown, elapsed))
				total, shown, since = 0, 0, time.Now()
			}
		}
	}
}

// sample returns the attempts since the last call: how many fit, and some of
// them, spread over all. Attempts that the buffer had no room for are taken to
// fit as often as the others do.
func sample(sub *live.Subscription, wants func(*live.Item) bool) (total int, rows []live.Item) {
	items, missed := sub.Take()
	all := len(items)
	items = slices.DeleteFunc(items, func(item live.Item) bool { return !wants(&item) })
	total = len(items)
	if all > 0 {
		total += int(missed) * len(items) / all
	}
	n := min(len(items), rowsPerTick)
	for i := range n {
		rows = append(rows, items[i*len(items)/n])
	}
	return total, rows
}

// rateText says how many of the attempts are shown.
func rateText(total, shown int, in time.Duration) string {
	perSecond := func(n int) string { return humanize.Number(int(float64(n)/in.Seconds() + .5)) }
	switch {
	case total == 0:
		return "Listening. There are no attempts right now."
	case shown < total:
		return fmt.Sprintf("Showing a sample: %s of %s attempts a second.", perSecond(shown), perSecond(total))
	}
	return fmt.Sprintf("Showing every attempt: %s a second.", perSecond(total))
}

// liveStateText is the state of a delivery after an attempt, as [stateText]
// writes it.
func liveStateText(item *live.Item) string {
	if item.State == callbackd.Pending && item.Fault != callbackd.NoFault {
		return retrying
	}
	return string(item.State)
}

// receiverName returns how lists name a callback. It is empty when the callback
// cannot be read.
func (c *Console) receiverName(req *userRequest, id callbackd.CallbackID) string {
	cb, err := c.Store.CallbackByID(req.Context(), id)
	if err != nil {
		return ""
	}
	return (&receiver{Callback: cb}).name()
}

// liveRow is a row of the live tail, as the page's script reads it.
type liveRow struct {
	Time     string `json:"time"`
	State    string `json:"state"`
	Event    string `json:"event"`
	Session  string `json:"session"`
	Receiver string `json:"receiver"`
	Status   string `json:"status"`
	Took     string `json:"took"`
	Href     string `json:"href"`
}

func liveRowText(item *live.Item, receiver, base string) string {
	row := liveRow{
		Time:     noBreak(item.At.UTC().Format("15:04:05.000 UTC")),
		State:    liveStateText(item),
		Event:    eventName(item.Event),
		Session:  safetext.Clip(safetext.Escape(item.Session), 40),
		Receiver: safetext.Clip(safetext.Escape(receiver), 40),
		Status:   string(item.Fault),
		Took:     latency(item.Total),
		Href:     base + link("deliveries", item.Delivery),
	}
	if item.Status != 0 {
		row.Status = strconv.Itoa(item.Status)
	}
	raw, err := json.Marshal(row)
	if err != nil {
		return "{}"
	}
	return string(raw)
}

// eventWriter writes server-sent events until the first error.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	err     error
}

func (e *eventWriter) event(name, data string) {
	if e.err != nil {
		return
	}
	// The error means that the server has no write deadline to extend.
	_ = e.control.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_, e.err = fmt.Fprintf(e.w, "event: %s\ndata: %s\n\n", name, data)
	if e.err == nil {
		e.err = e.control.Flush()
	}
}

package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"callbackd"
)

// Limits of live streams.
const (
	maxStreams  = 64                     // at a time, over everybody
	streamTick  = 250 * time.Millisecond // rows go out together
	rowsPerTick = 10                     // of each stream; what is more is counted
	streamBeat  = 15 * time.Second       // something is sent at least this often
)

// Live hears of every attempt and hands a sample to the streams that are
// open. With none open it costs one atomic load.
type Live struct {
	open    atomic.Int32
	mu      sync.Mutex
	streams map[*stream]bool
}

// NewLive makes it.
func NewLive() *Live { return &Live{streams: map[*stream]bool{}} }

// seen is one attempt as a stream shows it.
type seen struct {
	id      callbackd.DeliveryID
	session string
	at      time.Time
	state   callbackd.State
	status  int
	fault   callbackd.Fault
	took    time.Duration
}

// stream is one browser that watches.
type stream struct {
	wants func(*seen) bool

	mu    sync.Mutex
	total int    // since the last tick
	kept  []seen // the first rowsPerTick of them
}

// AttemptDone is told of an attempt. It never blocks.
func (l *Live) AttemptDone(o *callbackd.Outcome, state callbackd.State) {
	if l.open.Load() == 0 {
		return
	}
	r := &o.Attempt.Result
	s := seen{o.Delivery.ID, o.Delivery.Session, r.StartedAt, state, r.Status, r.Fault, r.Timings.Total}
	l.mu.Lock()
	defer l.mu.Unlock()
	for st := range l.streams {
		if !st.wants(&s) {
			continue
		}
		st.mu.Lock()
		st.total++
		if len(st.kept) < rowsPerTick {
			st.kept = append(st.kept, s)
		}
		st.mu.Unlock()
	}
}

func (l *Live) add(s *stream) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.streams) >= maxStreams {
		return false
	}
	l.streams[s] = true
	l.open.Store(int32(len(l.streams)))
	return true
}

func (l *Live) remove(s *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.streams, s)
	l.open.Store(int32(len(l.streams)))
}

// take empties the stream's tick.
func (s *stream) take() (rows []seen, total int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows, total = s.kept, s.total
	s.kept, s.total = nil, 0
	return rows, total
}

type livePage struct {
	base
	Back, Stream string
}

func (c *Console) livePage(w http.ResponseWriter, v *visit) error {
	s, err := c.scope(v)
	if err != nil {
		return err
	}
	q := readFilter(v.URL.Query()).values(s.Chosen)
	p := &livePage{base: c.base(v, "deliveries", "Live tail"), Back: href("/deliveries", q), Stream: href("/deliveries/stream", q)}
	return c.render(w, http.StatusOK, "live", p)
}

// mine is the callbacks a stream may show, kept current beside it.
type mine struct {
	set atomic.Pointer[map[callbackd.CallbackNo]*callbackd.Callback]
}

func (m *mine) get(no callbackd.CallbackNo) *callbackd.Callback {
	if set := m.set.Load(); set != nil {
		return (*set)[no]
	}
	return nil
}

func (c *Console) renew(v *visit, s scope, m *mine) error {
	set := map[callbackd.CallbackNo]*callbackd.Callback{}
	for _, key := range s.all() {
		cbs, err := c.Store.ListCallbacks(v.Context(), key)
		if err != nil {
			return err
		}
		for _, cb := range cbs {
			set[cb.No] = cb
		}
	}
	m.set.Store(&set)
	return nil
}

// stream sends attempts as they happen, until the browser leaves, the login
// ends or callbackd stops.
func (c *Console) stream(w http.ResponseWriter, v *visit) error {
	s, err := c.scope(v)
	if err != nil {
		return err
	}
	f := readFilter(v.URL.Query())
	q, err := f.query(s.No)
	if err != nil {
		return err
	}
	only, named := callbackd.ParseDeliveryID(v.URL.Query().Get("delivery"))
	var m mine
	if err := c.renew(v, s, &m); err != nil {
		return err
	}
	st := &stream{wants: func(d *seen) bool {
		cb := m.get(d.id.Callback)
		return cb != nil && (!named || d.id == only) && (q.State == "" || q.State == d.state) && (q.Type == "" || q.Type == cb.Event) &&
			(q.Callback == 0 || q.Callback == d.id.Callback) && (q.Session == "" || q.Session == d.session)
	}}
	if !c.Live.add(st) {
		return callbackd.Errorf(callbackd.KindLimited, "Too many live pages are open; close some, or look at the list.")
	}
	defer c.Live.remove(st)
	out := &eventWriter{w: w, control: http.NewResponseController(w)}
	w.Header().Set("Content-Type", "text/event-stream")
	out.event("hello", "")
	return c.follow(v, s, st, &m, out)
}

func (c *Console) follow(v *visit, s scope, st *stream, m *mine, out *eventWriter) error {
	tick, renew := time.NewTicker(streamTick), time.NewTicker(streamBeat)
	defer tick.Stop()
	defer renew.Stop()
	var window, shown int
	begun := time.Now()
	for {
		select {
		case <-v.Context().Done():
			return nil
		case <-c.closing:
			return nil
		case <-renew.C:
			if still, err := c.visitor(v.Request); err != nil || still == nil {
				return nil
			}
			if err := c.renew(v, s, m); err != nil {
				return nil
			}
			out.event("beat", "")
		case <-tick.C:
			rows, total := st.take()
			for i := range rows {
				out.event("row", rowText(&rows[i], m.get(rows[i].id.Callback)))
			}
			window, shown = window+total, shown+len(rows)
			if time.Since(begun) >= time.Second {
				out.event("rate", rateText(window, shown, time.Since(begun)))
				window, shown, begun = 0, 0, time.Now()
			}
		}
		if out.err != nil {
			return nil // the browser is gone
		}
	}
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

func rowText(d *seen, cb *callbackd.Callback) string {
	row := struct {
		Time    string `json:"time"`
		State   string `json:"state"`
		Event   string `json:"event"`
		Session string `json:"session"`
		Status  string `json:"status"`
		Took    string `json:"took"`
		Href    string `json:"href"`
	}{Time: d.at.UTC().Format("15:04:05.000"), State: string(d.state), Session: clip(clean(d.session), 40), Status: string(d.fault), Took: millis(float64(d.took.Microseconds()) / 1000), Href: Root + "/deliveries/" + d.id.String()}
	if cb != nil {
		row.Event = funcs["event"].(func(any) string)(cb.Event)
	}
	if d.status != 0 {
		row.Status = strconv.Itoa(d.status)
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

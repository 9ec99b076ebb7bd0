package api

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/front"
	"callbackd/internal/request"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

// readerFields describes the query of GET /v1/events with after or wait.
func readerFields(q *eventsQuery) []request.Field {
	return []request.Field{
		queryText("after", &q.from),
		request.Seconds("wait", &q.wait, maxWait),
		request.EventType("event", &q.Type),
		queryText("session_key", &q.Session),
		limitField(&q.Limit),
	}
}

func streamFields(q *eventsQuery) []request.Field {
	return []request.Field{
		queryText("after", &q.from),
		request.EventType("event", &q.Type),
		queryText("session_key", &q.Session),
	}
}

// Limits of readers that wait for events.
const (
	maxWait    = 30 * time.Second // of a poll
	maxWaiting = 32               // polls that wait and streams, of one API key
	heartbeat  = 15 * time.Second // of a stream
	// stuckAfter is how long the reader of a stream may read nothing while there is
	// something to send. Then the stream ends, and the reader connects again with its
	// Last-Event-ID. The time is long, because a reader may be busy with an event, and a
	// stream that waits costs only one page of memory.
	stuckAfter = 2 * time.Minute
	streamPage = 50 // events
)

// Where a reader that has no cursor begins.
const (
	afterStart = "start" // with the oldest stored event
	afterNow   = "now"   // with the next one
)

// waiting counts the readers of each key that wait for events.
type waiting struct {
	mu   sync.Mutex
	keys map[callbackd.KeyID]int
}

func (w *waiting) enter(key callbackd.KeyID) (leave func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.keys == nil {
		w.keys = map[callbackd.KeyID]int{}
	}
	if w.keys[key] >= maxWaiting {
		return nil, callbackd.Errorf(callbackd.KindLimited, "%d calls of this API key wait for events, which is the limit; one reader can serve many.", maxWaiting)
	}
	w.keys[key]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.keys[key]--; w.keys[key] == 0 {
			delete(w.keys, key)
		}
	}, nil
}

// catchUp answers GET /v1/events?after= with the events after a cursor, oldest first.
// With wait it answers as soon as there is one.
func (a *API) catchUp(w http.ResponseWriter, c *call, f *eventsQuery) error {
	cur, err := a.readCursor(c, f.from)
	if err != nil {
		return err
	}
	reader := poll{a: a, cursor: cur, query: store.EventQuery{Key: c.key.ID, Type: f.Type, Session: f.Session, After: cur.after, Limit: f.Limit}}
	if f.wait > 0 && c.Method != http.MethodHead {
		leave, err := a.waiting.enter(c.key.ID)
		if err != nil {
			return err
		}
		defer leave()
		front.EndCall(c.Request)
		front.EndAnswer(w)
		changed, stop := a.Store.Watch(c.key.ID)
		defer stop()
		over := time.NewTimer(f.wait)
		defer over.Stop()
		reader.changed, reader.over = changed, over.C
	}
	events, err := reader.next(c.Context())
	if err != nil {
		return err
	}
	if f.wait > 0 {
		// The key is read after the events, as for a stream.
		key, err := a.Store.Key(c.Context(), c.key.APIKey)
		if err != nil {
			return err
		}
		if !key.InForce(time.Now()) {
			return callbackd.Errorf(callbackd.KindUnauthorized, "The API key was revoked or has expired since this call began.")
		}
	}
	next := reader.cursor.String()
	out := wire.EventList{Data: []wire.Event{}, Next: &next}
	for _, ev := range events {
		out.Data = append(out.Data, view.Event(ev))
	}
	answer(w, http.StatusOK, out)
	return nil
}

// poll reads the events after a cursor, once or until there is one.
type poll struct {
	a       *API
	cursor  cursor
	query   store.EventQuery
	changed <-chan struct{} // nil when the reader does not wait
	over    <-chan time.Time
}

func (p *poll) next(ctx context.Context) ([]*callbackd.Event, error) {
	for {
		page, err := p.a.Store.EventsAfter(ctx, p.query)
		if err != nil {
			return nil, err
		}
		if p.cursor.missed(page.Removed) {
			return nil, callbackd.Errorf(callbackd.KindGone, "%s", p.cursor.gap())
		}
		moved := page.Next != p.query.After
		p.query.After, p.cursor = page.Next, cursorAfter(page.Next, page.Removed)
		if len(page.Events) > 0 || p.changed == nil {
			return page.Events, nil
		}
		if again, err := p.wait(ctx, moved); !again {
			return nil, err
		}
	}
}

// wait waits for another event and reports whether to read again. It does not wait when
// the last read moved on without an event: the filter left out all events, and there may
// be more.
func (p *poll) wait(ctx context.Context, moved bool) (again bool, err error) {
	if moved {
		select {
		case <-p.over:
			return false, nil
		default:
			return true, nil
		}
	}
	select {
	case <-p.changed:
		return true, nil
	case <-p.over:
	case <-p.a.closing:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return false, nil
}

// stream answers GET /v1/events/stream with server-sent events. It reads from the store
// at the speed of the reader, so that a slow reader costs one page of memory only.
func (a *API) stream(w http.ResponseWriter, c *call, f *eventsQuery) error {
	if id := c.Header.Get("Last-Event-ID"); id != "" {
		f.from = id
	} else if f.from == "" {
		f.from = afterNow
	}
	var err error
	s := &stream{a: a, c: c, w: w, rc: http.NewResponseController(w), q: store.EventQuery{Key: c.key.ID, Type: f.Type, Session: f.Session, Limit: streamPage}}
	if s.cursor, err = a.readCursor(c, f.from); err != nil {
		return err
	}
	s.q.After = s.cursor.after
	if c.Method == http.MethodHead {
		// The client takes the answer to end with its head, and sends its next request on
		// the same connection.
		streamHead(w)
		return nil
	}
	leave, err := a.waiting.enter(c.key.ID)
	if err != nil {
		return err
	}
	defer leave()
	front.EndCall(c.Request)
	front.EndAnswer(w)
	front.PieceTimeout(w, stuckAfter)
	changed, stop := a.Store.Watch(c.key.ID)
	defer stop()
	streamHead(w)
	s.run(c.Context(), changed)
	return nil // the answer has begun, so an error just ends it
}

// streamHead begins the answer with a stream.
func streamHead(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no") // nginx passes events on at once
	w.WriteHeader(http.StatusOK)
}

// stream is one reader of the stream.
type stream struct {
	a      *API
	c      *call
	w      http.ResponseWriter
	rc     *http.ResponseController
	q      store.EventQuery
	cursor cursor
	buf    bytes.Buffer
}

func (s *stream) run(ctx context.Context, changed <-chan struct{}) {
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	if !s.sendCursor() { // so that the reader knows at once that the stream is open
		return
	}
	for {
		moved, ok := s.page(ctx)
		if !ok || !s.wait(ctx, moved, changed, ticker.C) {
			return
		}
	}
}

// page reads the next events and sends them. moved reports whether there may be more,
// and ok whether the stream goes on.
func (s *stream) page(ctx context.Context) (moved, ok bool) {
	page, err := s.a.Store.EventsAfter(ctx, s.q)
	if err != nil {
		return false, false
	}
	// The key is read after the events, so that a revoked key does not get events that
	// were accepted after its revocation.
	key, err := s.a.Store.Key(ctx, s.c.key.APIKey)
	if err != nil || !key.InForce(time.Now()) || !s.gap(page.Removed) || !s.write(page.Events, page.Removed) {
		return false, false
	}
	moved = page.Next != s.q.After
	s.q.After, s.cursor = page.Next, cursorAfter(page.Next, page.Removed)
	return moved, true
}

// wait waits for another event, except when there may be more to read. It reports
// whether the stream goes on.
func (s *stream) wait(ctx context.Context, moved bool, changed <-chan struct{}, heartbeats <-chan time.Time) bool {
	if moved {
		select {
		case <-ctx.Done():
			return false
		case <-s.a.closing:
			return false
		default:
			return true
		}
	}
	select {
	case <-changed:
		return true
	case <-heartbeats:
		return s.sendCursor()
	case <-s.a.closing:
	case <-ctx.Done():
	}
	return false
}

// gap tells the reader when it has missed events. The stream then goes on with the
// stored events. gap reports whether the reader could be told.
func (s *stream) gap(r store.Removed) bool {
	if !s.cursor.missed(r) {
		return true
	}
	raw, err := marshal(wire.Message{Message: s.cursor.gap()})
	if err != nil {
		return false
	}
	s.buf.WriteString("event: gap\ndata: " + string(raw) + "\n")
	return s.send() && s.flush()
}

// write sends events, each with its cursor. Until they are sent, their memory counts
// against the budget of the key. write reports whether all were sent.
func (s *stream) write(evs []*callbackd.Event, r store.Removed) bool {
	size := 0
	for _, ev := range evs {
		size += len(ev.Data)
	}
	if front.HoldBytes(s.w, size) != nil {
		return false // the reader connects again with its cursor
	}
	defer front.ReleaseBytes(s.w)
	for _, ev := range evs {
		raw, err := marshal(view.Event(ev))
		if err != nil {
			return false
		}
		s.buf.WriteString("id: " + cursorAfter(ev.ID, r).String() + "\nevent: " + string(ev.Type) + "\ndata: ")
		s.buf.Write(raw) // one line, because JSON escapes line breaks and marshal ends with one
		s.buf.WriteByte('\n')
		if !s.send() {
			return false
		}
	}
	return s.flush()
}

// sendCursor sends a heartbeat, and reports whether it could. It also sets the reader's
// Last-Event-ID.
func (s *stream) sendCursor() bool {
	s.buf.WriteString(": " + strconv.Itoa(int(heartbeat.Seconds())) + "\nid: " + s.cursor.String() + "\n\n")
	return s.send() && s.flush()
}

func (s *stream) send() bool {
	defer s.buf.Reset()
	_ = s.rc.SetWriteDeadline(time.Now().Add(stuckAfter)) // replaces the server's deadline
	_, err := s.w.Write(s.buf.Bytes())
	return err == nil
}

func (s *stream) flush() bool { return s.rc.Flush() == nil }

// Close ends the calls that wait for events, so that the server can stop.
func (a *API) Close() { a.closeOnce.Do(func() { close(a.closing) }) }

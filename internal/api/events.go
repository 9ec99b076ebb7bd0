package api

import (
	"bytes"
	"crypto/sha256"
	"net/http"
	"strconv"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/humanize"
	"callbackd/internal/request"
	"callbackd/internal/store"
	"callbackd/internal/strictjson"
	"callbackd/internal/view"
	"callbackd/wire"
)

// publish accepts one event or an array of events. It is on the hot path: it reads the
// body in one pass, uses no reflection, and writes the answer by hand.
func (a *API) publish(w http.ResponseWriter, c *call) error {
	b, many, err := readBatch(w, c)
	if err != nil {
		return err
	}
	if err := a.checkTypes(b.Events, many); err != nil {
		return err
	}
	warnings, err := a.checkEvents(b.Events, many)
	if err != nil {
		return err
	}
	if err := a.admitGiven(c, b.Events); err != nil {
		return err
	}
	if err := a.Tests.AllowPublishedTests(c.keyID(), published(b.Events), b.At); err != nil {
		return err
	}
	evs, err := a.accept(w, c, &b)
	if err != nil {
		return err
	}
	given, err := a.given(w, c, &b, evs)
	if err != nil {
		return err
	}
	a.Accepted(len(evs))
	out := make([]byte, 0, 160*len(evs))
	if many {
		out = append(out, '[')
	}
	for i, ev := range evs {
		if i > 0 {
			out = append(out, ',')
		}
		warned := ""
		if warnings != nil {
			warned = warnings[i]
		}
		if out, err = appendAccepted(out, ev, given[i], warned); err != nil {
			return err
		}
	}
	if many {
		out = append(out, ']')
	}
	answerRaw(w, http.StatusAccepted, append(out, '\n'))
	return nil
}

// readBatch reads the events of a call. many is set when the body is an array.
func readBatch(w http.ResponseWriter, c *call) (b store.Batch, many bool, err error) {
	// An idempotency key belongs to the bytes of a body, so the body must not be encoded.
	if name := coding(c.Header); name != "" {
		return b, false, unsupported(w, name, "identity")
	}
	body, err := c.body(w)
	if err != nil {
		return b, false, err
	}
	b = store.Batch{Key: c.keyID(), At: time.Now(), Idempotency: c.Header.Get("Idempotency-Key")}
	if len(b.Idempotency) > callbackd.MaxIdempotency {
		return b, false, callbackd.Invalid("Idempotency-Key is longer than %d bytes.", callbackd.MaxIdempotency)
	}
	if b.Idempotency != "" {
		b.Digest = sha256.Sum256(body)
	}
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		b.Events, err = readEvents(body, b.At)
		return b, true, err
	}
	b.Events = make([]store.NewEvent, 1)
	err = readEvent(body, &b.Events[0], b.At)
	if err != nil && request.IsForm(c.Header.Get("Content-Type"), body) {
		err = callbackd.Invalid("An event is published as JSON, not as a form. Send an object with event, session_key and data.")
	}
	return b, false, err
}

// published returns how many of the events are tests.
func published(events []store.NewEvent) (tests int) {
	for i := range events {
		if events[i].Test {
			tests++
		}
	}
	return tests
}

// appendAccepted appends the answer for an event, and for the callback that it gave its
// session unless that is nil. warning says what does not fit the schema of its type.
func appendAccepted(out []byte, ev *callbackd.Event, given *wire.Callback, warning string) ([]byte, error) {
	out = append(out, `{"id":"`...)
	out = append(out, ev.ID.String()...)
	out = append(out, `","event":"`...)
	out = append(out, ev.Type...)
	out = append(out, `","session_key":`...)
	out = strictjson.AppendString(out, ev.Session)
	out = append(out, `,"sequence":`...)
	out = strconv.AppendInt(out, ev.Sequence, 10)
	out = append(out, `,"deliveries":`...)
	out = strconv.AppendInt(out, int64(len(ev.Targets)), 10)
	if given != nil {
		shown, err := marshal(given)
		if err != nil {
			return nil, err
		}
		out = append(append(out, `,"callback":`...), bytes.TrimSpace(shown)...)
	}
	if warning != "" {
		out = strictjson.AppendString(append(out, `,"warning":`...), warning)
	}
	return append(out, '}'), nil
}

func readEvents(body []byte, at time.Time) ([]store.NewEvent, error) {
	items, err := strictjson.Array(body)
	if err != nil {
		return nil, callbackd.Invalid("The body %v.", err)
	}
	if len(items) == 0 || len(items) > callbackd.MaxBatch {
		return nil, callbackd.Invalid("The array has %s events; 1 to %s are allowed.", humanize.Number(len(items)), humanize.Number(callbackd.MaxBatch))
	}
	out := make([]store.NewEvent, len(items))
	for i, item := range items {
		if item.Kind() != '{' {
			return nil, callbackd.Invalid("Event %d of the array must be a JSON object.", i+1)
		}
		if err := readEvent(item, &out[i], at); err != nil {
			return nil, callbackd.Invalid("Event %d of the array: %v", i+1, err)
		}
	}
	return out, nil
}

// newEventFields describes an event of POST /v1/events.
func newEventFields(ev *store.NewEvent) []request.Field {
	return []request.Field{
		request.PublishedType("event", &ev.Type).RequiredElse(callbacks.ErrMissing),
		sessionKeyField(&ev.Session).RequiredElse(callbacks.ErrMissing),
		dataField(&ev.Data),
		request.Text("id", &ev.Idempotency, callbackd.MaxIdempotency),
		request.Instant("deliver_at", &ev.DeliverAt),
		request.Instant("expires_at", &ev.ExpiresAt),
		callbacks.SessionField("callback", &ev.Callback),
		request.Flag("test", &ev.Test),
	}
}

// eventReader reads one event at a time. It is used again, because to describe the fields
// costs as much as to read them.
type eventReader struct {
	event  store.NewEvent
	fields []request.Field
}

var eventReaders = sync.Pool{New: func() any {
	r := &eventReader{}
	r.fields = newEventFields(&r.event)
	return r
}}

// readEvent reads an event that is published at a time.
func readEvent(b []byte, ev *store.NewEvent, at time.Time) error {
	var room [8]strictjson.Member
	members, err := strictjson.AppendObject(room[:0], b)
	if err != nil {
		return callbackd.Invalid("The body %v.", err)
	}
	r := eventReaders.Get().(*eventReader)
	defer eventReaders.Put(r)
	r.event = store.NewEvent{Data: []byte("{}")}
	err = request.Members(members).Strict("An event").Read(r.fields...)
	*ev, r.event = r.event, store.NewEvent{}
	if err == nil {
		err = callbackd.CheckTimes(ev.DeliverAt, ev.ExpiresAt, at)
	}
	return err
}

// dataField reads an object and does not change it by a byte. PHP writes an empty object
// as an empty array.
func dataField(to *[]byte) request.Field {
	return request.Field{Name: "data", Read: func(v request.Value) error {
		data := v.JSON
		if data.Kind() != '{' {
			object, members, err := strictjson.LenientObject(data)
			if err != nil || len(members) > 0 {
				return callbackd.Invalid("data must be a JSON object.")
			}
			data = object
		}
		if len(data) > callbackd.MaxEventData {
			return callbackd.Invalid("data is larger than %s bytes.", humanize.Number(callbackd.MaxEventData))
		}
		*to = data
		return nil
	}}
}

// sessionKeyField reads the key of a session, which need not be stored here.
func sessionKeyField(to *string) request.Field { return sessionKeyNamed("session_key", to) }

func sessionKeyNamed(name string, to *string) request.Field {
	return request.Text(name, to, callbackd.MaxBody).Check(func(string) error {
		if !validSession(*to) {
			return callbackd.Invalid("%s must be 1 to %d visible ASCII characters without spaces.", name, callbackd.MaxSessionKey)
		}
		return nil
	})
}

// validSession reports whether s can be a session key. It allows more than PAVE's own
// keys, because other platforms have others.
func validSession(s string) bool {
	if s == "" || len(s) > callbackd.MaxSessionKey {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// eventsQuery is the query of GET /v1/events. With after or wait the events come oldest
// first, after a reader's cursor. Otherwise they are a list, newest first.
type eventsQuery struct {
	store.EventQuery
	from string // a reader's cursor
	wait time.Duration
}

func eventListFields(q *eventsQuery) []request.Field {
	return []request.Field{
		request.EventType("event", &q.Type),
		queryText("session_key", &q.Session),
		request.Time("since", &q.Since),
		request.Time("until", &q.Until),
		withheldField(&q.EventQuery),
		limitField(&q.Limit),
		request.Cursor("cursor", &q.After, parseEventCursor),
	}
}

// withheldField reads from whom events were withheld: true for anybody, or the ID of a
// callback.
func withheldField(q *store.EventQuery) request.Field {
	var text string
	return queryText("withheld", &text).Check(func(string) error {
		q.Withheld = true
		if text == "true" {
			return nil
		}
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil || id < 1 {
			return callbackd.Invalid("withheld must be true, or the ID of a callback, which GET /v1/callbacks/:event/policy shows.")
		}
		q.WithheldFrom = callbackd.CallbackID(id)
		return nil
	})
}

func parseEventCursor(s string) (callbackd.EventID, bool) {
	id, ok := callbackd.ParseEventID(s)
	return id, ok && id != 0
}

// eventsParams returns the parameters of both kinds of query.
func eventsParams() []string {
	var q eventsQuery
	return append([]string{"after", "wait"}, request.Names(eventListFields(&q))...)
}

func (a *API) listEvents(w http.ResponseWriter, c *call) error {
	var q eventsQuery
	if c.query.Has("after") || c.query.Has("wait") {
		if err := c.query.Read(readerFields(&q)...); err != nil {
			return err
		}
		return a.catchUp(w, c, &q)
	}
	if err := c.query.Read(eventListFields(&q)...); err != nil {
		return err
	}
	return a.answerEvents(w, c, &q)
}

// answerEvents answers with a page of events.
func (a *API) answerEvents(w http.ResponseWriter, c *call, q *eventsQuery) error {
	q.Key = c.keyID()
	page, err := a.Store.ListEvents(c.Context(), q.EventQuery)
	if err != nil {
		return err
	}
	out := wire.EventList{Data: []wire.Event{}}
	for _, ev := range page.Events {
		one, err := a.shownEvent(c, ev)
		if err != nil {
			return err
		}
		out.Data = append(out.Data, one)
	}
	out.Next = nextCursor(page.Next)
	answer(w, http.StatusOK, out)
	return nil
}

func (a *API) getEvent(w http.ResponseWriter, c *call) error {
	id, ok := callbackd.ParseEventID(c.PathValue("id"))
	if !ok {
		return callbackd.Errorf(callbackd.KindNotFound, "There is no event %s.", callbackd.Clip(c.PathValue("id"), 60))
	}
	ev, err := a.Store.Event(c.Context(), c.keyID(), id)
	if err != nil {
		return err
	}
	out, err := a.shownEvent(c, ev)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, out)
	return nil
}

// shownEvent returns an event, with its API key for an operator token.
func (a *API) shownEvent(c *call, ev *callbackd.Event) (out wire.Event, err error) {
	out = view.Event(ev)
	out.APIKey, err = a.owner(c, ev.Key)
	return out, err
}

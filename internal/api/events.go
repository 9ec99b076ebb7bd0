package api

import (
	"bytes"
	"crypto/sha256"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/store"
	"callbackd/internal/strictjson"
	"callbackd/wire"
)

// publish accepts one event or an array of them. It is the hot path: one
// pass over the body, no reflection, and an answer written by hand.
func (a *API) publish(w http.ResponseWriter, c *call) error {
	// An idempotency key stands for the bytes of a body: only one form is read.
	if name := coding(c.Header); name != "" {
		return unsupported(w, name, "identity")
	}
	body, err := c.body(w)
	if err != nil {
		return err
	}
	b := store.Batch{Key: c.key.ID, At: time.Now(), Idempotency: c.Header.Get("Idempotency-Key")}
	if len(b.Idempotency) > callbackd.MaxIdempotency {
		return invalid("Idempotency-Key is longer than %d bytes.", callbackd.MaxIdempotency)
	}
	if b.Idempotency != "" {
		b.Digest = sha256.Sum256(body)
	}
	many := false
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		many = true
		b.Events, err = readEvents(body)
	} else {
		b.Events = make([]store.NewEvent, 1)
		err = readEvent(body, &b.Events[0])
	}
	if err != nil {
		return err
	}
	evs, err := a.Store.Accept(c.Context(), b)
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
		out = appendAccepted(out, ev)
	}
	if many {
		out = append(out, ']')
	}
	answerRaw(w, http.StatusAccepted, append(out, '\n'))
	return nil
}

func appendAccepted(out []byte, ev *callbackd.Event) []byte {
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
	return append(out, '}')
}

func readEvents(body []byte) ([]store.NewEvent, error) {
	items, err := strictjson.Array(body)
	if err != nil {
		return nil, invalid("The body %v.", err)
	}
	if len(items) == 0 || len(items) > callbackd.MaxBatch {
		return nil, invalid("The array has %d events; 1 to %d are allowed.", len(items), callbackd.MaxBatch)
	}
	out := make([]store.NewEvent, len(items))
	for i, item := range items {
		if err := readEvent(item, &out[i]); err != nil {
			return nil, invalid("Event %d of the array: %v", i+1, err)
		}
	}
	return out, nil
}

// eventMembers is what an event of POST /v1/events may have.
var eventMembers = []string{"event", "session_key", "data", "id"}

func readEvent(b []byte, ev *store.NewEvent) error {
	var room [8]strictjson.Member
	members, err := strictjson.AppendObject(room[:0], b)
	if err != nil {
		return invalid("The body %v.", err)
	}
	ev.Data = []byte("{}")
	for _, m := range members {
		if m.Value.IsNull() && slices.Contains(eventMembers, m.Name) {
			continue
		}
		text, isText := "", true
		switch m.Name {
		case "event":
			text, isText = m.Value.Text()
			ev.Type = callbackd.EventType(text)
		case "session_key":
			ev.Session, isText = m.Value.Text()
		case "id":
			ev.Idempotency, isText = m.Value.Text()
		case "data":
			if ev.Data, err = readData(m.Value); err != nil {
				return err
			}
		default:
			return invalid("%q is not a member of an event; it has %s.", clip(m.Name, 60), strings.Join(eventMembers, ", "))
		}
		if !isText {
			return invalid("%s must be a string.", m.Name)
		}
	}
	switch {
	case ev.Type == "" || ev.Session == "":
		return callbacks.ErrMissing
	case !ev.Type.Valid():
		return invalid("event %q is not supported; the supported events are %s.", clip(string(ev.Type), 100), callbacks.Types())
	case !validSession(ev.Session):
		return invalid("session_key must be 1 to %d visible ASCII characters without spaces.", callbackd.MaxSessionKey)
	case len(ev.Idempotency) > callbackd.MaxIdempotency:
		return invalid("id is longer than %d bytes.", callbackd.MaxIdempotency)
	case len(ev.Data) > callbackd.MaxEventData:
		return invalid("data is larger than %d bytes.", callbackd.MaxEventData)
	}
	return nil
}

// readData reads an object. An empty array, in a string or not, is an empty
// one: PHP writes it so.
func readData(v strictjson.Value) (strictjson.Value, error) {
	if v.Kind() == '{' {
		return v, nil
	}
	object, members, err := strictjson.LenientObject(v)
	if err != nil || len(members) > 0 {
		return nil, invalid("data must be a JSON object.")
	}
	return object, nil
}

// validSession is wider than PAVE's own keys, for platforms with others.
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

func showEvent(ev *callbackd.Event) wire.Event {
	out := wire.Event{ID: ev.ID.String(), Event: string(ev.Type), SessionKey: ev.Session, Sequence: ev.Sequence,
		AcceptedAt: ev.Accepted(), Test: ev.Test, Data: ev.Data, Deliveries: []string{}}
	for _, no := range ev.Targets {
		out.Deliveries = append(out.Deliveries, callbackd.DeliveryID{Event: ev.ID, Callback: no}.String())
	}
	return out
}

func (a *API) listEvents(w http.ResponseWriter, c *call) error {
	if afterIsGiven(c) {
		return a.catchUp(w, c)
	}
	f, err := readFilter(c.query)
	if err != nil {
		return err
	}
	q := store.EventQuery{Key: c.key.ID, Type: f.event, Session: f.session, Since: f.since, Until: f.until, Limit: f.limit}
	if f.cursor != "" {
		var ok bool
		if q.After, ok = callbackd.ParseEventID(f.cursor); !ok || q.After == 0 {
			return errCursor
		}
	}
	page, err := a.Store.ListEvents(c.Context(), q)
	if err != nil {
		return err
	}
	out := wire.EventList{Data: []wire.Event{}}
	for _, ev := range page.Events {
		out.Data = append(out.Data, showEvent(ev))
	}
	if page.Next != 0 {
		s := page.Next.String()
		out.Next = &s
	}
	answer(w, http.StatusOK, out)
	return nil
}

func (a *API) getEvent(w http.ResponseWriter, c *call) error {
	id, ok := callbackd.ParseEventID(c.PathValue("id"))
	if !ok {
		return callbackd.Errorf(callbackd.KindNotFound, "There is no event %s.", clip(c.PathValue("id"), 60))
	}
	ev, err := a.Store.Event(c.Context(), c.key.ID, id)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, showEvent(ev))
	return nil
}

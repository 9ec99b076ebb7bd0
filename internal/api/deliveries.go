package api

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"callbackd"
	"callbackd/internal/signature"
	"callbackd/internal/store"
	"callbackd/wire"
)

// filter is what the lists take as a query.
type filter struct {
	event        callbackd.EventType
	session      string
	state        callbackd.State
	callback     callbackd.CallbackNo
	since, until time.Time
	limit        int
	cursor       string
}

const defaultLimit = 50

var errCursor = invalid("cursor is not one that a list gave; begin without it.")

// Parameters of the lists.
var (
	eventParams    = []string{"event", "session_key", "since", "until", "limit", "cursor"}
	deliveryParams = append([]string{"state", "callback"}, eventParams...)
)

// readFilter reads the query of a list. A parameter that it does not know is
// refused: a filter with a typing error would answer with everything.
func readFilter(query string, known []string) (f filter, err error) {
	q, err := url.ParseQuery(query)
	if err != nil {
		return f, invalid("The query is malformed; percent-encode its values.")
	}
	for name, values := range q {
		if !slices.Contains(known, name) {
			return f, invalid("%q is not a parameter of this list; it takes %s.", clip(name, 60), strings.Join(known, ", "))
		}
		if len(values) > 1 {
			return f, invalid("%s is given twice.", name)
		}
	}
	f = filter{event: callbackd.EventType(q.Get("event")), session: q.Get("session_key"), state: callbackd.State(q.Get("state")), cursor: q.Get("cursor"), limit: defaultLimit}
	if f.event != "" && !f.event.Valid() {
		return f, invalid("event %q is not supported; the supported events are %s.", clip(string(f.event), 100), joinTypes())
	}
	if f.state != "" && !f.state.Valid() {
		return f, invalid("state must be pending, delivered, failed or canceled.")
	}
	for name, at := range map[string]*time.Time{"since": &f.since, "until": &f.until} {
		if s := q.Get(name); s != "" {
			if *at, err = signature.ParseTimestamp(s); err != nil || at.Before(time.Unix(0, 0)) {
				return f, invalid("%s must be a time such as 2026-01-02T15:04:05Z, or Unix seconds.", name)
			}
		}
	}
	if s := q.Get("limit"); s != "" {
		if f.limit, err = strconv.Atoi(s); err != nil || f.limit < 1 || f.limit > store.MaxPage {
			return f, invalid("limit must be a number from 1 to %d.", store.MaxPage)
		}
	}
	if s := q.Get("callback"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 1 {
			return f, invalid("callback must be a callback's number; GET /v1/callbacks/:event/policy shows it.")
		}
		f.callback = callbackd.CallbackNo(n)
	}
	return f, nil
}

func (a *API) listDeliveries(w http.ResponseWriter, c *call) error {
	f, err := readFilter(c.URL.RawQuery, deliveryParams)
	if err != nil {
		return err
	}
	q := store.DeliveryQuery{Key: c.key.No, State: f.state, Type: f.event, Session: f.session, Callback: f.callback, Since: f.since, Until: f.until, Limit: f.limit}
	if f.cursor != "" {
		if q.After, err = parseCursor(f.cursor); err != nil {
			return err
		}
	}
	page, err := a.Store.ListDeliveries(c.Context(), q)
	if err != nil {
		return err
	}
	out := wire.DeliveryList{Data: []wire.Delivery{}}
	for i := range page.Deliveries {
		out.Data = append(out.Data, showDelivery(&page.Deliveries[i]))
	}
	if page.Next != (callbackd.DeliveryID{}) {
		s := page.Next.String()
		out.Next = &s
	}
	answer(w, http.StatusOK, out)
	return nil
}

// parseCursor also reads the cursor "everything of that event is done",
// which names callback 0.
func parseCursor(s string) (callbackd.DeliveryID, error) {
	if rest, ok := strings.CutSuffix(s, "-0"); ok {
		if id, ok := callbackd.ParseDeliveryID(rest + "-1"); ok && id.Event > 0 {
			return callbackd.DeliveryID{Event: id.Event}, nil
		}
	}
	id, ok := callbackd.ParseDeliveryID(s)
	if !ok || id.Event == 0 {
		return id, errCursor
	}
	return id, nil
}

func showDelivery(v *store.DeliveryView) wire.Delivery {
	return wire.Delivery{ID: v.ID.String(), EventID: v.Event.ID.String(), Event: string(v.Event.Type), SessionKey: v.Event.Session, Sequence: v.Event.Sequence,
		Callback: int64(v.ID.Callback), CallbackName: v.Callback.Name, State: string(v.State), Attempts: v.Attempts, AcceptedAt: v.Event.ID.Time(),
		NextAttempt: timeOrNull(v.Due), Repeated: v.Manual, Test: v.Event.Test}
}

func (a *API) deliveryID(c *call) (callbackd.DeliveryID, error) {
	id, ok := callbackd.ParseDeliveryID(c.PathValue("id"))
	if !ok {
		return id, callbackd.Errorf(callbackd.KindNotFound, "There is no delivery %s.", clip(c.PathValue("id"), 60))
	}
	return id, nil
}

func (a *API) getDelivery(w http.ResponseWriter, c *call) error {
	id, err := a.deliveryID(c)
	if err != nil {
		return err
	}
	out, err := a.story(c.Context(), c, id)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, out)
	return nil
}

// story is a delivery with all its attempts.
func (a *API) story(ctx context.Context, c *call, id callbackd.DeliveryID) (*wire.Delivery, error) {
	v, err := a.Store.Delivery(ctx, c.key.No, id)
	if err != nil {
		return nil, err
	}
	out := showDelivery(v)
	versions := map[int64]*callbackd.Callback{}
	for i := range v.History {
		at := &v.History[i]
		cb := versions[at.Version]
		if cb == nil {
			if cb, err = a.Store.CallbackVersion(ctx, id.Callback, at.Version); err != nil {
				return nil, err
			}
			versions[at.Version] = cb
		}
		one, err := a.showAttempt(ctx, cb, v.Event, at)
		if err != nil {
			return nil, err
		}
		one.Repeat = i > 0 && v.History[i-1].State.Terminal()
		out.History = append(out.History, one)
	}
	return &out, nil
}

func (a *API) showAttempt(ctx context.Context, cb *callbackd.Callback, ev *callbackd.Event, at *callbackd.Attempt) (wire.Attempt, error) {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	req, body, err := a.Preview(ctx, cb, ev, at.Number, at.StartedAt)
	if err != nil {
		return wire.Attempt{}, err
	}
	out := wire.Attempt{Number: at.Number, StartedAt: at.StartedAt, Address: at.Address, Reused: at.Reused,
		Timings: wire.Timings{DNS: ms(at.Timings.DNS), Connect: ms(at.Timings.Connect), TLS: ms(at.Timings.TLS), FirstByte: ms(at.Timings.FirstByte), Total: ms(at.Timings.Total)},
		Request: wire.Request{Method: req.Method, URL: req.URL.String(), Headers: redact(req.Header, cb), Body: string(body)},
		Fault:   string(at.Fault), Error: at.Error, State: string(at.State), Why: at.Why, Next: timeOrNull(at.Due)}
	if at.Status != 0 {
		out.Response = &wire.Response{Status: at.Status, Headers: at.Headers, Body: string(at.Body), Encoding: "utf-8", Size: at.BodySize,
			Truncated: at.Truncated, Location: at.Location, RetryAfter: at.RetryAfter}
		if !utf8.Valid(at.Body) {
			out.Response.Body, out.Response.Encoding = base64.StdEncoding.EncodeToString(at.Body), "base64"
		}
	}
	return out, nil
}

// redact lists a request's headers by name, without the values of the
// callback's own. The signature is left out too: it was made with secrets
// that may have been rotated since.
func redact(h http.Header, cb *callbackd.Callback) wire.Headers {
	var out wire.Headers
	for name, values := range h {
		for _, v := range values {
			own := slices.ContainsFunc(cb.Headers, func(o callbackd.Header) bool { return strings.EqualFold(o.Name, name) })
			if own || name == "Webhook-Signature" {
				v = callbackd.Mask
			}
			out = append(out, wire.Header{Name: strings.ToLower(name), Value: v})
		}
	}
	slices.SortFunc(out, func(a, b wire.Header) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (a *API) retryDelivery(w http.ResponseWriter, c *call) error {
	id, err := a.deliveryID(c)
	if err != nil {
		return err
	}
	d, err := a.Store.RetryDelivery(c.Context(), c.key.No, id, time.Now())
	if err != nil {
		return err
	}
	a.Dispatcher.Retry(*d)
	out, err := a.story(c.Context(), c, id)
	if err != nil {
		return err
	}
	answer(w, http.StatusAccepted, out)
	return nil
}

// samples is the data of test-sends, of the shape each event has.
var samples = map[callbackd.EventType]string{
	callbackd.SMSProcess:   `{"phone":"+15555550100","status":"success"}`,
	callbackd.StageChange:  `{"photo_url":"https://example.com/photo.jpg","photo_status":"ACCEPTED","photo_code":4,"photo_label":"Left"}`,
	callbackd.StatusChange: `{"status":"STARTED","previous_status":"IDLE"}`,
	callbackd.Complete:     `{"session":{"session_key":"TST-0000000000","status":"COMPLETE"}}`,
	callbackd.NoteInsert:   `{"note":{"title":"Sample","description":"A note made by a test","inserted_by":"callbackd","inserted_at":"2021-08-17T13:27:10+00:00"}}`,
}

const sampleSession = "TST-0000000000"

// testCallback sends a marked sample through the path every event takes, and
// answers with what became of it.
func (a *API) testCallback(w http.ResponseWriter, c *call) error {
	cb, err := a.one(c)
	if err != nil {
		return err
	}
	if !a.tests.allow(c.key.No, time.Now()) {
		return callbackd.Errorf(callbackd.KindLimited, "Test-sends are limited to %d a second; try again in a moment.", testRate)
	}
	b := store.Batch{Key: c.key.No, At: time.Now(), Events: []store.NewEvent{{Type: cb.Event, Session: sampleSession, Data: []byte(samples[cb.Event]), OnlyTo: cb.No}}}
	evs, err := a.Store.Accept(c.Context(), b)
	if err != nil {
		return err
	}
	id := callbackd.DeliveryID{Event: evs[0].ID, Callback: cb.No}
	ctx, cancel := context.WithTimeout(c.Context(), cb.Policy.WithDefaults().Timeout+10*time.Second)
	defer cancel()
	done, stop := a.Dispatcher.Watch(id)
	defer stop()
	// It may have ended before it was watched.
	if v, err := a.Store.Delivery(ctx, c.key.No, id); err == nil && v.Attempts == 0 {
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
	out, err := a.story(c.Context(), c, id)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, out)
	return nil
}

package api

import (
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/signature"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

// filter is what the lists take as a query.
type filter struct {
	event        callbackd.EventType
	session      string
	state        callbackd.State
	callback     callbackd.CallbackID
	since, until time.Time
	limit        int
	cursor       string
	fault        callbackd.Fault // of the last attempt
	after        string          // of readers
	wait         time.Duration
	method, path string // of calls
}

const defaultLimit = 50

var errCursor = invalid("cursor is not one that a list gave; begin without it.")

// readFilter reads the query of a list.
func readFilter(q url.Values) (f filter, err error) {
	f = filter{event: callbackd.EventType(strings.ToUpper(q.Get("event"))), session: q.Get("session_key"), state: callbackd.State(strings.ToLower(q.Get("state"))), cursor: q.Get("cursor"), limit: defaultLimit}
	if f.event != "" && !f.event.Valid() {
		return f, invalid("event %q is not supported; the supported events are %s.", clip(q.Get("event"), 100), callbacks.Types())
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
		f.callback = callbackd.CallbackID(n)
	}
	return f, f.more(q)
}

// readStatus reads the status of an answer, or the class of it; 0 for none.
func readStatus(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	digits, class := strings.CutSuffix(strings.ToLower(s), "xx")
	n, err := strconv.Atoi(digits)
	if err != nil || class && (n < 1 || n > 5) || !class && (n < 100 || n > 599) {
		return 0, invalid("status must be a status such as 404, or a class such as 5xx.")
	}
	return n, nil
}

// more reads what few lists have.
func (f *filter) more(q url.Values) error {
	f.after, f.path = q.Get("after"), q.Get("path")
	f.method = strings.ToUpper(q.Get("method"))
	if f.fault = callbackd.Fault(strings.ToLower(q.Get("fault"))); f.fault != "" && !slices.Contains(callbackd.Faults, f.fault) {
		return invalid("fault must be one of %s.", strings.Join(strings.Fields(strings.Trim(fmt.Sprint(callbackd.Faults), "[]")), ", "))
	}
	if s := q.Get("wait"); s != "" {
		n, err := strconv.Atoi(s)
		if f.wait = time.Duration(n) * time.Second; err != nil || n < 0 || f.wait > maxWait {
			return invalid("wait must be a number of seconds from 0 to %d.", int(maxWait.Seconds()))
		}
	}
	return nil
}

func (a *API) listDeliveries(w http.ResponseWriter, c *call) error {
	f, err := readFilter(c.query)
	if err != nil {
		return err
	}
	status, err := readStatus(c.query.Get("status"))
	if err != nil {
		return err
	}
	q := store.DeliveryQuery{Key: c.key.ID, State: f.state, Type: f.event, Session: f.session, Callback: f.callback, Since: f.since, Until: f.until,
		Status: status, Fault: f.fault, Limit: f.limit}
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
		out.Data = append(out.Data, view.Summary(&page.Deliveries[i]))
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
	before := 0
	if s := c.query.Get("before"); s != "" {
		if before, err = strconv.Atoi(s); err != nil || before < 1 || before > math.MaxInt32 {
			return invalid("before must be the number of an attempt, as earlier is in an answer.")
		}
	}
	out, err := view.Describe(c.Context(), a.Store, a.Preview, c.key.ID, id, before)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, out)
	return nil
}

func (a *API) story(c *call, id callbackd.DeliveryID) (*wire.Delivery, error) {
	return view.Describe(c.Context(), a.Store, a.Preview, c.key.ID, id, 0)
}

func (a *API) retryDelivery(w http.ResponseWriter, c *call) error {
	id, err := a.deliveryID(c)
	if err != nil {
		return err
	}
	if c.once != nil {
		return a.retryOnce(w, c, id)
	}
	d, err := a.Store.RetryDelivery(c.Context(), c.key.ID, id, time.Now())
	if err != nil {
		return err
	}
	a.Dispatcher.Resent(*d)
	out, err := a.story(c, id)
	if err != nil {
		return err
	}
	answer(w, http.StatusAccepted, out)
	return nil
}

// retryOnce is a retry with an Idempotency-Key. Its answer is made with the
// change, so it shows the delivery before the attempt.
func (a *API) retryOnce(w http.ResponseWriter, c *call, id callbackd.DeliveryID) error {
	out, err := a.story(c, id)
	if err != nil {
		return err
	}
	out.State, out.NextAttempt, out.Repeated = string(callbackd.Pending), nil, out.Attempts > 0
	show := func(callbackd.DeliveryID) ([]byte, error) { return marshal(out) }
	d, err := a.Store.RetryDelivery(once(c, http.StatusAccepted, show), c.key.ID, id, time.Now())
	if err != nil {
		return err
	}
	a.Dispatcher.Resent(*d)
	answer(w, http.StatusAccepted, out)
	return nil
}

// testCallback sends a marked sample through the path every event takes, and
// answers with what became of it.
func (a *API) testCallback(w http.ResponseWriter, c *call) error {
	cb, err := a.one(c)
	if err != nil {
		return err
	}
	if err := a.Tests.Allow(c.key.ID, time.Now()); err != nil {
		return err
	}
	b := store.Batch{Key: c.key.ID, At: time.Now(), Events: []store.NewEvent{callbacks.Sample(cb)}}
	if c.once != nil { // repeated, it is the same event, and the answer what became of it
		b.Idempotency, b.Digest = "test "+hex.EncodeToString(c.once.Hash), [32]byte(c.once.Digest)
	}
	evs, err := a.Store.Accept(c.Context(), b)
	if err != nil {
		return err
	}
	id := callbackd.DeliveryID{Event: evs[0].ID, Callback: cb.ID}
	ctx, cancel := context.WithTimeout(c.Context(), cb.Policy.WithDefaults().Timeout+10*time.Second)
	defer cancel()
	done, stop := a.Dispatcher.Watch(id)
	defer stop()
	// It may have ended before it was watched.
	if v, err := a.Store.Delivery(ctx, c.key.ID, id); err == nil && v.Attempts == 0 {
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
	out, err := a.story(c, id)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, out)
	return nil
}

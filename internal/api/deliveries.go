package api

import (
	"context"
	"encoding/hex"
	"math"
	"net/http"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/request"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

func deliveryFields(q *store.DeliveryQuery) []request.Field {
	return []request.Field{
		request.Choice("state", &q.State, callbackd.States),
		request.CallbackID("callback", &q.Callback),
		request.Status("status", &q.Status),
		request.Choice("fault", &q.Fault, callbackd.Faults),
		request.EventType("event", &q.Type),
		queryText("session_key", &q.Session),
		request.Time("since", &q.Since),
		request.Time("until", &q.Until),
		limitField(&q.Limit),
		request.Cursor("cursor", &q.After, parseDeliveryCursor),
	}
}

func (a *API) listDeliveries(w http.ResponseWriter, c *call, q *store.DeliveryQuery) error {
	q.Key = c.keyID()
	page, err := a.Store.ListDeliveries(c.Context(), *q)
	if err != nil {
		return err
	}
	out := wire.DeliveryList{Data: []wire.Delivery{}}
	for i := range page.Deliveries {
		one := view.Delivery(&page.Deliveries[i])
		if one.APIKey, err = a.owner(c, page.Deliveries[i].Event.Key); err != nil {
			return err
		}
		out.Data = append(out.Data, one)
	}
	if page.Next != (callbackd.DeliveryID{}) {
		s := page.Next.String()
		out.Next = &s
	}
	answer(w, http.StatusOK, out)
	return nil
}

// parseDeliveryCursor reads the cursor of a list of deliveries. When a page ends with the
// last delivery of an event, its cursor has the callback 0.
func parseDeliveryCursor(s string) (callbackd.DeliveryID, bool) {
	if event, ok := strings.CutSuffix(s, "-0"); ok {
		id, ok := callbackd.ParseDeliveryID(event + "-1")
		return callbackd.DeliveryID{Event: id.Event}, ok && id.Event > 0
	}
	id, ok := callbackd.ParseDeliveryID(s)
	return id, ok && id.Event > 0
}

func (a *API) deliveryID(c *call) (callbackd.DeliveryID, error) {
	id, ok := callbackd.ParseDeliveryID(c.PathValue("id"))
	if !ok {
		return id, callbackd.Errorf(callbackd.KindNotFound, "There is no delivery %s.", callbackd.Clip(c.PathValue("id"), 60))
	}
	return id, nil
}

// attemptsPage names a page of a delivery's attempts.
type attemptsPage struct {
	before int // number of an attempt; 0: the newest ones
}

func attemptsFields(p *attemptsPage) []request.Field {
	return []request.Field{request.Whole("before", &p.before, 1, math.MaxInt32)}
}

func (a *API) getDelivery(w http.ResponseWriter, c *call, p *attemptsPage) error {
	id, err := a.deliveryID(c)
	if err != nil {
		return err
	}
	out, err := a.describe(c, id, p.before)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, out)
	return nil
}

func (a *API) describe(c *call, id callbackd.DeliveryID, before int) (*wire.Delivery, error) {
	out, err := view.Describe(c.Context(), a.Store, a.Preview, c.keyID(), id, before)
	if err != nil || c.token == nil {
		return out, err
	}
	cb, err := a.Store.CallbackByID(c.Context(), id.Callback)
	if err != nil {
		return nil, err
	}
	out.APIKey, err = a.owner(c, cb.Key)
	return out, err
}

func (a *API) retryDelivery(w http.ResponseWriter, c *call) error {
	id, err := a.deliveryID(c)
	if err != nil {
		return err
	}
	if c.once != nil {
		return a.retryOnce(w, c, id)
	}
	d, err := a.Store.Resend(c.acting(), c.keyID(), id, time.Now())
	if err != nil {
		return err
	}
	a.Dispatcher.Resent(*d)
	out, err := a.describe(c, id, 0)
	if err != nil {
		return err
	}
	answer(w, http.StatusAccepted, out)
	return nil
}

// retryOnce resends a delivery with an Idempotency-Key. Its answer is stored with the
// change, so it shows the delivery before the attempt.
func (a *API) retryOnce(w http.ResponseWriter, c *call, id callbackd.DeliveryID) error {
	out, err := a.describe(c, id, 0)
	if err != nil {
		return err
	}
	out.State, out.NextAttempt, out.Repeated = string(callbackd.Pending), nil, out.Attempts > 0
	show := func(callbackd.DeliveryID) ([]byte, error) { return marshal(out) }
	d, err := a.Store.Resend(once(c, http.StatusAccepted, show), c.keyID(), id, time.Now())
	if err != nil {
		return err
	}
	a.Dispatcher.Resent(*d)
	answer(w, http.StatusAccepted, out)
	return nil
}

// testCallback sends a marked sample the way every event is sent, and answers with the
// delivery after its attempt.
func (a *API) testCallback(w http.ResponseWriter, c *call) error {
	cb, err := a.one(c)
	if err != nil {
		return err
	}
	if err := a.Tests.AllowTest(c.keyID(), time.Now()); err != nil {
		return err
	}
	b := store.Batch{Key: c.keyID(), At: time.Now(), Events: []store.NewEvent{callbacks.Sample(cb, a.Events.OwnSample)}}
	if c.once != nil { // a repeat gets the same event, and the delivery as it is then
		b.Idempotency, b.Digest = "test "+hex.EncodeToString(c.once.Hash), [32]byte(c.once.Digest)
	}
	c.makesEvents = true
	evs, err := a.Store.Accept(c.Context(), b)
	if err != nil {
		return err
	}
	c.made = evs
	id := callbackd.DeliveryID{Event: evs[0].ID, Callback: cb.ID}
	ctx, cancel := context.WithTimeout(c.Context(), cb.Policy.WithDefaults().Timeout+10*time.Second)
	defer cancel()
	done, stop := a.Dispatcher.Watch(id)
	defer stop()
	// The attempt may have ended before Watch.
	if v, err := a.Store.Delivery(ctx, c.keyID(), id, 0); err == nil && v.Attempts == 0 {
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
	out, err := a.describe(c, id, 0)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, out)
	return nil
}

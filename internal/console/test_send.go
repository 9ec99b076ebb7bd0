package console

import (
	"net/http"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

type testSendPage struct {
	base
	CB      *callbackd.Callback
	Request wire.Request
}

// testPage shows the request before it is sent: the builder is the sender's.
func (c *Console) testPage(w http.ResponseWriter, v *visit) error {
	cb, _, err := c.inForce(v)
	if err != nil {
		return err
	}
	now := c.now()
	sample := callbacks.Sample(cb)
	ev := &callbackd.Event{ID: callbackd.FirstEventID(now), Key: cb.Key, Type: cb.Event, Session: sample.Session, Sequence: 1, Data: sample.Data, Test: true}
	req, err := c.Preview(cb, ev, 1, now)
	if err != nil {
		return err
	}
	p := &testSendPage{base: c.base(v, "webhooks", "Send a test"), CB: cb,
		Request: wire.Request{Method: req.Method, URL: req.URL.String(), Headers: view.Redact(req.Headers, cb, false), Body: string(req.Body)}}
	return c.render(w, http.StatusOK, "webhook-test", p)
}

// test accepts a marked sample; its delivery's page tells the story.
func (c *Console) test(w http.ResponseWriter, v *visit) error {
	cb, _, err := c.inForce(v)
	if err == nil {
		err = c.Tests.Allow(cb.Key, c.now())
	}
	if err != nil {
		return err
	}
	evs, err := c.Store.Accept(v.Context(), store.Batch{Key: cb.Key, At: c.now(), Events: []store.NewEvent{callbacks.Sample(cb)}})
	if err != nil {
		return err
	}
	id := callbackd.DeliveryID{Event: evs[0].ID, Callback: cb.ID}
	if err := c.awaitTest(v, cb, id); err != nil {
		return err
	}
	return see(w, v, link("deliveries", id), "")
}

// testPatience is how long sending a test waits for its outcome at most, so that
// the page that follows has it. A page that comes without it waits on.
const testPatience = 10 * time.Second

// awaitTest waits until a test has ended, or until it is time to show its page.
func (c *Console) awaitTest(v *visit, cb *callbackd.Callback, id callbackd.DeliveryID) error {
	done, stop := c.Dispatcher.Watch(id)
	defer stop()
	d, err := c.Store.Delivery(v.Context(), cb.Key, id) // it may have ended before it was watched
	if err != nil || d.State != callbackd.Pending {
		return err
	}
	end := time.NewTimer(min(cb.Policy.WithDefaults().Timeout+time.Second, testPatience))
	defer end.Stop()
	select {
	case <-done:
	case <-end.C:
	case <-c.closing:
	case <-v.Context().Done():
	}
	return nil
}

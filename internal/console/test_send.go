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

// testPage shows the request before it is sent, built as the sender builds it.
func (c *Console) testPage(w http.ResponseWriter, req *userRequest) error {
	cb, _, err := c.activeCallback(req)
	if err != nil {
		return err
	}
	now := c.now()
	sample := callbacks.Sample(cb, c.Events.OwnSample)
	ev := &callbackd.Event{
		ID:       callbackd.FirstEventID(now),
		Key:      cb.Key,
		Type:     cb.Event,
		Session:  sample.Session,
		Sequence: 1,
		Data:     sample.Data,
		Test:     true,
	}
	preview, err := c.Preview(cb, ev, 1, now)
	if err != nil {
		return err
	}
	p := &testSendPage{base: c.base(req, "callbacks", "Send a test"), CB: cb}
	p.Request = wire.Request{
		Method:  preview.Method,
		URL:     preview.URL.String(),
		Headers: view.Redact(preview.Headers, cb, false),
		Body:    string(preview.Body),
	}
	return c.render(w, http.StatusOK, "callback-test", p)
}

// test accepts a sample event and shows the page of its delivery.
func (c *Console) test(w http.ResponseWriter, req *userRequest) error {
	cb, _, err := c.activeCallback(req)
	if err == nil {
		err = c.Tests.AllowTest(cb.Key, c.now())
	}
	if err != nil {
		return err
	}
	evs, err := c.Store.Accept(req.Context(), store.Batch{Key: cb.Key, At: c.now(), Events: []store.NewEvent{callbacks.Sample(cb, c.Events.OwnSample)}})
	if err != nil {
		return err
	}
	id := callbackd.DeliveryID{Event: evs[0].ID, Callback: cb.ID}
	if err := c.awaitTest(req, cb, id); err != nil {
		return err
	}
	return redirect(w, req, link("deliveries", id), "")
}

// maxTestWait bounds how long the browser waits for the outcome of a test. The
// page of a test that takes longer updates itself.
const maxTestWait = 10 * time.Second

// awaitTest waits until the test has ended, at most for maxTestWait.
func (c *Console) awaitTest(req *userRequest, cb *callbackd.Callback, id callbackd.DeliveryID) error {
	done, stop := c.Dispatcher.Watch(id)
	defer stop()
	d, err := c.Store.Delivery(req.Context(), cb.Key, id, 0) // it may have ended before the watch began
	if err != nil || d.State != callbackd.Pending {
		return err
	}
	timeout := time.NewTimer(min(cb.Policy.WithDefaults().Timeout+time.Second, maxTestWait))
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
	case <-c.closing:
	case <-req.Context().Done():
	}
	return nil
}

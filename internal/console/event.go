package console

import (
	"fmt"
	"net/http"
	"time"

	"callbackd"
	"callbackd/internal/view"
	"callbackd/wire"
)

// eventDelivery is an event and one callback: the delivery, or why there is none.
type eventDelivery struct {
	wire.Explanation
	Receiver string
	Action   *action
}

// DeliveryHref is the address of the page of the delivery; empty when there is none.
func (d eventDelivery) DeliveryHref() string {
	if d.Delivery == nil {
		return ""
	}
	return link("deliveries", *d.Delivery)
}

type eventPage struct {
	base
	Event      *callbackd.Event
	Data       string
	Session    string // the address of its page
	Deliveries []eventDelivery
}

// event shows an event, and for each callback why it was sent there or not.
func (c *Console) event(w http.ResponseWriter, req *userRequest) error {
	id, ok := callbackd.ParseEventID(req.PathValue("event"))
	if !ok {
		return errPageNotFound
	}
	s, err := c.scope(req)
	if err != nil {
		return err
	}
	ev, err := c.Store.Event(req.Context(), s.KeyID, id)
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return errPageNotFound
	}
	if err != nil {
		return err
	}
	p := &eventPage{
		base:    c.base(req, "sessions", "Event "+id.String()),
		Event:   ev,
		Data:    indented(string(ev.Data)),
		Session: s.sessionHref(ev.Key, ev.Session),
	}
	explanations, err := view.ExplainEvent(req.Context(), c.Store, c.Dispatcher.Diagnosis, ev.Key, id, 0, c.now())
	if err != nil {
		return err
	}
	rows := c.newRowBuilder(req)
	for _, e := range explanations {
		to, err := rows.receiverOf(callbackd.CallbackID(e.Callback))
		if err != nil {
			return err
		}
		p.Deliveries = append(p.Deliveries, eventDelivery{e, to.name(), actionFor(&e, to)})
	}
	return c.render(w, http.StatusOK, "event", p)
}

// actionFor returns the button that does what an explanation advises, or nil
// when there is none.
func actionFor(e *wire.Explanation, to *receiver) *action {
	if to.Deleted() || len(e.Reasons) == 0 {
		return nil
	}
	switch e.Reasons[0].Code {
	case view.NotRegistered, view.NotATarget, view.Filtered:
		return &action{"Replay to it", link("events", e.EventID, "replay"), map[string]string{"callback": fmt.Sprint(e.Callback)}}
	case view.IsPaused:
		a := resumeAction(to.ID)
		return &a
	case view.GaveUp, view.RefusedAddress, view.ByPerson:
		if e.Delivery != nil && e.State != string(callbackd.Pending) {
			return &action{Label: "Resend", Post: link("deliveries", *e.Delivery, "resend")}
		}
	}
	return nil
}

// replayEvent replays one event to one callback that it was not sent to.
func (c *Console) replayEvent(w http.ResponseWriter, req *userRequest) error {
	id, ok := callbackd.ParseEventID(req.PathValue("event"))
	callback, named := parseCallbackID(req.PostFormValue("callback"))
	if !ok || !named {
		return errPageNotFound
	}
	cb, err := c.readableCallback(req, callback)
	if err != nil {
		return err
	}
	ev, err := c.Store.Event(req.Context(), cb.Key, id)
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return errPageNotFound
	}
	if err != nil {
		return err
	}
	r, err := c.Store.CreateReplay(req.Context(), callbackd.Replay{
		Key: cb.Key,
		Filter: callbackd.ReplayFilter{
			Type:    ev.Type,
			Session: ev.Session,
			Since:   id.Time(),
			Until:   id.Time().Add(time.Millisecond),
			Target:  cb.ID,
		},
		CreatedAt: c.now(),
	})
	if err != nil {
		return err
	}
	c.Dispatcher.ReplaysChanged()
	return redirect(w, req, link("replays", r.ID), "")
}

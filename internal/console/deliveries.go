package console

import (
	"net/http"
	"slices"
	"strings"

	"callbackd"
	"callbackd/internal/request"
	"callbackd/internal/store"
)

// deliveryFields are the fields of the filter of deliveries.
var deliveryFields = []string{"state", "event", "callback", "session", "since", "until", "status", "fault", "key"}

// states are the states of a delivery.
var states = []callbackd.State{callbackd.Pending, callbackd.Delivered, callbackd.Failed, callbackd.Canceled, callbackd.Expired}

// readDeliveryQuery reads the filter of deliveries and notes its errors.
func readDeliveryQuery(t typed, key callbackd.KeyID, errs formErrors) store.DeliveryQuery {
	q := store.DeliveryQuery{Key: key, Limit: pageRows}
	t.read(errs,
		request.Choice("state", &q.State, states),
		request.EventType("event", &q.Type),
		request.CallbackID("callback", &q.Callback),
		sessionKey(&q.Session),
		request.Time("since", &q.Since),
		request.Time("until", &q.Until),
		request.Status("status", &q.Status),
		request.Choice("fault", &q.Fault, callbackd.Faults),
	)
	return q
}

// tab is a link to another view of a page.
type tab struct {
	Label, Href string
	Current     bool
}

type deliveriesPage struct {
	base
	scope
	list
	F         typed
	Filtered  int // fields of the filter that are filled in
	Tabs      []tab
	Callbacks []*callbackd.Callback
	Faults    []callbackd.Fault
	Rows      []deliveryRow
	LiveURL   string
	CancelURL string // empty when the filter has more than a cancellation
}

func (c *Console) deliveries(w http.ResponseWriter, req *userRequest) error {
	s, err := c.scope(req)
	if err != nil {
		return err
	}
	params := req.URL.Query()
	f := readTyped(params, deliveryFields...)
	p := &deliveriesPage{
		base:     c.base(req, "deliveries", "Deliveries"),
		scope:    s,
		list:     newList(link("deliveries"), f.values()),
		F:        f,
		Filtered: len(f.with("state", "").with("key", "")),
		Tabs:     stateTabs(f),
		Faults:   callbackd.Faults,
		LiveURL:  withValues(link("deliveries", "live"), f.values()),

		CancelURL: cancelLink(f),
	}
	if p.Callbacks, err = c.callbackChoices(req, s.KeyID, f); err != nil {
		return err
	}
	q := readDeliveryQuery(f, s.KeyID, p.Errors)
	p.Errors.add("", readCursor(&p.list, params, &q.After, readDeliveryCursor))
	p.refreshFirst(&p.list, 5)
	if len(p.Errors) > 0 {
		return c.render(w, http.StatusBadRequest, "deliveries", p)
	}
	page, err := c.Store.ListDeliveries(req.Context(), q)
	if err != nil {
		return err
	}
	p.Rows, err = c.newRowBuilder(req).rows(page.Deliveries)
	if err != nil {
		return err
	}
	if page.Next != (callbackd.DeliveryID{}) {
		p.setNext(page.Next.String())
	}
	return c.render(w, http.StatusOK, "deliveries", p)
}

// stateTabs are the tabs of the list of deliveries.
func stateTabs(f typed) []tab {
	tabs := []tab{{"All", withValues(link("deliveries"), f.with("state", "").values()), f["state"] == ""}}
	for _, state := range states {
		s := string(state)
		label := strings.ToUpper(s[:1]) + s[1:]
		tabs = append(tabs, tab{label, withValues(link("deliveries"), f.with("state", s).values()), f["state"] == s})
	}
	return tabs
}

// maxChoices bounds how many callbacks a form offers.
const maxChoices = 200

// callbackChoices returns the callbacks that a form offers. No list of callbacks has those
// that are for one session. So those of the form's session are added, and any that its fields
// name already.
func (c *Console) callbackChoices(req *userRequest, key callbackd.KeyID, f typed) ([]*callbackd.Callback, error) {
	page, err := c.Store.ListCallbacks(req.Context(), store.CallbackQuery{Key: key, Limit: maxChoices})
	if err != nil {
		return nil, err
	}
	more := []*callbackd.Callback{}
	if f["session"] != "" {
		own, err := c.Store.ListCallbacks(req.Context(), store.CallbackQuery{Key: key, Session: f["session"]})
		if err != nil {
			return nil, err
		}
		more = own.Callbacks
	}
	for _, field := range []string{"callback", "target"} {
		id, ok := parseCallbackID(f[field])
		if !ok {
			continue
		}
		cb, err := c.readableCallback(req, id)
		if err == errPageNotFound || err == nil && key != store.AllKeys && cb.Key != key {
			continue
		}
		if err != nil {
			return nil, err
		}
		more = append(more, cb)
	}
	for _, cb := range more {
		if !slices.ContainsFunc(page.Callbacks, func(known *callbackd.Callback) bool { return known.ID == cb.ID }) {
			page.Callbacks = append(page.Callbacks, cb)
		}
	}
	return page.Callbacks, nil
}

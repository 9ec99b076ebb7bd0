package console

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// deliveryFilter is what the list is asked for, as a person wrote it.
type deliveryFilter struct {
	State, Event, Callback, Session, Since, Until, Status, Fault string
}

func readFilter(q url.Values) deliveryFilter {
	get := func(name string) string { return field(q.Get(name)) }
	return deliveryFilter{get("state"), get("event"), get("callback"), get("session"), get("since"), get("until"), get("status"), get("fault")}
}

// field is one field of a form as a person wrote it, with nothing hidden in it.
func field(s string) string { return clean(strings.TrimSpace(s)) }

// values writes the filter as a query again.
func (f deliveryFilter) values(chosen string) url.Values {
	q := url.Values{}
	for name, v := range map[string]string{"state": f.State, "event": f.Event, "callback": f.Callback, "session": f.Session, "since": f.Since, "until": f.Until, "status": f.Status, "fault": f.Fault, "key": chosen} {
		if v != "" {
			q.Set(name, v)
		}
	}
	return q
}

// count is how many members narrow the list, the state aside: it has tabs.
func (f deliveryFilter) count() int {
	n := 0
	for _, v := range []string{f.Event, f.Callback, f.Session, f.Since, f.Until, f.Status, f.Fault} {
		if v != "" {
			n++
		}
	}
	return n
}

// Forms of a time: a browser's field, and what people paste.
var timeForms = []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.RFC3339, "2006-01-02 15:04:05", "2006-01-02"}

func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, form := range timeForms {
		if t, err := time.Parse(form, s); err == nil && t.Year() >= 1970 && t.Year() < 10000 {
			return t.UTC(), nil
		}
	}
	return time.Time{}, callbackd.Errorf(callbackd.KindInvalid, "%q is not a time; write 2026-01-02T15:04 (UTC).", clip(s, 40))
}

const pageRows = 50

// query turns the filter into the store's, and notes all that is wrong in it.
func (f deliveryFilter) query(key callbackd.KeyID, w wrong) (q store.DeliveryQuery) {
	invalid := func(name, format string, args ...any) {
		w.add(name, callbackd.Errorf(callbackd.KindInvalid, format, args...))
	}
	q = store.DeliveryQuery{Key: key, State: callbackd.State(f.State), Type: callbackd.EventType(f.Event), Session: f.Session, Fault: callbackd.Fault(f.Fault), Limit: pageRows}
	if q.State != "" && !q.State.Valid() {
		invalid("", "A state is pending, delivered, failed or canceled.")
	}
	if q.Type != "" && !q.Type.Valid() {
		invalid("event", "%q is no event.", clip(f.Event, 40))
	}
	q.Callback = readCallback(f.Callback, "callback", w)
	var err error
	if f.Status != "" {
		q.Status, err = readStatus(f.Status)
		w.add("status", err)
	}
	if q.Fault != "" && !slices.Contains(callbackd.Faults, q.Fault) {
		invalid("fault", "%q is no kind of error.", clip(f.Fault, 40))
	}
	q.Since, err = parseTime(f.Since)
	w.add("since", err)
	q.Until, err = parseTime(f.Until)
	w.add("until", err)
	return q
}

// readCallback reads a callback's number from the field called name; empty is 0.
func readCallback(s, name string, w wrong) callbackd.CallbackID {
	if s == "" {
		return 0
	}
	no, err := strconv.ParseInt(s, 10, 64)
	if err != nil || no < 1 {
		w.add(name, callbackd.Errorf(callbackd.KindInvalid, "%q is no callback.", clip(s, 40)))
		return 0
	}
	return callbackd.CallbackID(no)
}

type tab struct {
	Label, Href string
	On          bool
}

type deliveriesPage struct {
	base
	scope
	F           deliveryFilter
	Filtered    int
	Tabs        []tab
	Callbacks   []*callbackd.Callback
	Faults      []callbackd.Fault
	Rows        []owed
	First, Next string
	LiveURL     string
}

func (c *Console) deliveries(w http.ResponseWriter, v *visit) error {
	s, err := c.scope(v)
	if err != nil {
		return err
	}
	f := readFilter(v.URL.Query())
	p := &deliveriesPage{base: c.base(v, "deliveries", "Deliveries"), scope: s, F: f, Filtered: f.count(), Faults: callbackd.Faults, LiveURL: withValues(link("deliveries", "live"), f.values(s.Chosen))}
	for _, state := range []callbackd.State{"", callbackd.Pending, callbackd.Delivered, callbackd.Failed, callbackd.Canceled} {
		g := f
		g.State = string(state)
		label := "All"
		if state != "" {
			label = strings.ToUpper(string(state[:1])) + string(state[1:])
		}
		p.Tabs = append(p.Tabs, tab{label, withValues(link("deliveries"), g.values(s.Chosen)), f.State == g.State})
	}
	if p.Callbacks, err = c.choices(v, s); err != nil {
		return err
	}
	p.Wrong = wrong{}
	q := f.query(s.No, p.Wrong)
	cursor := v.URL.Query().Get("after")
	if cursor != "" {
		q.After, err = parseCursor(cursor)
		p.Wrong.add("", err)
	}
	if len(p.Wrong) > 0 {
		return c.render(w, http.StatusBadRequest, "deliveries", p)
	}
	if cursor == "" {
		p.Refresh = 5
	}
	page, err := c.listDeliveries(v, s, q)
	if err != nil {
		return err
	}
	why := c.newWhy(v)
	for _, d := range page.Deliveries {
		one, err := why.owed(d)
		if err != nil {
			return err
		}
		p.Rows = append(p.Rows, one)
	}
	if cursor != "" {
		p.First = withValues(link("deliveries"), f.values(s.Chosen))
	}
	if page.Next != (callbackd.DeliveryID{}) {
		next := f.values(s.Chosen)
		next.Set("after", page.Next.String())
		p.Next = withValues(link("deliveries"), next)
	}
	return c.render(w, http.StatusOK, "deliveries", p)
}

// maxChoices bounds the callbacks that a form offers.
const maxChoices = 200

// choices is the callbacks that a filter offers.
func (c *Console) choices(v *visit, s scope) (out []*callbackd.Callback, err error) {
	for _, key := range s.all() {
		page, err := c.Store.ListCallbacks(v.Context(), store.CallbackQuery{Key: key})
		if err != nil {
			return nil, err
		}
		out = append(out, page.Callbacks...)
		if len(out) >= maxChoices {
			return out[:maxChoices], nil
		}
	}
	return out, nil
}

// listDeliveries merges the pages of all keys in the scope.
func (c *Console) listDeliveries(v *visit, s scope, q store.DeliveryQuery) (store.DeliveryPage, error) {
	var out store.DeliveryPage
	var floor callbackd.DeliveryID
	for _, key := range s.all() {
		q.Key = key
		page, err := c.Store.ListDeliveries(v.Context(), q)
		if err != nil {
			return out, err
		}
		out.Deliveries = append(out.Deliveries, page.Deliveries...)
		if older(floor, page.Next) {
			floor = page.Next
		}
	}
	slices.SortFunc(out.Deliveries, func(a, b store.DeliveryView) int {
		switch {
		case older(a.ID, b.ID):
			return 1
		case older(b.ID, a.ID):
			return -1
		}
		return 0
	})
	// Below the floor a key may have more than it gave.
	for i, d := range out.Deliveries {
		if older(d.ID, floor) || i == q.Limit {
			out.Deliveries = out.Deliveries[:i]
			break
		}
	}
	out.Next = floor
	if n := len(out.Deliveries); n == q.Limit && n > 0 && older(floor, out.Deliveries[n-1].ID) {
		out.Next = out.Deliveries[n-1].ID
	}
	return out, nil
}

// older tells whether a is further down the list than b.
func older(a, b callbackd.DeliveryID) bool {
	return a.Event < b.Event || a.Event == b.Event && a.Callback < b.Callback
}

// parseCursor also reads the cursor "everything of that event is done", which
// names callback 0.
func parseCursor(s string) (callbackd.DeliveryID, error) {
	if rest, ok := strings.CutSuffix(s, "-0"); ok {
		if id, ok := callbackd.ParseDeliveryID(rest + "-1"); ok && id.Event > 0 {
			return callbackd.DeliveryID{Event: id.Event}, nil
		}
	}
	id, ok := callbackd.ParseDeliveryID(s)
	if !ok || id.Event == 0 {
		return id, callbackd.Errorf(callbackd.KindInvalid, "This is not a place in the list; begin at its top.")
	}
	return id, nil
}

package storetest

import (
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var listTests = map[string]func(*suite){
	"EventsInPages":                   (*suite).eventPages,
	"EventsOfASessionAndTime":         (*suite).eventsBySession,
	"DeliveriesInPages":               (*suite).deliveryPages,
	"ListsByState":                    (*suite).listsByState,
	"PagesEndBySize":                  (*suite).pagesEndBySize,
	"DeletedCallbacksAreListed":       (*suite).deletedAreListed,
	"SessionEventsOfDeletedCallbacks": (*suite).deletedInSession,
}

// thirty publishes an event a second in three sessions, and one of another
// key.
func (s *suite) thirty() (evs []*callbackd.Event) {
	s.Helper()
	start := s.at
	for i := range 30 {
		s.at = start.Add(time.Duration(i) * time.Second)
		evs = append(evs, s.publish(s.key, ev1, fmt.Sprint("S", i%3))...)
	}
	s.publish(s.newKey("k2"), ev1, "S0")
	return evs
}

func eventIDs(evs []*callbackd.Event) (ids []callbackd.EventID) {
	for _, ev := range evs {
		ids = append(ids, ev.ID)
	}
	return ids
}

func (s *suite) eventPages() {
	evs := s.thirty()
	var got, want []callbackd.EventID
	for i := range evs {
		want = append(want, evs[len(evs)-1-i].ID)
	}
	q := store.EventQuery{Key: s.key.ID, Limit: 7}
	for {
		page, err := s.ListEvents(s.ctx(), q)
		s.must(err)
		got = append(got, eventIDs(page.Events)...)
		if page.Next == 0 {
			break
		}
		q.After = page.Next
		s.publish(s.key, ev1, "S9") // newer events must not shift the pages
	}
	s.equal("all events, newest first", got, want)
}

func (s *suite) eventsBySession() {
	start := s.at
	evs := s.thirty()
	page, err := s.ListEvents(s.ctx(), store.EventQuery{Key: s.key.ID, Session: "S1", Since: start.Add(4 * time.Second), Until: start.Add(10 * time.Second), Limit: 50})
	s.must(err)
	s.equal("events of the session within the time", eventIDs(page.Events), []callbackd.EventID{evs[7].ID, evs[4].ID})
}

// allDeliveries reads all pages of a list of deliveries.
func (s *suite) allDeliveries(q store.DeliveryQuery) (all []store.DeliveryView) {
	s.Helper()
	for {
		page, err := s.ListDeliveries(s.ctx(), q)
		s.must(err)
		all = append(all, page.Deliveries...)
		if page.Next == (callbackd.DeliveryID{}) {
			return all
		}
		q.After = page.Next
	}
}

func (s *suite) deliveryPages() {
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev1, "b")
	evs := s.thirty()
	var got, want []callbackd.DeliveryID
	for _, d := range s.allDeliveries(store.DeliveryQuery{Key: s.key.ID, Session: "S0", Limit: 3}) {
		got = append(got, d.ID)
	}
	for i := 27; i >= 0; i -= 3 {
		want = append(want, callbackd.DeliveryID{Event: evs[i].ID, Callback: b.ID}, callbackd.DeliveryID{Event: evs[i].ID, Callback: a.ID})
	}
	s.equal("deliveries by event, then by callback, newest first", got, want)
}

func (s *suite) listsByState() {
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev1, "b")
	for range 300 / 10 {
		s.publish(s.key, ev1, "S0", "S1", "S2", "S3", "S4", "S5", "S6", "S0", "S1", "S2")
	}
	want := map[callbackd.State]map[callbackd.DeliveryID]int{callbackd.Delivered: {}, callbackd.Failed: {}, callbackd.Pending: {}}
	for _, cb := range []*callbackd.Callback{a, b} {
		ds := s.fresh(cb.ID)
		stateOf := func(i int) callbackd.State {
			return []callbackd.State{callbackd.Delivered, callbackd.Failed, callbackd.Pending}[i%3]
		}
		s.atOnce(ds, func(i int, d callbackd.Delivery) {
			if state := stateOf(i); state != callbackd.Pending {
				s.outcome(d, state, time.Time{}, time.Time{})
			}
		})
		for i, d := range ds {
			want[stateOf(i)][d.ID] = 1
		}
	}
	for state, times := range want {
		got := map[callbackd.DeliveryID]int{}
		var last callbackd.DeliveryID
		for _, d := range s.allDeliveries(store.DeliveryQuery{Key: s.key.ID, State: state, Limit: 17}) {
			got[d.ID]++
			s.equal("the state in the list of "+string(state), d.State, state)
			if last.Event != 0 && last.Event < d.ID.Event {
				s.Fatalf("the list of %s has %s after %s; want the newest first", state, d.ID, last)
			}
			last = d.ID
		}
		s.equal("how often each delivery is listed as "+string(state), got, times)
	}
}

func (s *suite) otherKeys() {
	s.newCallback(s.key, ev1, "default")
	ev := s.publish(s.key, ev1, "S")[0]
	id := callbackd.DeliveryID{Event: ev.ID, Callback: ev.Targets[0]}
	other := s.newKey("k2").ID
	for what, err := range map[string]error{
		"Event":          second(s.Event(s.ctx(), other, ev.ID)),
		"Delivery":       second(s.Delivery(s.ctx(), other, id, 0)),
		"Resend":         second(s.Resend(s.ctx(), other, id, s.at)),
		"Callback":       second(store.CallbackNamed(s.ctx(), s, other, ev1, "default")),
		"DeleteCallback": second(s.DeleteCallback(s.ctx(), other, ev1, "default", s.at)),
	} {
		if callbackd.KindOf(err) != callbackd.KindNotFound {
			s.Errorf("%s of another key's object: %v, want NotFound", what, err)
		}
	}
	evs, err := s.ListEvents(s.ctx(), store.EventQuery{Key: other, Session: "S", Limit: 10})
	s.must(err)
	s.equal("events of the other key", eventIDs(evs.Events), []callbackd.EventID(nil))
	for _, state := range []callbackd.State{"", callbackd.Pending, callbackd.Failed} {
		q := store.DeliveryQuery{Key: other, Callback: id.Callback, State: state, Limit: 10}
		s.equal("deliveries of the other key", s.allDeliveries(q), []store.DeliveryView(nil))
	}
}

// someDeleted creates three callbacks with a delivery of one event each: one
// that failed and one that will be canceled, which are deleted, and one that
// waits. Thirty more are deleted that had no delivery.
func (s *suite) someDeleted() (failed, canceled, waiting *callbackd.Callback) {
	s.Helper()
	failed, canceled, waiting = s.newCallback(s.key, ev1, "failed"), s.newCallback(s.key, ev1, "canceled"), s.newCallback(s.key, ev1, "waiting")
	s.publish(s.key, ev1, "A")
	s.outcome(s.fresh(failed.ID)[0], callbackd.Failed, time.Time{}, time.Time{})
	for _, name := range []string{"failed", "canceled"} {
		s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, ev1, name, s.at)))
	}
	for range 30 {
		s.newCallback(s.key, ev2, "empty")
		s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, ev2, "empty", s.at)))
	}
	return failed, canceled, waiting
}

// deletedAreListed shows that every list has the deliveries of deleted
// callbacks, before and after they are finalized, and names the callbacks.
func (s *suite) deletedAreListed() {
	failed, canceled, waiting := s.someDeleted()
	for _, when := range []string{"before", "after"} {
		for _, c := range []struct {
			q    store.DeliveryQuery
			want []*callbackd.Callback
		}{
			{store.DeliveryQuery{}, []*callbackd.Callback{waiting, canceled, failed}},
			{store.DeliveryQuery{State: callbackd.Failed}, []*callbackd.Callback{failed}},
			{store.DeliveryQuery{State: callbackd.Canceled}, []*callbackd.Callback{canceled}},
			{store.DeliveryQuery{State: callbackd.Pending}, []*callbackd.Callback{waiting}},
			{store.DeliveryQuery{Status: 500}, []*callbackd.Callback{failed}},
		} {
			c.q.Key, c.q.Limit = s.key.ID, 10
			var got []*callbackd.Callback
			for _, d := range s.allDeliveries(c.q) {
				got = append(got, d.Callback)
			}
			s.equal(fmt.Sprintf("%s they are finalized: callbacks of deliveries of %+v", when, c.q), listedCallbacks(got), listedCallbacks(c.want))
		}
		s.finalize(map[string]int{"before": 1, "after": 0}[when])
	}
	for _, d := range s.allDeliveries(store.DeliveryQuery{Key: s.key.ID, Limit: 10}) {
		s.equal("the secrets in the list", d.Callback.Secrets, []callbackd.SigningSecret(nil))
		s.equal("the headers in the list", d.Callback.Headers, []callbackd.Header(nil))
		s.equal("whether "+d.Callback.Name+" is deleted", d.Callback.Deleted(), d.Callback.ID != waiting.ID)
	}
}

// listedCallbacks returns the callbacks in lists of deliveries.
func listedCallbacks(cbs []*callbackd.Callback) (out []callbackd.Callback) {
	for _, cb := range cbs {
		out = append(out, callbackd.Callback{ID: cb.ID, Name: cb.Name, URL: cb.URL})
	}
	return out
}

func (s *suite) deletedInSession() {
	s.someDeleted()
	evs := s.eventsOfSession(store.SessionEventQuery{Key: s.key.ID, Session: "A", Limit: 10})
	s.equal("events of the session", sequences(evs), []int64{1})
	s.equal("deliveries of its event", len(evs[0].Deliveries), 3)
}

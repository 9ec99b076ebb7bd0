package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var allKeysTests = map[string]func(*suite){
	"AllKeysEvents": (*suite).allKeysEvents, "AllKeysDeliveries": (*suite).allKeysDeliveries, "AllKeysManyCallbacks": (*suite).allKeysManyCallbacks,
	"AllKeysLogs": (*suite).allKeysLogs, "AllKeysLogsCutByTheScanLimit": (*suite).allKeysLogsCut, "AllKeysDeliveriesCutByTheScanLimit": (*suite).allKeysDeliveriesCut,
	"AllKeysSessions": (*suite).allKeysSessions, "AllKeysSessionsByName": (*suite).allKeysSessionsByName, "AllKeysLatestEvents": (*suite).allKeysLatest,
	"AllKeysCallbacks": (*suite).allKeysCallbacks, "AllKeysReplays": (*suite).allKeysReplays, "AllKeysObjects": (*suite).allKeysObjects,
}

// threeKeys is the suite's key and two more.
func (s *suite) threeKeys() []callbackd.Key {
	s.Helper()
	return []callbackd.Key{s.key, s.newKey("k2"), s.newKey("k3")}
}

// walk reads a list from page to page, and fails when it does not end.
func walk[T, C comparable](s *suite, page func(after C) ([]T, C)) (all []T) {
	s.Helper()
	var after, end C
	for range 2000 {
		items, next := page(after)
		all = append(all, items...)
		if next == end {
			return all
		}
		after = next
	}
	s.Fatal("the list does not end")
	return nil
}

func (s *suite) listEvents(q store.EventQuery) []callbackd.EventID {
	s.Helper()
	return walk(s, func(after callbackd.EventID) (ids []callbackd.EventID, _ callbackd.EventID) {
		q.After = after
		page, err := s.ListEvents(s.ctx(), q)
		s.must(err)
		for _, ev := range page.Events {
			ids = append(ids, ev.ID)
		}
		return ids, page.Next
	})
}

func (s *suite) listDeliveries(q store.DeliveryQuery) []callbackd.DeliveryID {
	s.Helper()
	return walk(s, func(after callbackd.DeliveryID) (ids []callbackd.DeliveryID, _ callbackd.DeliveryID) {
		q.After = after
		page, err := s.ListDeliveries(s.ctx(), q)
		s.must(err)
		for _, d := range page.Deliveries {
			ids = append(ids, d.ID)
			if q.State != "" {
				s.equal("the state of "+d.ID.String(), d.State, q.State)
			}
			if d.Callback == nil {
				s.Fatalf("%s is listed without its callback", d.ID)
			}
			s.equal("the key of the callback of "+d.ID.String(), d.Callback.Key, d.Event.Key)
		}
		return ids, page.Next
	})
}

type logPlace struct {
	id  store.LogID
	key callbackd.KeyID
}

func (s *suite) listLogs(q store.LogQuery) []logPlace {
	s.Helper()
	return walk(s, func(after store.LogCursor) (places []logPlace, _ store.LogCursor) {
		q.After = after
		page, err := s.ListLogs(s.ctx(), q)
		s.must(err)
		for _, e := range page.Entries {
			places = append(places, logPlace{e.ID, e.Key})
		}
		return places, page.Next
	})
}

// sameList fails unless got is want, in order.
func sameList[T comparable](s *suite, what string, got, want []T) {
	s.Helper()
	if !slices.Equal(got, want) {
		s.Errorf("%s: listed %v, want %v", what, got, want)
	}
	if len(want) == 0 {
		s.Errorf("%s: the test expects an empty list, so it would prove nothing", what)
	}
}

func (s *suite) allKeysEvents() {
	keys := s.threeKeys()
	for i := range 60 {
		s.publish(keys[i%3], []callbackd.EventType{ev1, ev2}[i%2], fmt.Sprint("S", i%4))
		if i == 30 {
			s.reopen()
		}
	}
	for _, q := range []store.EventQuery{{}, {Session: "S1"}, {Type: ev2}, {Session: "S1", Type: ev2}} {
		q.Limit = 7
		var want []callbackd.EventID
		for _, k := range keys {
			q.Key = k.ID
			want = append(want, s.listEvents(q)...)
		}
		slices.Sort(want)
		slices.Reverse(want)
		q.Key = store.AllKeys
		if q.Session == "S1" && q.Type == ev2 { // S1 has odd events only, which are of that type
			q.Type = ""
		}
		sameList(s, fmt.Sprintf("events of %+v", q), s.listEvents(q), want)
	}
}

// someOfEach makes deliveries in every state to the callbacks.
func (s *suite) someOfEach(keys []callbackd.Key, cbs []*callbackd.Callback) {
	s.Helper()
	for i := range 24 {
		for _, k := range keys {
			s.publish(k, ev1, fmt.Sprint("S", i%3))
		}
	}
	for _, cb := range cbs {
		s.atOnce(s.fresh(cb.ID), func(i int, d callbackd.Delivery) {
			switch i % 4 {
			case 0:
				s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
			case 1:
				s.failed(d, callbackd.Failed, callbackd.FaultStatus, 500+i%2, time.Time{})
			case 2:
				s.failed(d, callbackd.Pending, callbackd.FaultTimeout, 0, s.at)
			}
		})
	}
}

// sameDeliveries compares lists over all keys with those of each key.
func (s *suite) sameDeliveries(keys []callbackd.Key, qs ...store.DeliveryQuery) {
	s.Helper()
	for _, q := range qs {
		var want []callbackd.DeliveryID
		for _, k := range keys {
			q.Key, q.Limit = k.ID, store.MaxPage
			want = append(want, s.listDeliveries(q)...)
		}
		slices.SortFunc(want, newestDelivery)
		for _, q.Limit = range []int{5, store.MaxPage} {
			q.Key = store.AllKeys
			sameList(s, fmt.Sprintf("deliveries of %+v", q), s.listDeliveries(q), want)
		}
	}
}

func (s *suite) allKeysDeliveries() {
	keys := s.threeKeys()
	var cbs []*callbackd.Callback
	for _, k := range keys {
		cbs = append(cbs, s.newCallback(k, ev1, "a"), s.newCallback(k, ev1, "b"))
	}
	s.someOfEach(keys, cbs)
	_, err := s.DeleteCallback(s.ctx(), keys[0].ID, ev1, "b", s.at)
	s.must(err)
	s.must(s.RevokeKey(s.ctx(), keys[2].APIKey, s.at))
	qs := []store.DeliveryQuery{{}, {Session: "S1"}, {Type: ev1}, {Status: 2}, {Status: 5}, {Status: 501}, {Fault: callbackd.FaultTimeout}, {Fault: callbackd.FaultTimeout, State: callbackd.Pending}}
	for _, state := range []callbackd.State{callbackd.Pending, callbackd.Delivered, callbackd.Failed, callbackd.Canceled} {
		qs = append(qs, store.DeliveryQuery{State: state}, store.DeliveryQuery{State: state, Session: "S1"})
	}
	s.sameDeliveries(keys, qs...)
	_, err = s.FinalizeCanceled(s.ctx(), s.at, 1000)
	s.must(err)
	s.reopen()
	s.sameDeliveries(keys, qs...)
	one := store.DeliveryQuery{Callback: cbs[3].ID, State: callbackd.Failed, Limit: 4}
	ofKey := one
	ofKey.Key = keys[1].ID
	sameList(s, "deliveries of one callback", s.listDeliveries(one), s.listDeliveries(ofKey))
}

// allKeysManyCallbacks lists deliveries of more callbacks than a page has rows.
func (s *suite) allKeysManyCallbacks() {
	keys := s.threeKeys()
	var cbs []*callbackd.Callback
	for i := range 60 {
		cbs = append(cbs, s.newCallback(keys[i%3], ev1, fmt.Sprint(i)))
	}
	for i := range 3 {
		for _, k := range keys {
			s.publish(k, ev1, fmt.Sprint("S", i))
		}
	}
	for i, cb := range cbs {
		s.atOnce(s.fresh(cb.ID), func(j int, d callbackd.Delivery) {
			switch (i + j) % 3 {
			case 0:
				s.failed(d, callbackd.Failed, callbackd.FaultStatus, 500, time.Time{})
			case 1:
				s.failed(d, callbackd.Pending, callbackd.FaultTLS, 0, s.at)
			}
		})
	}
	s.sameDeliveries(keys, store.DeliveryQuery{State: callbackd.Pending}, store.DeliveryQuery{State: callbackd.Failed}, store.DeliveryQuery{Status: 5})
}

// allKeysDeliveriesCut shows that the page after one that ended at the scan limit
// continues there. It loses and repeats no delivery of any key.
func (s *suite) allKeysDeliveriesCut() {
	keys := s.threeKeys()
	first, last := s.newCallback(keys[0], ev1, "a"), s.newCallback(keys[2], ev1, "a")
	s.publish(keys[0], ev1, "S")
	s.outcome(s.fresh(first.ID)[0], callbackd.Delivered, time.Time{}, time.Time{})
	for range 25 { // events without a callback
		s.publish(keys[1], ev1, slices.Repeat([]string{"S"}, 100)...)
	}
	s.publish(keys[2], ev1, "S")
	s.outcome(s.fresh(last.ID)[0], callbackd.Delivered, time.Time{}, time.Time{})
	s.sameDeliveries(keys, store.DeliveryQuery{State: callbackd.Delivered}, store.DeliveryQuery{State: callbackd.Delivered, Session: "S"})
}

func (s *suite) allKeysLogs() {
	keys := s.threeKeys()
	var entries []store.LogEntry
	for i := range 30 { // several of the same millisecond
		entries = append(entries, store.LogEntry{Key: keys[i%3].ID, At: s.at.Add(time.Duration(i/6) * time.Millisecond).UTC(), Method: []string{"GET", "PUT"}[i%2], Path: "/v1/events", Status: 200 + i%4})
	}
	s.must(s.AppendLogs(s.ctx(), entries))
	s.reopen()
	s.sameLogs(keys, store.LogQuery{}, store.LogQuery{Method: "PUT"}, store.LogQuery{Status: 203}, store.LogQuery{Since: s.at.Add(2 * time.Millisecond), Until: s.at.Add(4 * time.Millisecond)})
}

// sameLogs compares lists over all keys with those of each key.
func (s *suite) sameLogs(keys []callbackd.Key, qs ...store.LogQuery) {
	s.Helper()
	for _, q := range qs {
		q.Limit = 4
		var want []logPlace
		for _, k := range keys {
			q.Key = k.ID
			want = append(want, s.listLogs(q)...)
		}
		slices.SortFunc(want, func(a, b logPlace) int { return cmp.Or(cmp.Compare(b.id, a.id), cmp.Compare(b.key, a.key)) })
		q.Key = store.AllKeys
		sameList(s, fmt.Sprintf("calls of %+v", q), s.listLogs(q), want)
	}
}

// allKeysLogsCut lists calls when those of one key, which do not match, fill the scan
// limit, and the matching calls of other keys are older.
func (s *suite) allKeysLogsCut() {
	keys := s.threeKeys()
	call := func(key callbackd.Key, after time.Duration, status int) store.LogEntry {
		return store.LogEntry{Key: key.ID, At: s.at.Add(after).UTC(), Method: "GET", Path: "/v1/events", Status: status}
	}
	s.must(s.AppendLogs(s.ctx(), []store.LogEntry{call(keys[0], 0, 500), call(keys[2], 0, 500)}))
	var entries []store.LogEntry
	for i := range store.MaxScan + 100 {
		entries = append(entries, call(keys[1], time.Duration(i)*time.Millisecond, 200))
	}
	s.must(s.AppendLogs(s.ctx(), append(entries, call(keys[0], time.Minute, 500))))
	s.sameLogs(keys, store.LogQuery{Status: 500})
}

func (s *suite) listSessions(q store.SessionQuery) []store.SessionID {
	s.Helper()
	return walk(s, func(after store.SessionCursor) (ids []store.SessionID, _ store.SessionCursor) {
		q.After = after
		page, err := s.ListSessions(s.ctx(), q)
		s.must(err)
		for _, x := range page.Sessions {
			ids = append(ids, store.SessionID{Key: x.Key, SessionKey: x.SessionKey})
		}
		return ids, page.Next
	})
}

func (s *suite) allKeysSessions() {
	keys := s.threeKeys()
	var made []*callbackd.Session
	for i := range 24 { // each key has one of the same name in the same millisecond
		made = append(made, s.newSession(keys[i%3], func(x *callbackd.Session) {
			x.SessionKey = fmt.Sprintf("ACM-%010d", i/3)
			x.CreatedAt = s.at.Add(time.Duration(i/6) * time.Second).UTC()
			x.Reference = fmt.Appendf(nil, `"Lead-%02d"`, i)
		}))
	}
	for i := 0; i < len(made); i += 5 {
		s.start(made[i])
	}
	slices.SortFunc(made, func(a, b *callbackd.Session) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.SessionKey, a.SessionKey), cmp.Compare(b.Key, a.Key))
	})
	for _, q := range []store.SessionQuery{{}, {Status: callbackd.StatusStarted}, {Text: "lead-1"}, {Since: s.at.Add(time.Second), Until: s.at.Add(3 * time.Second)}} {
		q.Limit = 5
		ofKeys := map[store.SessionID]bool{}
		for _, k := range keys {
			q.Key = k.ID
			for _, id := range s.listSessions(q) {
				ofKeys[id] = true
			}
		}
		var want []store.SessionID
		for _, x := range made {
			if id := (store.SessionID{Key: x.Key, SessionKey: x.SessionKey}); ofKeys[id] {
				want = append(want, id)
			}
		}
		q.Key = store.AllKeys
		sameList(s, fmt.Sprintf("sessions of %+v", q), s.listSessions(q), want)
	}
}

func (s *suite) allKeysSessionsByName() {
	const vin = "1FTEW1EP5NKD00001"
	keys := s.threeKeys()
	var ids []store.SessionID
	for i, k := range keys[:2] {
		x := s.newSession(k, func(x *callbackd.Session) {
			x.SessionKey, x.Vehicle.VIN, x.CreatedAt = "ACM-0000000001", vin, s.at.Add(-time.Duration(i)*time.Hour).UTC()
		})
		ids = append(ids, store.SessionID{Key: k.ID, SessionKey: x.SessionKey})
	}
	s.newSession(keys[2], nil)
	for _, q := range []store.SessionQuery{{VIN: vin}, {SessionKey: "ACM-0000000001"}} {
		q.Limit = 10
		sameList(s, fmt.Sprintf("sessions of %+v", q), s.listSessions(q), ids)
		q.Key = keys[1].ID
		sameList(s, fmt.Sprintf("sessions of %+v", q), s.listSessions(q), ids[1:])
	}
	if none := s.listSessions(store.SessionQuery{SessionKey: "ACM-000000000", Limit: 10}); len(none) != 0 {
		s.Errorf("a part of a session key finds %v", none)
	}
}

func (s *suite) allKeysLatest() {
	keys := s.threeKeys()
	s.publish(keys[0], ev1, "S", "S", "S")
	s.reopen()
	s.publish(keys[1], ev1, "S", "T")
	got, err := s.LatestEvents(s.ctx(), []store.SessionID{{Key: store.AllKeys, SessionKey: "S"}, {Key: keys[1].ID, SessionKey: "T"}, {Key: keys[2].ID, SessionKey: "T"}}, 2)
	s.must(err)
	events := map[store.SessionID]int{}
	for id, evs := range got {
		events[id] = len(evs)
	}
	want := map[store.SessionID]int{{Key: keys[0].ID, SessionKey: "S"}: 2, {Key: keys[1].ID, SessionKey: "S"}: 1, {Key: keys[1].ID, SessionKey: "T"}: 1}
	s.equal("how many events each session has", events, want)
}

func (s *suite) allKeysCallbacks() {
	keys := s.threeKeys()
	var want []callbackd.CallbackID
	for i, k := range keys {
		second, first := s.newCallback(k, ev2, "a"), s.newCallback(k, ev1, "b")
		if i != 1 {
			want = append(want, first.ID, second.ID)
		}
	}
	s.newCallback(keys[0], ev2, "gone")
	_, err := s.DeleteCallback(s.ctx(), keys[0].ID, ev2, "gone", s.at)
	s.must(err)
	s.must(s.RevokeKey(s.ctx(), keys[1].APIKey, s.at))
	for limit := range 5 {
		got := walk(s, func(after callbackd.CallbackID) (ids []callbackd.CallbackID, _ callbackd.CallbackID) {
			q := store.CallbackQuery{After: after, Limit: limit + 1}
			page, err := s.ListCallbacks(s.ctx(), q)
			s.must(err)
			for _, cb := range page.Callbacks {
				ids = append(ids, cb.ID)
			}
			health, err := s.ListHealth(s.ctx(), store.HealthQuery{CallbackQuery: q})
			s.must(err)
			var healthy []callbackd.CallbackID
			for _, h := range health.Callbacks {
				healthy = append(healthy, h.Callback.ID)
			}
			s.equal("callbacks with their health", healthy, ids)
			s.equal("the cursor of the list with health", health.Next, page.Next)
			return ids, page.Next
		})
		sameList(s, fmt.Sprintf("callbacks by %d", limit+1), got, want)
	}
}

func (s *suite) allKeysReplays() {
	keys := s.threeKeys()
	var want []callbackd.ReplayID
	for i := range 5 {
		k := keys[i%3]
		s.newCallback(k, ev1, fmt.Sprint(i))
		r, err := s.CreateReplay(s.ctx(), callbackd.Replay{Key: k.ID, CreatedAt: s.at.Add(time.Duration(i) * time.Second)})
		s.must(err)
		want = append(want, r.ID)
	}
	slices.Reverse(want)
	got := walk(s, func(after callbackd.ReplayID) (ids []callbackd.ReplayID, _ callbackd.ReplayID) {
		page, err := s.ListReplays(s.ctx(), store.ReplayQuery{Key: store.AllKeys, After: after, Limit: 2})
		s.must(err)
		for _, r := range page.Replays {
			ids = append(ids, r.ID)
		}
		return ids, page.Next
	})
	sameList(s, "replays", got, want)
	r, err := s.Replay(s.ctx(), store.AllKeys, want[0])
	s.must(err)
	s.equal("the replay", r.ID, want[0])
}

func (s *suite) allKeysObjects() {
	cb := s.newCallback(s.newKey("k2"), ev1, "a")
	id := callbackd.DeliveryID{Callback: cb.ID}
	k, err := s.KeyByID(s.ctx(), cb.Key)
	s.must(err)
	id.Event = s.publish(*k, ev1, "S")[0].ID
	ev, err := s.Event(s.ctx(), store.AllKeys, id.Event)
	s.must(err)
	s.equal("the event", ev.ID, id.Event)
	d, err := s.Delivery(s.ctx(), store.AllKeys, id, 0)
	s.must(err)
	s.equal("the delivery", d.ID, id)
}

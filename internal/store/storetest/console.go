package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// failed records an attempt that failed with an error.
func (s *suite) failed(d callbackd.Delivery, state callbackd.State, fault callbackd.Fault, status int, due time.Time) {
	s.Helper()
	o := result(d, state, s.at, due, time.Time{})
	o.Attempt.Fault, o.Attempt.Status, o.Attempt.Error = fault, status, "it failed"
	_, err := s.Record(s.ctx(), o)
	s.must(err)
}

// oldErrors: one error far back is on the first page, whatever failed and
// recovered since, and its last attempt comes with it.
func (s *suite) oldErrors() {
	cb := s.newCallback(s.key, ev1, "a")
	first := s.publish(s.key, ev1, "OLD")[0]
	s.failed(s.fresh(cb.ID)[0], callbackd.Failed, callbackd.FaultTLS, 0, time.Time{})
	const rounds, batch = 25, 120
	for i := range rounds {
		var sessions []string
		for j := range batch {
			sessions = append(sessions, fmt.Sprintf("S%d-%d", i, j))
		}
		s.publish(s.key, ev1, sessions...)
		for _, d := range s.fresh(cb.ID) {
			s.failed(d, callbackd.Pending, callbackd.FaultStatus, 503, s.at)
			if i%2 == 0 {
				d.Attempts = 1
				s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
			}
		}
	}
	for _, state := range []callbackd.State{"", callbackd.Failed} {
		page, err := s.ListDeliveries(s.ctx(), store.DeliveryQuery{Key: s.key.ID, Fault: callbackd.FaultTLS, State: state, Limit: 50})
		s.must(err)
		if len(page.Deliveries) != 1 || page.Next != (callbackd.DeliveryID{}) {
			s.Fatalf("state %q: %d deliveries, next %s", state, len(page.Deliveries), page.Next)
		}
		d := page.Deliveries[0]
		if d.ID.Event != first.ID || d.Last == nil || d.Last.Fault != callbackd.FaultTLS || d.Last.Error != "it failed" || d.Last.Number != 1 || d.Last.Body != nil {
			s.Errorf("state %q: %+v, last %+v", state, d, d.Last)
		}
	}
	page, err := s.ListDeliveries(s.ctx(), store.DeliveryQuery{Key: s.key.ID, Status: 503, State: callbackd.Failed, Limit: 50})
	s.must(err)
	if len(page.Deliveries) != 0 || page.Next != (callbackd.DeliveryID{}) {
		s.Errorf("503 and failed: %d, next %s", len(page.Deliveries), page.Next)
	}
	n := 0
	for q := (store.DeliveryQuery{Key: s.key.ID, Status: 5, Limit: store.MaxPage}); ; n++ {
		page, err := s.ListDeliveries(s.ctx(), q)
		s.must(err)
		if q.After = page.Next; q.After == (callbackd.DeliveryID{}) {
			n = n*store.MaxPage + len(page.Deliveries)
			break
		}
		if len(page.Deliveries) != store.MaxPage {
			s.Fatalf("page %d has %d", n, len(page.Deliveries))
		}
	}
	if want := rounds / 2 * batch; n != want {
		s.Errorf("%d wait after a 503, want %d", n, want)
	}
}

// lastErrors: whatever happens to deliveries, a list by error has those and
// only those whose last attempt ended with it; also over a restart, and after
// events were removed.
func (s *suite) lastErrors() {
	random := rand.New(rand.NewPCG(11, 7))
	cb, other := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev1, "b")
	type failure struct {
		fault  callbackd.Fault
		status int
	}
	kinds := []failure{{callbackd.FaultStatus, 500}, {callbackd.FaultStatus, 503}, {callbackd.FaultStatus, 404}, {callbackd.FaultTimeout, 0}, {callbackd.FaultShutdown, 0}, {callbackd.FaultProtocol, 200}}
	want := map[callbackd.DeliveryID]failure{}
	for round := range 40 {
		s.publish(s.key, ev1, fmt.Sprintf("S%d", round))
		for _, no := range []callbackd.CallbackID{cb.ID, other.ID} {
			waiting := s.fresh(no)
			scheduled, _, err := s.Due(s.ctx(), callbackd.DueRetries, no, s.at.Add(time.Hour), 100)
			s.must(err)
			for _, d := range append(waiting, scheduled...) {
				k := kinds[random.IntN(len(kinds))]
				switch random.IntN(4) {
				case 0:
					s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
					delete(want, d.ID)
				case 1:
					s.failed(d, callbackd.Failed, k.fault, k.status, time.Time{})
					want[d.ID] = k
				case 2:
					s.failed(d, callbackd.Pending, k.fault, k.status, s.at)
					want[d.ID] = k
				}
			}
		}
		for id := range want {
			if random.IntN(9) == 0 {
				_, err := s.Resend(s.ctx(), s.key.ID, id, s.at)
				s.must(err)
			}
		}
	}
	check := func(when string) {
		s.Helper()
		for _, k := range kinds {
			for _, state := range []callbackd.State{"", callbackd.Pending, callbackd.Failed, callbackd.Canceled} {
				for _, q := range []store.DeliveryQuery{{Fault: k.fault}, {Fault: k.fault, Status: k.status}, {Status: 5}, {Status: 404}} {
					if !q.OfAttempts() {
						continue
					}
					q.Key, q.State, q.Limit = s.key.ID, state, store.MaxPage
					page, err := s.ListDeliveries(s.ctx(), q)
					s.must(err)
					var got, fits []callbackd.DeliveryID
					for _, d := range page.Deliveries {
						got = append(got, d.ID)
					}
					for id, f := range want {
						d, err := s.Delivery(s.ctx(), s.key.ID, id, 0)
						s.must(err)
						if q.FitsAttempt(&callbackd.Attempt{Result: callbackd.Result{Fault: f.fault, Status: f.status}}) && (state == "" || d.State == state) {
							fits = append(fits, id)
						}
					}
					byID := func(a, b callbackd.DeliveryID) int { return int(a.Event-b.Event)<<8 + int(a.Callback-b.Callback) }
					slices.SortFunc(got, byID)
					slices.SortFunc(fits, byID)
					if !slices.Equal(got, fits) {
						s.Errorf("%s: %+v gives %v, want %v", when, q, got, fits)
					}
				}
			}
		}
	}
	check("at first")
	s.reopen()
	check("after a restart")
	_, err := s.DeleteCallback(s.ctx(), s.key.ID, ev1, "b", s.at)
	s.must(err)
	check("after a callback was deleted")
	_, err = s.FinalizeCanceled(s.ctx(), s.at, 1000)
	s.must(err)
	check("after what it was owed was canceled")
	for next, done := callbackd.EventID(0), false; !done; {
		next, _, done, err = s.Sweep(s.ctx(), s.at.Add(time.Hour), next, 100)
		s.must(err)
	}
	for id := range want {
		if _, err := s.Delivery(s.ctx(), s.key.ID, id, 0); callbackd.KindOf(err) == callbackd.KindNotFound {
			delete(want, id)
		}
	}
	check("after the sweep")
}

// backlogSince: a replay of an old event and a retry by hand wait since they
// were asked for, not since the event was accepted.
func (s *suite) backlogSince() {
	cb := s.newCallback(s.key, ev1, "a")
	old := s.at.Add(-72 * time.Hour)
	count := func(now time.Time) store.Backlog {
		s.Helper()
		b, err := s.CountPending(s.ctx(), cb.ID, store.PendingQuery{OverdueBefore: now.Add(-callbackd.OverdueAfter), Limit: 1000})
		s.must(err)
		hs := s.healthOf(s.key, now.Add(-callbackd.OverdueAfter))
		if hs[0].Backlog != b {
			s.Errorf("the health says %+v, the count %+v", hs[0].Backlog, b)
		}
		return b
	}
	evs, err := s.Accept(s.ctx(), store.Batch{Key: s.key.ID, At: old, Events: []store.NewEvent{{Type: ev1, Session: "S1", Data: []byte("{}")}, {Type: ev1, Session: "S2", Data: []byte("{}")}}})
	s.must(err)
	if got, want := count(old.Add(time.Hour)), (store.Backlog{Pending: 2, Overdue: 2, Since: evs[0].ID.Time()}); got != want {
		s.Errorf("accepted: %+v, want %+v", got, want)
	}
	for _, d := range s.fresh(cb.ID) {
		s.failed(d, callbackd.Failed, callbackd.FaultStatus, 500, time.Time{})
	}
	if got := count(s.at); got != (store.Backlog{}) {
		s.Errorf("ended: %+v", got)
	}
	id := callbackd.DeliveryID{Event: evs[0].ID, Callback: cb.ID}
	_, err = s.Resend(s.ctx(), s.key.ID, id, s.at)
	s.must(err)
	r, err := s.CreateReplay(s.ctx(), callbackd.Replay{Key: s.key.ID, Filter: callbackd.ReplayFilter{States: []callbackd.State{callbackd.Failed}}, CreatedAt: s.at})
	s.must(err)
	_, err = s.StepReplay(s.ctx(), r.ID, s.at)
	s.must(err)
	if got, want := count(s.at.Add(time.Second)), (store.Backlog{Pending: 2, Since: s.at.UTC()}); got != want {
		s.Errorf("sent again: %+v, want %+v", got, want)
	}
	scheduled, _, err := s.Due(s.ctx(), callbackd.DueRetries, cb.ID, s.at, 10)
	s.must(err)
	s.failed(scheduled[0], callbackd.Pending, callbackd.FaultStatus, 500, s.at.Add(5*time.Hour))
	if got, want := count(s.at.Add(time.Hour)), (store.Backlog{Pending: 2, Overdue: 2, Since: s.at.UTC()}); got != want {
		s.Errorf("after a failure: %+v, want %+v", got, want)
	}
	view, err := s.Delivery(s.ctx(), s.key.ID, id, 0)
	s.must(err)
	if view.Since.Before(s.at) {
		s.Errorf("the delivery waits since %v", view.Since)
	}
}

// latestEvents: what a session's newest events are does not depend on how many
// events of others came later.
func (s *suite) latestEvents() {
	first := s.publish(s.key, ev1, "S1", "S1", "S1", "S2")
	for range 30 {
		s.publish(s.key, ev2, "NOISE", "NOISE", "NOISE", "NOISE", "NOISE", "NOISE", "NOISE", "NOISE", "NOISE", "NOISE")
	}
	check := func() {
		s.Helper()
		got := s.latest(s.key, 2, "S1", "S2", "NOISE", "NONE")
		if len(got["S1"]) != 2 || got["S1"][0].ID != first[2].ID || got["S1"][0].Sequence != 3 || got["S1"][1].ID != first[1].ID || len(got["S2"]) != 1 || got["S2"][0].Type != ev1 ||
			len(got["NOISE"]) != 2 || got["NOISE"][0].Sequence != 300 || len(got["NONE"]) != 0 {
			s.Errorf("%+v", got)
		}
	}
	check()
	s.reopen()
	check()
	if got := s.latest(s.newKey("k2"), 2, "S1"); len(got["S1"]) != 0 {
		s.Errorf("another key's: %+v", got)
	}
}

// latest is the newest n events of sessions of a key.
func (s *suite) latest(key callbackd.Key, n int, sessions ...string) map[string][]*callbackd.Event {
	s.Helper()
	var ids []store.SessionID
	for _, name := range sessions {
		ids = append(ids, store.SessionID{Key: key.ID, SessionKey: name})
	}
	got, err := s.LatestEvents(s.ctx(), ids, n)
	s.must(err)
	out := map[string][]*callbackd.Event{}
	for id, evs := range got {
		if id.Key != key.ID {
			s.Errorf("session %s is of key %d, want %d", id.SessionKey, id.Key, key.ID)
		}
		out[id.SessionKey] = evs
	}
	return out
}

// newestFirst: a session's events from the newest back, page by page.
func (s *suite) newestFirst() {
	cb := s.newCallback(s.key, ev1, "a")
	s.publish(s.key, ev1, "S1", "S1", "S1")
	s.failed(s.fresh(cb.ID)[0], callbackd.Pending, callbackd.FaultTimeout, 0, s.at)
	s.reopen()
	s.publish(s.key, ev1, "S1", "S2", "S1", "S1", "S1")
	var got []int64
	q := store.SessionEventQuery{Key: s.key.ID, Session: "S1", Newest: true, Limit: 3}
	for {
		page, err := s.SessionEvents(s.ctx(), q)
		if s.must(err); len(page) == 0 {
			break
		}
		for _, ev := range page {
			got = append(got, ev.Sequence)
			if d := ev.Deliveries[0]; ev.Sequence == 1 != (d.Last != nil && d.Last.Fault == callbackd.FaultTimeout) {
				s.Errorf("#%d: %+v", ev.Sequence, d)
			}
		}
		q.Before = page[len(page)-1].Sequence
	}
	if !slices.Equal(got, []int64{7, 6, 5, 4, 3, 2, 1}) {
		s.Errorf("%v", got)
	}
}

// wholeVIN: a VIN given whole is found however many sessions are newer.
func (s *suite) wholeVIN() {
	const vin = "1FTEW1EP5NKD00001"
	x := s.newSession(s.key, func(x *callbackd.Session) { x.Vehicle.VIN = vin; x.CreatedAt = s.at.Add(-time.Hour).UTC() })
	s.newSession(s.key, func(x *callbackd.Session) { x.Vehicle.VIN = "2" + vin[1:] })
	s.newSession(s.key, func(x *callbackd.Session) { x.Reference = []byte(`"` + vin + `"`) })
	s.newSession(s.newKey("k2"), func(x *callbackd.Session) { x.Vehicle.VIN = vin })
	for _, text := range []string{vin, "1ftew1ep5nkd00001"} {
		page, err := s.ListSessions(s.ctx(), store.SessionQuery{Key: s.key.ID, VIN: text, Limit: 10})
		s.must(err)
		if len(page.Sessions) != 1 || page.Sessions[0].SessionKey != x.SessionKey {
			s.Errorf("%s: %+v", text, page.Sessions)
		}
	}
}

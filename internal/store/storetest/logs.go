package storetest

import (
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

func (s *suite) logs() {
	other := s.newKey("k2")
	entry := func(key callbackd.Key, after time.Duration, method, path string, status int, count int64) store.LogEntry {
		return store.LogEntry{Key: key.ID, At: s.at.Add(after).UTC(), Method: method, Path: path, Status: status, Duration: 3 * time.Millisecond,
			Message: "m", Address: "192.0.2.1", Count: count}
	}
	minute := s.at.Truncate(time.Minute)
	sum := entry(s.key, 0, "POST", "/v1/events", 202, 7)
	sum.At = minute.UTC()
	s.must(s.AppendLogs(s.ctx(), []store.LogEntry{
		entry(s.key, time.Hour, "GET", "/v1/callbacks", 200, 0), entry(s.key, time.Hour, "PUT", "/v1/callbacks/x", 404, 0),
		entry(other, 0, "GET", "/v1/events", 200, 0), sum,
	}))
	sum.Count, sum.Address = 3, "192.0.2.2"
	s.must(s.AppendLogs(s.ctx(), []store.LogEntry{sum, entry(s.key, 2*time.Hour, "GET", "/v1/events", 503, 0)}))
	s.reopen()
	read := func(q store.LogQuery) (out []store.LogEntry) {
		s.Helper()
		q.Key = s.key.ID
		for {
			page, err := s.ListLogs(s.ctx(), q)
			s.must(err)
			out = append(out, page.Entries...)
			if q.After = page.Next; q.After == (store.LogCursor{}) {
				return out
			}
		}
	}
	all := read(store.LogQuery{Limit: 1})
	if len(all) != 4 {
		s.Fatalf("%+v", all)
	}
	first := entry(s.key, 2*time.Hour, "GET", "/v1/events", 503, 0)
	if first.ID = all[0].ID; all[0] != first {
		s.Errorf("%+v, want %+v", all[0], first)
	}
	if got := all[3]; got.Count != 10 || got.Duration != 6*time.Millisecond || got.Address != "192.0.2.2" || !got.At.Equal(minute) {
		s.Errorf("the sum is %+v", got)
	}
	for want, q := range map[string]store.LogQuery{
		"503": {Status: 5}, "503 202": {Path: "/v1/events"}, "404": {Method: "PUT"}, "404 200": {Since: s.at.Add(time.Hour), Until: s.at.Add(2 * time.Hour)}, "202": {Status: 202},
	} {
		q.Limit = 10
		got := ""
		for _, e := range read(q) {
			got += " " + map[int]string{200: "200", 202: "202", 404: "404", 503: "503"}[e.Status]
		}
		if got != " "+want {
			s.Errorf("%+v gives%s, want %s", q, got, want)
		}
	}
	_, err := s.Prune(s.ctx(), store.Prune{Logs: s.at.Add(90 * time.Minute)}, 100)
	s.must(err)
	if got := read(store.LogQuery{Limit: 10}); len(got) != 1 || got[0].Status != 503 {
		s.Errorf("after the prune: %+v", got)
	}
}

func (s *suite) stats() {
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev2, "b")
	hour := s.at.Truncate(time.Hour)
	tally := func(cb *callbackd.Callback, minute int, delivered int64, slow time.Duration) store.MinuteCounters {
		t := store.MinuteCounters{Callback: cb.ID, Key: s.key.ID, Minute: hour.Add(time.Duration(minute) * time.Minute), Counters: store.Counters{Delivered: delivered, Attempts: delivered + 1, Faults: 1, Repeats: 2}}
		for range delivered {
			t.Latency.Add(slow)
		}
		return t
	}
	s.must(s.AddCounters(s.ctx(), []store.MinuteCounters{tally(a, 1, 10, 10*time.Millisecond), tally(b, 1, 5, time.Second)}))
	t := tally(a, 1, 3, 10*time.Millisecond)
	t.Receiver = store.Receiver{LastFailure: s.at.UTC(), LastFault: callbackd.FaultStatus, LastStatus: 503, CertNotAfter: s.at.Add(24 * time.Hour).UTC()}
	s.must(s.AddCounters(s.ctx(), []store.MinuteCounters{t, tally(a, 61, 1, time.Millisecond)}))
	s.reopen()
	read := func(q store.StatsQuery) []store.Bucket {
		s.Helper()
		q.Since, q.Until = hour, hour.Add(2*time.Hour)
		out, err := s.ListStats(s.ctx(), q)
		s.must(err)
		return out
	}
	for _, c := range []struct {
		q    store.StatsQuery
		want []int64
	}{
		{store.StatsQuery{Callback: a.ID, Interval: store.Minute}, []int64{13, 1}},
		{store.StatsQuery{Callback: a.ID, Key: s.key.ID, Interval: store.Hour}, []int64{13, 1}},
		{store.StatsQuery{Key: s.key.ID, Interval: store.Hour}, []int64{18, 1}},
		{store.StatsQuery{Interval: store.Minute}, []int64{18, 1}},
	} {
		var got []int64
		for _, slot := range read(c.q) {
			got = append(got, slot.Delivered)
		}
		if !slices.Equal(got, c.want) {
			s.Errorf("%+v: %v, want %v", c.q, got, c.want)
		}
	}
	all := read(store.StatsQuery{Interval: store.Hour})[0]
	if all.Attempts != 21 || all.Faults != 3 || all.Repeats != 6 || all.Latency.Count() != 18 {
		s.Errorf("%+v", all)
	}
	if p50, p99 := all.Latency.Quantile(0.5), all.Latency.Quantile(0.99); p50 < 10*time.Millisecond || p50 > 15*time.Millisecond || p99 < time.Second || p99 > 1500*time.Millisecond {
		s.Errorf("p50 %v, p99 %v", p50, p99)
	}
	_, err := s.ListStats(s.ctx(), store.StatsQuery{Key: s.newKey("k2").ID, Callback: a.ID, Interval: store.Hour})
	s.kind(err, callbackd.KindNotFound)
	s.health(a, b)
	_, err = s.Prune(s.ctx(), store.Prune{Minutes: hour.Add(time.Hour), Hours: hour}, 100)
	s.must(err)
	if got := read(store.StatsQuery{Interval: store.Minute}); len(got) != 1 || len(read(store.StatsQuery{Interval: store.Hour})) != 2 {
		s.Errorf("after the prune: %+v", got)
	}
}

// healthOf is the health of a key's callbacks.
func (s *suite) healthOf(key callbackd.Key, overdueBefore time.Time) []store.CallbackHealth {
	s.Helper()
	page, err := s.ListHealth(s.ctx(), store.HealthQuery{CallbackQuery: store.CallbackQuery{Key: key.ID}, OverdueBefore: overdueBefore})
	s.must(err)
	if page.Next != 0 {
		s.Errorf("the health of all callbacks of a key has a next page")
	}
	return page.Callbacks
}

func (s *suite) health(a, b *callbackd.Callback) {
	s.Helper()
	evs := s.publish(s.key, ev1, "S1", "S2")
	s.must(s.AddCounters(s.ctx(), []store.MinuteCounters{{Callback: a.ID, Key: s.key.ID, Minute: s.at.Truncate(time.Minute), Receiver: store.Receiver{LastSuccess: s.at.UTC()}}}))
	hs := s.healthOf(s.key, time.Time{})
	want := store.Receiver{LastSuccess: s.at.UTC(), LastFailure: s.at.UTC(), LastFault: callbackd.FaultStatus, LastStatus: 503, CertNotAfter: s.at.Add(24 * time.Hour).UTC()}
	if len(hs) != 2 || hs[0].Callback.ID != a.ID || hs[0].Receiver != want || hs[0].Pending != 2 || !hs[0].Since.Equal(evs[0].ID.Time()) || hs[1].Pending != 0 || hs[1].Receiver != (store.Receiver{}) {
		s.Errorf("%+v", hs)
	}
	if r, err := s.Receiver(s.ctx(), a.ID); err != nil || r != want {
		s.Errorf("%+v, %v", r, err)
	}
	if r, err := s.Receiver(s.ctx(), b.ID); err != nil || r != (store.Receiver{}) {
		s.Errorf("of one not heard from: %+v, %v", r, err)
	}
	ahead, err := s.CountPending(s.ctx(), a.ID, store.PendingQuery{Below: evs[1].ID, OverdueBefore: s.at.Add(time.Second), Limit: 100})
	s.must(err)
	if want := (store.Backlog{Pending: 1, Overdue: 1, Since: evs[0].ID.Time()}); ahead != want {
		s.Errorf("before the second: %+v, want %+v", ahead, want)
	}
	for _, d := range s.fresh(a.ID) {
		s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
	}
	attention := func(certBefore time.Time) (nos []callbackd.CallbackID) {
		s.Helper()
		page, err := s.ListHealth(s.ctx(), store.HealthQuery{Attention: true, CertBefore: certBefore})
		s.must(err)
		for _, h := range page.Callbacks {
			nos = append(nos, h.Callback.ID)
		}
		return nos
	}
	if got := attention(s.at); len(got) != 0 {
		s.Errorf("all is well, but %v", got)
	}
	if got := attention(s.at.Add(48 * time.Hour)); !slices.Equal(got, []callbackd.CallbackID{a.ID}) {
		s.Errorf("a certificate ends, but %v", got)
	}
	_, err = s.PauseCallback(s.ctx(), s.key.ID, ev2, "b", callbackd.Pause{Reason: callbackd.PausedByUser, At: s.at})
	s.must(err)
	if got := attention(s.at); !slices.Equal(got, []callbackd.CallbackID{b.ID}) {
		s.Errorf("b is paused, but %v", got)
	}
}

// attemptFilters: lists by how the last attempt ended.
func (s *suite) attemptFilters() {
	cb := s.newCallback(s.key, ev1, "a")
	s.publish(s.key, ev1, "S1", "S2", "S3", "S4")
	for i, d := range s.fresh(cb.ID)[:3] {
		o := result(d, callbackd.Failed, s.at, time.Time{}, time.Time{})
		o.Attempt.Status = []int{500, 503, 0}[i]
		o.Attempt.Fault = []callbackd.Fault{callbackd.FaultStatus, callbackd.FaultStatus, callbackd.FaultTLS}[i]
		_, err := s.Record(s.ctx(), o)
		s.must(err)
	}
	for want, q := range map[int]store.DeliveryQuery{
		2: {Status: 5}, 1: {Fault: callbackd.FaultTLS}, 0: {Status: 500, Fault: callbackd.FaultTLS}, 4: {},
	} {
		for _, state := range []callbackd.State{"", callbackd.Failed} {
			q.Key, q.Limit, q.State = s.key.ID, 200, state
			page, err := s.ListDeliveries(s.ctx(), q)
			s.must(err)
			if n := len(page.Deliveries); n != want && (state == "" || n != min(want, 3)) {
				s.Errorf("%+v gives %d, want %d", q, n, want)
			}
		}
	}
}

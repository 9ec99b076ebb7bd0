package storetest

import (
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var logTests = map[string]func(*suite){
	"Logs":          (*suite).logs,
	"LogsOfAMinute": (*suite).logSums,
	"LogFilters":    (*suite).logFilters,
	"LogsArePruned": (*suite).logsPruned,
	"LogsInPages":   (*suite).logPages,
}

// call is one logged call.
func (s *suite) call(key callbackd.Key, after time.Duration, method, path string, status int) store.LogEntry {
	return store.LogEntry{Key: key.ID, At: s.at.Add(after).UTC(), Method: method, Path: path, Status: status, Duration: 3 * time.Millisecond, Message: "m", Address: "192.0.2.1"}
}

// calls logs three calls of the suite's key, one of another key, and a sum of
// ten calls in two parts.
func (s *suite) calls() {
	s.Helper()
	sum := s.call(s.key, 0, "POST", "/v1/events", 202)
	sum.At, sum.Count = s.at.Truncate(time.Minute).UTC(), 7
	s.must(s.AppendLogs(s.ctx(), []store.LogEntry{
		s.call(s.key, time.Hour, "GET", "/v1/callbacks", 200),
		s.call(s.key, time.Hour, "PUT", "/v1/callbacks/x", 404),
		s.call(s.newKey("k2"), 0, "GET", "/v1/events", 200),
		sum,
	}))
	sum.Count, sum.Address = 3, "192.0.2.2"
	s.must(s.AppendLogs(s.ctx(), []store.LogEntry{sum, s.call(s.key, 2*time.Hour, "GET", "/v1/events", 503)}))
	s.reopen()
}

// logged reads the calls of the suite's key.
func (s *suite) logged(q store.LogQuery) []store.LogEntry {
	s.Helper()
	q.Key = s.key.ID
	return walk(s, func(after store.LogCursor) ([]store.LogEntry, store.LogCursor) {
		q.After = after
		page, err := s.ListLogs(s.ctx(), q)
		s.must(err)
		return page.Entries, page.Next
	})
}

func statuses(entries []store.LogEntry) (out []int) {
	for _, e := range entries {
		out = append(out, e.Status)
	}
	return out
}

func (s *suite) logs() {
	s.calls()
	newest := s.logged(store.LogQuery{Limit: 10})[0]
	want := s.call(s.key, 2*time.Hour, "GET", "/v1/events", 503)
	want.ID = newest.ID
	s.same("the newest call", newest, want)
}

func (s *suite) logSums() {
	s.calls()
	got := s.logged(store.LogQuery{Limit: 10, Status: 202})
	want := s.call(s.key, 0, "POST", "/v1/events", 202)
	want.ID, want.At, want.Count, want.Duration, want.Address = got[0].ID, s.at.Truncate(time.Minute), 10, 6*time.Millisecond, "192.0.2.2"
	s.equal("the sum", got, []store.LogEntry{want})
}

func (s *suite) logPages() {
	s.calls()
	s.equal("the statuses of all calls, newest first", statuses(s.logged(store.LogQuery{Limit: 1})), []int{503, 404, 200, 202})
}

func (s *suite) logFilters() {
	s.calls()
	for _, c := range []struct {
		q    store.LogQuery
		want []int
	}{
		{store.LogQuery{Status: 5}, []int{503}},
		{store.LogQuery{Status: 202}, []int{202}},
		{store.LogQuery{Path: "/v1/events"}, []int{503, 202}},
		{store.LogQuery{Method: "PUT"}, []int{404}},
		{store.LogQuery{Since: s.at.Add(time.Hour), Until: s.at.Add(2 * time.Hour)}, []int{404, 200}},
	} {
		c.q.Limit = 10
		s.equal(fmt.Sprintf("the statuses of calls of %+v", c.q), statuses(s.logged(c.q)), c.want)
	}
}

func (s *suite) logsPruned() {
	s.calls()
	s.must(second(s.Prune(s.ctx(), store.Prune{Logs: s.at.Add(90 * time.Minute)}, 100)))
	s.equal("the statuses of the calls that are left", statuses(s.logged(store.LogQuery{Limit: 10})), []int{503})
}

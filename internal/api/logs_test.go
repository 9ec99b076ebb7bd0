package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"callbackd/internal/stats"
	"callbackd/wire"
)

func (s *server) logs(query string) []wire.Log {
	s.t.Helper()
	s.book.Flush(s.t.Context())
	var out []wire.Log
	for at := "/v1/logs?limit=2" + query; ; {
		l := decode[wire.LogList](s.call("GET", at, "").ok(200))
		for _, e := range l.Data {
			if e.Path != "/v1/logs" {
				out = append(out, e)
			}
		}
		if l.Next == nil {
			return out
		}
		at = "/v1/logs?limit=2" + query + "&cursor=" + *l.Next
	}
}

// added sums the entries of a log by what they are about, as in
// "GET /v1/events 200". What is added up by minutes is in two entries when a minute
// ended meanwhile.
func added(log []wire.Log) map[string]int64 {
	sums := map[string]int64{}
	for _, e := range log {
		sums[fmt.Sprint(e.Method, " ", e.Path, " ", e.Status)] += e.Count
	}
	return sums
}

// wantEntry checks what the entry of a single call has.
func wantEntry(t *testing.T, e wire.Log) {
	t.Helper()
	name := fmt.Sprint(e.Method, " ", e.Path, " ", e.Status)
	if e.At.IsZero() {
		t.Errorf("%s has no time", name)
	}
	switch e.Status {
	case 401:
		contains(t, name, e.Message, "token was wrong")
		return
	case 202: // many calls
		return
	}
	equal(t, name+": the address", e.Address, "127.0.0.1")
	equal(t, name+": that there is a message", e.Message != "", e.Status == 400)
	if e.Duration <= 0 {
		t.Errorf("%s took %v, want more than nothing", name, e.Duration)
	}
}

// What a key called is in its log; what it published is counted; other keys
// see nothing of it, and no secret is in it.
func TestTheLogOfCalls(t *testing.T) { onBothStores(t, theLogOfCalls) }

func theLogOfCalls(t *testing.T, on func(*setup)) {
	s := start(t, on)
	other := s.as(s.newKey("other", false))
	s.call("GET", "/v1/deliveries?session_key=canary-query", "").ok(200)
	s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://u:canary-password@a.example/canary-url","headers":{"X":"canary-header"}}`).ok(400)
	s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://a.example/","headers":{"X":"canary-header"},"payload":{"p":"canary-payload"}}`).ok(200)
	s.call("GET", "/v1/callbacks/SESSION:COMPLETE/secret", "").ok(200)
	for range 7 {
		s.publish("SESSION:NOTE_INSERT", "canary-session", `{"d":"canary-data"}`)
	}
	s.call("POST", "/v1/events", `{"event":"x"}`).ok(400)
	for range 3 {
		s.call("GET", "/v1/callbacks", "", func(r *http.Request) { r.Header.Set("API-Token", strings.Repeat("0", 64)) }).ok(401)
	}
	other.call("GET", "/v1/events", "").ok(200)

	got := s.logs("")
	sums := added(got)
	if n := sums["ANY /v1 401"]; n < 1 {
		t.Errorf("%d calls with a wrong token, want 1 or more", n)
	}
	delete(sums, "ANY /v1 401")
	equal(t, "the calls", sums, map[string]int64{"GET /v1/deliveries 200": 1, "POST /v1/callbacks 400": 1, "POST /v1/callbacks 200": 1,
		"GET /v1/callbacks/SESSION:COMPLETE/secret 200": 1, "POST /v1/events 400": 1, "POST /v1/events 202": 7})
	for _, e := range got {
		wantEntry(t, e)
	}
	lacks(t, "the log", fmt.Sprint(got), "canary-query", "canary-password", "canary-header", "canary-payload", "canary-data", s.key.Secret.Reveal(), "whsec_")
	equal(t, "the log of another key", added(other.logs("")), map[string]int64{"GET /v1/events 200": 1})
	for query, want := range map[string]int{"&status=4xx": 3, "&status=202&path=/v1/events": 1, "&method=get&path=/v1/callbacks": 1, "&until=2020-01-01T00:00:00Z": 0} {
		if got := added(s.logs(query)); len(got) != want {
			t.Errorf("%s finds %v, want %d calls that differ", query, got, want)
		}
	}
	s.call("GET", "/v1/logs?cursor=x", "").says(400, "Invalid cursor")
	s.call("GET", "/v1/logs?status=x", "").says(400, "status must be")
}

// A key that calls all the time does not fill the disk with its log.
func TestTheLogOfAKeyIsBounded(t *testing.T) {
	s := start(t)
	const calls, atOnce = stats.CallBurst + 200, 8
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for range calls / atOnce {
				equal(t, "the status", s.call("GET", "/v1/callbacks", "").status, 200)
			}
		})
	}
	all.Wait()
	own, further := 0, int64(0)
	for _, e := range s.logs("&status=200") {
		if e.Path == "/v1/callbacks" {
			own++
		} else {
			further += e.Count
		}
	}
	if own < stats.CallBurst {
		t.Errorf("%d calls have an entry of their own, want %d or more", own, stats.CallBurst)
	}
	if own+int(further) < calls {
		t.Errorf("%d calls are in the log, want all %d", own+int(further), calls)
	}
	if further == 0 {
		t.Errorf("all of %d calls have an entry of their own, want some added up", calls)
	}
}

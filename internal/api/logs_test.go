package api_test

import (
	"fmt"
	"net/http"
	"strings"
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
	seen := map[string]wire.Log{}
	for _, e := range got {
		seen[fmt.Sprint(e.Method, " ", e.Path, " ", e.Status)] = e
	}
	for _, want := range []string{"GET /v1/deliveries 200", "POST /v1/callbacks 400", "POST /v1/callbacks 200", "GET /v1/callbacks/SESSION:COMPLETE/secret 200", "POST /v1/events 400"} {
		if e := seen[want]; e.Count != 1 || e.Address != "127.0.0.1" || e.Duration <= 0 || e.At.IsZero() || (e.Message != "") != (e.Status == 400) {
			t.Errorf("%s: %+v", want, e)
		}
	}
	if e := seen["POST /v1/events 202"]; e.Count != 7 { // all within a minute, or in two of them
		sum := int64(0)
		for _, e := range got {
			if e.Status == 202 {
				sum += e.Count
			}
		}
		if sum != 7 {
			t.Errorf("%+v", e)
		}
	}
	if e := seen["ANY /v1 401"]; e.Count < 1 || !strings.Contains(e.Message, "token was wrong") {
		t.Errorf("%+v", e)
	}
	if len(seen) != 7 {
		t.Errorf("%+v", got)
	}
	text := fmt.Sprint(got)
	for _, secret := range []string{"canary-query", "canary-password", "canary-header", "canary-payload", "canary-data", s.key.Secret.Reveal(), "whsec_"} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is in the log: %s", secret, text)
		}
	}
	if got := other.logs(""); len(got) != 1 || got[0].Path != "/v1/events" {
		t.Errorf("another key sees %+v", got)
	}
	for query, want := range map[string]int{"&status=4xx": 3, "&status=202&path=/v1/events": 1, "&method=get&path=/v1/callbacks": 1, "&until=2020-01-01T00:00:00Z": 0} {
		if got := s.logs(query); len(got) != want && !(query == "&status=202&path=/v1/events" && len(got) == 2) {
			t.Errorf("%s: %+v", query, got)
		}
	}
	s.call("GET", "/v1/logs?cursor=x", "").says(400, "Invalid cursor")
	s.call("GET", "/v1/logs?status=x", "").says(400, "status must be")
}

// A key that calls all the time does not fill the disk with its log.
func TestTheLogOfAKeyIsBounded(t *testing.T) {
	s := start(t)
	const calls = stats.CallBurst + 100
	for range calls {
		s.call("GET", "/v1/callbacks", "").ok(200)
	}
	own, further := 0, int64(0)
	for _, e := range s.logs("&status=200") {
		if e.Path == "/v1/callbacks" {
			own++
		} else {
			further += e.Count
		}
	}
	if own < stats.CallBurst || own+int(further) < calls || further == 0 {
		t.Errorf("%d calls: %d entries of their own and %d added up", calls, own, further)
	}
}

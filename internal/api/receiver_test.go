package api_test

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"callbackd/internal/signature"
	"callbackd/wire"

	"github.com/google/go-cmp/cmp"
)

// Section 3 of PAVE's contract: what the receiver gets.

func TestBodyIsFlatAndInOrder(t *testing.T) {
	s := start(t)
	recv := listen(t, nil)
	s.register("SESSION:STATUS_CHANGE", recv.url+"/hook?a=b", `,"payload":{"extra":{"deep":[1,2.50]},"status":"mine","event":"mine","session_key":"mine","z":null}`)
	s.publish("SESSION:STATUS_CHANGE", "ACM-0123456789", `{ "status" : "STARTED" , "previous_status":"IDLE", "event":"theirs", "nested":{"b":1, "a":[1.0 , -0]} }`)
	h := recv.next()
	// The event's own members win over the extras, event and session_key over both.
	want := `{"event":"SESSION:STATUS_CHANGE","session_key":"ACM-0123456789","status":"STARTED","previous_status":"IDLE","nested":{"b":1, "a":[1.0 , -0]},"extra":{"deep":[1,2.50]},"z":null}`
	if diff := cmp.Diff(want, h.body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if h.method != "POST" || h.uri != "/hook?a=b" {
		t.Errorf("%s %s", h.method, h.uri)
	}
}

func TestEventsWithoutDataHaveTheirTwoMembers(t *testing.T) {
	s := start(t)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, "")
	s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"ACM-0123456789"}`).ok(202)
	if h := recv.next(); h.body != `{"event":"SESSION:COMPLETE","session_key":"ACM-0123456789"}` {
		t.Error(h.body)
	}
}

// Every header a receiver gets, and no other.
func TestHeadersOfADelivery(t *testing.T) {
	s := start(t)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, `,"method":"PUT","headers":{"Authorization":"Bearer x","X-Mixed-case":"a, b"}`)
	secret := decode[wire.Secret](s.call("GET", "/v1/callbacks/SESSION:COMPLETE/secret", "").ok(200)).Secret
	s.publish("SESSION:COMPLETE", "ACM-0123456789", `{}`)
	ev := s.publish("SESSION:COMPLETE", "ACM-0123456789", `{"n":2}`)
	recv.next()
	h := recv.next()
	now := time.Now()
	key, err := signature.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := signature.Verify(key, h.header, []byte(h.body), now); err != nil {
		t.Error(err)
	}
	if at, err := strconv.ParseInt(h.header.Get("webhook-timestamp"), 10, 64); err != nil || now.Unix()-at > 60 {
		t.Errorf("webhook-timestamp %s", h.header.Get("webhook-timestamp"))
	}
	h.header.Del("webhook-timestamp")
	h.header.Del("webhook-signature")
	want := http.Header{
		"Authorization": {"Bearer x"}, "X-Mixed-Case": {"a, b"}, "Content-Type": {"application/json"}, "User-Agent": {"callbackd/" + agentVersion},
		"Webhook-Id": {ev.ID}, "Callback-Attempt": {"1"}, "Callback-Sequence": {"2"},
		"Accept": {"*/*"}, "Accept-Encoding": {"identity"}, "Content-Length": {strconv.Itoa(len(h.body))},
	}
	if diff := cmp.Diff(want, h.header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

// A callback's own Content-Type and User-Agent replace ours; the rest of ours
// cannot be replaced.
func TestOwnHeadersReplaceTheDefaults(t *testing.T) {
	s := start(t)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, `,"headers":{"content-type":"application/vnd.pave+json","user-agent":"mine/1"}`)
	s.publish("SESSION:COMPLETE", "ACM-0123456789", `{}`)
	h := recv.next()
	equal(t, "Content-Type", h.header["Content-Type"], []string{"application/vnd.pave+json"})
	equal(t, "User-Agent", h.header["User-Agent"], []string{"mine/1"})
}

// GET and DELETE have no body: members travel as query parameters, and the
// signature covers an empty body.
func TestWithoutABodyMembersAreQueryParameters(t *testing.T) {
	for _, method := range []string{"GET", "DELETE"} {
		t.Run(method, func(t *testing.T) {
			s := start(t)
			recv := listen(t, nil)
			s.register("SESSION:COMPLETE", recv.url+"/hook?own=1", `,"method":"`+strings.ToLower(method)+`","payload":{"extra":"a b&c"}`)
			secret := decode[wire.Secret](s.call("GET", "/v1/callbacks/SESSION:COMPLETE/secret", "").ok(200)).Secret
			s.publish("SESSION:COMPLETE", "ACM-0123456789", `{"text":"ü \"x\"","number":12345678901234567890.000,"yes":true,"nothing":null,"list":[1, {"a":2}],"object":{ "b":1.0 }}`)
			h := recv.next()
			u, err := url.Parse(h.uri)
			if err != nil {
				t.Fatal(err)
			}
			want := url.Values{"own": {"1"}, "event": {"SESSION:COMPLETE"}, "session_key": {"ACM-0123456789"}, "text": {`ü "x"`}, "number": {"12345678901234567890.000"},
				"yes": {"true"}, "nothing": {"null"}, "list": {`[1, {"a":2}]`}, "object": {`{ "b":1.0 }`}, "extra": {"a b&c"}}
			if diff := cmp.Diff(want, u.Query()); diff != "" {
				t.Errorf("query (-want +got):\n%s", diff)
			}
			if !strings.HasPrefix(u.RawQuery, "own=1&event=SESSION%3ACOMPLETE&session_key=ACM-0123456789&text=") {
				t.Errorf("order: %s", u.RawQuery)
			}
			equal(t, "the method", h.method, method)
			equal(t, "the body", h.body, "")
			equal(t, "Content-Type", h.header.Get("Content-Type"), "")
			equal(t, "Content-Length", h.header.Get("Content-Length"), "")
			key, err := signature.ParseSecret(secret)
			if err != nil {
				t.Fatal(err)
			}
			if err := signature.Verify(key, h.header, nil, time.Now()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEveryMethodIsSent(t *testing.T) {
	s := start(t)
	recv := listen(t, nil)
	for _, m := range []string{"POST", "PUT", "PATCH", "GET", "DELETE"} {
		s.register("SESSION:COMPLETE", recv.url, `,"method":"`+m+`","name":"`+m+`"`)
	}
	s.publish("SESSION:COMPLETE", "ACM-0123456789", `{}`)
	var got []string
	for range 5 {
		got = append(got, recv.next().method)
	}
	slices.Sort(got)
	if want := []string{"DELETE", "GET", "PATCH", "POST", "PUT"}; !slices.Equal(got, want) {
		t.Error(got)
	}
}

// Every repeat has the same id and body, another attempt number and a
// signature of its own time.
func TestRepeatsAreTheSameRequest(t *testing.T) {
	s := start(t)
	recv := listen(t, func(w http.ResponseWriter, n int) {
		if n < 3 {
			w.WriteHeader(500)
		}
	})
	s.register("SESSION:COMPLETE", recv.url, `,"retry":["0s","0s","0s"]`)
	secret := decode[wire.Secret](s.call("GET", "/v1/callbacks/SESSION:COMPLETE/secret", "").ok(200)).Secret
	key, err := signature.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	s.publish("SESSION:COMPLETE", "ACM-0123456789", `{"a":1}`)
	first := recv.next()
	for n := 2; n <= 3; n++ {
		h := recv.next()
		equal(t, "the webhook-id of a retry", h.header.Get("webhook-id"), first.header.Get("webhook-id"))
		equal(t, "the body of a retry", h.body, first.body)
		equal(t, "callback-attempt", h.header.Get("callback-attempt"), strconv.Itoa(n))
		if err := signature.Verify(key, h.header, []byte(h.body), time.Now()); err != nil {
			t.Error(err)
		}
	}
}

// Numbers lose no digit on the way.
func TestNumbersArriveDigitByDigit(t *testing.T) {
	s := start(t)
	recv := listen(t, nil)
	const numbers = `"a":0.1,"b":1e400,"c":12345678901234567890.000,"d":-0,"e":1E-7,"f":[9007199254740993,{"x":0.10}],"g":3.00`
	s.register("SESSION:COMPLETE", recv.url, `,"payload":{`+strings.ReplaceAll(numbers, `":`, `2":`)+`}`)
	ev := s.publish("SESSION:COMPLETE", "ACM-0123456789", `{`+numbers+`}`)
	want := `{"event":"SESSION:COMPLETE","session_key":"ACM-0123456789",` + numbers + `,` + strings.ReplaceAll(numbers, `":`, `2":`) + `}`
	if h := recv.next(); h.body != want {
		t.Errorf("got  %s\nwant %s", h.body, want)
	}
	if e := s.call("GET", "/v1/events/"+ev.ID, "").ok(200); !strings.Contains(e.body, `"data":{`+numbers+`}`) {
		t.Errorf("shown as %s", e.body)
	}
	if c := s.call("GET", "/v1/callbacks/SESSION:COMPLETE", "").ok(200); !strings.Contains(c.body, `"c2":12345678901234567890.000`) || !strings.Contains(c.body, `"b2":1e400`) {
		t.Errorf("payload shown as %s", c.body)
	}
}

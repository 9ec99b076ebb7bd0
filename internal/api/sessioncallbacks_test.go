package api_test

import (
	"fmt"
	"strings"
	"testing"

	"callbackd/wire"
)

func TestACallbackForOneSession(t *testing.T) { onBothStores(t, aCallbackForOneSession) }

func aCallbackForOneSession(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	const event = `{"event":"SESSION:COMPLETE","session_key":"A","data":{}`
	given := `,"callback":{"url":"` + recv.url + `","events":["SESSION:COMPLETE","SESSION:NOTE_INSERT"],"payload":{"mine":1}}`
	first := decode[wire.Accepted](s.call("POST", "/v1/events", event+given+`}`).ok(202))
	cb := first.Callback
	equal(t, "deliveries", first.Deliveries, 1)
	equal(t, "the session", cb.SessionKey, "A")
	if !strings.HasPrefix(cb.Secret, "whsec_") {
		t.Errorf("the secret is %q", cb.Secret)
	}
	contains(t, "the request", string(recv.next().body), `"mine":1`)
	again := decode[[]wire.Accepted](s.call("POST", "/v1/events", `[`+event+given+`},`+event+`}]`).ok(202))
	equal(t, "the callback when it is given again", again[0].Callback.ID, cb.ID)
	equal(t, "its secret when it is given again", again[0].Callback.Secret, "")
	equal(t, "deliveries of an event without it", again[1].Deliveries, 1)
	equal(t, "deliveries of another session", s.publish("SESSION:COMPLETE", "B", `{}`).Deliveries, 0)
	equal(t, "deliveries of another event", s.publish("SESSION:STATUS_CHANGE", "A", `{}`).Deliveries, 0)

	at := fmt.Sprint("/v1/callbacks/", cb.ID)
	equal(t, "the list that PAVE's clients read", s.call("GET", "/v1/callbacks", "").ok(200).body, `{"api_key":"`+s.key.APIKey+`","data":[]}`+"\n")
	contains(t, "the list of the session", s.call("GET", "/v1/callbacks?session=A", "").ok(200).body, fmt.Sprintf(`"callback_id":%d`, cb.ID))
	contains(t, "its page", s.call("GET", at, "").ok(200).body, `"events":["SESSION:COMPLETE","SESSION:NOTE_INSERT"]`)
	contains(t, "its secret", s.call("GET", at+"/secret", "").ok(409).body, "shown once")
	s.call("POST", at+"/secret/rotate", `{"keep":"0s"}`).ok(200)
	s.call("POST", at+"/pause", "").ok(200)
	contains(t, "its policy", s.call("GET", at+"/policy", "").ok(200).body, `"paused":true`)
	s.call("POST", at+"/resume", "").ok(200)
	s.call("PUT", at, `{"url":"`+recv.url+`/2","events":["SESSION:STATUS_CHANGE"]}`).ok(200)
	contains(t, "the answer when the host stays", s.call("PUT", at, `{"url":"`+recv.url+`/3","events":["SESSION:STATUS_CHANGE"]}`).ok(200).body, `"events":["SESSION:STATUS_CHANGE"]}`)
	moved := s.call("PUT", at, `{"url":"https://moved.example/","events":["SESSION:STATUS_CHANGE"]}`).ok(200)
	contains(t, "the answer with another host", moved.body, `"secret":"whsec_`)
	equal(t, "may the answer be cached", moved.header.Get("Cache-Control"), "no-store")
	s.call("PUT", at, `{"url":"`+recv.url+`/2","events":["SESSION:STATUS_CHANGE"]}`).ok(200)
	equal(t, "deliveries after it was replaced", s.publish("SESSION:STATUS_CHANGE", "A", `{}`).Deliveries, 1)
	test := decode[wire.Delivery](s.call("POST", at+"/test", "").ok(200))
	equal(t, "the session of a test", test.SessionKey, "A")
	s.as(s.newKey("other", true)).call("GET", at, "").ok(404)
	ev := s.publish("SESSION:COMPLETE", "B", `{}`)
	contains(t, "why an event of another session does not go there", s.call("GET", "/v1/events/"+ev.ID+fmt.Sprintf("/explain?callback=%d", cb.ID), "").ok(200).body, "other_session")
	s.call("DELETE", at, "").ok(200)
	s.call("GET", at, "").ok(404)
	equal(t, "deliveries after it was deleted", s.publish("SESSION:STATUS_CHANGE", "A", `{}`).Deliveries, 0)
}

func TestASessionIsCreatedWithACallback(t *testing.T) {
	onBothStores(t, aSessionIsCreatedWithACallback)
}

func aSessionIsCreatedWithACallback(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	body := `{"theme":"PRO","callback":{"url":"` + recv.url + `","events":["SESSION:STATUS_CHANGE"]}}`
	made := decode[wire.Session](s.call("POST", "/v1/sessions", body, idempotent("k")).ok(200))
	if !strings.HasPrefix(made.Callback.Secret, "whsec_") {
		t.Errorf("the secret is %q", made.Callback.Secret)
	}
	again := decode[wire.Session](s.call("POST", "/v1/sessions", body, idempotent("k")).ok(200))
	equal(t, "the answer to a repeat", *again.Callback, *made.Callback)
	s.call("POST", "/v1/sessions/"+made.SessionKey+"/start", "").ok(200)
	contains(t, "the request", string(recv.next().body), "STARTED")
	if strings.Contains(s.call("GET", "/v1/sessions/"+made.SessionKey, "").ok(200).body, "callback") {
		t.Error("GET shows the callback, which PAVE does not document")
	}
}

// What is wrong with a callback refuses the whole call.
func TestWrongCallbacksForOneSession(t *testing.T) {
	s := start(t)
	for _, c := range []struct{ callback, want string }{
		{`"x"`, "callback must be an object with url"},
		{`{}`, "Missing required fields."},
		{`{"url":"ftp://a.example/"}`, "url"},
		{`{"url":"https://a.example/","event":"SESSION:COMPLETE"}`, `Unknown member "event". callback has`},
		{`{"url":"https://a.example/","events":[]}`, "events must be"},
		{`{"url":"https://a.example/","events":["SESSION:COMPLETE","SESSION:COMPLETE"]}`, "each event once"},
		{`{"url":"https://a.example/","events":["X"]}`, "SESSION:COMPLETE"},
		{`{"url":"https://a.example/","policy":{"colour":1}}`, `Unknown member "colour"`},
		{`{"url":"https://a.example/","headers":{"Host":"x"}}`, "Host"},
	} {
		ev := `{"event":"SESSION:COMPLETE","session_key":"A","callback":` + c.callback + `}`
		contains(t, "an event with "+c.callback, s.call("POST", "/v1/events", ev).ok(400).body, quoted(c.want))
		contains(t, "a session with "+c.callback, s.call("POST", "/v1/sessions", `{"callback":`+c.callback+`}`).ok(400).body, quoted(c.want))
	}
	var many []string
	for i := range 6 {
		many = append(many, fmt.Sprintf(`{"event":"SESSION:COMPLETE","session_key":"A","callback":{"url":"https://a.example/%d"}}`, i))
	}
	contains(t, "six callbacks", s.call("POST", "/v1/events", "["+strings.Join(many, ",")+"]").ok(400).body, "at most 5 callbacks")
	equal(t, "the first event that is accepted", s.publish("SESSION:COMPLETE", "A", `{}`).Sequence, int64(1))
}

// quoted is a text as it stands in JSON.
func quoted(text string) string { return strings.ReplaceAll(text, `"`, `\"`) }

// The answer to a publish that was lost has the secret when the call is made again.
func TestARepeatOfALostAnswerHasTheSecret(t *testing.T) {
	s := start(t)
	const body = `{"event":"SESSION:COMPLETE","session_key":"A","callback":{"url":"https://a.example/"}}`
	first := s.call("POST", "/v1/events", body, idempotent("k")).ok(202)
	equal(t, "the answer to a repeat", s.call("POST", "/v1/events", body, idempotent("k")).ok(202).body, first.body)
}

// A callback of a session cannot be changed so that the session has the same one twice.
func TestASessionHasEachCallbackOnce(t *testing.T) { onBothStores(t, aSessionHasEachCallbackOnce) }

func aSessionHasEachCallbackOnce(t *testing.T, on func(*setup)) {
	s := start(t, on)
	give := func(url string) int64 {
		return decode[wire.Accepted](s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"A","data":{},"callback":{"url":"`+url+`","events":["SESSION:COMPLETE"]}}`).ok(202)).Callback.ID
	}
	first, second := give("https://a.example/"), give("https://b.example/")
	at := fmt.Sprint("/v1/callbacks/", second)
	change := func(url, events string) reply {
		return s.call("PUT", at, `{"url":"https://`+url+`.example/","events":[`+events+`]}`)
	}
	change("a", `"SESSION:COMPLETE"`).says(409, fmt.Sprintf("The callback %d of the session has this url with the same events already.", first))
	contains(t, "the callback after a change that was refused", s.call("GET", at, "").ok(200).body, "https://b.example/")
	change("b", `"SESSION:COMPLETE"`).ok(200)
	change("a", `"SESSION:NOTE_INSERT"`).ok(200)
	change("a", `"SESSION:COMPLETE"`).says(409, "already")
	s.call("DELETE", fmt.Sprint("/v1/callbacks/", first), "").ok(200)
	change("a", `"SESSION:COMPLETE"`).ok(200)
	s.call("PUT", fmt.Sprint("/v1/callbacks/", first), `{"url":"https://a.example/"}`).ok(404)
}

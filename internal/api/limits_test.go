package api_test

import (
	"fmt"
	"strings"
	"testing"

	"callbackd"
	"callbackd/internal/callbacks"
)

// Every limit: what is at it is accepted, one over is refused with the limit
// in the text.

func TestBodyLimit(t *testing.T) {
	s := start(t)
	const head, tail = `{"event":"SESSION:COMPLETE","session_key":"S"`, `}`
	pad := func(size int) string { return head + strings.Repeat(" ", size-len(head)-len(tail)) + tail }
	s.call("POST", "/v1/events", pad(callbackd.MaxBody)).ok(202)
	for _, path := range []string{"/v1/events", "/v1/callbacks"} {
		s.call("POST", path, pad(callbackd.MaxBody+1)).is(413, `{"message":"The body is larger than 1,048,576 bytes."}`)
	}
	s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", pad(callbackd.MaxBody+1)).ok(413)
	s.register("SESSION:COMPLETE", "https://a.example/", "")
	s.call("POST", "/v1/callbacks/SESSION:COMPLETE/secret/rotate", pad(callbackd.MaxBody+1)).ok(413)
}

func TestEventLimits(t *testing.T) {
	s := start(t)
	data := func(size int) string {
		return `{"event":"SESSION:COMPLETE","session_key":"S","data":{"x":"` + strings.Repeat("x", size-len(`{"x":""}`)) + `"}}`
	}
	s.call("POST", "/v1/events", data(callbackd.MaxEventData)).ok(202)
	s.call("POST", "/v1/events", data(callbackd.MaxEventData+1)).is(400, `{"message":"data is larger than 262,144 bytes."}`)
	session := func(n int) string {
		return `{"event":"SESSION:COMPLETE","session_key":"` + strings.Repeat("x", n) + `"}`
	}
	s.call("POST", "/v1/events", session(callbackd.MaxSessionKey)).ok(202)
	s.call("POST", "/v1/events", session(callbackd.MaxSessionKey+1)).says(400, "session_key must be 1 to 64")
	for _, bad := range []string{`a b`, `\u0000`, `é`, `a\n`} {
		s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"`+bad+`"}`).says(400, "session_key must be")
	}
}

func TestCallbackLimits(t *testing.T) {
	s := start(t)
	put := func(members string) reply {
		return s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{`+members+`}`)
	}
	s.register("SESSION:COMPLETE", "https://a.example/", "")
	link := func(n int) string {
		return `"url":"https://a.example/` + strings.Repeat("x", n-len("https://a.example/")) + `"`
	}
	put(link(callbackd.MaxURL)).ok(200)
	put(link(callbackd.MaxURL+1)).is(400, `{"message":"url is longer than 2048 bytes."}`)

	url := link(40) + ","
	count := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"X-%d":"v"`, i)
		}
		return `"headers":{` + b.String()[1:] + `}`
	}
	put(url + count(callbackd.MaxHeaders)).ok(200)
	put(url+count(callbackd.MaxHeaders+1)).is(400, `{"message":"headers has 33 members. At most 32 are allowed."}`)
	size := func(n int) string { return `"headers":{"X":"` + strings.Repeat("v", n-1) + `"}` }
	put(url + size(callbackd.MaxHeaderBytes)).ok(200)
	put(url+size(callbackd.MaxHeaderBytes+1)).is(400, `{"message":"headers has more than 8,192 bytes in names and values."}`)
	payload := func(n int) string { return `{"x":"` + strings.Repeat("x", n-len(`{"x":""}`)) + `"}` }
	put(url + `"payload":` + payload(callbackd.MaxPayload)).ok(200)
	put(url+`"payload":`+payload(callbackd.MaxPayload+1)).is(400, `{"message":"payload is larger than 16,384 bytes."}`)
	quoted := strings.ReplaceAll(payload(callbackd.MaxPayload), `"`, `\"`)
	put(url + `"payload":"` + quoted + `"`).ok(200)

	create := func(name int) reply {
		return s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://a.example/","name":"`+strings.Repeat("n", name)+`"}`)
	}
	create(callbackd.MaxName).ok(200)
	create(callbackd.MaxName+1).says(400, "name must be 1 to 64")
	retry := func(n int) string { return `"retry":[` + strings.TrimSuffix(strings.Repeat("0,", n), ",") + `]` }
	put(url + retry(callbackd.MaxRetries)).ok(200)
	put(url+retry(callbackd.MaxRetries+1)).says(400, "retry must be an array of 1 to 50 delays")
}

// JSON that is not what it seems is refused everywhere: a 400, never a crash
// and never silently another value.
func TestHostileJSON(t *testing.T) {
	s := start(t)
	s.register("SESSION:COMPLETE", "https://a.example/", "")
	inner := map[string]string{
		"duplicate members":        `{"a":1,"a":2}`,
		"duplicates by an escape":  `{"a":1,"\u0061":2}`,
		"duplicates deep inside":   `{"x":[{"a":1,"a":2}]}`,
		"NaN":                      `{"a":NaN}`,
		"Infinity":                 `{"a":-Infinity}`,
		"a leading zero":           `{"a":01}`,
		"a bare fraction":          `{"a":.5}`,
		"hexadecimal":              `{"a":0x10}`,
		"a trailing comma":         `{"a":1,}`,
		"a comment":                `{"a":1/**/}`,
		"single quotes":            `{'a':1}`,
		"invalid UTF-8":            "{\"a\":\"\xff\"}",
		"overlong UTF-8":           "{\"a\":\"\xc0\xaf\"}",
		"a surrogate in UTF-8":     "{\"a\":\"\xed\xa0\x80\"}",
		"a lone high surrogate":    `{"a":"\ud800"}`,
		"a lone low surrogate":     `{"a":"\udc00"}`,
		"swapped surrogates":       `{"a":"\udc00\ud800"}`,
		"a control character":      "{\"a\":\"\x01\"}",
		"an unknown escape":        `{"a":"\x"}`,
		"10,000 levels of arrays":  `{"a":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`,
		"10,000 levels of objects": strings.Repeat(`{"a":`, 10_000) + `1` + strings.Repeat("}", 10_000),
		"an open end":              strings.Repeat("[", 10_000),
		"nothing":                  ``,
	}
	for name, v := range inner {
		t.Run(name, func(t *testing.T) {
			s := &server{t: t, url: s.url, store: s.store, key: s.key}
			s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"S","data":`+v+`}`).says(400, "The body ")
			s.call("POST", "/v1/events", `[{"event":"SESSION:COMPLETE","session_key":"S","data":`+v+`}]`).says(400, "The body ")
			s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"https://a.example/","payload":`+v+`}`).says(400, "The body ")
			if v != "" {
				s.call("POST", "/v1/callbacks", v).says(400, "The body ")
			}
		})
	}
	for name, body := range map[string]string{
		"two values": `{"event":"SESSION:COMPLETE","session_key":"S"} {}`, "a second event": `{"event":"SESSION:COMPLETE","session_key":"S"}[]`,
		"a byte order mark": "\ufeff{}", "a number": `7`, "text": `"x"`, "null": `null`, "duplicate event": `{"event":"SESSION:COMPLETE","event":"SESSION:COMPLETE","session_key":"S"}`,
	} {
		if r := s.call("POST", "/v1/events", body); r.status != 400 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	s.call("GET", "/v1/events", "").is(200, `{"data":[],"next":null}`)
}

// Text that people really send arrives as it was.
func TestTextSurvives(t *testing.T) { onBothStores(t, textSurvives) }

func textSurvives(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, "")
	const data = `{"emoji":"😀","escaped":"\ud83d\ude00","null":"\u0000","html":"</script>&","lines":"a\u2028b","é":"ключ","empty":"","":1}`
	ev := s.publish("SESSION:COMPLETE", "S", data)
	if h := recv.next(); h.body != `{"event":"SESSION:COMPLETE","session_key":"S",`+data[1:] {
		t.Error(h.body)
	}
	if r := s.call("GET", "/v1/events/"+ev.ID, ""); !strings.Contains(r.body, `"data":`+data) {
		t.Error(r.body)
	}
}

// A key sets up all of its callbacks at once, and then changes them at a rate:
// each change may leave a row behind.
func TestChangesOfCallbacksAreLimited(t *testing.T) {
	s := start(t)
	s.register("SESSION:COMPLETE", "https://a.example/", "")
	refused := false
	for range 2 * callbacks.ChangeBurst { // more become possible meanwhile
		r := s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"https://a.example/"}`)
		if r.status == 429 {
			r.says(429, "Changes of callbacks are limited to 1,000 at once and 30 a minute")
			refused = true
			break
		}
		r.ok(200)
	}
	if !refused {
		t.Error("no change was refused")
	}
	s.call("DELETE", "/v1/callbacks/SESSION:COMPLETE", "").ok(200) // always possible
}

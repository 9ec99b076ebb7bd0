package api_test

import (
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/wire"
)

const plain = `{"api_key":"KEY","event":"SESSION:COMPLETE","url":"https://receiver.example/hook","method":"POST","headers":{},"payload":{}}`

func TestCreateAnswersFlatInPavesOrder(t *testing.T) {
	s := start(t)
	s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://receiver.example/hook"}`).is(200, plain)
	r := s.call("POST", "/v1/callbacks", `{"payload":{"b":1,"a":[1.50,{"x":null}]},"headers":{"X-B":"2","X-A":"1 <&>"},"method":"put","url":"https://receiver.example/hook","event":"SESSION:NOTE_INSERT","unknown":{"x":1}}`)
	r.is(200, `{"api_key":"KEY","event":"SESSION:NOTE_INSERT","url":"https://receiver.example/hook","method":"PUT","headers":{"X-B":"2","X-A":"1 <&>"},"payload":{"b":1,"a":[1.50,{"x":null}]}}`)
	if ct := r.header.Get("Content-Type"); ct != "application/json" || r.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("content type %q", ct)
	}
}

func TestEveryEventOfTheTableCanBeRegistered(t *testing.T) {
	s := start(t)
	for _, ev := range []string{"SESSION:NOTE_INSERT", "SESSION:COMPLETE", "SESSION:STATUS_CHANGE", "SESSION:STAGE_CHANGE", "SESSION:SMS_PROCESS"} {
		s.register(ev, "https://receiver.example/", "")
	}
	s.register("SESSION:STAGE_CHANGE", "https://receiver.example/", `,"name":"b"`)
	s.register("SESSION:STAGE_CHANGE", "https://receiver.example/", `,"name":"a"`)
	one := func(ev, name string) string {
		return `{"event":"SESSION:` + ev + `","url":"https://receiver.example/","method":"POST","headers":{},"payload":{}` + name + `}`
	}
	s.call("GET", "/v1/callbacks", "").is(200, `{"api_key":"KEY","data":[`+strings.Join([]string{
		one("SMS_PROCESS", ""), one("STAGE_CHANGE", `,"name":"a"`), one("STAGE_CHANGE", `,"name":"b"`), one("STAGE_CHANGE", ""),
		one("STATUS_CHANGE", ""), one("COMPLETE", ""), one("NOTE_INSERT", ""),
	}, ",")+`]}`)
}

// PAVE's tables call headers and payload strings, its samples show objects.
func TestHeadersAndPayloadAsObjectOrAsString(t *testing.T) {
	s := start(t)
	for _, c := range []struct{ headers, payload string }{
		{`{"Authorization":"Bearer x"}`, `{"a":1.0}`},
		{`"{\"Authorization\":\"Bearer x\"}"`, `"{\"a\":1.0}"`},
		{`" {\"Authorization\":\"Bearer x\"} "`, `"\n{\"a\": 1.0}"`},
	} {
		s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://receiver.example/","headers":`+c.headers+`,"payload":`+c.payload+`}`).
			is(200, `{"api_key":"KEY","event":"SESSION:COMPLETE","url":"https://receiver.example/","method":"POST","headers":{"Authorization":"Bearer x"},"payload":{"a":1.0}}`)
	}
	for _, empty := range []string{`null`, `""`, `"  "`, `{}`, `"{}"`, `[]`, `[ ]`, `"[]"`, `" [ ] "`, `"null"`} {
		s.loosely().call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"https://receiver.example/","headers":`+empty+`,"payload":`+empty+`}`).
			is(200, `{"api_key":"KEY","event":"SESSION:COMPLETE","url":"https://receiver.example/","method":"POST","headers":{},"payload":{}}`)
	}
}

func TestMissingRequiredFields(t *testing.T) {
	s := start(t)
	const missing = `{"message":"Missing required fields."}`
	for _, body := range []string{
		`{}`, `{"event":"SESSION:COMPLETE"}`, `{"url":"https://a.example/"}`, `{"event":"","url":"https://a.example/"}`, `{"event":"SESSION:COMPLETE","url":""}`,
		`{"event":null,"url":"https://a.example/"}`, `{"event":"SESSION:COMPLETE","url":null}`,
	} {
		s.call("POST", "/v1/callbacks", body).is(400, missing)
	}
	s.register("SESSION:COMPLETE", "https://a.example/", "")
	for _, body := range []string{`{}`, `{"url":null}`, `{"url":""}`, `{"event":"SESSION:COMPLETE"}`} {
		s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", body).is(400, missing)
	}
}

// Each fault names the member, what is wrong and what is allowed.
func TestFaultsOfASetting(t *testing.T) {
	s := start(t)
	for member, says := range map[string][]string{
		`"event":"SESSION:DONE"`:              {`event "SESSION:DONE"`, "SESSION:SMS_PROCESS, SESSION:STAGE_CHANGE, SESSION:STATUS_CHANGE, SESSION:COMPLETE, SESSION:NOTE_INSERT, SESSION:SMS_REQUESTED, CALLBACK:FAILING"},
		`"event":"session:complete"`:          {`event "session:complete"`},
		`"event":7`:                           {"event must be a string"},
		`"url":7`:                             {"url must be a string"},
		`"url":"receiver.example"`:            {"url must begin with http:// or https://"},
		`"url":"ftp://receiver.example/"`:     {"url must begin with http:// or https://"},
		`"url":"https:///x"`:                  {"url has no host"},
		`"url":"https://u:p@a.example/"`:      {"url must not contain a user or password"},
		`"url":"https://a.example/#x"`:        {"url must not contain a fragment"},
		`"url":"https://a.example/ x"`:        {"url must not contain spaces"},
		`"url":"https://a.example:99999/"`:    {"url has a port"},
		`"url":"https://127.1/"`:              {"url has a host that looks like a number"},
		`"method":"HEAD"`:                     {`method "HEAD" is not supported`, "POST, PUT, PATCH, GET or DELETE"},
		`"method":7`:                          {`method "7" is not supported`},
		`"headers":"x"`:                       {"headers must be a JSON object", "or a string that holds one"},
		`"headers":{"A":{}}`:                  {`headers has a value for "A" that is not a string`},
		`"headers":{"A B":"x"}`:               {`headers has a name "A B" that HTTP does not allow`},
		`"headers":{"":"x"}`:                  {"headers has a name"},
		`"headers":{"A":"x","a":"y"}`:         {"headers names a twice"},
		`"headers":{"A":"é"}`:                 {"headers has a value for A", "visible ASCII"},
		`"headers":{"A":" x"}`:                {"headers has a value for A"},
		`"payload":7`:                         {"payload must be a JSON object"},
		`"payload":"{\"a\":1,\"a\":2}"`:       {"payload is not valid JSON", "duplicate"},
		`"name":"a/b"`:                        {"name must be 1 to 64 letters"},
		`"timeout":"90s"`:                     {"timeout must be a duration from 1s to 1m,"},
		`"timeout":0.5`:                       {"timeout must be a duration"},
		`"order":"25h"`:                       {"order must be a duration from 0s to 1d,"},
		`"retry":[]`:                          {"retry must be an array of 1 to 50 delays"},
		`"retry":["5s"]`:                      {"retry must begin with 0"},
		`"retry":["0s","169h"]`:               {"retry must be a duration from 0s to 7d,"},
		`"rate":-1`:                           {"rate must be a number of attempts a second"},
		`"rate":10001`:                        {"rate must be"},
		`"rate":1e999`:                        {"rate must be"},
		`"concurrency":0`:                     {"concurrency must be a whole number from 1 to 256"},
		`"concurrency":1.5`:                   {"concurrency must be"},
		`"concurrency":257`:                   {"concurrency must be"},
		`"concurrency":1e300`:                 {"concurrency must be"},
		`"headers":{"Host":"x"}`:              {"headers must not set Host"},
		`"headers":{"content-length":"1"}`:    {"headers must not set content-length"},
		`"headers":{"X":"a\r\nInjected: b"}`:  {"headers has a value for X"},
		`"headers":{"X\r\nInjected":"a"}`:     {"headers has a name"},
		`"headers":{"X":"a\u0000"}`:           {"headers has a value for X"},
		`"url":"https://a.example/\u0000"`:    {"url must not contain"},
		`"url":"https://a.example\\@b.test/"`: {"url must not contain"},
	} {
		body := member
		for name, value := range map[string]string{"event": `"SESSION:COMPLETE"`, "url": `"https://receiver.example/"`} {
			if !strings.HasPrefix(member, `"`+name+`"`) {
				body += `,"` + name + `":` + value
			}
		}
		r := s.call("POST", "/v1/callbacks", "{"+body+"}").says(400, says...)
		if text := decode[struct{ Message string }](r).Message; !strings.HasSuffix(text, ".") {
			t.Errorf("%q is not a sentence", text)
		}
	}
	s.call("GET", "/v1/callbacks", "").is(200, `{"api_key":"KEY","data":[]}`)
}

// Headers that HTTP or callbackd must own.
func TestOwnedHeadersAreRefused(t *testing.T) {
	s := start(t)
	for _, name := range []string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "TE", "Trailer", "Upgrade", "Expect", "Proxy-Connection",
		"Proxy-Authorization", "Proxy-Authenticate", "Accept-Encoding", "webhook-id", "Webhook-Signature", "WEBHOOK-X", "callback-attempt", "Callback-Anything"} {
		s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://a.example/","headers":{"`+name+`":"x"}}`).says(400, "headers must not set "+name)
	}
	for _, value := range []string{`a\r\nb`, `a\nb`, `\r`, `\u0000`, `\u007f`, `\u00e9`} {
		s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://a.example/","headers":{"X":"`+value+`"}}`).says(400, "headers has a value for X")
	}
}

func TestTheSameSettingAgain(t *testing.T) { onBothStores(t, theSameSettingAgain) }

func theSameSettingAgain(t *testing.T, on func(*setup)) {
	s := start(t, on)
	first := `{"event":"SESSION:COMPLETE","url":"https://a.example/","headers":{"A":"1","B":"2"},"payload":{"x":1}}`
	want := s.call("POST", "/v1/callbacks", first).ok(200).body
	for _, again := range []string{
		first,
		`{"event":"SESSION:COMPLETE","url":"HTTPS://A.example:443/","method":"post","headers":{"b":"2","A":"1"},"payload":{ "x" : 1 }}`,
		`{"event":"SESSION:COMPLETE","url":"https://a.example/","headers":{"A":"1","B":"2"},"payload":{"x":1},"name":"default","timeout":"15s","concurrency":32,"order":300}`,
	} {
		if r := s.call("POST", "/v1/callbacks", again).ok(200); r.body != want {
			t.Errorf("%s answers %s", again, r.body)
		}
	}
	for _, other := range []string{
		`{"event":"SESSION:COMPLETE","url":"https://b.example/","headers":{"A":"1","B":"2"},"payload":{"x":1}}`,
		`{"event":"SESSION:COMPLETE","url":"https://a.example/","headers":{"A":"1","B":"3"},"payload":{"x":1}}`,
		`{"event":"SESSION:COMPLETE","url":"https://a.example/","headers":{"A":"1","B":"2"},"payload":{"x":"1"}}`,
		`{"event":"SESSION:COMPLETE","url":"https://a.example/","headers":{"A":"1","B":"2"},"payload":{"x":1},"method":"PUT"}`,
		`{"event":"SESSION:COMPLETE","url":"https://a.example/","headers":{"A":"1","B":"2"},"payload":{"x":1},"rate":5}`,
		`{"event":"SESSION:COMPLETE","url":"https://a.example/","headers":{"A":"1","B":"2"},"payload":{"x":1},"timeout":"14s"}`,
		`{"event":"SESSION:COMPLETE","url":"https://a.example/","headers":{"A":"1","B":"2"},"payload":{"x":1},"order":"1s"}`,
		`{"event":"SESSION:COMPLETE","url":"https://a.example/","headers":{"A":"1","B":"2"},"payload":{"x":1},"order":0}`,
		`{"event":"SESSION:COMPLETE","url":"https://a.example/","headers":{"A":"1","B":"2"},"payload":{"x":1},"concurrency":31}`,
		`{"event":"SESSION:COMPLETE","url":"https://a.example/","headers":{"A":"1","B":"2"},"payload":{"x":1},"retry":["0s"]}`,
	} {
		s.call("POST", "/v1/callbacks", other).is(409, `{"api_key":"KEY","message":"Your API Key has another callback setting for the event SESSION:COMPLETE already. PUT /v1/callbacks/SESSION:COMPLETE updates it."}`)
	}
	if r := s.call("POST", "/v1/callbacks", first); r.body != want {
		t.Errorf("a 409 changed the setting: %s", r.body)
	}
}

func TestReadReplaceAndDelete(t *testing.T) { onBothStores(t, readReplaceAndDelete) }

func readReplaceAndDelete(t *testing.T, on func(*setup)) {
	s := start(t, on)
	const none = `{"api_key":"KEY","message":"Your API Key does not have callback setting for the event SESSION:COMPLETE."}`
	s.call("GET", "/v1/callbacks/SESSION:COMPLETE", "").is(404, none)
	s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"https://a.example/"}`).is(404, none)
	s.call("DELETE", "/v1/callbacks/SESSION:COMPLETE", "").is(404, none)
	s.register("SESSION:COMPLETE", "https://receiver.example/hook", `,"method":"PUT","headers":{"A":"1"},"payload":{"x":1},"timeout":"2s"`)
	s.call("GET", "/v1/callbacks/SESSION:COMPLETE", "").is(200, `{"api_key":"KEY","data":{"event":"SESSION:COMPLETE","url":"https://receiver.example/hook","method":"PUT","headers":{"A":"1"},"payload":{"x":1}}}`)
	// What is left out returns to its default, the policy as well.
	s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"https://receiver.example/hook"}`).is(200, plain)
	if p := decode[wire.Policy](s.call("GET", "/v1/callbacks/SESSION:COMPLETE/policy", "").ok(200)); p.Timeout != "15s" {
		t.Errorf("timeout %s after a PUT without one", p.Timeout)
	}
	s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"https://receiver.example/hook","event":"SESSION:COMPLETE"}`).is(200, plain)
	s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"https://receiver.example/hook","event":"SESSION:NOTE_INSERT"}`).says(400, "event in the body is SESSION:NOTE_INSERT", "SESSION:COMPLETE")
	s.call("DELETE", "/v1/callbacks/SESSION:COMPLETE", "").is(200, `{"api_key":"KEY","message":"Callback setting SESSION:COMPLETE has been successfully removed."}`)
	s.call("GET", "/v1/callbacks/SESSION:COMPLETE", "").is(404, none)
	s.call("DELETE", "/v1/callbacks/SESSION:COMPLETE", "").is(404, none)
	s.call("GET", "/v1/callbacks/"+escape("SESSION:DONE"), "").is(404, `{"api_key":"KEY","message":"Your API Key does not have callback setting for the event SESSION:DONE."}`)
}

func TestTheEventInAPathMayBePercentEncoded(t *testing.T) {
	s := start(t)
	s.register("SESSION:COMPLETE", "https://receiver.example/hook", "")
	for _, ev := range []string{"SESSION:COMPLETE", "SESSION%3ACOMPLETE", "SESSION%3aCOMPLETE", "%53ESSION:COMPLETE"} {
		s.call("GET", "/v1/callbacks/"+ev, "").ok(200)
		s.call("PUT", "/v1/callbacks/"+ev, `{"url":"https://receiver.example/hook"}`).is(200, plain)
		for _, path := range []string{"/policy", "/stats", "/secret"} {
			s.call("GET", "/v1/callbacks/"+ev+path, "").ok(200)
		}
	}
	s.call("DELETE", "/v1/callbacks/SESSION%3ACOMPLETE", "").is(200, `{"api_key":"KEY","message":"Callback setting SESSION:COMPLETE has been successfully removed."}`)
}

// The pending deliveries of a deleted callback are canceled, counted and listed.
func TestDeleteCancelsWhatIsOwed(t *testing.T) { onBothStores(t, deleteCancelsWhatIsOwed) }

func deleteCancelsWhatIsOwed(t *testing.T, on func(*setup)) {
	s := start(t, on)
	s.register("SESSION:COMPLETE", "http://"+closedPort(t)+"/", `,"retry":["0s","1h"]`)
	ev := s.publish("SESSION:COMPLETE", "ACM-0123456789", `{}`)
	id := s.deliveryOf(ev)
	s.until("the first attempt", func() bool { return s.delivery(id).Attempts == 1 })
	s.call("DELETE", "/v1/callbacks/SESSION:COMPLETE", "").ok(200)
	d := s.delivery(id)
	equal(t, "the state", d.State, "canceled")
	equal(t, "the number of attempts", len(d.History), 1)
	equal(t, "the next attempt", d.NextAttempt, (*time.Time)(nil))
	equal(t, "the canceled deliveries", deliveryIDs(s.deliveries("?state=canceled").Data), []string{id})
	equal(t, "the pending deliveries", deliveryIDs(s.deliveries("?state=pending").Data), []string(nil))
	s.call("POST", "/v1/deliveries/"+id+"/retry", "").says(409, "Delivery "+id+" was canceled with its callback and cannot be sent again.")
}

// The extension that PAVE clients do not see.
func TestNamesLetOneKeyKeepSeveral(t *testing.T) { onBothStores(t, namesLetOneKeyKeepSeveral) }

func namesLetOneKeyKeepSeveral(t *testing.T, on func(*setup)) {
	s := start(t, on)
	s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://receiver.example/hook"}`).is(200, plain)
	s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://other.example/","name":"other.1"}`).
		is(200, `{"api_key":"KEY","event":"SESSION:COMPLETE","url":"https://other.example/","method":"POST","headers":{},"payload":{},"name":"other.1"}`)
	s.call("GET", "/v1/callbacks/SESSION:COMPLETE?name=other.1", "").
		is(200, `{"api_key":"KEY","data":{"event":"SESSION:COMPLETE","url":"https://other.example/","method":"POST","headers":{},"payload":{},"name":"other.1"}}`)
	s.call("PUT", "/v1/callbacks/SESSION:COMPLETE?name=other.1", `{"url":"https://third.example/"}`).
		is(200, `{"api_key":"KEY","event":"SESSION:COMPLETE","url":"https://third.example/","method":"POST","headers":{},"payload":{},"name":"other.1"}`)
	s.call("PUT", "/v1/callbacks/SESSION:COMPLETE?name=other.1", `{"url":"https://third.example/","name":"x"}`).says(400, "A callback cannot be renamed")
	s.call("GET", "/v1/callbacks/SESSION:COMPLETE?name=default", "").ok(200)
	s.call("GET", "/v1/callbacks/SESSION:COMPLETE?name=nobody", "").ok(404)
	s.call("DELETE", "/v1/callbacks/SESSION:COMPLETE?name=other.1", "").ok(200)
	s.call("GET", "/v1/callbacks/SESSION:COMPLETE?name=other.1", "").ok(404)
	s.call("GET", "/v1/callbacks/SESSION:COMPLETE", "").ok(200)
}

func TestPolicyIsShownWithItsDefaults(t *testing.T) {
	s := start(t)
	s.register("SESSION:COMPLETE", "https://a.example/", "")
	s.register("SESSION:COMPLETE", "https://a.example/", `,"name":"b","timeout":2.5,"retry":[0,"90s",3600],"order":"0s","rate":0.5,"concurrency":4`)
	s.call("GET", "/v1/callbacks/SESSION:COMPLETE/policy", "").is(200, `{"api_key":"KEY","event":"SESSION:COMPLETE","name":"default","callback":1,"timeout":"15s","retry":["0s","5s","5m0s","30m0s","2h0m0s","5h0m0s","10h0m0s","14h0m0s","20h0m0s","24h0m0s"],"order":"5m0s","rate":0,"concurrency":32,"keep_alive":true,"store_response":true,"signing":["standard"],"ttl":"","expect":"","order_group":"","filter":null,"fields":null,"format":"json","auth":{},"old_auth_ends":null,"paused":false,"pause_reason":"","paused_at":null,"closed_until":null}`)
	s.call("GET", "/v1/callbacks/SESSION:COMPLETE/policy?name=b", "").is(200, `{"api_key":"KEY","event":"SESSION:COMPLETE","name":"b","callback":2,"timeout":"2.5s","retry":["0s","1m30s","1h0m0s"],"order":"0s","rate":0.5,"concurrency":4,"keep_alive":true,"store_response":true,"signing":["standard"],"ttl":"","expect":"","order_group":"","filter":null,"fields":null,"format":"json","auth":{},"old_auth_ends":null,"paused":false,"pause_reason":"","paused_at":null,"closed_until":null}`)
}

func TestOneKeyHasAtMostAHundredCallbacksForAnEvent(t *testing.T) {
	s := start(t)
	for i := range callbackd.MaxCallbacks {
		c := callbackd.Callback{Key: s.key.ID, Event: callbackd.Complete, Name: "n" + strings.Repeat("x", i%50) + string(rune('a'+i/50)), URL: "https://a.example/", Method: "POST", Payload: []byte("{}")}
		if _, created, err := s.store.CreateCallback(t.Context(), c, time.Now()); err != nil || !created {
			t.Fatal(created, err)
		}
	}
	s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://a.example/"}`).says(429, "its limit callbacks is 100 for one event")
}

func TestWrongMethodsAndUnknownPathsAnswerInJSON(t *testing.T) {
	s := start(t)
	for _, c := range []struct{ method, path, allow string }{
		{"PATCH", "/v1/callbacks", "GET, HEAD, POST"},
		{"DELETE", "/v1/callbacks", "GET, HEAD, POST"},
		{"POST", "/v1/callbacks/SESSION:COMPLETE", "GET, HEAD, PUT, DELETE"},
		{"PATCH", "/v1/callbacks/SESSION%3ACOMPLETE", "GET, HEAD, PUT, DELETE"},
		{"GET", "/v1/callbacks/SESSION:COMPLETE/test", "POST"},
		{"PUT", "/v1/events", "GET, HEAD, POST"},
		{"DELETE", "/v1/events/evt_0000000000001", "GET, HEAD"},
		{"GET", "/v1/deliveries/x/retry", "POST"},
		{"POST", "/healthz", "GET, HEAD"},
		{"OPTIONS", "/v1/callbacks", "GET, HEAD, POST"},
	} {
		r := s.call(c.method, c.path, "").is(405, `{"message":"This path allows `+c.allow+`."}`)
		if r.header.Get("Allow") != c.allow {
			t.Errorf("%s %s: Allow: %s", c.method, c.path, r.header.Get("Allow"))
		}
	}
	for _, path := range []string{"/v1", "/v1/", "/v2/callbacks", "/v1/callbacks/a/b/", "/v1//callback", "/v1/./callbacks", "/v1/x/../callbacks", "/v1/callbacks/a/b", "/v1/callbacks/%2F", "/v1/callbacks/..", "/favicon.ico"} {
		for _, method := range []string{"GET", "POST"} {
			s.call(method, path, "").is(404, `{"message":"There is nothing at this path; GET /openapi.yaml describes all paths."}`)
		}
	}
}

// A pause that is asked for again, and one that is read back, is the same pause.
func TestAPauseKeepsItsTime(t *testing.T) { onBothStores(t, aPauseKeepsItsTime) }

func aPauseKeepsItsTime(t *testing.T, on func(*setup)) {
	s := start(t, on)
	s.register("SESSION:COMPLETE", "http://127.0.0.1:1/hook", "")
	at := "/v1/callbacks/SESSION:COMPLETE"
	first := s.call("POST", at+"/pause", "").ok(200).body
	s.call("GET", at+"/policy", "").is(200, strings.TrimSpace(first))
	s.call("POST", at+"/pause", "").is(200, strings.TrimSpace(first))
}

// A URL with an address that nothing is sent to is registered as the contract
// says, and a header warns of it.
func TestRefusedAddressesAreSaidAtRegistration(t *testing.T) {
	s := start(t)
	for url, warns := range map[string]bool{"http://10.0.0.1/": true, "http://[::1]:9/": true, "http://169.254.169.254/x": true, "http://127.0.0.1:9/": false, "http://localhost:9/": false, "https://receiver.example/": false} {
		for _, call := range [][2]string{{"POST", "/v1/callbacks"}, {"PUT", "/v1/callbacks/SESSION:COMPLETE"}} {
			r := s.call(call[0], call[1], `{"event":"SESSION:COMPLETE","url":"`+url+`"}`)
			if got := r.header.Get("Callback-Warning"); (got != "") != warns || r.status != 200 {
				t.Errorf("%s %s: %d, warning %q", call[0], url, r.status, got)
			}
		}
		s.call("DELETE", "/v1/callbacks/SESSION:COMPLETE", "").ok(200)
	}
}

func deliveryIDs(ds []wire.Delivery) (ids []string) {
	for _, d := range ds {
		ids = append(ids, d.ID)
	}
	return ids
}

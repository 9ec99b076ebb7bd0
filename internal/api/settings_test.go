package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/api"
	"callbackd/internal/signature"
	"callbackd/wire"

	"github.com/google/go-cmp/cmp"
)

// verifies reports whether a receiver with this secret takes the request.
func verifies(t *testing.T, secret string, h hit) bool {
	t.Helper()
	key, err := signature.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	return signature.Verify(key, h.header, []byte(h.body), time.Now()) == nil
}

func (s *server) secret(name string) string {
	s.t.Helper()
	return decode[wire.Secret](s.call("GET", "/v1/callbacks/SESSION:COMPLETE/secret?name="+name, "").ok(200)).Secret
}

// During a rotation both secrets sign; afterwards the new one alone.
func TestSecretsRotateWithoutLosingARequest(t *testing.T) {
	onBothStores(t, secretsRotateWithoutLosingARequest)
}

func secretsRotateWithoutLosingARequest(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, "")
	old := s.secret("default")
	r := s.call("GET", "/v1/callbacks/SESSION:COMPLETE/secret", "").is(200, `{"api_key":"KEY","event":"SESSION:COMPLETE","secret":"`+old+`"}`)
	if r.header.Get("Cache-Control") != "no-store" {
		t.Error("a secret may be cached")
	}
	rotate := func(body string) string {
		return decode[wire.Secret](s.call("POST", "/v1/callbacks/SESSION:COMPLETE/secret/rotate", body).ok(200)).Secret
	}
	next := rotate("")
	if next == old {
		t.Error("the rotation returns the old secret")
	}
	equal(t, "the secret after the rotation", s.secret("default"), next)
	s.publish("SESSION:COMPLETE", "A", `{}`)
	h := recv.next()
	equal(t, "whether the old secret verifies during the rotation", verifies(t, old, h), true)
	equal(t, "whether the new secret verifies during the rotation", verifies(t, next, h), true)
	equal(t, "the number of signatures during the rotation", len(strings.Fields(h.header.Get("webhook-signature"))), 2)
	last := rotate(`{"keep":"0s"}`)
	s.publish("SESSION:COMPLETE", "B", `{}`)
	h = recv.next()
	equal(t, "whether the first secret verifies at the end", verifies(t, old, h), false)
	equal(t, "whether the second secret verifies at the end", verifies(t, next, h), false)
	equal(t, "whether the last secret verifies at the end", verifies(t, last, h), true)
	equal(t, "the number of signatures at the end", len(strings.Fields(h.header.Get("webhook-signature"))), 1)
	for _, body := range []string{`{}`, `{"keep":null}`, `{"keep":60}`, `{"keep":"720h"}`, `{"keep":"30d"}`} {
		rotate(body)
	}
	for body, says := range map[string]string{`{"keep":"721h"}`: "keep must be a duration from 0s to 30d,", `{"keep":-1}`: "keep must be", `[1]`: "The body must be a JSON object.", `{"keep":"x"}`: "keep must be",
		`{"secert":"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}`: `Unknown member "secert". A rotation has keep and secret.`} {
		s.call("POST", "/v1/callbacks/SESSION:COMPLETE/secret/rotate", body).says(400, says)
	}
	// A client that sends an empty body in chunks sends no body.
	s.call("POST", "/v1/callbacks/SESSION:COMPLETE/secret/rotate", "", func(r *http.Request) { r.ContentLength = -1; r.Body = http.NoBody }).ok(200)
}

// A secret agreed with one receiver does not sign for another.
func TestAnotherReceiverGetsAnotherSecret(t *testing.T) {
	s := start(t)
	s.register("SESSION:COMPLETE", "https://a.example/", "")
	first := s.secret("default")
	s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"https://a.example/other"}`).ok(200)
	if s.secret("default") != first {
		t.Error("another path changed the secret")
	}
	for _, url := range []string{"https://b.example/", "http://b.example/", "http://b.example:8080/"} {
		s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"`+url+`"}`).ok(200)
		next := s.secret("default")
		if next == first {
			t.Errorf("%s keeps the secret", url)
		}
		first = next
	}
}

// While a callback is paused its deliveries wait, in order, and none is lost.
func TestPauseAndResume(t *testing.T) {
	s := start(t)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, "")
	s.register("SESSION:COMPLETE", recv.url+"/other", `,"name":"other"`)
	p := decode[wire.Policy](s.call("POST", "/v1/callbacks/SESSION:COMPLETE/pause", "").ok(200))
	equal(t, "the callback", p.Name, "default")
	wantPause(t, p, "user")
	const n = 20
	for range n {
		s.publish("SESSION:COMPLETE", "ACM-0123456789", `{}`)
	}
	for range n { // the other callback goes on
		if h := recv.next(); h.uri != "/other" {
			t.Fatalf("%s got a delivery during its pause", h.uri)
		}
	}
	s.until("the other's end", func() bool { return len(s.deliveries("?state=delivered&callback=2").Data) == n })
	waiting := s.deliveries("?state=pending&callback=1").Data
	if len(waiting) != n {
		t.Fatalf("%d deliveries wait, want %d", len(waiting), n)
	}
	equal(t, "attempts during the pause", waiting[0].Attempts, 0)
	wantPause(t, decode[wire.Policy](s.call("POST", "/v1/callbacks/SESSION:COMPLETE/resume", "").ok(200)), "")
	for i := range n {
		h := recv.next()
		equal(t, "the path", h.uri, "/")
		equal(t, "the sequence number", h.header.Get("callback-sequence"), itoa(i+1))
	}
	s.until("the end", func() bool { return len(s.deliveries("?state=delivered&callback=1").Data) == n })
}

// wantPause checks what a policy says of a pause; without a reason there is none.
func wantPause(t *testing.T, p wire.Policy, reason string) {
	t.Helper()
	equal(t, "that the callback is paused", p.Paused, reason != "")
	equal(t, "the reason of the pause", p.PauseReason, reason)
	equal(t, "that the pause has a time", p.PausedAt != nil, reason != "")
}

// A receiver that answers 410 pauses its callback.
func TestGonePausesVisibly(t *testing.T) {
	s := start(t)
	recv := listen(t, func(w http.ResponseWriter, n int) {
		if n == 1 {
			w.WriteHeader(410)
		}
	})
	s.register("SESSION:COMPLETE", recv.url, "")
	id := s.deliveryOf(s.publish("SESSION:COMPLETE", "A", `{}`))
	s.until("the pause", func() bool {
		return decode[wire.Policy](s.call("GET", "/v1/callbacks/SESSION:COMPLETE/policy", "").ok(200)).PauseReason == "gone"
	})
	if d := s.delivery(id); d.State != "pending" {
		t.Errorf("%+v", d)
	}
}

func TestMaskedHeaders(t *testing.T) {
	s := start(t, func(c *setup) { c.api.MaskHeaders = true })
	recv := listen(t, nil)
	const masked = `{"event":"SESSION:COMPLETE","url":"URL","method":"POST","headers":{"Authorization":"[redacted]"},"payload":{}}`
	show := func(url string) string {
		return `{"api_key":"KEY",` + strings.Replace(masked, "URL", url, 1)[1:]
	}
	s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"`+recv.url+`/","headers":{"Authorization":"Bearer one"}}`).is(200, show(recv.url+"/"))
	s.call("GET", "/v1/callbacks/SESSION:COMPLETE", "").is(200, `{"api_key":"KEY","data":`+strings.Replace(masked, "URL", recv.url+"/", 1)+`}`)
	s.call("GET", "/v1/callbacks", "").is(200, `{"api_key":"KEY","data":[`+strings.Replace(masked, "URL", recv.url+"/", 1)+`]}`)
	sends := func(want string) {
		t.Helper()
		s.publish("SESSION:COMPLETE", "A", `{}`)
		if got := recv.next().header.Get("Authorization"); got != want {
			t.Errorf("sent %q, want %q", got, want)
		}
	}
	sends("Bearer one")
	// A PUT that carries the mask keeps the stored value.
	s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"`+recv.url+`/two","headers":{"authorization":"[redacted]"}}`).ok(200)
	sends("Bearer one")
	s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"`+recv.url+`/","headers":{"Authorization":"Bearer two"}}`).is(200, show(recv.url+"/"))
	sends("Bearer two")
	// But it goes to nobody else, and is never a value itself.
	s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"https://other.example/","headers":{"Authorization":"[redacted]"}}`).says(400, "headers has a masked value for Authorization, but url names another receiver")
	s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"`+recv.url+`/","headers":{"X-New":"[redacted]"}}`).says(400, "headers has a masked value for X-New, but no value is stored")
	s.call("POST", "/v1/callbacks", `{"event":"SESSION:NOTE_INSERT","url":"https://other.example/","headers":{"A":"[redacted]"}}`).says(400, "headers has a masked value for A")
	s.call("PUT", "/v1/callbacks/SESSION:NOTE_INSERT", `{"url":"https://other.example/","headers":{"A":"[redacted]"}}`).ok(404)
	sends("Bearer two")
}

func TestRequireHTTPS(t *testing.T) {
	s := start(t, func(c *setup) { c.api.RequireHTTPS = true })
	const refused = "url must begin with https:// for a live API key."
	live := s.as(s.newKey("acme", true))
	live.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"http://a.example/"}`).says(400, refused)
	live.register("SESSION:COMPLETE", "https://a.example/", "")
	live.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"http://a.example/"}`).says(400, refused)
	s.register("SESSION:COMPLETE", "http://a.example/", "") // a test key
	relaxed := start(t, func(c *setup) { c.live = true })
	relaxed.register("SESSION:COMPLETE", "http://a.example/", "")
}

func TestHealth(t *testing.T) { onBothStores(t, health) }

func health(t *testing.T, on func(*setup)) {
	var fault error
	s := start(t, on, func(c *setup) { c.api.Ready = func(context.Context) error { return fault } })
	s.call("GET", "/healthz", "").is(200, `{"message":"alive"}`)
	s.call("GET", "/readyz", "").is(200, `{"message":"ready"}`)
	fault = errors.New("the engine does not run")
	r := s.call("GET", "/readyz", "").is(503, `{"message":"Not ready."}`)
	if r.header.Get("Retry-After") != "1" {
		t.Error(r.header)
	}
	s.call("GET", "/healthz", "").ok(200)
	fault = nil
	if err := s.store.Close(); err != nil {
		t.Fatal(err)
	}
	s.call("GET", "/readyz", "").ok(503)
	s.call("GET", "/v1/callbacks", "").ok(503)
	s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"A"}`).ok(503)
}

func TestServerHasEveryLimit(t *testing.T) {
	s := start(t)
	srv := api.Server(s.api, s.api.Log)
	for name, limit := range map[string]int64{
		"ReadHeaderTimeout": int64(srv.ReadHeaderTimeout),
		"ReadTimeout":       int64(srv.ReadTimeout),
		"WriteTimeout":      int64(srv.WriteTimeout),
		"IdleTimeout":       int64(srv.IdleTimeout),
		"MaxHeaderBytes":    int64(srv.MaxHeaderBytes),
	} {
		if limit == 0 {
			t.Errorf("the server has no %s", name)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.url+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Large", strings.Repeat("x", 64<<10))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("64 KiB of headers: %d", resp.StatusCode)
	}
}

// The object policy is strict, for nobody who asks for something may be told
// "fine" by a server that does not have it.
func TestThePolicyObjectIsStrict(t *testing.T) { onBothStores(t, thePolicyObjectIsStrict) }

func thePolicyObjectIsStrict(t *testing.T, on func(*setup)) {
	s := start(t, on)
	at := "/v1/callbacks/SESSION:COMPLETE"
	all := `"policy":{"timeout":"10s","retry":["0s","1m"],"order":"2m","rate":50,"concurrency":8,"keep_alive":false}`
	want := func(timeout, order string, rate, concurrency int, keep bool, retry ...string) {
		t.Helper()
		p := decode[wire.Policy](s.call("GET", at+"/policy", "").ok(200))
		got := wire.Policy{Timeout: p.Timeout, Order: p.Order, Rate: p.Rate, Concurrency: p.Concurrency, KeepAlive: p.KeepAlive, Retry: p.Retry}
		if diff := cmp.Diff(wire.Policy{Timeout: timeout, Order: order, Rate: float64(rate), Concurrency: concurrency, KeepAlive: keep, Retry: retry}, got); diff != "" {
			t.Errorf("the policy (-want +got):\n%s", diff)
		}
	}
	s.register("SESSION:COMPLETE", "https://a.example/", ","+all)
	want("10s", "2m0s", 50, 8, false, "0s", "1m0s")
	// The same setting, with the older members next to url.
	s.register("SESSION:COMPLETE", "https://a.example/", `,"timeout":10,"retry":[0,60],"order":120,"rate":50.0,"concurrency":8,"policy":{"keep_alive":false,"rate":null}`)
	s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://a.example/",`+strings.Replace(all, "false", "true", 1)+`}`).says(409)

	for body, says := range map[string]string{
		`"policy":{"nothing":{"status":"CONFIRM"}}`:                           `Unknown member "nothing". policy has timeout, retry, order, rate, concurrency, keep_alive, store_response, signing, ttl, expect, order_group, filter, fields, format and auth.`,
		`"policy":{"nothing":null}`:                                           `Unknown member "nothing". policy has`,
		`"policy":{"filter":{"status":"CONFIRM"}}`:                            "policy.filter.status is not a path.",
		`"policy":{"filter":{"data.a":{"like":"CONFIRM"}}}`:                   "policy.filter.data.a.like is not an operator.",
		`"policy":{"filter":{"data.a":{"eq":1},"data.a":{"eq":2}}}`:           `duplicate object member name`,
		`"policy":{"fields":{"only":["a"],"except":["b"]}}`:                   "policy.fields must have one member, only or except,",
		`"policy":{"fields":{"except":["a..b"]}}`:                             `policy.fields.except has "a..b", which is not a path`,
		`"policy":{"fields":["a"]}`:                                           "policy.fields must be a JSON object",
		`"policy":{"filter":7}`:                                               "policy.filter must be a JSON object",
		`"policy":{"Timeout":"5s"}`:                                           `Unknown member "Timeout". policy has`,
		`"policy":{"name":"x"}`:                                               `Unknown member "name". policy has`,
		`"policy":"{\"keepalive\":false}"`:                                    `Unknown member "keepalive". policy has`,
		`"policy":{"keep_alive":"no"}`:                                        `policy.keep_alive must be true or false, not "no".`,
		`"policy":{"keep_alive":0}`:                                           "policy.keep_alive must be true or false, not 0.",
		`"policy":{"store_response":"no"}`:                                    `policy.store_response must be true or false, not "no".`,
		`"policy":{"timeout":"90s"}`:                                          "policy.timeout must be a duration from 1s to 1m,",
		`"policy":{"timeout":{}}`:                                             "policy.timeout must be a duration",
		`"policy":{"retry":"0s"}`:                                             "policy.retry must be an array",
		`"policy":{"retry":["5s"]}`:                                           "policy.retry must begin with 0",
		`"policy":{"order":-1}`:                                               "policy.order must be a duration",
		`"policy":{"rate":"fast"}`:                                            "policy.rate must be a number",
		`"policy":{"concurrency":1.5}`:                                        "policy.concurrency must be a whole number",
		`"policy":{"concurrency":8},"concurrency":8`:                          "policy.concurrency and concurrency are both given. Leave out concurrency.",
		`"policy":{"signing":"md5"}`:                                          `policy.signing must be standard, github, or hmac-hex: and the name of a header, such as hmac-hex:X-Signature; not "md5".`,
		`"policy":{"signing":"hmac-hex:"}`:                                    "policy.signing must be standard, github, or",
		`"policy":{"signing":"hmac-hex:a b"}`:                                 "policy.signing has a name",
		`"policy":{"signing":"hmac-hex:Host"}`:                                "policy.signing must not use the header Host",
		`"policy":{"signing":"hmac-hex:TraceParent"}`:                         "policy.signing must not use the header TraceParent",
		`"policy":{"signing":"hmac-hex:Cookie"}`:                              "policy.signing must not use the header Cookie",
		`"policy":{"signing":["hmac-hex:X-HUB-signature-256","github"]}`:      "policy.signing names the header X-Hub-Signature-256 twice",
		`"policy":{"signing":[]}`:                                             "policy.signing must be standard, github",
		`"policy":{"order_group":"a b"}`:                                      "policy.order_group must be 1 to 64 letters, digits, dots, hyphens or underscores.",
		`"policy":{"ttl":"999ms"}`:                                            "policy.ttl must be a duration from 1s to 30d",
		`"policy":{"format":"xml"}`:                                           `policy.format "xml" is not supported. Use json, slack or teams.`,
		`"policy":{"format":"slack"}`:                                         "policy.format slack is for callbacks for notices, such as CALLBACK:FAILING",
		`"policy":{"expect":"59s"}`:                                           "policy.expect must be a duration from 1m to 30d",
		`"policy":{"expect":"31d"}`:                                           "policy.expect must be a duration from 1m to 30d",
		`"policy":{"ttl":"31d"}`:                                              "policy.ttl must be a duration from 1s to 30d",
		`"policy":{"ttl":"never"}`:                                            "policy.ttl must be a duration from 1s to 30d",
		`"policy":{"order_group":7}`:                                          "policy.order_group must be 1 to 64 letters",
		`"policy":{"signing":7}`:                                              "policy.signing must be standard, github",
		`"policy":{"signing":"github"},"headers":{"x-hub-signature-256":"a"}`: "headers must not set X-Hub-Signature-256",
		`"secret":"known already"`:                                            "secret is given when a callback is created",
		`"policy":7`:                                                          "policy must be a JSON object",
		`"policy":[{}]`:                                                       "policy must be a JSON object",
	} {
		s.call("PUT", at, `{"url":"https://a.example/",`+body+`}`).says(400, says)
	}
	want("10s", "2m0s", 50, 8, false, "0s", "1m0s")
	s.call("PUT", at, `{"url":"https://a.example/","policy":{"timeout":null,"retry":[0]}}`).ok(200)
	want("15s", "5m0s", 0, 32, true, "0s")
}

func TestASecretCanBeBroughtAlong(t *testing.T) { onBothStores(t, aSecretCanBeBroughtAlong) }

// aSecretCanBeBroughtAlong creates and rotates with secrets that a receiver knows already.
func aSecretCanBeBroughtAlong(t *testing.T, on func(*setup)) {
	const standard, plain = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "known already"
	s := start(t, on)
	at := "/v1/callbacks/SESSION:COMPLETE"
	secret := func() string { return decode[wire.Secret](s.call("GET", at+"/secret", "").ok(200)).Secret }
	create := func(members string) reply {
		return s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://a.example/"`+members+`}`)
	}
	for members, says := range map[string]string{
		`,"secret":"` + plain + `"`:                                     "The secret cannot sign by Standard Webhooks",
		`,"secret":"whsec_YQ=="`:                                        "The secret cannot sign by Standard Webhooks",
		`,"secret":"short","policy":{"signing":"github"}`:               "secret must be a text of 8 to 256 bytes",
		`,"secret":"tab\there, and more","policy":{"signing":"github"}`: "without control characters",
		`,"secret":["whsec_"]`:                                          "secret must be a text",
		`,"secret":""`:                                                  "secret must be a text of 8 to 256 bytes",
		`,"secret":"[redacted]","policy":{"signing":"github"}`:          "secret is masked",
	} {
		create(members).says(400, says)
	}
	create(`,"secret":"` + standard + `"`).ok(200)
	equal(t, "the secret that was given", secret(), standard)
	create(`,"secret":"` + standard + `"`).ok(200)
	create("").ok(200)
	create(`,"secret":"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`).says(409, "another callback setting")

	s.call("POST", at+"/secret/rotate", `{"secret":"`+plain+`"}`).says(400, "The secret cannot sign by Standard Webhooks")
	equal(t, "the secret after a rotation that was refused", secret(), standard)
	s.call("PUT", at, `{"url":"https://a.example/","policy":{"signing":["github"]}}`).ok(200)
	s.call("POST", at+"/secret/rotate", `{"secret":"[redacted]"}`).says(400, "secret is masked")
	s.call("POST", at+"/secret/rotate", `{"secret":"`+plain+`"}`).ok(200)
	equal(t, "the secret after a rotation", secret(), plain)
	s.call("PUT", at, `{"url":"https://a.example/"}`).says(400, "The secret cannot sign by Standard Webhooks")
	equal(t, "the schemes after a change that was refused", decode[wire.Policy](s.call("GET", at+"/policy", "").ok(200)).Signing, []string{"github"})
	s.call("PUT", at, `{"url":"https://b.example/"}`).ok(200) // another receiver gets a new secret
	if got := secret(); got == plain || got == standard {
		t.Errorf("another receiver gets the secret %q of the first", got)
	}
}

// Each member of a policy can be sent back as GET shows it, and so can an empty text for what a
// callback does not have, also when the API key has a policy that would set it.
func TestAPolicyCanBeSentBackAsItIsShown(t *testing.T) {
	s := start(t)
	s.operator("terraform", callbackd.RoleFull).call("PUT", "/v1/admin/keys/"+s.key.APIKey, `{"callback_policy":{"ttl":"1h","expect":"2h"}}`).ok(200)
	at := "/v1/callbacks/SESSION:COMPLETE"
	shown := func() map[string]json.RawMessage {
		return decode[map[string]json.RawMessage](s.call("GET", at+"/policy", "").ok(200))
	}
	put := func(policy string) {
		t.Helper()
		s.call("PUT", at, `{"url":"https://a.example/","policy":`+policy+`}`).ok(200)
	}
	s.register("SESSION:COMPLETE", "https://a.example/", "")
	equal(t, "the ttl of the key", string(shown()["ttl"]), `"1h"`)
	for _, policy := range []string{
		`{"ttl":"","expect":""}`,
		`{"ttl":"30d","expect":"1d12h","order_group":"auto","rate":2.5,"signing":["github","standard"],"filter":{"data.a":{"lt":3}},"fields":{"only":["a"]}}`,
	} {
		put(policy)
		was := shown()
		back := map[string]json.RawMessage{}
		for _, name := range []string{"timeout", "retry", "order", "rate", "concurrency", "keep_alive", "store_response", "signing", "ttl", "expect", "order_group", "filter", "fields", "format", "auth"} {
			back[name] = was[name]
		}
		text, err := json.Marshal(back)
		if err != nil {
			t.Fatal(err)
		}
		put(string(text))
		equal(t, "the policy that was sent back", shown(), was)
	}
	put(`{"ttl":"","expect":""}`)
	equal(t, "the ttl of none", string(shown()["ttl"])+string(shown()["expect"]), `""""`)
}

package api_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"callbackd/wire"
)

// Secrets of these tests. None of them may ever come back.
const (
	clientSecret = "client+secret/0123456789"
	password     = "pass:word-0123456789"
	bearer       = "bearer.token-0123456789"
)

// hidden fails the test when a text has a secret of these tests.
func hidden(t *testing.T, name, text string) {
	t.Helper()
	lacks(t, name, text, clientSecret, password, bearer, "access-")
}

// provider is a real OAuth 2.0 server. Each token has a number.
type provider struct {
	url    string
	issued atomic.Int64
	status atomic.Int64 // of its answers, when not 0
}

func newProvider(t *testing.T) *provider {
	p := &provider{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, ok := r.BasicAuth()
		if status := p.status.Load(); status != 0 || !ok || id != "client" || secret != "client%2Bsecret%2F0123456789" {
			w.WriteHeader(int(max(status, 401)))
			w.Write([]byte(`{"error":"invalid_client","error_description":"not ` + clientSecret + `"}`))
			return
		}
		n := p.issued.Add(1)
		w.Write([]byte(`{"access_token":"access-` + strconv.FormatInt(n, 10) + `","token_type":"bearer","expires_in":3600,"scope":"` + r.PostFormValue("scope") + `"}`))
	}))
	t.Cleanup(web.Close)
	p.url = web.URL
	return p
}

func (p *provider) auth() string {
	return `{"oauth2":{"token_url":"` + p.url + `/token","client_id":"client","client_secret":"` + clientSecret + `","scope":"events"}}`
}

func TestACallbackSignsIn(t *testing.T) { onBothStores(t, aCallbackSignsIn) }

func aCallbackSignsIn(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	const at = "/v1/callbacks/SESSION:COMPLETE"
	set := func(auth string) { // by a PUT, with the old credentials removed first
		t.Helper()
		s.call("PUT", at, `{"url":"`+recv.url+`"}`).ok(200)
		hidden(t, "the answer to PUT", s.call("PUT", at, `{"url":"`+recv.url+`","policy":{"auth":`+auth+`}}`).ok(200).body)
	}
	sends := func(want string) {
		t.Helper()
		id := s.deliveryOf(s.publish("SESSION:COMPLETE", "A", `{}`))
		equal(t, "Authorization", recv.next().header.Get("Authorization"), want)
		s.until("the delivery", func() bool { return s.delivery(id).State == "delivered" })
		shown := s.call("GET", "/v1/deliveries/"+id, "").ok(200).body
		hidden(t, "the delivery", shown)
		if want != "" {
			contains(t, "the delivery", shown, `"Authorization":"[redacted]"`)
		}
	}
	s.register("SESSION:COMPLETE", recv.url, "")
	sends("")
	p := newProvider(t)
	set(p.auth())
	sends("Bearer access-1")
	sends("Bearer access-1")
	set(`{"basic":{"username":"me","password":"` + password + `"}}`)
	sends("Basic bWU6cGFzczp3b3JkLTAxMjM0NTY3ODk=")
	set(`{"bearer":{"token":"` + bearer + `"}}`)
	sends("Bearer " + bearer)
	shown := s.call("GET", at+"/policy", "").ok(200)
	hidden(t, "the policy", shown.body)
	contains(t, "the policy", shown.body, `"auth":{"bearer":{"token":"[redacted]"}}`)
	// A mask that comes back keeps what is stored.
	s.call("PUT", at, `{"url":"`+recv.url+`/2","policy":{"auth":{"bearer":{"token":"[redacted]"}}}}`).ok(200)
	sends("Bearer " + bearer)
	set(`{}`)
	sends("")
	report, err := s.store.Check(t.Context())
	if err != nil || len(report.Faults) > 0 {
		t.Errorf("%v %v", err, report.Faults)
	}
}

// A secret goes only to whom it was given for.
func TestAMaskOfASecretIsNotSentElsewhere(t *testing.T) {
	s := start(t)
	const at, hook = "/v1/callbacks/SESSION:COMPLETE", "https://a.example/hook"
	s.register("SESSION:COMPLETE", hook, `,"policy":{"auth":`+newProvider(t).auth()+`}`)
	put := func(url, tokens string) reply {
		return s.call("PUT", at, `{"url":"`+url+`","policy":{"auth":{"oauth2":{"token_url":"`+tokens+`","client_id":"client","client_secret":"[redacted]"}}}}`)
	}
	put("https://b.example/hook", "https://id.example/token").says(400, "policy.auth.oauth2.client_secret is masked, but url names another host. Send the value again.")
	put(hook, "https://id.example/token").says(400, "policy.auth.oauth2.client_secret is masked, but policy.auth.oauth2.token_url names another host.")
	s.call("PUT", at, `{"url":"`+hook+`","policy":{"auth":{"bearer":{"token":"[redacted]"}}}}`).says(400, "policy.auth.bearer.token is masked, but no value is stored.")
	s.call("POST", "/v1/callbacks", `{"event":"SESSION:NOTE_INSERT","url":"`+hook+`","policy":{"auth":{"bearer":{"token":"[redacted]"}}}}`).says(400, "policy.auth.bearer.token is masked, but no value is stored.")
}

func TestAuthIsStrict(t *testing.T) {
	s := start(t, func(c *setup) { c.api.RequireHTTPS, c.live = true, true })
	long := strings.Repeat("x", 1025)
	quoted := func(text string) string {
		raw, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	expiredCert, expiredKey := newCert(t, time.Now().Add(-time.Hour))
	otherCert, otherKey := newCert(t, time.Now())
	for auth, says := range map[string]string{
		`7`:             "policy.auth must be a JSON object",
		`{"digest":{}}`: `Unknown member "digest". policy.auth has oauth2, basic, bearer and tls.`,
		`{"basic":{"username":"a","password":"b"},"bearer":{"token":"c"}}`:                                "policy.auth must have one of oauth2, basic and bearer",
		`{"basic":{"username":"a:b","password":"b"}}`:                                                     "policy.auth.basic.username must be text without colons",
		`{"basic":{"username":"a","password":"\n"}}`:                                                      "policy.auth.basic.password must be text without control characters.",
		`{"basic":{"username":"a"}}`:                                                                      "policy.auth.basic.password is missing.",
		`{"bearer":{"token":"a b"}}`:                                                                      "policy.auth.bearer.token must be visible ASCII without spaces.",
		`{"bearer":{"token":""}}`:                                                                         "policy.auth.bearer.token is missing.",
		`{"bearer":{"token":"a","x":1}}`:                                                                  `Unknown member "x". policy.auth.bearer has token.`,
		`{"oauth2":{"client_id":"a","client_secret":"b"}}`:                                                "policy.auth.oauth2.token_url is missing.",
		`{"oauth2":{"token_url":"ftp://a.example","client_id":"a","client_secret":"b"}}`:                  "policy.auth.oauth2.token_url cannot be used",
		`{"oauth2":{"token_url":"http://a.example","client_id":"a","client_secret":"b"}}`:                 "policy.auth.oauth2.token_url must begin with https:// for a live API key.",
		`{"oauth2":{"token_url":"https://a.example","client_id":"` + long + `","client_secret":"b"}}`:     "policy.auth.oauth2.client_id is longer than 1,024 bytes.",
		`{"oauth2":{"token_url":"https://a.example","client_id":"a","client_secret":"b","style":"form"}}`: `policy.auth.oauth2.style "form" is not supported. Use basic or body.`,
		`{"oauth2":{"token_url":"https://a.example","client_id":"a","client_secret":"b","scope":"\""}}`:   "policy.auth.oauth2.scope must be visible ASCII",
		`{"oauth2":{"token_url":"https://a.example","client_id":"a","client_secret":7}}`:                  "policy.auth.oauth2.client_secret must be a string",
		`{"tls":{"cert":"x"}}`:                                                                            "policy.auth.tls.cert must be PEM, which begins with -----BEGIN.",
		`{"tls":{"server_name":"a b"}}`:                                                                   "policy.auth.tls.server_name must be a host name",
		`{"tls":{"ca":"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"}}`:                       "policy.auth.tls.ca has a certificate that cannot be read",
		`{"tls":{"ca":"-----BEGIN PRIVATE KEY-----"}}`:                                                    "policy.auth.tls.ca has no certificate in PEM",
		`{"tls":{"key":"-----BEGIN PRIVATE KEY-----"}}`:                                                   "policy.auth.tls.cert is missing: a key needs its cert.",
		`{"tls":{"cert":` + quoted(expiredCert) + `}}`:                                                    "policy.auth.tls.key is missing: a cert needs its key.",
		`{"tls":{"cert":` + quoted(expiredCert) + `,"key":"-----BEGIN ENCRYPTED PRIVATE KEY-----"}}`:      "policy.auth.tls.key is encrypted.",
		`{"tls":{"cert":` + quoted(expiredCert) + `,"key":` + quoted(otherKey) + `}}`:                     "policy.auth.tls.key does not belong to cert",
		`{"tls":{"cert":` + quoted(expiredCert+otherCert) + `,"key":` + quoted(otherKey) + `}}`:           "policy.auth.tls.cert must begin with the certificate of key, and the intermediate ones follow it.",
		`{"tls":{"cert":` + quoted(otherCert+otherKey) + `,"key":` + quoted(otherKey) + `}}`:              "policy.auth.tls.cert has a private key, and is not kept secret.",
		`{"tls":{"ca":` + quoted(otherKey+otherCert) + `}}`:                                               "policy.auth.tls.ca has a private key, and is not kept secret.",
	} {
		s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://a.example/","policy":{"auth":`+auth+`}}`).says(400, says)
	}
	s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://a.example/","headers":{"authorization":"x"},"policy":{"auth":{"bearer":{"token":"c"}}}}`).
		says(400, "headers must not set Authorization: policy.auth makes it.")
	relaxed := start(t)
	relaxed.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"http://a.example/","policy":{"auth":{"tls":{"server_name":"b.example"}}}}`).
		says(400, "policy.auth.tls needs a url that begins with https://.")
	// What ended is stored, with a warning.
	r := relaxed.register("SESSION:COMPLETE", "https://a.example/", `,"policy":{"auth":{"tls":{"cert":`+quoted(expiredCert)+`,"key":`+quoted(expiredKey)+`}}}`)
	contains(t, "the warning", r.header.Get("Callback-Warning"), "The client certificate in policy.auth.tls.cert expired at ")
	contains(t, "the policy", relaxed.call("GET", "/v1/callbacks/SESSION:COMPLETE/policy", "").ok(200).body, `"key":"[redacted]"`, `"cert":"-----BEGIN CERTIFICATE-----`)
}

// newCert makes a certificate that ends at a time, and its key.
func newCert(t *testing.T, ends time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: ends.Add(-time.Hour), NotAfter: ends}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

// While the old credentials are in force, a delivery whose new ones are refused arrives with
// them.
func TestCredentialsRotateWithoutLosingADelivery(t *testing.T) {
	onBothStores(t, credentialsRotateWithoutLosingADelivery)
}

func credentialsRotateWithoutLosingADelivery(t *testing.T, on func(*setup)) {
	s := start(t, on)
	const at = "/v1/callbacks/SESSION:COMPLETE"
	recv := listenFor(t, "Bearer "+bearer)
	s.register("SESSION:COMPLETE", recv.url, `,"policy":{"auth":{"bearer":{"token":"`+bearer+`"}}}`)
	s.call("POST", at+"/auth/rotate", `{}`).says(400, "Give the new credentials: oauth2, basic, bearer or tls.")
	s.call("POST", at+"/auth/rotate", `{"bearer":{"token":"a"},"keep":"31d"}`).says(400, "keep must be")
	s.call("POST", at+"/auth/rotate", `{"bearer":{"token":"a"},"kep":"1h"}`).says(400, `Unknown member "kep". A rotation has`)
	policy := decode[wire.Policy](s.call("POST", at+"/auth/rotate", `{"bearer":{"token":"the-next-one"},"keep":"1h"}`).ok(200))
	equal(t, "whether the old credentials are kept", policy.OldAuthEnds != nil, true)
	id := s.deliveryOf(s.publish("SESSION:COMPLETE", "A", `{}`))
	equal(t, "the first try", recv.next().header.Get("Authorization"), "Bearer the-next-one")
	equal(t, "the second try", recv.next().header.Get("Authorization"), "Bearer "+bearer)
	s.until("the delivery", func() bool { return s.delivery(id).State == "delivered" })
	d := s.delivery(id)
	equal(t, "the attempts", d.Attempts, 1)
	contains(t, "the warning", d.History[0].Error, "the new credentials of policy.auth were refused; the old ones, which end at ")
	// keep 0s ends the old ones at once.
	s.call("POST", at+"/auth/rotate", `{"bearer":{"token":"the-last-one"},"keep":"0s"}`).ok(200)
	failed := s.deliveryOf(s.publish("SESSION:COMPLETE", "B", `{}`))
	equal(t, "the only try", recv.next().header.Get("Authorization"), "Bearer the-last-one")
	s.until("the attempt", func() bool { return s.delivery(failed).Attempts == 1 })
	equal(t, "its status", s.delivery(failed).History[0].Response.Status, 401)
	contains(t, "the advice", s.explain(failed).Next, "refuses the credentials of policy.auth. Give it the right ones: POST "+at+"/auth/rotate")
	// A correction sends what waits at once.
	s.call("PUT", at, `{"url":"`+recv.url+`","policy":{"auth":{"bearer":{"token":"`+bearer+`"}}}}`).ok(200)
	s.until("the delivery", func() bool { return s.delivery(failed).State == "delivered" })
}

// listenFor is a receiver that answers 401 unless the header Authorization has a value.
func listenFor(t *testing.T, authorization string) *receiver {
	r := &receiver{t: t, hits: make(chan hit, 4096)}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.hits <- hit{header: req.Header.Clone()}
		if req.Header.Get("Authorization") != authorization {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(web.Close)
	r.url = web.URL
	return r
}

// A token that cannot be had is a fault of its own, and an explanation says what to do.
func TestATokenThatCannotBeHadIsExplained(t *testing.T) {
	s := start(t)
	recv, p := listen(t, nil), newProvider(t)
	p.status.Store(503)
	s.register("SESSION:COMPLETE", recv.url, `,"policy":{"auth":`+p.auth()+`}`)
	id := s.deliveryOf(s.publish("SESSION:COMPLETE", "A", `{}`))
	s.until("the attempt", func() bool { return s.delivery(id).Attempts == 1 })
	d := s.delivery(id)
	equal(t, "the fault", d.History[0].Fault, "auth")
	equal(t, "the error", d.History[0].Error, "no access token: the provider answered 503: invalid_client: not [redacted]")
	equal(t, "the state", d.State, "pending")
	contains(t, "the explanation", s.call("GET", "/v1/deliveries/"+id+"/explain", "").ok(200).body, "POST /v1/callbacks/SESSION:COMPLETE/auth/test says what it answers now.")
	found := decode[wire.DeliveryList](s.call("GET", "/v1/deliveries?fault=auth", "").ok(200))
	equal(t, "the deliveries with the fault", len(found.Data), 1)
	if len(recv.hits) > 0 {
		t.Error("the receiver got a request without a token")
	}
}

func TestAuthIsTried(t *testing.T) {
	s := start(t)
	p := newProvider(t)
	const at = "/v1/callbacks/SESSION:COMPLETE"
	s.register("SESSION:COMPLETE", "http://127.0.0.1:9/", "")
	s.call("POST", at+"/auth/test", "").says(409, "The callback has no policy.auth, so there is nothing to try.")
	s.call("PUT", at, `{"url":"http://127.0.0.1:9/","policy":{"auth":`+p.auth()+`}}`).ok(200)
	s.call("POST", at+"/auth/test", "").is(200, `{"ok":true,"token":{"status":200,"error":"","token_type":"Bearer","expires_in":3600,"scope":"events"},"tls":null}`)
	p.status.Store(401)
	s.call("POST", at+"/auth/test", "").is(200, `{"ok":false,"token":{"status":401,"error":"the provider answered 401: invalid_client: not [redacted]","token_type":"","expires_in":0,"scope":""},"tls":null}`)
	equal(t, "the tokens", p.issued.Load(), int64(1))
	for range 10 {
		if s.call("POST", at+"/auth/test", "").status == http.StatusTooManyRequests {
			return
		}
	}
	t.Error("ten tests in a row are not limited")
}

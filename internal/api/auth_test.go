package api_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/signature"
)

const wrongToken = `{"message":"Unknown API key or wrong API-Token."}`

// stamped signs a call with a timestamp of this spelling.
func (s *server) stamped(stamp string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set(signature.HeaderTimestamp, stamp)
		r.Header.Set(signature.HeaderToken, signature.Token(s.key.Account, s.key.APIKey, stamp, s.key.Secret.Reveal()))
	}
}

func set(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func without(name string) func(*http.Request) { return func(r *http.Request) { r.Header.Del(name) } }

func TestTimestampsInEverySpellingThatClientsSend(t *testing.T) {
	s := start(t)
	now := time.Now().UTC()
	for _, stamp := range []string{
		now.Format(time.RFC3339), fmt.Sprint(now.Unix()), now.Format(http.TimeFormat),
		now.Format("2006-01-02T15:04:05.000Z"), now.Format("2006-01-02T15:04:05") + "+00:00",
		now.In(time.FixedZone("", 2*3600)).Format(time.RFC3339), fmt.Sprint(now.UnixMilli()),
	} {
		if r := s.call("GET", "/v1/callbacks", "", s.stamped(stamp)); r.status != 200 {
			t.Errorf("%s: %d %s", stamp, r.status, r.body)
		}
	}
}

// The vectors of PAVE's samples are years old. The answer to a right token says that its
// time is too far from the server's; the answer to a wrong token says that it is wrong.
func TestTokenVectorsAreRightButLate(t *testing.T) {
	s := start(t)
	k, err := s.store.CreateKey(t.Context(), callbackd.Key{Account: "acme", APIKey: "09bc91b9-76e5-4256-8e4f-7a41c1408014", Secret: "s3cr3t", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	s = s.as(k)
	for stamp, token := range map[string]string{
		"2021-05-30T12:49:19Z":          "d97486360ec58501660e238e644f367309be080ed32e65abef8ad3dc07d2cae0",
		"1622378959":                    "a822d6f15fc8d9a508a4b1424097942a641013608c40f604ad9738296606b1e7",
		"Sun, 30 May 2021 12:49:19 GMT": "5b6643b80b46d837b7cbda2f7289f893a341b8a225d368d1a99c52b5eaf5c5dc",
	} {
		s.call("GET", "/v1/callbacks", "", set("API-Timestamp", stamp), set("API-Token", token)).
			says(401, "API-Timestamp is more than 5 minutes from the server's time, which is "+time.Now().UTC().Format("2006-01-02T15:"))
		s.call("GET", "/v1/callbacks", "", set("API-Timestamp", stamp), set("API-Token", "e"+token[1:])).is(401, wrongToken)
	}
}

func TestUnauthorizedCallsLearnWhichOfThreeItIs(t *testing.T) {
	onBothStores(t, unauthorizedCallsLearnWhichOfThreeItIs)
}

func unauthorizedCallsLearnWhichOfThreeItIs(t *testing.T, on func(*setup)) {
	s := start(t, on)
	for _, name := range []string{"API-Key", "API-Token", "API-Timestamp"} {
		s.call("GET", "/v1/callbacks", "", without(name)).
			is(401, `{"message":"The header `+name+` is missing; a call needs API-Key, API-Token and API-Timestamp."}`)
	}
	// Unknown key, wrong token, wrong account, revoked key: one text.
	gone := s.newKey("acme", false)
	if err := s.store.ChangeKey(t.Context(), gone.APIKey, func(k *callbackd.Key) error {
		k.Revoke(time.Now())
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	unknown, noText, wrong, account := s.key, s.key, s.key, s.key
	noText.APIKey = "\xff"
	unknown.APIKey, wrong.Secret, account.Account = "00000000-0000-0000-0000-000000000000", "other", "acmf"
	for name, k := range map[string]callbackd.Key{"unknown": unknown, "no text": noText, "wrong secret": wrong, "other account": account, "revoked": gone} {
		t.Run(name, func(t *testing.T) { s.as(k).call("GET", "/v1/callbacks", "").is(401, wrongToken) })
	}
	for _, token := range []string{"x", strings.Repeat("0", 64), strings.Repeat("0", 63), strings.Repeat("0", 66)} {
		s.call("GET", "/v1/callbacks", "", set("API-Token", token)).is(401, wrongToken)
	}
	for _, off := range []time.Duration{-6 * time.Minute, 6 * time.Minute} {
		r := s.call("GET", "/v1/callbacks", "", s.stamped(time.Now().Add(off).UTC().Format(time.RFC3339)))
		r.says(401, "API-Timestamp is more than 5 minutes from the server's time, which is ")
		text := decode[struct{ Message string }](r).Message
		at, err := time.Parse(time.RFC3339, strings.TrimSuffix(text[strings.LastIndex(text, " ")+1:], "."))
		if err != nil || time.Since(at).Abs() > time.Minute {
			t.Errorf("the server's time reads %v, %v", at, err)
		}
	}
	s.call("GET", "/v1/callbacks", "", s.stamped("yesterday")).says(401, "API-Timestamp cannot be read; send for example "+time.Now().UTC().Format("2006-"), "Unix seconds")
	s.call("GET", "/v1/callbacks", "", s.stamped("yesterday"), set("API-Token", "00")).is(401, wrongToken)
}

func TestTheKnownMistakeGetsHelp(t *testing.T) {
	s := start(t)
	stamp := time.Now().UTC().Format(time.RFC3339)
	mac := hmac.New(sha256.New, []byte(s.key.Secret.Reveal()))
	mac.Write([]byte(stamp))
	s.call("GET", "/v1/callbacks", "", set("API-Timestamp", stamp), set("API-Token", hex.EncodeToString(mac.Sum(nil)))).
		is(401, `{"message":"The API-Token signs the timestamp alone; sign \"<account>:<API key>@<API-Timestamp>\" instead."}`)
}

// Nothing of a body is read before the caller has proved who they are.
func TestAuthenticationComesBeforeTheBody(t *testing.T) {
	s := start(t)
	body := strings.NewReader(strings.Repeat("x", callbackd.MaxBody))
	s.call("POST", "/v1/callbacks", "", without("API-Token"), func(r *http.Request) {
		r.Header.Set("Expect", "100-continue") // the server asks for the body only when it reads it
		r.Body, r.ContentLength = io.NopCloser(body), int64(body.Len())
	}).says(401, "API-Token is missing")
	if body.Len() != callbackd.MaxBody {
		t.Error("the server asked for the body")
	}
	s.call("POST", "/v1/events", "not JSON", set("API-Token", "00")).is(401, wrongToken)
}

// A key sees only what is its own, also within one account: the other's
// object is a 404 that says what it says when there is none.
func TestAnotherKeysObjectIsNotFound(t *testing.T) { onBothStores(t, anotherKeysObjectIsNotFound) }

func anotherKeysObjectIsNotFound(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, "")
	ev := s.publish("SESSION:COMPLETE", "ACM-0123456789", `{}`)
	recv.next()
	delivery := s.deliveryOf(ev)
	other := s.as(s.newKey("acme", false))
	const none = `{"api_key":"KEY","message":"Your API Key does not have callback setting for the event SESSION:COMPLETE."}`
	for _, c := range [][2]string{
		{"GET", ""}, {"DELETE", ""}, {"GET", "/policy"}, {"GET", "/stats"}, {"GET", "/secret"}, {"POST", "/secret/rotate"}, {"POST", "/pause"}, {"POST", "/resume"}, {"POST", "/test"}, {"POST", "/auth/test"},
	} {
		other.call(c[0], "/v1/callbacks/SESSION:COMPLETE"+c[1], "").is(404, none)
	}
	other.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"https://a.example/"}`).is(404, none)
	other.call("GET", "/v1/callbacks", "").is(200, `{"api_key":"KEY","data":[]}`)
	other.call("GET", "/v1/events", "").is(200, `{"data":[],"next":null}`)
	other.call("GET", "/v1/deliveries", "").is(200, `{"data":[],"next":null}`)
	other.call("GET", "/v1/events/"+ev.ID, "").is(404, `{"message":"There is no event `+ev.ID+`; events are removed some time after they ended."}`)
	other.call("GET", "/v1/deliveries/"+delivery, "").is(404, `{"message":"There is no delivery `+delivery+`; deliveries are removed some time after they ended."}`)
	other.call("POST", "/v1/deliveries/"+delivery+"/retry", "").is(404, `{"message":"There is no delivery `+delivery+`; deliveries are removed some time after they ended."}`)
	s.call("GET", "/v1/callbacks/SESSION:COMPLETE", "").ok(200)
}

// Every route asks for authentication, but the four for the operator's machines.
func TestEveryRouteNeedsAuthentication(t *testing.T) {
	s := start(t)
	open := map[string]bool{"GET /": true, "GET /healthz": true, "GET /readyz": true, "GET /metrics": true, "GET /openapi.yaml": true}
	none := func(r *http.Request) {
		for _, name := range []string{"API-Key", "API-Token", "API-Timestamp", "Authorization"} {
			r.Header.Del(name)
		}
	}
	patterns := s.api.Patterns()
	for _, p := range patterns {
		method, path, _ := strings.Cut(p, " ")
		path = strings.NewReplacer("{event}", "SESSION:COMPLETE", "{id}", "evt_0000000000001", "{key}", "ACM-0123456789").Replace(path)
		want := 401
		if open[p] {
			want = 200
		}
		if r := s.call(method, path, "{}", none); r.status != want {
			t.Errorf("%s without authentication: %d", p, r.status)
		}
	}
	if len(patterns) < 20 {
		t.Errorf("only %d routes", len(patterns))
	}
}

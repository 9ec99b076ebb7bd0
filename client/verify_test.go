package client_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"callbackd/client"
	"callbackd/internal/signature"
)

func TestVerify(t *testing.T) {
	one, other, third := signature.NewSecret(), signature.NewSecret(), signature.NewSecret()
	now, body := time.Unix(1700000000, 0), []byte(`{"event":"SESSION:COMPLETE"}`)
	var keys []*signature.Key
	for _, s := range []string{one, other} {
		raw, err := signature.ParseSecret(s)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, signature.NewKey(raw))
	}
	h := http.Header{}
	h.Set("webhook-id", "evt_1")
	h.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	h.Set("webhook-signature", signature.Sign("evt_1", now.Unix(), body, keys...))
	for _, c := range []struct {
		name    string
		body    string
		now     time.Time
		secrets []string
		fault   string // a part of the error; empty: none
	}{
		{"the first secret", string(body), now, []string{one}, ""},
		{"the second signature", string(body), now, []string{other}, ""},
		{"one of several secrets", string(body), now, []string{third, other}, ""},
		{"five minutes later", string(body), now.Add(5 * time.Minute), []string{one}, ""},
		{"a later time", string(body), now.Add(5*time.Minute + time.Second), []string{one}, "away from now"},
		{"an earlier time", string(body), now.Add(-5*time.Minute - time.Second), []string{one}, "away from now"},
		{"another body", string(body) + " ", now, []string{one}, "no signature"},
		{"another secret", string(body), now, []string{third}, "no signature"},
		{"no secret", string(body), now, nil, "no secret"},
		{"what is no secret", string(body), now, []string{"hello"}, "begins with whsec_"},
	} {
		err := client.Verify(h, []byte(c.body), c.now, c.secrets...)
		if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: the error is %v, want %q", c.name, err, c.fault)
		}
	}
}

func TestTextsAndIdempotencyKeys(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Header.Get("Idempotency-Key"), r.Header.Get("Authorization")+r.Header.Get("API-Key"))
	}))
	defer web.Close()
	s := &client.Server{Base: web.URL}
	text, err := s.Metrics(client.WithIdempotencyKey(t.Context(), "one"))
	want(t, "the text", err, text, "one ")
}

func TestTheStreamIsOpenedOrRefused(t *testing.T) {
	seen := func(string, string, string) {}
	body, err := serve(t, 200, "id: evt_1\n\n", seen).StreamEvents(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	raw, err := io.ReadAll(body)
	want(t, "the stream", err, string(raw), "id: evt_1\n\n")
	if _, err = serve(t, 429, `{"message":"32 calls wait"}`, seen).StreamEvents(t.Context(), nil); err == nil || err.Error() != "429: 32 calls wait" {
		t.Errorf("the error is %v", err)
	}
}

func TestAReplacementWithoutAnEventSendsNone(t *testing.T) {
	var got string
	c := serve(t, 200, `{}`, func(_, uri, body string) { got = uri + " " + body })
	_, err := c.ReplaceCallback(t.Context(), "SESSION:COMPLETE", "a b", client.NewCallback{URL: "u"})
	want(t, "the call", err, got, `/v1/callbacks/SESSION:COMPLETE?name=a+b {"url":"u"}`)
}

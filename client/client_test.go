package client_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"callbackd/client"
	"callbackd/internal/signature"
)

// serve answers every call and checks that it is signed.
func serve(t *testing.T, status int, answer string, seen func(method, uri, body string)) *client.Client {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := new(signature.TokenChecker).Check("acme", r.Header.Get("API-Key"), "s", r.Header.Get("API-Timestamp"), r.Header.Get("API-Token"), time.Now()); err != nil {
			t.Error(err)
		}
		body, _ := io.ReadAll(r.Body)
		seen(r.Method, r.RequestURI, string(body))
		w.WriteHeader(status)
		io.WriteString(w, answer)
	}))
	t.Cleanup(web.Close)
	return &client.Client{Base: web.URL, Account: "acme", APIKey: "k", APISecret: "s"}
}

func TestCalls(t *testing.T) {
	var got []string
	seen := func(method, uri, body string) { got = append(got, method+" "+uri+" "+body) }
	c := serve(t, 200, `{"secret":"whsec_x","id":"evt_1","data":[],"event":"E"}`, seen)
	ctx := t.Context()
	if s, err := c.Secret(ctx, "SESSION:COMPLETE"); err != nil || s != "whsec_x" {
		t.Error(s, err)
	}
	if cb, err := c.CreateCallback(ctx, client.NewCallback{Event: "E", URL: "u", Headers: map[string]string{"A": "b"}}); err != nil || cb.Event != "E" {
		t.Error(cb, err)
	}
	if a, err := c.Publish(ctx, client.NewEvent{Event: "E", SessionKey: "S", Data: json.RawMessage(`{"a":1.0}`)}); err != nil || a.ID != "evt_1" {
		t.Error(a, err)
	}
	if l, err := c.Deliveries(ctx, url.Values{"state": {"failed"}}); err != nil || l.Data == nil {
		t.Error(l, err)
	}
	if d, err := c.Delivery(ctx, "dlv_1-2"); err != nil || d.ID != "evt_1" {
		t.Error(d, err)
	}
	want := []string{
		"GET /v1/callbacks/SESSION:COMPLETE/secret ", `POST /v1/callbacks {"event":"E","url":"u","headers":{"A":"b"}}`,
		`POST /v1/events {"event":"E","session_key":"S","data":{"a":1.0}}`, "GET /v1/deliveries?state=failed ", "GET /v1/deliveries/dlv_1-2 ",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("sent\n%s", strings.Join(got, "\n"))
	}
}

func TestErrorsCarryTheServersMessage(t *testing.T) {
	for answer, want := range map[string]string{`{"message":"Missing required fields."}`: "400: Missing required fields.", "<html>": "400: Bad Request"} {
		c := serve(t, 400, answer, func(string, string, string) {})
		_, err := c.Delivery(t.Context(), "x")
		var e *client.Error
		if !errors.As(err, &e) || e.Status != 400 || e.Error() != want {
			t.Errorf("got %v", err)
		}
	}
	c := serve(t, 200, "<html>", func(string, string, string) {})
	if _, err := c.Delivery(t.Context(), "x"); err == nil {
		t.Error("an answer that is no JSON is taken")
	}
}

package client_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
	secret, err := c.Secret(ctx, "SESSION:COMPLETE")
	want(t, "the secret", err, secret, "whsec_x")
	cb, err := c.CreateCallback(ctx, client.NewCallback{Event: "E", URL: "u", Headers: map[string]string{"A": "b"}})
	want(t, "the event of the callback", err, cb.Event, "E")
	ev, err := c.Publish(ctx, client.NewEvent{Event: "E", SessionKey: "S", Data: json.RawMessage(`{"a":1.0}`)})
	want(t, "the id of the event", err, ev.ID, "evt_1")
	l, err := c.Deliveries(ctx, url.Values{"state": {"failed"}})
	want(t, "whether the list has data", err, l.Data != nil, true)
	d, err := c.Delivery(ctx, "dlv_1-2")
	want(t, "the id of the delivery", err, d.ID, "evt_1")
	calls := []string{
		"GET /v1/callbacks/SESSION:COMPLETE/secret ", `POST /v1/callbacks {"event":"E","url":"u","headers":{"A":"b"}}`,
		`POST /v1/events {"event":"E","session_key":"S","data":{"a":1.0}}`, "GET /v1/deliveries?state=failed ", "GET /v1/deliveries/dlv_1-2 ",
	}
	if diff := cmp.Diff(calls, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// want fails the test after an error, or unless got is what is wanted of the named thing.
func want[T comparable](t *testing.T, name string, err error, got, want T) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", name, err)
	} else if got != want {
		t.Errorf("%s is %v, want %v", name, got, want)
	}
}

func TestErrorsCarryTheServersMessage(t *testing.T) {
	for answer, want := range map[string]string{`{"message":"Missing required fields."}`: "400: Missing required fields.", "<html>": "400: Bad Request"} {
		c := serve(t, 400, answer, func(string, string, string) {})
		_, err := c.Delivery(t.Context(), "x")
		var e *client.Error
		if !errors.As(err, &e) {
			t.Fatalf("the error is %T, %v, want a *client.Error", err, err)
		}
		if e.Status != 400 {
			t.Errorf("the status is %d, want 400", e.Status)
		}
		if e.Error() != want {
			t.Errorf("the error is %q, want %q", e, want)
		}
	}
	c := serve(t, 200, "<html>", func(string, string, string) {})
	if _, err := c.Delivery(t.Context(), "x"); err == nil {
		t.Error("an answer that is no JSON is taken")
	}
}

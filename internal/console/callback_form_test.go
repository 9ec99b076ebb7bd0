package console_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"callbackd/client"
	"callbackd/wire"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// callbackOf posts the form of a new callback and returns its setting and its
// policy as the API shows them.
func (v *visitor) callbackOf(t *testing.T, form url.Values) (wire.Callback, wire.Policy) {
	t.Helper()
	form.Set("event", "SESSION:COMPLETE")
	a := v.do("POST", "/console/callbacks/new", form)
	if a.StatusCode != http.StatusSeeOther {
		t.Fatalf("the form is answered with %s, want 303: %s", a.Status, words(t, a))
	}
	return v.site.setting(t, form.Get("name"))
}

func (s *site) setting(t *testing.T, name string) (cb wire.Callback, policy wire.Policy) {
	t.Helper()
	var one wire.CallbackOne
	for path, to := range map[string]any{"": &one, "/policy": &policy} {
		path = "/v1/callbacks/SESSION:COMPLETE" + path + "?name=" + name
		if err := s.Client(s.Key).Do(context.Background(), "GET", path, nil, to); err != nil {
			t.Fatal(err)
		}
	}
	return one.Data, policy
}

func TestTheFormOfACallbackIsReadAsTheAPIReadsIt(t *testing.T) {
	s := startSite(t)
	v := s.visitor(t).signIn(s.Key)
	const address = "http://127.0.0.1:9/hook"
	t.Run("empty fields", func(t *testing.T) {
		s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", Name: "api", URL: address})
		_, want := s.setting(t, "api")
		_, got := v.callbackOf(t, url.Values{"name": {"empty"}, "url": {address}, "method": {""}, "headers": {""}, "payload": {""},
			"timeout": {""}, "order": {""}, "concurrency": {""}, "rate": {""}, "retry": {" "}})
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(want, "Name", "Callback")); diff != "" {
			t.Errorf("the policy is not the default one (-want +got):\n%s", diff)
		}
	})
	t.Run("every field", func(t *testing.T) {
		form := url.Values{"name": {"all"}, "url": {address}, "method": {"PUT"}, "headers": {"X-A: 1\r\nX-B: 2"}, "payload": {"{\r\n  \"a\": 1\r\n}"},
			"timeout": {"10s"}, "order": {"0s"}, "concurrency": {"3"}, "rate": {"0.5"}, "retry": {"0s, 1m 1h"}, "one_request": {"yes"}}
		cb, policy := v.callbackOf(t, form)
		wantCallback := wire.Callback{Event: "SESSION:COMPLETE", Name: "all", URL: address, Method: "PUT",
			Headers: wire.Headers{{Name: "X-A", Value: "1"}, {Name: "X-B", Value: "2"}}, Payload: []byte(`{"a":1}`)}
		if diff := cmp.Diff(wantCallback, cb); diff != "" {
			t.Errorf("the setting (-want +got):\n%s", diff)
		}
		wantPolicy := wire.Policy{APIKey: s.Key.APIKey, Event: "SESSION:COMPLETE", Name: "all", Timeout: "10s", Order: "0s",
			Concurrency: 3, Rate: 0.5, Retry: []string{"0s", "1m0s", "1h0m0s"}, KeepAlive: false}
		if diff := cmp.Diff(wantPolicy, policy, cmpopts.IgnoreFields(policy, "Callback")); diff != "" {
			t.Errorf("the policy (-want +got):\n%s", diff)
		}
	})
}

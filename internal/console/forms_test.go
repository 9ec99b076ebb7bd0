package console_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"callbackd"
	"callbackd/client"
	"callbackd/wire"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/net/html"
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
			"timeout": {"10s"}, "order": {"0s"}, "concurrency": {"3"}, "rate": {"0.5"}, "retry": {"0s, 1m 1h"}, "one_request": {"yes"}, "no_response": {"yes"}, "signing": {"github hmac-hex:X-Sum"}, "order_group": {"portal"}, "filter": {"{\r\n \"data.grade\": {\"lt\": 3}}"}, "fields": {`{"only": ["grade"]}`}, "format": {""}, "secret": {"known already"}}
		cb, policy := v.callbackOf(t, form)
		wantCallback := wire.Callback{Event: "SESSION:COMPLETE", Name: "all", URL: address, Method: "PUT",
			Headers: wire.Headers{{Name: "X-A", Value: "1"}, {Name: "X-B", Value: "2"}}, Payload: []byte(`{"a":1}`)}
		if diff := cmp.Diff(wantCallback, cb); diff != "" {
			t.Errorf("the setting (-want +got):\n%s", diff)
		}
		wantPolicy := wire.Policy{APIKey: s.Key.APIKey, Event: "SESSION:COMPLETE", Name: "all", Timeout: "10s", Order: "0s",
			Concurrency: 3, Rate: 0.5, Retry: []string{"0s", "1m0s", "1h0m0s"}, KeepAlive: false, Signing: []string{"github", "hmac-hex:X-Sum"}, OrderGroup: "portal", Format: "json", Filter: []byte(`{"data.grade":{"lt":3}}`), Fields: []byte(`{"only":["grade"]}`)}
		if diff := cmp.Diff(wantPolicy, policy, cmpopts.IgnoreFields(policy, "Callback")); diff != "" {
			t.Errorf("the policy (-want +got):\n%s", diff)
		}
	})
}

// The policy of the key is for callbacks that are created: to save one as it is shown changes nothing.
func TestAFormThatIsSavedAsItIsChangesNothing(t *testing.T) {
	s := startSite(t)
	v, operator := s.visitor(t).signIn(s.Key), s.visitor(t).operator()
	const address = "http://127.0.0.1:9/hook"
	s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", Name: "old", URL: address})
	operator.submit("POST", "/console/keys/"+s.Key.APIKey+"/limits", url.Values{"callback_policy": {`{"ttl":"1h","expect":"2h","rate":7,"timeout":"5s"}`}})
	_, was := s.setting(t, "old")
	v.post(fmt.Sprintf("/console/callbacks/%d/edit", was.Callback), url.Values{"url": {address}, "method": {"POST"}, "timeout": {""}, "ttl": {""}, "expect": {""}, "rate": {""}})
	_, is := s.setting(t, "old")
	if diff := cmp.Diff(was, is); diff != "" {
		t.Errorf("the policy changed (-was +is):\n%s", diff)
	}
	_, made := v.callbackOf(t, url.Values{"name": {"new"}, "url": {address}})
	if made.TTL != "1h" || made.Rate != 7 {
		t.Errorf("a new callback has the ttl %q and the rate %v, want those of the key", made.TTL, made.Rate)
	}
}

// The body that is chosen in the form is stored, and chosen again when the callback is edited.
func TestTheFormHasTheBodyOfTheMessage(t *testing.T) {
	s := startSite(t)
	v := s.visitor(t).signIn(s.Key)
	to := v.post("/console/callbacks/new", url.Values{"event": {"CALLBACK:FAILING"}, "url": {"http://127.0.0.1:9/"}, "format": {"slack"}})
	var policy wire.Policy
	if err := s.Client(s.Key).Do(context.Background(), "GET", "/v1/callbacks/CALLBACK:FAILING/policy", nil, &policy); err != nil || policy.Format != "slack" {
		t.Errorf("the format is %q: %v", policy.Format, err)
	}
	page, _, _ := strings.Cut(to, "?")
	if a := v.get(page + "/edit"); !strings.Contains(a.body, `value="slack" selected`) {
		t.Errorf("%s/edit does not choose the format", page)
	}
}

// A form with errors shows all of them at once, each at its field, and keeps what was
// typed.
func TestFormsShowAllThatIsWrong(t *testing.T) {
	s := startSite(t)
	holder, operator := s.visitor(t).signIn(s.Key), s.visitor(t).operator()
	for name, c := range map[string]struct {
		who          *visitor
		method, path string
		form         url.Values
		wrong        []string
	}{
		"new callback": {holder, "POST", "/console/callbacks/new",
			url.Values{"event": {"SESSION:COMPLETE"}, "name": {"a b"}, "url": {"ftp://x"}, "method": {"HEAD"}, "headers": {"Host: x"}, "payload": {"{"},
				"timeout": {"2h"}, "order": {"x"}, "concurrency": {"many"}, "rate": {"-1"}, "retry": {"5s"}, "signing": {"md5"}, "order_group": {"a b"}, "filter": {`{"grade":3}`}, "fields": {`["grade"]`}, "secret": {"short"}},
			[]string{"concurrency", "fields", "filter", "headers", "method", "name", "order", "order_group", "payload", "rate", "retry", "secret", "signing", "timeout", "url"}},
		"new callback with a secret of another scheme": {holder, "POST", "/console/callbacks/new",
			url.Values{"event": {"SESSION:COMPLETE"}, "url": {"http://127.0.0.1:9/"}, "method": {"POST"}, "secret": {"known already"}},
			[]string{"signing"}},
		"new callback without a URL": {holder, "POST", "/console/callbacks/new",
			url.Values{"event": {"SESSION:NOTHING"}, "url": {""}, "method": {"POST"}, "timeout": {"3s"}},
			[]string{"event", "url"}},
		"new callback without a key": {operator, "POST", "/console/callbacks/new",
			url.Values{"event": {"SESSION:COMPLETE"}, "url": {"x"}, "method": {"POST"}},
			[]string{"key", "url"}},
		"new key": {operator, "POST", "/console/keys",
			url.Values{"account": {"a b"}, "name": {"two\nlines"}, "frame": {"soon"}},
			[]string{"account", "frame", "name"}},
		"limits of a key": {operator, "POST", "/console/keys/" + s.Key.APIKey + "/limits",
			url.Values{"publish_rate": {"fast"}, "pending_deliveries": {"-1"}, "pending_bytes": {"1.5"}, "callbacks": {"0"}, "callback_policy": {`{"auth":{}}`}, "retention": {"1m"}, "retention_events": {`{"x":"1d"}`}},
			[]string{"callback_policy", "callbacks", "pending_bytes", "pending_deliveries", "publish_rate", "retention", "retention_events"}},
		"new replay": {holder, "GET", "/console/replays/new",
			url.Values{"counted": {"1"}, "since": {"x"}, "until": {"y"}, "rate": {"fast"}, "callback": {"z"}, "target": {"-1"}, "event": {"e"}, "session": {"right"}},
			[]string{"callback", "event", "rate", "since", "target", "until"}},
		"cancellation": {holder, "GET", "/console/deliveries/cancel",
			url.Values{"counted": {"1"}, "since": {"x"}, "until": {"y"}, "callback": {"z"}, "event": {"e"}, "session": {"right"}, "rate": {"fast"}, "reason": {strings.Repeat("x", callbackd.MaxCancelReason+1)}},
			[]string{"callback", "event", "rate", "reason", "since", "until"}},
		"erasure": {operator, "POST", "/console/erases/new",
			url.Values{"by": {"phone"}, "value": {"not a number"}},
			[]string{"key", "value"}},
		"erasure by nothing known": {holder, "POST", "/console/erases/new",
			url.Values{"by": {"name"}, "value": {"Jane"}},
			[]string{"by"}},
		"filter of deliveries": {holder, "GET", "/console/deliveries",
			url.Values{"since": {"x"}, "until": {"y"}, "status": {"z"}, "fault": {"f"}, "event": {"e"}, "callback": {"c"}, "session": {"right"}},
			[]string{"callback", "event", "fault", "since", "status", "until"}},
		"filter of calls": {holder, "GET", "/console/logs",
			url.Values{"since": {"x"}, "until": {"y"}, "status": {"z"}, "path": {"/right"}},
			[]string{"since", "status", "until"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := c.who.submit(c.method, c.path, c.form)
			if a.StatusCode != http.StatusBadRequest {
				t.Errorf("the form is answered with %s, want 400", a.Status)
			}
			wellBuilt(t, c.path, a)
			marked := markedFields(t, a)
			if diff := cmp.Diff(c.wrong, slices.Sorted(maps.Keys(marked))); diff != "" {
				t.Errorf("the fields marked as wrong (-want +got):\n%s", diff)
			}
			for field, fault := range marked {
				if fault == "" {
					t.Errorf("%s is marked, and nothing says why", field)
				}
			}
			if diff := cmp.Diff([]string(nil), lostValues(t, a, c.form)); diff != "" {
				t.Errorf("values that were typed are lost:\n%s", diff)
			}
		})
	}
}

// submit sends a form as a browser does.
func (v *visitor) submit(method, path string, form url.Values) answer {
	v.t.Helper()
	if method == "GET" {
		return v.get(path + "?" + form.Encode())
	}
	return v.do(method, path, form)
}

// markedFields returns the controls that are marked as wrong, with the texts at them.
func markedFields(t *testing.T, a answer) map[string]string {
	t.Helper()
	marked := map[string]string{}
	for n := range elements(parse(t, a)) {
		if name := attr(n, "name"); name != "" && attr(n, "aria-invalid") == "true" {
			marked[name] = element(t, a, name+"-error")
		}
	}
	return marked
}

// lostValues lists the texts of a form that its controls do not show. A control of
// one line cannot show several.
func lostValues(t *testing.T, a answer, form url.Values) (lost []string) {
	t.Helper()
	for n := range elements(parse(t, a), "input", "textarea") {
		typed := form.Get(attr(n, "name"))
		if typed == "" || strings.Contains(typed, "\n") || slices.Contains([]string{"hidden", "checkbox"}, attr(n, "type")) {
			continue
		}
		if shown := shownValue(n); shown != typed {
			lost = append(lost, fmt.Sprintf("%s was %q and is %q", attr(n, "name"), typed, shown))
		}
	}
	return lost
}

func shownValue(n *html.Node) string {
	if n.Data == "textarea" {
		return strings.TrimSpace(text(n))
	}
	return attr(n, "value")
}

func TestANameThatIsTakenIsShownAtItsField(t *testing.T) {
	s := startSite(t)
	v := s.visitor(t).signIn(s.Key)
	form := url.Values{"event": {"SESSION:COMPLETE"}, "name": {"crm"}, "url": {"http://127.0.0.1:9/"}, "method": {"POST"}}
	v.post("/console/callbacks/new", form)
	a := v.submit("POST", "/console/callbacks/new", form)
	if a.StatusCode != http.StatusConflict {
		t.Errorf("the second callback of the name is answered with %s, want 409", a.Status)
	}
	want := map[string]string{"name": "There is already a callback for SESSION:COMPLETE with this name. Edit it, or give this one another name."}
	if diff := cmp.Diff(want, markedFields(t, a)); diff != "" {
		t.Errorf("the fields marked as wrong (-want +got):\n%s", diff)
	}
}

package console_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"callbackd/client"
	"callbackd/wire"

	"github.com/google/go-cmp/cmp"
)

// What a form sets is shown by the API and in the form, without its secrets. Saving the
// form as it is shown keeps them.
func TestTheFormOfACallbackSetsHowItSignsIn(t *testing.T) {
	s := startSite(t)
	v := s.visitor(t).signIn(s.Key)
	const secret = "not-to-be-shown-0123456789"
	form := url.Values{"name": {"auth"}, "url": {"https://127.0.0.1:9/hook"}, "method": {"POST"}, "oauth2_token_url": {"https://id.example/token"},
		"oauth2_client_id": {"me"}, "oauth2_client_secret": {secret}, "oauth2_scope": {"a b"}, "oauth2_style": {"body"}, "tls_server_name": {"b.example"}}
	_, policy := v.callbackOf(t, form)
	want := wire.Auth{OAuth2: &wire.OAuth2{TokenURL: "https://id.example/token", ClientID: "me", ClientSecret: "[redacted]", Scope: "a b", Style: "body"}, TLS: &wire.ClientTLS{ServerName: "b.example"}}
	if diff := cmp.Diff(want, policy.Auth); diff != "" {
		t.Errorf("the policy (-want +got):\n%s", diff)
	}
	page := "/console/callbacks/1"
	for _, path := range []string{page, page + "/edit"} {
		a := v.get(path)
		if strings.Contains(a.body, secret) {
			t.Errorf("%s has the secret", path)
		}
		if !strings.Contains(a.body, "https://id.example/token") {
			t.Errorf("%s does not show where the tokens are from", path)
		}
	}
	shown := url.Values{}
	for n := range elements(parse(t, v.get(page+"/edit")), "input", "textarea") {
		shown.Set(attr(n, "name"), shownValue(n))
	}
	if shown.Get("oauth2_client_secret") != "[redacted]" {
		t.Fatalf("the form shows %v", shown)
	}
	for name, value := range map[string]string{"method": "POST", "oauth2_style": "body"} {
		shown.Set(name, value)
	}
	shown.Del("one_request")
	shown.Del("no_response")
	if a := v.do("POST", page+"/edit", shown); a.StatusCode != http.StatusSeeOther {
		t.Fatalf("the form as it is shown is answered with %s: %s", a.Status, words(t, a))
	}
	shown.Set("oauth2_token_url", "https://other.example/token")
	a := v.do("POST", page+"/edit", shown)
	if a.StatusCode != http.StatusBadRequest || !strings.Contains(words(t, a), "policy.auth.oauth2.client_secret is masked, but policy.auth.oauth2.token_url names another host") {
		t.Errorf("a mask for another provider is answered with %s: %s", a.Status, words(t, a))
	}
}

func TestTheFormOfACallbackShowsWhatIsWrongWithItsSignIn(t *testing.T) {
	s := startSite(t)
	v := s.visitor(t).signIn(s.Key)
	s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", Name: "api", URL: "https://127.0.0.1:9/"})
	form := func(more url.Values) url.Values {
		more.Set("event", "SESSION:COMPLETE")
		more.Set("url", "https://127.0.0.1:9/")
		more.Set("method", "POST")
		return more
	}
	a := v.submit("POST", "/console/callbacks/new", form(url.Values{"oauth2_scope": {"a"}, "oauth2_token_url": {"x"}, "basic_password": {"p"}, "bearer_token": {"a b"}, "tls_cert": {"x"}}))
	wellBuilt(t, "the form", a)
	var fields []string
	for name := range markedFields(t, a) {
		fields = append(fields, name)
	}
	for _, name := range []string{"oauth2_token_url", "oauth2_client_id", "oauth2_client_secret", "basic_username", "bearer_token", "tls_cert"} {
		if markedFields(t, a)[name] == "" {
			t.Errorf("%s is not marked; these are: %v", name, fields)
		}
	}
	for want, more := range map[string]url.Values{
		"The sign-in must have one of oauth2, basic and bearer":      {"basic_username": {"a"}, "basic_password": {"b"}, "bearer_token": {"c"}},
		"headers must not set Authorization: policy.auth makes it.":  {"bearer_token": {"c"}, "headers": {"Authorization: x"}},
		"policy.auth.bearer.token is masked, but no value is stored": {"bearer_token": {"[redacted]"}},
	} {
		if a := v.submit("POST", "/console/callbacks/new", form(more)); a.StatusCode != http.StatusBadRequest || !strings.Contains(words(t, a), want) {
			t.Errorf("answered with %s and without %q: %s", a.Status, want, words(t, a))
		}
	}
}

// A provider issues tokens to the client me with the secret s2.
func provider(t *testing.T) *httptest.Server {
	p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, secret, _ := r.BasicAuth(); secret != "s2" {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"error": "invalid_client", "error_description": "<b>no</b>"}`)
			return
		}
		io.WriteString(w, `{"access_token": "the-token-0123456789", "token_type": "Bearer", "expires_in": 3600, "scope": "send"}`)
	}))
	t.Cleanup(p.Close)
	return p
}

func TestASignInIsTriedAndRotated(t *testing.T) {
	s := startSite(t)
	v := s.visitor(t).signIn(s.Key)
	tokens := provider(t).URL
	page := "/console/callbacks/" + s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", URL: "http://127.0.0.1:9/",
		Policy: &client.Policy{Auth: &wire.Auth{OAuth2: &wire.OAuth2{TokenURL: tokens, ClientID: "me", ClientSecret: "s1"}}}}) + "/auth"
	v.says(page, "OAuth 2.0: tokens of "+tokens, "Try the sign-in", "Rotate")
	try := func(want ...string) {
		t.Helper()
		a := v.do("POST", page+"/test", url.Values{})
		wellBuilt(t, page+"/test", a)
		for _, text := range want {
			if got := words(t, a); a.StatusCode != http.StatusOK || !strings.Contains(got, text) {
				t.Errorf("a try is answered with %s and without %q: %s", a.Status, text, got)
			}
		}
		if strings.Contains(a.body, "the-token") {
			t.Error("the page has the token")
		}
	}
	try("answered 401: invalid_client: <b>no</b>")
	form := url.Values{"oauth2_token_url": {tokens}, "oauth2_client_id": {"me"}, "oauth2_client_secret": {"s2"}, "keep": {"1h"}}
	if a := v.do("POST", page, form); a.StatusCode != http.StatusSeeOther || !strings.HasSuffix(a.Header.Get("Location"), page+"?done=auth-rotated") {
		t.Fatalf("a rotation is answered with %s: %s", a.Status, words(t, a))
	}
	v.says(page, "The credentials before are tried too until")
	try("The sign-in works", "issued, valid for 1 h, scope send")

	for want, form := range map[string]url.Values{
		"Give the new credentials":                                  {"keep": {"1h"}},
		"client_secret is masked, but policy.auth.oauth2.token_url": {"oauth2_token_url": {"https://other.example/"}, "oauth2_client_id": {"me"}, "oauth2_client_secret": {"[redacted]"}, "keep": {"1h"}},
		"must have one of oauth2, basic and bearer":                 {"basic_username": {"a"}, "basic_password": {"b"}, "bearer_token": {"c"}, "keep": {"1h"}},
		"keep": {"bearer_token": {"c"}, "keep": {"9999h"}},
	} {
		a := v.submit("POST", page, form)
		wellBuilt(t, page, a)
		if got := words(t, a); a.StatusCode != http.StatusBadRequest || !strings.Contains(got, want) {
			t.Errorf("%v is answered with %s and without %q: %s", form, a.Status, want, got)
		}
		if lost := lostValues(t, a, form); len(lost) > 0 && want != "keep" {
			t.Errorf("values that were typed are lost: %v", lost)
		}
	}
}

// Only who may change a callback tries or rotates its sign-in, and only from the console's
// own pages.
func TestASignInBelongsToItsKey(t *testing.T) {
	s := startSite(t)
	page := "/console/callbacks/" + s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", URL: "http://127.0.0.1:9/"}) + "/auth"
	other := s.visitor(t).signIn(s.NewKey("other", "another"))
	for _, path := range []string{page, page + "/test"} {
		if a := other.do("POST", path, url.Values{"bearer_token": {"c"}, "keep": {"1h"}}); a.StatusCode != http.StatusNotFound {
			t.Errorf("POST %s with another key is answered with %s", path, a.Status)
		}
	}
	own := s.visitor(t).signIn(s.Key)
	own.says(page, "The callback does not sign in.")
	if a := own.do("POST", page+"/test", url.Values{}); a.StatusCode != http.StatusConflict {
		t.Errorf("a try of nothing is answered with %s", a.Status)
	}
	if a := own.do("POST", page, url.Values{"bearer_token": {"c"}, "keep": {"0s"}}); a.StatusCode != http.StatusSeeOther {
		t.Errorf("the first credentials are answered with %s: %s", a.Status, words(t, a))
	}
	a := own.do("POST", page+"/test", url.Values{})
	if got := words(t, a); !strings.Contains(got, "only a request shows whether the receiver accepts this") {
		t.Errorf("a try of a fixed token says: %s", got)
	}
}

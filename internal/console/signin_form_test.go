package console_test

import (
	"net/http"
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

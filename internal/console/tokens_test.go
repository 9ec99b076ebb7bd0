package console_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"callbackd"
	"callbackd/client"
)

// The operator makes a token, uses it, and revokes it. Its text is shown once.
func TestOperatorTokensInTheConsole(t *testing.T) {
	onBothStores(t, func(t *testing.T, s *site) {
		v, ctx := s.visitor(t).operator(), context.Background()
		made := v.do("POST", "/console/tokens", url.Values{"name": {" grafana "}, "role": {"read"}, "expires_after": {"30d"}})
		if made.StatusCode != http.StatusOK {
			t.Fatalf("the form answers %s", made.Status)
		}
		_, rest, _ := strings.Cut(made.body, `id="new-token">`)
		text, _, _ := strings.Cut(rest, "<")
		id, ok := callbackd.ParseOperatorToken(callbackd.Secret(text))
		if !ok {
			t.Fatalf("the page shows %q, want a token", text)
		}
		admin := &client.Admin{Base: s.URL, Token: text}
		if _, err := admin.Settings(ctx); err != nil {
			t.Errorf("the token does not read: %v", err)
		}
		if _, err := admin.RevokeToken(ctx, id); err == nil {
			t.Error("a token with the role read revokes a token")
		}
		if list := v.get("/console/tokens"); strings.Contains(list.body, text) || !strings.Contains(list.body, id) {
			t.Error("the list shows the text of a token, or lacks its ID")
		}
		v.says("/console/tokens/"+id+"/revoke", "grafana", "cannot be undone")
		if to := v.post("/console/tokens/"+id+"/revoke", nil); to != "/console/tokens?done=token-revoked" {
			t.Errorf("the revocation leads to %s", to)
		}
		v.says("/console/tokens?done=token-revoked", "The operator token was revoked", "grafana", "revoked")
		if _, err := admin.Settings(ctx); err == nil {
			t.Error("a revoked token reads")
		}
		v.says("/console/audit", "token.created", "token.revoked")
	})
}

func TestFormsOfOperatorTokensAreChecked(t *testing.T) {
	s := startSite(t)
	v := s.visitor(t).operator()
	v.do("POST", "/console/tokens", url.Values{"name": {"ci"}, "role": {"full"}})
	for want, form := range map[string]url.Values{
		"name must be 1 to":                {"role": {"read"}},
		"ci is in force already":           {"name": {"ci"}, "role": {"read"}},
		"role is missing":                  {"name": {"a"}},
		"is not supported":                 {"name": {"a"}, "role": {"root"}},
		"expires_after must be a duration": {"name": {"a"}, "role": {"read"}, "expires_after": {"1000d"}},
	} {
		a := v.do("POST", "/console/tokens", form)
		if got := words(t, a); a.StatusCode != http.StatusBadRequest || !strings.Contains(got, want) || strings.Contains(got, "shown only once") {
			t.Errorf("%v: %s, without %q", form, a.Status, want)
		}
	}
	if a := v.get("/console/tokens/abcdefghijkl/revoke"); a.StatusCode != http.StatusNotFound {
		t.Errorf("the page of a token that does not exist answers %s", a.Status)
	}
	holder := s.visitor(t).signIn(s.Key)
	for _, a := range []answer{holder.get("/console/tokens"), holder.do("POST", "/console/tokens", url.Values{"name": {"mine"}, "role": {"full"}})} {
		if a.StatusCode != http.StatusNotFound {
			t.Errorf("a key holder gets %s", a.Status)
		}
	}
	if strings.Contains(holder.get("/console/").body, "Operator tokens") {
		t.Error("a key holder sees the page in the navigation")
	}
}

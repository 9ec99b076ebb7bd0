package api_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/apikey"
	"callbackd/internal/signature"
	"callbackd/wire"
)

// operator makes calls with an operator token.
type operator struct {
	*server
	token callbackd.OperatorToken
	text  callbackd.Secret
}

func (s *server) operator(name string, role callbackd.TokenRole) *operator {
	s.t.Helper()
	token, text, err := apikey.NewToken(name, role, time.Hour, time.Now())
	if err == nil {
		err = s.store.CreateToken(s.t.Context(), token)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return s.bearing(token, text)
}

// bears replaces a call's signature by a token.
func bears(text callbackd.Secret) func(*http.Request) {
	return func(r *http.Request) {
		r.Header = http.Header{}
		if text != "" {
			r.Header.Set("Authorization", "Bearer "+text.Reveal())
		}
	}
}

// bearing is the same server, called with a token.
func (s *server) bearing(token callbackd.OperatorToken, text callbackd.Secret) *operator {
	other := *s
	other.token = func() callbackd.Secret { return text }
	return &operator{&other, token, text}
}

func TestOperatorTokensAreMadeAndRevoked(t *testing.T) {
	onBothStores(t, func(t *testing.T, on func(*setup)) {
		s := start(t, on)
		o := s.operator("terraform", callbackd.RoleFull)
		made := decode[wire.OperatorToken](o.call("POST", "/v1/admin/tokens", `{"name":"grafana","role":"read","expires_after":"30d"}`).ok(201))
		if made.Name != "grafana" || made.Role != "read" || made.State != "active" || made.ExpiresAt.Sub(made.CreatedAt) != 30*24*time.Hour {
			t.Errorf("the token is %+v", made)
		}
		reader := s.bearing(callbackd.OperatorToken{}, callbackd.Secret(made.Token))
		list := decode[wire.OperatorTokenList](reader.call("GET", "/v1/admin/tokens", "").ok(200))
		if len(list.Data) != 2 || list.Data[1].ID != made.ID || list.Data[1].Token != "" {
			t.Errorf("the list is %+v", list)
		}
		reader.call("POST", "/v1/admin/tokens", `{"name":"x","role":"full"}`).says(403, "grafana may read")
		reader.call("DELETE", "/v1/admin/tokens/"+o.token.ID, "").says(403, "grafana may read")
		o.call("POST", "/v1/admin/tokens", `{"name":"grafana","role":"read"}`).says(409, "grafana is in force already")

		gone := decode[wire.OperatorToken](o.call("DELETE", "/v1/admin/tokens/"+made.ID, "").ok(200))
		if gone.State != "revoked" || gone.RevokedAt == nil {
			t.Errorf("the revoked token is %+v", gone)
		}
		reader.call("GET", "/v1/admin/tokens", "").says(401, "needs an operator token")
		o.call("DELETE", "/v1/admin/tokens/none", "").says(404, "no operator token none")
	})
}

func TestNewOperatorTokensAreChecked(t *testing.T) {
	o := start(t).operator("o", callbackd.RoleFull)
	for body, want := range map[string]string{
		`{"name":""}`:                                        "name is missing",
		`{"role":"read"}`:                                    "name is missing",
		`{"name":"a"}`:                                       "role is missing",
		`{"name":"a","role":"root"}`:                         `role "root" is not supported`,
		`{"name":"a","role":"read","x":1}`:                   `Unknown member "x"`,
		`{"name":"a\u202eb","role":"read"}`:                  "printable text",
		`{"name":"a","role":"read","expires_after":"1000d"}`: "expires_after must be a duration",
	} {
		o.call("POST", "/v1/admin/tokens", body).says(400, want)
	}
}

// A repeat of the call that made a token gets the same token.
func TestAnOperatorTokenIsMadeOnce(t *testing.T) {
	onBothStores(t, func(t *testing.T, on func(*setup)) {
		o := start(t, on).operator("o", callbackd.RoleFull)
		once := func(r *http.Request) { r.Header.Set("Idempotency-Key", "k") }
		first := o.call("POST", "/v1/admin/tokens", `{"name":"a","role":"read"}`, once).ok(201)
		again := o.call("POST", "/v1/admin/tokens", `{"name":"a","role":"read"}`, once).ok(201)
		equal(t, "the repeated answer", again.body, first.body)
		equal(t, "its mark", again.header.Get("Idempotency-Replayed"), "true")
		revoke := func() reply {
			return o.call("DELETE", "/v1/admin/tokens/"+decode[wire.OperatorToken](first).ID, "", once).ok(200)
		}
		equal(t, "the repeated revocation", revoke().body, revoke().body)
	})
}

// Nothing but a token in force opens the management API, and an API key never does.
func TestOnlyOperatorTokensOpenTheManagementAPI(t *testing.T) {
	s := start(t)
	o := s.operator("o", callbackd.RoleFull)
	revoked := s.operator("revoked", callbackd.RoleFull)
	if _, err := s.store.RevokeToken(t.Context(), revoked.token.ID, time.Now()); err != nil {
		t.Fatal(err)
	}
	expired, expiredText, err := apikey.NewToken("expired", callbackd.RoleFull, time.Minute, time.Now().Add(-time.Hour))
	if err == nil {
		err = s.store.CreateToken(t.Context(), expired)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*http.Request){
		"a signature": func(r *http.Request) {
			signature.SetHeaders(r.Header, s.key.Account, s.key.APIKey, s.key.Secret.Reveal(), time.Now())
			r.Header.Del("Authorization")
		},
		"nothing":           bears(""),
		"a revoked token":   bears(revoked.text),
		"an expired token":  bears(expiredText),
		"another secret":    bears(o.text + "x"),
		"an unknown token":  bears(callbackd.OperatorTokenText("abcdefghijkl", "SECRET")),
		"the API secret":    bears(s.key.Secret),
		"the token as text": func(r *http.Request) { r.Header.Set("Authorization", o.text.Reveal()) },
	} {
		r := s.call("GET", "/v1/admin/tokens", "", change)
		r.says(401, "needs an operator token")
		if r.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: the answer does not ask for a token", name)
		}
	}
	s.call("GET", "/v1/callbacks", "", bears(o.text)).says(401, "API-Key is missing")
}

// Wrong tokens are limited for each address, and nobody with the right one is locked out.
func TestWrongOperatorTokensAreLimited(t *testing.T) {
	s := start(t)
	o := s.operator("o", callbackd.RoleFull)
	limited := 0
	for i := range 20 {
		wrong := callbackd.OperatorTokenText(o.token.ID, fmt.Sprint("guess", i))
		if r := s.call("GET", "/v1/admin/tokens", "", bears(wrong)); r.status == 429 {
			limited++
			if r.header.Get("Retry-After") == "" {
				t.Error("a limited call is not told when to come again")
			}
		}
	}
	if limited < 8 {
		t.Errorf("%d of 20 wrong tokens were limited", limited)
	}
	o.call("GET", "/v1/admin/tokens", "").ok(200)
}

// The use of a token is written in batches, and not with each call.
func TestTheUseOfOperatorTokensIsStored(t *testing.T) {
	s := start(t)
	o := s.operator("o", callbackd.RoleRead)
	o.call("GET", "/v1/admin/tokens", "").ok(200)
	stored := func() time.Time {
		t.Helper()
		got, err := s.store.Token(t.Context(), o.token.ID)
		if err != nil {
			t.Fatal(err)
		}
		return got.LastUsedAt
	}
	if at := stored(); !at.IsZero() {
		t.Errorf("the use at %s was written with the call", at)
	}
	if err := s.api.StoreTokenUses(t.Context()); err != nil {
		t.Fatal(err)
	}
	used := stored()
	if since := time.Since(used); since < 0 || since > patience {
		t.Errorf("the token was used at %s", used)
	}
	o.call("GET", "/v1/admin/tokens", "").ok(200)
	if err := s.api.StoreTokenUses(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "the time of a use soon after another", stored(), used)
}

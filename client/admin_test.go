package client_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"callbackd/client"
	"callbackd/wire"
)

func TestAdminCalls(t *testing.T) {
	var got []string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer cbop_x" {
			t.Errorf("Authorization is %q", r.Header.Get("Authorization"))
		}
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.Method+" "+r.RequestURI+" "+string(body))
		io.WriteString(w, `{"data":[],"id":"i","token":"t","secret":"s"}`)
	}))
	t.Cleanup(web.Close)
	a, ctx := &client.Admin{Base: web.URL, Token: "cbop_x"}, t.Context()
	l, err := a.Tokens(ctx)
	want(t, "whether the list has data", err, l.Data != nil, true)
	made, err := a.CreateToken(ctx, wire.NewOperatorToken{Name: "ci", Role: "read"})
	want(t, "the token", err, made.Token, "t")
	gone, err := a.RevokeToken(ctx, "a/b")
	want(t, "the id", err, gone.ID, "i")
	key, err := a.CreateKey(ctx, wire.NewKey{Account: "acme", KeySettings: wire.KeySettings{Name: "n"}})
	want(t, "the secret", err, key.Secret, "s")
	_, err = a.ReplaceKey(ctx, "k", wire.KeySettings{SessionsExpireAfter: "3d"})
	want(t, "the settings", err, "", "")
	_, err = a.RotateKey(ctx, "k", "1h")
	want(t, "the rotation", err, "", "")
	_, err = a.RevokeKey(ctx, "k")
	want(t, "the revocation", err, "", "")
	_, err = a.Key(ctx, "k")
	want(t, "the key", err, "", "")
	_, err = a.Limits(ctx, "k")
	want(t, "the limits", err, "", "")
	_, err = a.StartReplay(ctx, "k", wire.NewReplay{Rate: 1})
	want(t, "the replay", err, "", "")
	for name, list := range map[string]func() (int, error){
		"keys":       func() (int, error) { l, err := a.Keys(ctx, nil); return len(l.Data), err },
		"callbacks":  func() (int, error) { l, err := a.Callbacks(ctx, nil); return len(l.Data), err },
		"deliveries": func() (int, error) { l, err := a.Deliveries(ctx, nil); return len(l.Data), err },
		"settings":   func() (int, error) { l, err := a.Settings(ctx); return len(l.Data), err },
	} {
		n, err := list()
		want(t, name, err, n, 0)
	}
	got = got[:len(got)-4] // those are made in any order
	calls := []string{"GET /v1/admin/tokens ", `POST /v1/admin/tokens {"name":"ci","role":"read"}`, "DELETE /v1/admin/tokens/a%2Fb ",
		`POST /v1/admin/keys {"account":"acme","name":"n"}`, `PUT /v1/admin/keys/k {"sessions_expire_after":"3d"}`,
		`POST /v1/admin/keys/k/rotate {"keep":"1h"}`, "POST /v1/admin/keys/k/revoke ", "GET /v1/admin/keys/k ", "GET /v1/admin/keys/k/limits ",
		`POST /v1/admin/keys/k/replays {"rate":1}`,
	}
	if diff := cmp.Diff(calls, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

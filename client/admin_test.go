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
		io.WriteString(w, `{"data":[],"id":"i","token":"t"}`)
	}))
	t.Cleanup(web.Close)
	a, ctx := &client.Admin{Base: web.URL, Token: "cbop_x"}, t.Context()
	l, err := a.Tokens(ctx)
	want(t, "whether the list has data", err, l.Data != nil, true)
	made, err := a.CreateToken(ctx, wire.NewOperatorToken{Name: "ci", Role: "read"})
	want(t, "the token", err, made.Token, "t")
	gone, err := a.RevokeToken(ctx, "a/b")
	want(t, "the id", err, gone.ID, "i")
	calls := []string{"GET /v1/admin/tokens ", `POST /v1/admin/tokens {"name":"ci","role":"read"}`, "DELETE /v1/admin/tokens/a%2Fb "}
	if diff := cmp.Diff(calls, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"callbackd/client"
	"callbackd/wire"
)

// newToken makes an operator token beside a server.
func newToken(t *testing.T, dir, name, role string) string {
	t.Helper()
	out, errs, code := run(t, "tokens", "create", "--name", name, "--role", role, "--json", "--data", dir)
	var made wire.OperatorToken
	if err := json.Unmarshal([]byte(out), &made); code != 0 || err != nil {
		t.Fatalf("tokens create: %d %s %s", code, out, errs)
	}
	return made.Token
}

// A token that a command makes beside a running server works at once, and one that it
// revokes does not.
func TestTokensWorkBesideARunningServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := serve(t, dir)
	a := &client.Admin{Base: srv.url, Token: newToken(t, dir, "terraform", "full")}
	if _, err := a.Tokens(t.Context()); err != nil {
		t.Errorf("a new token: %v", err)
	}
	_, errs, code := run(t, "tokens", "create", "--name", "terraform", "--role", "read", "--data", dir)
	wantExit(t, "a second token with the name", code, 1, errs, "terraform is in force already")
	_, errs, code = run(t, "tokens", "create", "--name", "x", "--role", "root", "--data", dir)
	wantExit(t, "a token with another role", code, 78, errs, "--role must be one of")
	_, errs, code = run(t, "tokens", "create", "--name", "x", "--role", "read", "--expires-after", "10000d", "--data", dir)
	wantExit(t, "a token that lasts too long", code, 78, errs, "--expires-after 10000d is invalid")

	out, _, code := run(t, "tokens", "list", "--data", dir)
	wantExit(t, "tokens list", code, 0, out, "terraform  full  active")
	if strings.Contains(out, a.Token) {
		t.Errorf("tokens list prints the token:\n%s", out)
	}
	out, _, code = run(t, "tokens", "revoke", "terraform", "--data", dir)
	wantExit(t, "tokens revoke", code, 0, out, "revoked terraform")
	if _, err := a.Tokens(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "401") {
		t.Errorf("a revoked token: %v", err)
	}
	_, errs, code = run(t, "tokens", "revoke", "terraform", "--data", dir)
	wantExit(t, "a token that is revoked", code, 1, errs, "there is no operator token terraform")
}

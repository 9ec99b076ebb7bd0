package e2e

import (
	"strings"
	"testing"

	"callbackd/client"
)

// The operator's erasures over all API keys are listed on the command line, newest first, with
// the ID that shows one of them.
func TestErasuresInAllKeysAreListed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url
	publish(t, cl, client.NewEvent{Event: event, SessionKey: "S", Data: map[string]string{"vin": "WVWZZZ1JZXW000001"}})
	at := []string{"--server", srv.url, "--token", newToken(t, dir, "test", "full")}
	all := func(args ...string) (stdout, stderr string, code int) {
		return run(t, append(append([]string{"erase", "all"}, args...), at...)...)
	}
	out, errs, code := all("--list")
	wantExit(t, "a list of none", code, 0, errs)
	if out != "" {
		t.Errorf("before the first erasure the list is %q", out)
	}
	var ids []string
	for _, args := range [][]string{{"--vin", "WVWZZZ1JZXW000001", "--dry-run", "--follow"}, {"--vin", "WVWZZZ1JZXW000001", "--follow"}} {
		out, errs, code := all(args...)
		wantExit(t, strings.Join(args, " "), code, 0, out+errs, "receipt {")
		id, _, _ := strings.Cut(out, " ")
		ids = append(ids, strings.TrimRight(id, ":;"))
	}
	out, errs, code = all("--list")
	wantExit(t, "a list", code, 0, out+errs)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], ids[1]) || !strings.HasPrefix(lines[1], ids[0]) {
		t.Fatalf("the list is %q, want %s, then %s", lines, ids[1], ids[0])
	}
	if !strings.Contains(lines[1], "events: 1, attempts: 0 would be erased") || !strings.Contains(lines[0], "events: 1, attempts: 0 erased") {
		t.Errorf("the list does not say what was a dry run, or what was erased: %q", lines)
	}
	out, errs, code = all(ids[1])
	wantExit(t, "one that is shown", code, 0, out+errs, ids[1], "receipt {")
	out, errs, code = all("--list", "--json")
	wantExit(t, "a list in JSON", code, 0, out+errs, `"id":"`+ids[0]+`"`, `"id":"`+ids[1]+`"`)
	out, errs, code = all("--list", ids[0])
	wantExit(t, "a list with an ID", code, 78, out+errs, "leave out the ID and the other options")
	if strings.Contains(out, "WVWZZZ1JZXW000001") {
		t.Error("the value that was looked for is shown")
	}
}

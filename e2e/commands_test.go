package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"callbackd/client"
	"callbackd/internal/signature"
	"callbackd/internal/store/postgres/pgtest"
	"callbackd/wire"

	"github.com/ncruces/go-sqlite3"
)

func TestKeysWorkBesideARunningServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url
	list := func() error { return cl.Do(t.Context(), "GET", "/v1/callbacks", nil, nil) }
	if err := list(); err != nil {
		t.Errorf("a new key: %v", err)
	}
	out, _, code := run(t, "keys", "list", "--data", dir)
	wantExit(t, "keys list", code, 0, out, cl.APIKey)
	if strings.Contains(out, cl.APISecret) {
		t.Errorf("keys list prints the secret:\n%s", out)
	}
	if _, errs, code := run(t, "keys", "revoke", cl.APIKey, "--data", dir); code != 0 {
		t.Errorf("revoke: %d %s", code, errs)
	}
	if err := list(); err == nil || !strings.HasPrefix(err.Error(), "401") {
		t.Errorf("a revoked key: %v", err)
	}
	if _, errs, code := run(t, "serve", "--data", dir, "--listen", "127.0.0.1:0"); code != 1 || !strings.Contains(errs, "another callbackd runs") {
		t.Errorf("a second server: %d %s", code, errs)
	}
}

// The commands for keys need no server, and their JSON is as documented.
func TestKeysWithoutAServer(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	out := says(t, []string{"keys", "create", "--account", "acme", "--name", "the \"first\"", "--test", "--json", "--data", dir})
	matches(t, "the new key", out, `^\{"account":"acme","api_key":"[0-9a-f-]{36}","api_secret":"[A-Z2-7]{52}","name":"the \\"first\\"","live":false\}\n$`)
	var first struct {
		APIKey string `json:"api_key"`
	}
	if err := json.Unmarshal([]byte(out), &first); err != nil {
		t.Fatal(err)
	}
	says(t, []string{"keys", "create", "--account", "o'neil", "--data", dir}, "api secret", `export CALLBACKD_URL=http://127.0.0.1:8080 CALLBACKD_ACCOUNT='o'\''neil' CALLBACKD_KEY=`)
	says(t, []string{"keys", "create", "--account", "far", "--data", filepath.Join(t.TempDir(), "far"), "--server", "https://callbacks.example/"},
		"export CALLBACKD_URL=https://callbacks.example CALLBACKD_ACCOUNT=far", "sign in to the console: https://callbacks.example/console/\n")
	says(t, []string{"keys", "revoke", first.APIKey, "--data", dir})
	matches(t, "the list", says(t, []string{"keys", "list", "--data", dir}),
		`^.*\n.*the "first" +test +20\S+Z +- +20\S+Z\n.*o'neil +live +20\S+Z +- +-\n$`)
	out = says(t, []string{"keys", "list", "--json", "--data", dir}, `"revoked":true`)
	if n := strings.Count(out, "\n"); n != 2 {
		t.Errorf("%d keys are listed, want 2: %s", n, out)
	}
	if strings.Contains(out, "secret") {
		t.Errorf("the list has secrets: %s", out)
	}
}

// matches checks a whole text.
func matches(t *testing.T, what, got, want string) {
	t.Helper()
	if !regexp.MustCompile(want).MatchString(got) {
		t.Errorf("%s is\n%s\nwant %s", what, got, want)
	}
}

func TestKeyCommandsThatAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	says(t, []string{"keys", "create", "--account", "acme", "--data", dir})
	nowhere := filepath.Join(dir, "x")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"keys", "revoke", "no-such", "--data", dir}, "no-such"},
		{[]string{"keys", "create", "--account", "a:b", "--data", dir}, "--account"},
		{[]string{"keys", "create", "--data", dir}, "--account"},
		{[]string{"keys", "list", "--data", nowhere}, "not a data directory"},
		{[]string{"keys", "revoke", "k", "--data", nowhere}, "not a data directory"},
		{[]string{"fsck", "--data", nowhere}, "not a data directory"},
	} {
		if _, errs, code := run(t, tt.args...); code == 0 || !strings.Contains(errs, tt.want) {
			t.Errorf("%v: %d %s", tt.args, code, errs)
		}
	}
	if _, err := os.Stat(nowhere); err == nil {
		t.Error("a command that only looks made a data directory")
	}
}

func TestHeadersAuthenticateCurl(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClient(t, dir)
	want := fmt.Sprintf("{\"api_key\":%q,\"data\":[]}\n", cl.APIKey)
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(cl.APISecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, env := range map[string][]string{"flag": nil, "environment": {"CALLBACKD_SECRET=" + cl.APISecret}, "file": {"CALLBACKD_SECRET_FILE=" + secret}} {
		args := []string{"headers", "--account", "acme", "--key", cl.APIKey}
		if env == nil {
			args = append(args, "--secret", cl.APISecret)
		}
		headers := command(args...)
		headers.Env = append(headers.Env, env...)
		out, _, code := runCmd(t, headers)
		if code != 0 || !regexp.MustCompile(`^API-Key: \S+\nAPI-Token: [0-9a-f]{64}\nAPI-Timestamp: 20\S+Z\n$`).MatchString(out) {
			t.Fatalf("%s: %d\n%s", name, code, out)
		}
		cmd := exec.Command("curl", "-sS", "-H", "@-", srv.url+"/v1/callbacks")
		cmd.Stdin = strings.NewReader(out)
		got, err := cmd.CombinedOutput()
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, want)
		}
	}
	if _, errs, code := run(t, "headers", "--account", "acme", "--key", "k"); code == 0 || !strings.Contains(errs, "--secret") {
		t.Errorf("without a secret: %d %s", code, errs)
	}
}

// receiver starts `callbackd listen` on a free port.
func receiver(t *testing.T, env []string, args ...string) (*process, string) {
	t.Helper()
	cmd := command(append([]string{"listen", "--port", "0"}, args...)...)
	cmd.Env = append(cmd.Env, env...)
	p := start(t, cmd)
	url, ok := strings.CutPrefix(p.line(t), "receiving on ")
	if !ok {
		t.Fatal("it does not say where it receives")
	}
	return p, url
}

// post sends a callback as the sender does and returns the status.
func post(t *testing.T, url, secret, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("callback-sequence", "7")
	req.Header.Set("callback-attempt", "2")
	now := time.Now()
	key, err := signature.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("webhook-id", "evt_1")
	req.Header.Set("webhook-timestamp", fmt.Sprint(now.Unix()))
	req.Header.Set("webhook-signature", signature.Sign("evt_1", now.Unix(), []byte(body), signature.NewKey(key)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode
}

const (
	goodSecret  = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
	otherSecret = "whsec_YWJjZGVmZ2hpamFiY2RlZmdoaWphYmNkZWZnaGlqYWI="
)

func TestListenShowsWhatComes(t *testing.T) {
	t.Parallel()
	body := `{"event":"SESSION:COMPLETE","session_key":"ACM-0123456789","n":1.10}`
	p, url := receiver(t, []string{"CALLBACKD_WEBHOOK_SECRET=" + goodSecret}, "--fail", "2", "--status", "202", "--delay", "1ms")
	for i, want := range []int{503, 503, 202} {
		if got := post(t, url+"/hook?x=1", goodSecret, body); got != want {
			t.Errorf("request %d: %d; want %d", i, got, want)
		}
	}
	out := p.until(t, "→ 202")
	if !strings.Contains(out, "→ 503 (1 more will fail)") {
		t.Errorf("%s", out)
	}
	out = p.until(t, `"n": 1.10`)
	for _, want := range []string{"SESSION:COMPLETE", "ACM-0123456789", "sequence   7", "attempt 2", "id evt_1", "signature  verified"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	post(t, url, otherSecret, body)
	if out = p.until(t, "signature"); !strings.Contains(out, "NOT VERIFIED") {
		t.Errorf("%s", out)
	}
	post(t, url, goodSecret, "not json \x1b[2J\x07\u202e\xff")
	if out = p.until(t, "not json"); strings.ContainsAny(out, "\x1b\x07\u202e") || strings.Contains(out, "\xff") {
		t.Errorf("%q", out)
	}
	if code := p.term(t); code != 0 {
		t.Errorf("exit %d: %s", code, p.log)
	}
}

func TestListenForwards(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	mine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(&got, r.Header.Get("webhook-id"), " ")
		io.Copy(&got, r.Body)
		w.WriteHeader(418)
	}))
	p, url := receiver(t, nil, "--forward", mine.URL)
	if status := post(t, url, goodSecret, "{}"); status != 418 || got.String() != "evt_1 {}" {
		t.Errorf("%d, %q", status, &got)
	}
	if out := p.until(t, "signature"); !strings.Contains(out, "→ 418 from "+mine.URL) || !strings.Contains(out, "not checked") {
		t.Errorf("%s", out)
	}
	mine.Close()
	if status := post(t, url, goodSecret, "{}"); status != 502 {
		t.Errorf("nobody there: %d", status)
	}
	for _, args := range [][]string{{"--status", "99"}, {"--signing-secret", "x"}, {"--port", "70000"}, {"--fail", "-1"}, {"--delay", "-1s"}, {"--forward", "ftp://localhost:1"}} {
		if _, errs, code := run(t, append([]string{"listen", "--port", "0"}, args...)...); code == 0 || !strings.Contains(errs, args[0]) {
			t.Errorf("%v: %d %s", args, code, errs)
		}
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer pg.Stop()
	for _, on := range [][]string{nil, {"--database-url", pg.Schema(t)}} {
		out, errs, code := run(t, append([]string{"demo"}, on...)...)
		wantExit(t, "demo", code, 0, out+errs)
		wantExit(t, "demo", code, 0, out, "All 24 events were delivered")
		if n := strings.Count(out, "refuses"); n < 3 {
			t.Errorf("demo prints \"refuses\" %d times, want 3 or more:\n%s", n, out)
		}
		if says := strings.Contains(out, "in PostgreSQL"); says != (on != nil) {
			t.Errorf("whether demo with %v says that it uses PostgreSQL: %v\n%s", on, says, out)
		}
		for _, line := range strings.Split(out, "\n") {
			if len([]rune(line)) > 100 {
				t.Errorf("a line is longer than a terminal: %s", line)
			}
		}
	}
}

// fsck checks that every delivery is in exactly one state, and names each row for which this
// is not so, whether a server runs or not.
func TestFsckNamesTheRow(t *testing.T) {
	t.Parallel()
	sk := newSink(t)
	dir, srv, cl := begin(t, sk)
	var evs []wire.Accepted
	for range 3 {
		ev, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "S"})
		if err != nil {
			t.Fatal(err)
		}
		evs = append(evs, ev)
	}
	sk.await(t, "all arrive", func() bool { return len(sk.ids) == 3 })
	if out, errs, code := run(t, "fsck", "--data", dir); code != 0 || !strings.Contains(out, "3 events, every delivery is in exactly one state") {
		t.Errorf("while the server runs: %d %s%s", code, out, errs)
	}
	if code := srv.term(t); code != 0 {
		t.Fatal(code)
	}
	out, _, code := run(t, "fsck", "--data", dir)
	if code != 0 || !regexp.MustCompile(`(?m)^ +1 +SESSION:STATUS_CHANGE +3 +3 +0 +0 +0 +0 +3 +0 *$`).MatchString(out) {
		t.Errorf("%d\n%s", code, out)
	}
	conn, err := sqlite3.Open(filepath.Join(dir, "callbackd.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Exec("DELETE FROM attempts WHERE event_id = (SELECT id FROM events ORDER BY id LIMIT 1 OFFSET 1)"); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	out, _, code = run(t, "fsck", "--data", dir)
	wantExit(t, "fsck", code, 1, out, "FAULT: delivery dlv_"+strings.TrimPrefix(evs[1].ID, "evt_"), "3 events, ")
}

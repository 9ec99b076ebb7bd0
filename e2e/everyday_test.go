package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"callbackd/client"
	"callbackd/wire"
)

// everyday runs a command with the API key of a client.
func everyday(t *testing.T, cl *client.Client, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return runCmd(t, withKey(cl, command(append(args, "--server", cl.Base)...)))
}

func withKey(cl *client.Client, cmd *exec.Cmd) *exec.Cmd {
	cmd.Env = append(cmd.Env, "CALLBACKD_ACCOUNT="+cl.Account, "CALLBACKD_KEY="+cl.APIKey, "CALLBACKD_SECRET="+cl.APISecret)
	return cmd
}

// asJSON runs a command with --json and reads its first line, which must have the members of
// out and no others.
func asJSON(t *testing.T, cl *client.Client, out any, args ...string) {
	t.Helper()
	text, errs, code := everyday(t, cl, append(args, "--json")...)
	wantExit(t, strings.Join(args, " "), code, 0, errs)
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(out); err != nil {
		t.Fatalf("%v: %v in %s", args, err, text)
	}
}

// A day of an integrator, by commands alone.
func TestEverydayCommands(t *testing.T) {
	t.Parallel()
	receiver, got := program(t, ok)
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url

	var cb wire.Callback
	asJSON(t, cl, &cb, "callbacks", "create", event, receiver+"/a", "--header", "X-Tenant: acme", "--payload", `{"source":"PAVE"}`)
	if cb.URL != receiver+"/a" || len(cb.Headers) != 1 || string(cb.Payload) != `{"source":"PAVE"}` {
		t.Errorf("it creates %+v", cb)
	}
	var list wire.CallbackList
	if asJSON(t, cl, &list, "callbacks", "list"); len(list.Data) != 1 || list.Data[0].URL != cb.URL {
		t.Errorf("it lists %+v", list)
	}
	var secret wire.Secret
	if asJSON(t, cl, &secret, "callbacks", "secret", event); !strings.HasPrefix(secret.Secret, "whsec_") || secret.APIKey != cl.APIKey {
		t.Errorf("the secret is %+v", secret)
	}
	var both struct {
		Callback wire.Callback `json:"callback"`
		Policy   wire.Policy   `json:"policy"`
	}
	if asJSON(t, cl, &both, "callbacks", "show", event); both.Callback.URL != cb.URL || both.Policy.Timeout != "15s" {
		t.Errorf("it shows %+v", both)
	}
	out, errs, code := everyday(t, cl, "callbacks", "test", event)
	wantExit(t, "callbacks test", code, 0, out+errs, "delivered", "attempt 1", "200")
	<-got
	var p wire.Policy
	if asJSON(t, cl, &p, "callbacks", "pause", event); !p.Paused {
		t.Error("it is not paused")
	}
	var a wire.Accepted
	asJSON(t, cl, &a, "events", "publish", event, "--session", "S1", "--data", `{"n":1}`, "--id", "once", "--callback-url", receiver+"/own")
	if a.Sequence != 1 || a.Callback == nil || a.Callback.Secret == "" {
		t.Errorf("it publishes %+v", a)
	}
	var again wire.Accepted
	if asJSON(t, cl, &again, "events", "publish", event, "--session", "S1", "--data", `{"n":1}`, "--id", "once", "--callback-url", receiver+"/own"); again.ID != a.ID {
		t.Errorf("a repeat publishes %s, want %s", again.ID, a.ID)
	}
	if r := <-got; r.uri != "/own" {
		t.Errorf("the session's callback gets %s", r.uri)
	}
	own := strconv.FormatInt(a.Callback.ID, 10)
	if asJSON(t, cl, &list, "callbacks", "list", "--session", "S1"); len(list.Data) != 1 || list.Data[0].ID != a.Callback.ID {
		t.Errorf("the session has %+v", list)
	}
	out, errs, code = everyday(t, cl, "callbacks", "list", "--session", "S1")
	wantExit(t, "callbacks list --session", code, 0, out+errs, "ID", own, receiver+"/own", event)
	out, errs, code = everyday(t, cl, "callbacks", "show", own)
	wantExit(t, "callbacks show of a session's", code, 0, out+errs, "S1", event, receiver+"/own")
	if n := strings.Count(out, "signing"); n != 1 {
		t.Errorf("signing is shown %d times:\n%s", n, out)
	}
	var d wire.Delivery
	asJSON(t, cl, &d, "deliveries", "list", "--state", "pending", "--session", "S1")
	var x wire.Explanation
	if asJSON(t, cl, &x, "deliveries", "explain", d.ID); len(x.Reasons) == 0 || x.Reasons[0].Code != "paused" {
		t.Errorf("it explains %+v", x)
	}
	out, _, _ = everyday(t, cl, "deliveries", "explain", d.ID)
	wantExit(t, "deliveries explain", 0, 0, out, "pending", "paused")
	out, errs, code = everyday(t, cl, "callbacks", "resume", event)
	wantExit(t, "callbacks resume", code, 0, out+errs, "not paused")
	<-got
	if asJSON(t, cl, &d, "deliveries", "resend", d.ID); d.EventID != a.ID {
		t.Errorf("it resends %+v", d)
	}
	<-got
	if asJSON(t, cl, &d, "deliveries", "show", d.ID); d.SessionKey != "S1" {
		t.Errorf("it shows %+v", d)
	}
	for i := range 5 {
		publish(t, cl, client.NewEvent{Event: "SESSION:NOTE_INSERT", SessionKey: "S2", Data: map[string]int{"i": i}})
	}
	out, _, code = everyday(t, cl, "events", "list", "--session", "S2", "--limit", "3")
	if n := strings.Count(out, "\n"); n != 3 || code != 0 {
		t.Errorf("--limit 3 prints %d lines: %s", n, out)
	}
	var ev wire.Event
	if asJSON(t, cl, &ev, "events", "list", "--event", event, "--session", "S1"); ev.ID != a.ID {
		t.Errorf("it lists %+v", ev)
	}
	tail := start(t, withKey(cl, command("events", "tail", "--since", "1h", "--event", event, "--session", "S1", "--json", "--server", cl.Base)))
	if err := json.Unmarshal([]byte(tail.line(t)), &ev); err != nil || ev.ID != a.ID {
		t.Errorf("tail prints %+v, %v", ev, err)
	}
	if code := tail.term(t); code != 0 {
		t.Errorf("tail ends with %d", code)
	}
	out, errs, code = everyday(t, cl, "callbacks", "delete", event)
	wantExit(t, "callbacks delete", code, 0, out+errs)
	_, errs, code = everyday(t, cl, "callbacks", "show", event)
	wantExit(t, "a callback that is gone", code, 1, errs, "404")
}

// callbacks create takes a policy as the API does, from the option or from a file.
func TestACallbackIsCreatedWithItsPolicy(t *testing.T) {
	t.Parallel()
	receiver, _ := program(t, ok)
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url
	file := filepath.Join(dir, "policy.json")
	policy := `{"timeout":"4s","retry":["0s","7s"],"rate":2.5,"concurrency":3,"ttl":"15m","order_group":"auto","filter":{"data.grade":{"lt":3}}}`
	if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"written": policy, "file": "@" + file} {
		var cb wire.Callback
		asJSON(t, cl, &cb, "callbacks", "create", event, receiver+"/"+name, "--callback", name, "--policy", value)
		p, err := cl.Policy(t.Context(), event, name)
		if err != nil || p.Timeout != "4s" || len(p.Retry) != 2 || p.Rate != 2.5 || p.Concurrency != 3 || p.TTL != "15m" || p.OrderGroup != "auto" || !strings.Contains(string(p.Filter), "grade") {
			t.Errorf("%s: the policy is %+v, %v", name, p, err)
		}
		out, errs, code := everyday(t, cl, "callbacks", "show", event, "--callback", name)
		wantExit(t, "callbacks show", code, 0, out+errs, "4s", "2.5 attempts a second", "15m", "auto", "grade")
	}
	for _, c := range []struct {
		policy string
		code   int
		want   string
	}{
		{"{", 78, "--policy"},
		{"@nowhere", 78, "nowhere"},
		{`{"timeouts":"4s"}`, 1, "timeouts"},
		{`{"timeout":"4 years"}`, 1, "timeout"},
		{`[]`, 78, "--policy"},
		{"null", 78, "--policy"},
	} {
		out, errs, code := everyday(t, cl, "callbacks", "create", event, receiver+"/x", "--callback", "x", "--policy", c.policy)
		wantExit(t, c.policy, code, c.code, out+errs, c.want)
	}
	if all, err := cl.Callbacks(t.Context()); err != nil || len(all.Data) != 2 {
		t.Errorf("there are %+v, %v: want the two with a policy", all.Data, err)
	}
}

func TestEverydaySessions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url
	s, err := cl.CreateSession(t.Context(), client.NewSession{})
	if err != nil {
		t.Fatal(err)
	}
	var found wire.Session
	if asJSON(t, cl, &found, "sessions", "find", s.SessionKey); found.SessionKey != s.SessionKey {
		t.Errorf("it finds %+v", found)
	}
	if asJSON(t, cl, &found, "sessions", "show", s.SessionKey); found.SessionKey != s.SessionKey {
		t.Errorf("it shows %+v", found)
	}
	out, errs, code := everyday(t, cl, "sessions", "show", s.SessionKey)
	wantExit(t, "sessions show", code, 0, out+errs, s.SessionKey, s.Status)
	out, errs, code = everyday(t, cl, "sessions", "show", "PUB-0123456789")
	wantExit(t, "sessions show without a session", code, 1, out+errs, "cannot be found")
	events := make([]client.NewEvent, 201) // more than a page
	for i := range events {
		events[i] = client.NewEvent{Event: "SESSION:STATUS_CHANGE", SessionKey: "PUB-0123456789"}
	}
	if _, err := cl.PublishAll(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	out, errs, code = everyday(t, cl, "sessions", "show", "PUB-0123456789")
	wantExit(t, "sessions show of published events", code, 0, out+errs, "PUB-0123456789", "not stored", "#1 ", "#201 ")
}

func TestEverydayCommandsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	cl := &client.Client{Base: "http://127.0.0.1:1", Account: "a", APIKey: "k", APISecret: "s"}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"events list --limit -1", 78, "limit"},
		{"events publish SESSION:COMPLETE", 78, "--session"},
		{"events publish SESSION:COMPLETE --session S --data {", 78, "--data"},
		{"events publish SESSION:COMPLETE --session S --data @nowhere", 78, "nowhere"},
		{"events publish SESSION:COMPLETE --session S --deliver-at soon", 78, "--deliver-at"},
		{"callbacks create SESSION:COMPLETE http://x --header X", 78, "--header"},
		{"callbacks list", 1, "127.0.0.1:1"},
	} {
		_, errs, code := everyday(t, cl, strings.Fields(c.args)...)
		wantExit(t, c.args, code, c.code, errs, c.want)
	}
	_, errs, code := run(t, "events", "list")
	wantExit(t, "without a key", code, 78, errs, "CALLBACKD_ACCOUNT or --account")
}

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"callbackd/client"
	"callbackd/internal/signature"
	"callbackd/wire"
)

// received is a request that a local program got.
type received struct {
	method, uri string
	header      http.Header
	body        string
}

// program is a local program that keeps the requests it gets and answers with a status.
func program(t *testing.T, status func() int) (url string, got chan received) {
	t.Helper()
	got = make(chan received, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- received{r.Method, r.RequestURI, r.Header, string(body)}
		w.WriteHeader(status())
		fmt.Fprint(w, "thank \x1b[2Jyou")
	}))
	t.Cleanup(s.Close)
	return s.URL, got
}

func ok() int { return 200 }

// listenTo is `callbackd listen` on a server.
func listenTo(cl *client.Client, args ...string) *exec.Cmd {
	cmd := command(append([]string{"listen", "--server", cl.Base}, args...)...)
	cmd.Env = append(cmd.Env, "CALLBACKD_ACCOUNT="+cl.Account, "CALLBACKD_KEY="+cl.APIKey, "CALLBACKD_SECRET="+cl.APISecret)
	return cmd
}

// secretOf reads the line with the signing secret.
func secretOf(t *testing.T, p *process) string {
	t.Helper()
	_, secret, _ := strings.Cut(strings.TrimSpace(p.until(t, "whsec_")), "each time: ")
	return secret
}

func publish(t *testing.T, cl *client.Client, ev client.NewEvent) wire.Accepted {
	t.Helper()
	out, err := cl.Publish(t.Context(), ev)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// noSecrets are the headers in which two requests for one event differ.
var noSecrets = []string{"Webhook-Timestamp", "Webhook-Signature", "X-Hub-Signature-256"}

// What listen sends is what the receiver of the callback gets, but for the secret.
func TestListenSendsWhatTheReceiverGets(t *testing.T) {
	t.Parallel()
	receiver, fromServer := program(t, ok)
	mine, fromListen := program(t, ok)
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url
	create := map[string]any{"event": "SESSION:COMPLETE", "url": receiver + "/theirs", "method": "PUT", "headers": map[string]string{"X-Tenant": "a"}, "payload": map[string]any{"source": "PAVE"},
		"policy": map[string]any{"signing": []string{"standard", "github"}, "fields": map[string]any{"except": []string{"vehicle.vin"}}, "filter": map[string]any{"data.grade": map[string]any{"lt": 3}}}}
	if err := cl.Do(t.Context(), "POST", "/v1/callbacks", create, nil); err != nil {
		t.Fatal(err)
	}
	p := start(t, listenTo(cl, "--forward", mine+"/mine", "--event", "SESSION:COMPLETE"))
	secret := secretOf(t, p)
	data := json.RawMessage(`{"grade":2.50,"vehicle":{"vin":"secret","make":"A\u2028"}}`)
	ev := publish(t, cl, client.NewEvent{Event: "SESSION:COMPLETE", SessionKey: "S1", Data: data})
	theirs, ours := <-fromServer, <-fromListen
	if theirs.method != ours.method || theirs.body != ours.body || strings.Contains(ours.body, "vin") {
		t.Errorf("the receiver gets %s %s, the local program %s %s", theirs.method, theirs.body, ours.method, ours.body)
	}
	key, err := signature.ParseSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := signature.Verify(key, ours.header, []byte(ours.body), nowish(t, ours.header)); err != nil {
		t.Errorf("%v: %v", ours.header, err)
	}
	if want := "sha256=" + signature.NewKey([]byte(secret)).Hex([]byte(ours.body)); ours.header.Get("X-Hub-Signature-256") != want {
		t.Errorf("X-Hub-Signature-256 is %s, want %s", ours.header.Get("X-Hub-Signature-256"), want)
	}
	for _, h := range noSecrets {
		if theirs.header.Get(h) == "" || ours.header.Get(h) == "" {
			t.Errorf("there is no %s", h)
		}
		theirs.header.Del(h)
		ours.header.Del(h)
	}
	if fmt.Sprint(theirs.header) != fmt.Sprint(ours.header) {
		t.Errorf("the receiver gets\n%v\nthe local program\n%v", theirs.header, ours.header)
	}
	out := p.until(t, "<-- ")
	if !strings.Contains(out, "--> SESSION:COMPLETE "+ev.ID) || !strings.Contains(out, "<-- 200 ") || strings.Contains(out, "\x1b") {
		t.Errorf("it prints %q", out)
	}
	// The filter of the callback counts here too.
	publish(t, cl, client.NewEvent{Event: "SESSION:COMPLETE", SessionKey: "S1", Data: json.RawMessage(`{"grade":4}`)})
	if out := p.until(t, "-->"); !strings.Contains(out, "not sent: the filter of the callback needs data.grade") {
		t.Errorf("it prints %q", out)
	}
	if code := p.term(t); code != 0 {
		t.Errorf("exit %d: %s", code, p.log)
	}
	// The next run has the same secret, and begins with what is stored.
	p = start(t, listenTo(cl, "--forward", strings.TrimPrefix(mine, "http://")+"/mine", "--since", "1h", "--verbose"))
	if again := secretOf(t, p); again != secret {
		t.Errorf("the secret was %s and is %s", secret, again)
	}
	if r := <-fromListen; r.header.Get("webhook-id") != ev.ID {
		t.Errorf("--since sends %v", r)
	}
	if out := p.until(t, "thank"); !strings.Contains(out, "webhook-signature: v1,") || strings.Contains(out, "\x1b") {
		t.Errorf("--verbose prints %q", out)
	}
}

// An event without a callback is sent with defaults, and what the program answers is told.
func TestListenWithoutACallback(t *testing.T) {
	t.Parallel()
	mine, got := program(t, func() int { return 500 })
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url
	publish(t, cl, client.NewEvent{Event: "SESSION:NOTE_INSERT", SessionKey: "S1", Data: json.RawMessage(`{"note":{}}`)})
	p := start(t, listenTo(cl, "--forward", mine, "--json", "--since", "1h"))
	var f wire.Forward
	dec := json.NewDecoder(strings.NewReader(p.line(t)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		t.Fatal(err)
	}
	r := <-got
	if f.Status != 500 || f.Callback != "" || f.Fault != "status" || f.Request.Body != r.body || f.Request.Method != "POST" || f.ID != r.header.Get("webhook-id") {
		t.Errorf("it prints %+v for %+v", f, r)
	}
}

// A new server on the same data goes on, and the events of the time between arrive too.
func TestListenGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	mine, got := program(t, ok)
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url
	p := start(t, listenTo(cl, "--forward", mine))
	secretOf(t, p)
	first := publish(t, cl, client.NewEvent{Event: event, SessionKey: "S1"})
	if r := <-got; r.header.Get("webhook-id") != first.ID {
		t.Errorf("got %v, want %s", r, first.ID)
	}
	address := strings.TrimPrefix(srv.url, "http://")
	if code := srv.term(t); code != 0 {
		t.Fatalf("the server ends with %d", code)
	}
	p.until(t, "connecting again")
	serve(t, dir, "--listen", address)
	second := publish(t, cl, client.NewEvent{Event: event, SessionKey: "S1"})
	if r := <-got; r.header.Get("webhook-id") != second.ID {
		t.Errorf("got %v, want %s", r, second.ID)
	}
	p.until(t, "connected again")
}

func TestListenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--event", "NONE"}, 78, "SESSION:COMPLETE"},
		{[]string{"--forward", "ftp://x"}, 78, "--forward"},
		{[]string{"--fail", "1"}, 78, "--port"},
		{[]string{"--port", "0", "--json"}, 78, "--port"},
		{[]string{"--since", "soon"}, 78, "--since"},
		{[]string{"--server", "nowhere"}, 78, "--server"},
		{[]string{"--account", "other"}, 1, "401"},
	} {
		_, errs, code := runCmd(t, listenTo(cl, c.args...))
		wantExit(t, strings.Join(c.args, " "), code, c.code, errs, c.want)
	}
	_, errs, code := run(t, "listen")
	wantExit(t, "listen without a key", code, 78, errs, "CALLBACKD_KEY or --key")
}

// The receiver asks the server for the secrets that it verifies with, also for one that was
// replaced.
func TestListenOnAPortFindsItsSecrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url
	p := start(t, listenTo(cl, "--port", "0"))
	url := strings.TrimPrefix(p.line(t), "receiving on ")
	hook(t, cl, url, event)
	for range 2 {
		publish(t, cl, client.NewEvent{Event: event, SessionKey: "S1"})
		if out := p.until(t, "  signature"); !strings.Contains(out, "signature  verified") {
			t.Errorf("it prints %s", out)
		}
		if err := cl.Do(t.Context(), "POST", "/v1/callbacks/"+event+"/secret/rotate", map[string]any{"keep": "0s"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	post(t, url, otherSecret, `{"event":"`+event+`"}`)
	if out := p.until(t, "  signature"); !strings.Contains(out, "NOT VERIFIED") {
		t.Errorf("it prints %s", out)
	}
}

// On a terminal there are colours, r sends the last event again, and Ctrl-C ends.
func TestListenOnATerminal(t *testing.T) {
	t.Parallel()
	mine, got := program(t, ok)
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url
	tty := openTerminal(t)
	before := tty.mode(t)
	cmd := listenTo(cl, "--forward", mine)
	tty.run(t, cmd)
	tty.until(t, "press r")
	ev := publish(t, cl, client.NewEvent{Event: event, SessionKey: "S1"})
	<-got
	tty.until(t, "<-- 200")
	tty.press(t, "r")
	if r := <-got; r.header.Get("webhook-id") != ev.ID || r.header.Get("callback-attempt") != "2" {
		t.Errorf("r sends %v", r)
	}
	tty.until(t, "attempt 2")
	if out := tty.until(t, "<-- 200"); !strings.Contains(out, "\x1b[32m<-- 200") {
		t.Errorf("there is no colour in %q", out)
	}
	tty.press(t, "\x03")
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	if after := tty.mode(t); !bytes.Equal(after, before) {
		t.Error("the terminal is not as it was")
	}
}

package e2e

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"callbackd/client"
)

// home is a user with profiles of their own.
type home struct {
	dir string
	cl  *client.Client // the key of a running server
}

func newHome(t *testing.T) *home {
	t.Helper()
	dir := t.TempDir()
	srv := serve(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url
	return &home{t.TempDir(), cl}
}

// command is a command of the user, with variables.
func (h *home) command(variables []string, args ...string) *exec.Cmd {
	cmd := command(args...)
	cmd.Env = append(append(cmd.Env, "XDG_CONFIG_HOME="+h.dir), variables...)
	return cmd
}

// run runs a command; input is its standard input.
func (h *home) run(t *testing.T, input string, variables []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := h.command(variables, args...)
	cmd.Stdin = strings.NewReader(input)
	return runCmd(t, cmd)
}

// file is the file of a profile.
func (h *home) file(name string) string {
	return filepath.Join(h.dir, "callbackd", "profiles", name+".json")
}

// login writes a profile.
func (h *home) login(t *testing.T, name string) {
	t.Helper()
	out, errs, code := h.run(t, strings.Join([]string{h.cl.Account, h.cl.APIKey, h.cl.APISecret}, "\n")+"\n", nil, "login", "--profile", name, "--server", h.cl.Base+"/")
	wantExit(t, "login", code, 0, out+errs, h.cl.Base, h.cl.APIKey[:8]+"…", h.file(name))
	if strings.Contains(out+errs, h.cl.APISecret) || strings.Contains(out+errs, h.cl.APIKey) {
		t.Errorf("login prints the key: %s%s", out, errs)
	}
}

func TestLoginWritesAProfileThatCommandsUse(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	_, errs, code := h.run(t, "", nil, "events", "list")
	wantExit(t, "without a profile", code, 78, errs, "CALLBACKD_KEY or --key", "callbackd login")
	out, _, code := h.run(t, "", nil, "profiles")
	wantExit(t, "profiles without one", code, 0, out, "callbackd login")
	h.login(t, "default")
	if info, err := os.Stat(h.file("default")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info, err)
	}
	for _, args := range [][]string{
		{"events", "publish", event, "--session", "S1"}, {"events", "list"}, {"callbacks", "list"}, {"deliveries", "list"}, {"sessions", "find"},
		{"replay", "list"}, {"erase", "list"}, {"headers"}, {"simulate", "--sessions", "1", "--speed", "max"}, {"status", "--profile", "default"},
	} {
		out, errs, code := h.run(t, "", nil, args...)
		wantExit(t, strings.Join(args, " "), code, 0, out+errs)
	}
	listen := start(t, h.command(nil, "listen"))
	if got := listen.line(t); !strings.Contains(got, "following "+h.cl.Base) {
		t.Errorf("listen says %q", got)
	}
	out, _, code = h.run(t, "", nil, "profiles")
	wantExit(t, "profiles", code, 0, out, "default  yes", h.cl.Base, "acme", h.cl.APIKey[:8]+"…")
	out, _, code = h.run(t, "", []string{"CALLBACKD_PROFILE=other"}, "profiles", "--json")
	var line struct {
		Name, Server, Account string
		APIKey                string `json:"api_key"`
		InUse                 bool   `json:"in_use"`
	}
	if err := json.Unmarshal([]byte(out), &line); err != nil || code != 0 || line.Name != "default" || line.InUse || line.APIKey != h.cl.APIKey[:8]+"…" {
		t.Errorf("profiles --json: %v, %d: %s", err, code, out)
	}
	out, errs, code = h.run(t, "", nil, "logout")
	wantExit(t, "logout", code, 0, out+errs, "default")
	_, errs, code = h.run(t, "", nil, "events", "list")
	wantExit(t, "after logout", code, 78, errs, "callbackd login")
	_, errs, code = h.run(t, "", nil, "logout", "--profile", "default")
	wantExit(t, "a second logout", code, 78, errs, "there is no profile default", "callbackd profiles")
}

// An option wins over a variable, and that over a profile. A profile on the command line is an
// option. The members of a key are taken together.
func TestWhatWinsOverAProfile(t *testing.T) {
	h := newHome(t)
	h.login(t, "default")
	h.login(t, "second")
	nowhere, key := "http://127.0.0.1:1", []string{"CALLBACKD_ACCOUNT=a", "CALLBACKD_KEY=k", "CALLBACKD_SECRET=s"}
	for _, c := range []struct {
		name      string
		variables []string
		args      []string
		code      int
		want      string
	}{
		{"the default one", nil, nil, 0, ""},
		{"one by variable", []string{"CALLBACKD_PROFILE=second"}, nil, 0, ""},
		{"one by option", nil, []string{"--profile", "second"}, 0, ""},
		{"none of the name", nil, []string{"--profile", "third"}, 78, "there is no profile third; `callbackd profiles` lists them, and `callbackd login --profile third` writes it"},
		{"none of the variable's name", []string{"CALLBACKD_PROFILE=third"}, nil, 78, "there is no profile third"},
		{"no name", nil, []string{"--profile", "../x"}, 78, `--profile "../x"`},
		{"a variable for the server", []string{"CALLBACKD_URL=" + nowhere}, nil, 1, "The URL is from the environment CALLBACKD_URL"},
		{"a variable for the server, and a profile by variable", []string{"CALLBACKD_URL=" + nowhere, "CALLBACKD_PROFILE=second"}, nil, 1, nowhere},
		{"a variable for the server, and a profile by option", []string{"CALLBACKD_URL=" + nowhere}, []string{"--profile", "second"}, 0, ""},
		{"an option for the server", nil, []string{"--server", nowhere}, 1, nowhere},
		{"the old name of the option", nil, []string{"--url", nowhere}, 1, nowhere},
		{"options for server and profile", nil, []string{"--server", nowhere, "--profile", "second"}, 1, nowhere},
		{"a key by variables", key, nil, 1, "The API secret is from the environment CALLBACKD_SECRET"},
		{"a key by variables, and a profile by option", key, []string{"--profile", "second"}, 0, ""},
		{"half a key by variables", key[:1], nil, 78, "CALLBACKD_KEY or --key, CALLBACKD_SECRET or --secret"},
		{"half a key by options", nil, []string{"--secret", "s"}, 78, "CALLBACKD_ACCOUNT or --account"},
		{"a key by options", nil, []string{"--account", "a", "--key", "k", "--secret", "s"}, 1, "401"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, errs, code := h.run(t, "", c.variables, append([]string{"events", "list"}, c.args...)...)
			wantExit(t, "events list", code, c.code, out+errs, c.want)
		})
	}
	// The operator's commands use a profile only when it is named: they are about this machine.
	_, errs, code := h.run(t, "", nil, "status")
	if c, err := net.Dial("tcp", "127.0.0.1:8080"); err == nil {
		c.Close()
		t.Log("a server of this machine listens on the default address, so what status says is its")
		return
	}
	wantExit(t, "status", code, 1, errs, "http://127.0.0.1:8080", "CALLBACKD_URL or --server", "--profile")
}

func TestAProfileThatOthersCanReadIsNotUsed(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.login(t, "default")
	if err := os.Chmod(h.file("default"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, errs, code := h.run(t, "", nil, "events", "list")
	wantExit(t, "events list", code, 78, errs, "chmod 600 '"+h.file("default")+"'")
	out, _, code := h.run(t, "", nil, "profiles")
	wantExit(t, "profiles", code, 0, out, "default", "chmod 600")
	// What needs nothing of it goes on.
	out, errs, code = h.run(t, "", nil, "events", "list", "--server", h.cl.Base, "--account", h.cl.Account, "--key", h.cl.APIKey, "--secret", h.cl.APISecret)
	wantExit(t, "with all options", code, 0, out+errs)
	h.login(t, "default")
	if info, err := os.Stat(h.file("default")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the new file is %v, %v", info, err)
	}
}

func TestLoginWritesNothingThatTheServerDoesNotConfirm(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("{}")) }))
	t.Cleanup(other.Close)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("<html>")) }))
	t.Cleanup(page.Close)
	for _, c := range []struct {
		server, secret string
		code           int
		want           string
	}{
		{h.cl.Base, "wrong", 1, "401"},
		{h.cl.Base, "", 78, "CALLBACKD_SECRET or --secret"},
		{"http://127.0.0.1:1", "s", 1, "127.0.0.1:1"},
		{other.URL, "s", 1, "not that of callbackd"},
		{page.URL, "s", 1, "decode"},
		{"ftp://x", "s", 78, "is not the URL of a server"},
		{"http://x/?q", "s", 78, "is not the URL of a server"},
		{"http://u:hidden@127.0.0.1:1", "s", 1, "u:xxxxx@127.0.0.1:1"},
	} {
		out, errs, code := h.run(t, c.secret, nil, "login", "--server", c.server, "--account", h.cl.Account, "--key", h.cl.APIKey)
		wantExit(t, "login at "+c.server, code, c.code, out+errs, c.want)
		if _, err := os.Stat(h.file("default")); !os.IsNotExist(err) {
			t.Errorf("%s: the profile is there: %v", c.server, err)
		}
	}
}

// On a terminal, login asks, and does not show the secret. Ctrl-C leaves the terminal as it was.
func TestLoginAsksOnATerminal(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	tty := openTerminal(t)
	before := tty.mode(t)
	cmd := h.command(nil, "login")
	tty.run(t, cmd)
	tty.until(t, "Server [http://127.0.0.1:8080]: ")
	tty.press(t, h.cl.Base+"\n")
	tty.until(t, "Account: ")
	tty.press(t, h.cl.Account+"\n")
	tty.until(t, "API key: ")
	tty.press(t, h.cl.APIKey+"\n")
	tty.until(t, "API secret (not shown): ")
	waitHidden(t, tty, before)
	tty.press(t, h.cl.APISecret+"\n")
	if said := tty.until(t, "is written: "); strings.Contains(said, h.cl.APISecret) {
		t.Errorf("the terminal shows the secret: %q", said)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(tty.mode(t), before) {
		t.Error("the terminal is left in another mode")
	}

	stopped := h.command(nil, "login", "--profile", "second", "--server", h.cl.Base, "--account", "a", "--key", "k")
	tty2 := openTerminal(t)
	before = tty2.mode(t)
	tty2.run(t, stopped)
	tty2.until(t, "API secret (not shown): ")
	waitHidden(t, tty2, before)
	if err := stopped.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := stopped.Wait(); err == nil {
		t.Error("it ends with 0")
	}
	if !bytes.Equal(tty2.mode(t), before) {
		t.Error("the terminal is left in another mode after Ctrl-C")
	}
	if _, err := os.Stat(h.file("second")); !os.IsNotExist(err) {
		t.Errorf("a profile is there: %v", err)
	}
}

// waitHidden waits until the terminal does not show what is typed.
func waitHidden(t *testing.T, tty *terminal, before []byte) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); bytes.Equal(tty.mode(t), before); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("the terminal shows what is typed")
		}
	}
}

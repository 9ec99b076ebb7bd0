package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// exitSetting is the exit code for a setting that cannot be: EX_CONFIG of
// sysexits.h. Go's own code for a crash is 2.
const exitSetting = 78

// A setting that cannot be is explained in a sentence, and has an exit code of
// its own, whatever found it out: a supervisor starts everything else again.
func TestSettingsThatCannotBeAreExplained(t *testing.T) {
	dir := t.TempDir()
	file, secret, empty := filepath.Join(dir, "file"), filepath.Join(dir, "proxy"), filepath.Join(dir, "empty")
	for name, content := range map[string]string{file: "x", secret: "http://proxy.internal:3128\n", empty: "\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, tt := range []struct {
		args []string
		env  []string
		want string
	}{
		{[]string{"--allow-target", "localhost"}, nil, "127.0.0.0/8"},
		{[]string{"--egress-proxy", "socks5://x"}, nil, "write for example http://"},
		{[]string{"--ca-file", file}, nil, "no certificate"},
		{[]string{"--ca-file", file + "x"}, nil, "--ca-file"},
		{[]string{"--retention", "1s"}, nil, "at least 1h"},
		{[]string{"--retention", "a month"}, nil, "write for example 30d"},
		{[]string{"--retention=-30d"}, nil, "at least 1h"},
		{[]string{"--listen", "8080"}, nil, "127.0.0.1:8080"},
		{[]string{"--listen", "127.0.0.1:99999"}, nil, "127.0.0.1:8080"},
		{[]string{"--listen", ""}, nil, "--listen has an empty value"},
		{[]string{"--database-url", ""}, nil, "--database-url has an empty value"},
		{[]string{"--operator-token", "short"}, nil, "16 characters"},
		{[]string{"--lease", "1s"}, nil, "2s or more"},
		{[]string{"--database-url", "postgres://x@127.0.0.1/x"}, nil, "--secret-keys"},
		{[]string{"--database-url", "127.0.0.1 x", "--secret-keys", file}, nil, "write for example postgres://"},
		{nil, []string{"CALLBACKD_DATABASE_URL="}, "CALLBACKD_DATABASE_URL is set but empty"},
		{nil, []string{"CALLBACKD_DATABASE_URL_FILE="}, "CALLBACKD_DATABASE_URL_FILE is set but empty"},
		{[]string{"--grace", "-1s"}, nil, "--grace"},
		{[]string{"--max-in-flight", "0"}, nil, "--max-in-flight"},
		{[]string{"--log-format", "xml"}, nil, "text"},
		{[]string{"--log-level", "loud"}, nil, "debug"},
		{[]string{"--no-such"}, nil, "--help"},
		{[]string{"left-over"}, nil, "left-over"},
		{[]string{"--listen", busy.Addr().String()}, nil, "another address with --listen"},
		{[]string{"--listen", "nowhere"}, nil, "another address with --listen"},
		{[]string{"--data", filepath.Join(file, "x")}, nil, "data directory"},
		{[]string{"--secret-keys", file}, nil, "holds no keyset"},
		{nil, []string{"CALLBACKD_LISTN=127.0.0.1:0"}, "did you mean CALLBACKD_LISTEN?"},
		{nil, []string{"CALLBACKD_LISTEN_FILE=" + file}, "CALLBACKD_LISTEN_FILE"},
		{nil, []string{"CALLBACKD_GRACE=soon"}, "CALLBACKD_GRACE"},
		{nil, []string{"CALLBACKD_EGRESS_PROXY=http://a:1", "CALLBACKD_EGRESS_PROXY_FILE=" + secret}, "both set; unset one"},
		{nil, []string{"CALLBACKD_EGRESS_PROXY_FILE=" + secret + "x"}, "CALLBACKD_EGRESS_PROXY_FILE"},
		{nil, []string{"CALLBACKD_EGRESS_PROXY_FILE=" + empty}, "which is empty"},
		{nil, []string{"CALLBACKD_EGRESS_PROXY_FILE=" + file}, "write for example http://"},
	} {
		cmd := command(append([]string{"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0"}, tt.args...)...)
		cmd.Env = append(cmd.Env, tt.env...)
		out, errs, code := runCmd(t, cmd)
		wantCode := exitSetting
		if len(tt.args) == 2 && tt.args[1] == busy.Addr().String() {
			wantCode = 1 // whoever has the address may be about to end
		}
		wantExit(t, fmt.Sprintf("serve %v %v", tt.args, tt.env), code, wantCode, errs, tt.want)
		if strings.Contains(out, "listening") {
			t.Errorf("%v %v: the server says that it listens: %s", tt.args, tt.env, out)
		}
		if last := strings.TrimSpace(errs); strings.Count(last[strings.LastIndex(last, "callbackd: ")+1:], "\n") > 0 {
			t.Errorf("%v %v: more than a sentence:\n%s", tt.args, tt.env, errs)
		}
	}
}

// The environment sets what the command line does not, and the first lines
// say where the API is and how to make a key.
func TestServeIsConfiguredByItsEnvironment(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a place")
	proxy := filepath.Join(t.TempDir(), "proxy")
	if err := os.WriteFile(proxy, []byte("http://proxy.internal:3128\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := command("serve")
	cmd.Env = append(cmd.Env, "CALLBACKD_LISTEN=127.0.0.1:0", "CALLBACKD_DATA="+dir, "CALLBACKD_ALLOW_TARGET=127.0.0.0/8,10.0.0.0/8", "CALLBACKD_GRACE=1s",
		"CALLBACKD_REQUIRE_HTTPS=true", "CALLBACKD_EGRESS_PROXY_FILE="+proxy, "CALLBACKD_SERVICE_HOST=10.0.0.1", "CALLBACKD_KEY=of-headers")
	srv := listening(t, start(t, cmd))
	if !regexp.MustCompile(`^http://127\.0\.0\.1:[1-9][0-9]*$`).MatchString(srv.url) {
		t.Errorf("it listens on %q", srv.url)
	}
	srv.until(t, "callbackd keys create --account acme --data '"+dir+"'")
	cl := newClient(t, dir)
	cl.Base = srv.url
	if err := cl.Do(t.Context(), "GET", "/readyz", nil, nil); err != nil {
		t.Error(err)
	}
	err := cl.Do(t.Context(), "POST", "/v1/callbacks", map[string]string{"event": event, "url": "http://a.example/"}, nil)
	if err == nil || !strings.Contains(err.Error(), "https") {
		t.Errorf("http for a live key under CALLBACKD_REQUIRE_HTTPS: %v", err)
	}
	if code := srv.term(t); code != 0 {
		t.Errorf("exit %d: %s", code, srv.log)
	}
	again := command("serve", "--listen", "127.0.0.1:0", "--data", dir)
	srv = listening(t, start(t, again))
	if code := srv.term(t); code != 0 {
		t.Errorf("exit %d: %s", code, srv.log)
	}
	for l := range srv.lines {
		if strings.Contains(l, "keys create") {
			t.Errorf("there is a key, and it says %q", l)
		}
	}
}

func TestVersionAndBareCommand(t *testing.T) {
	t.Parallel()
	for _, arg := range []string{"version", "--version"} {
		out, _, code := run(t, arg)
		if code != 0 || !regexp.MustCompile(`^callbackd \d+\.\d+\.\d+ \((commit [0-9a-f]{40}( with changes)?, 20\S+Z, )?go1\.\S+, linux/\S+\)\n$`).MatchString(out) {
			t.Errorf("%s ends with %d and prints %q", arg, code, out)
		}
	}
	out, _, code := run(t)
	wantExit(t, "callbackd without a command", code, 0, out, "serve", "demo")
	if _, errs, code := run(t, "server"); code == 0 || !strings.Contains(errs, "--help") {
		t.Errorf("%d %q", code, errs)
	}
}

// Commands have the same exit code for what cannot be.
func TestCommandsThatCannotBeAreExplained(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"server"}, {"keys", "create"}, {"keys", "create", "--account", "a", "--sessions-expire-after=-1d"}, {"keys", "rotate", "k", "--overlap=-1d"},
		{"listen", "--status", "1"}, {"listen", "--fail=-1"}, {"listen", "--delay=-1d"}, {"replay", "start", "--account", "a", "--key", "k", "--secret", "s", "--since", "a month"},
		{"simulate", "--account", "a", "--key", "k", "--secret", "s", "--sessions", "0"}, {"move", "--from", "nowhere", "--to", "postgres://x/y"}, {"backup", "--data", "nowhere", "--to", "copy"}, {"nodes"}, {"fsck", "--database-url", "postgres://x@127.0.0.1/x"},
	} {
		cmd := command(args...)
		cmd.Dir = t.TempDir()
		if out, errs, code := runCmd(t, cmd); code != exitSetting || errs == "" {
			t.Errorf("%v: %d %s%s", args, code, out, errs)
		}
	}
}

// Every mistake in a file for apply has the exit code of a wrong setting, whether the command or
// the server finds it, and whether or not it has a line.
func TestAWrongFileOfSettings(t *testing.T) {
	t.Parallel()
	dir, srv, _ := begin(t, newSink(t))
	token := newToken(t, dir, "deploy", "full")
	file := filepath.Join(t.TempDir(), "settings.yaml")
	for text, says := range map[string]string{
		"keys: []\n":                    ": The settings: version is missing",
		"version: 2\nkeys: []\n":        ":1: The settings: version must be",
		"version: 1\n":                  ": The settings: keys is missing",
		"":                              ": The file is empty",
		"- a\n":                         ": The file must have the members version and keys",
		strings.Repeat("#", 1_000_001):  ": The file has 1000001 bytes",
		"version: 1\nkeys: [{name: x}]": ":2: In keys[0]: account is missing",
		"version: 1\nkeys:\n- account: a\n  callbacks:\n  - {event: 'SESSION:COMPLETE', url: 'http://127.0.0.1/', secret: {keep: true}}": ":5: ",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, at := range [][]string{{"--data", dir}, {"--server", srv.url, "--token", token}} {
			out, errs, code := run(t, append([]string{"apply", "--file", file}, at...)...)
			wantExit(t, fmt.Sprintf("apply %s of %.60q", at[0], text), code, exitSetting, out+errs, file+says)
		}
	}
}

// A variable without a value is one that is not set: compose files, units and
// charts pass NAME= for what nobody set. The two that choose the store are
// refused, above.
func TestAnEmptySettingIsUnset(t *testing.T) {
	cmd := command("serve", "--listen", "127.0.0.1:0", "--data", t.TempDir())
	for _, name := range []string{"LISTEN", "ALLOW_TARGET", "EGRESS_PROXY", "EGRESS_PROXY_FILE", "CA_FILE", "SECRET_KEYS", "RETENTION", "KEEP", "GRACE", "MAX_IN_FLIGHT",
		"REQUIRE_HTTPS", "LEASE", "OPERATOR_TOKEN", "MASK_CALLBACK_HEADERS", "LOG_FORMAT", "LOG_LEVEL", "DATA"} {
		cmd.Env = append(cmd.Env, "CALLBACKD_"+name+"=")
	}
	srv := listening(t, start(t, cmd))
	if code := srv.term(t); code != 0 {
		t.Errorf("exit %d: %s", code, srv.log)
	}
	cmd = command("serve", "--data", t.TempDir())
	cmd.Env = append(cmd.Env, "CALLBACKD_LISTEN=")
	p := start(t, cmd)
	l, ok := <-p.lines
	if ok && l != "listening on http://127.0.0.1:8080" {
		t.Errorf("it says %q", l)
	}
	p.kill()
	if !ok && !strings.Contains(p.log.String(), "127.0.0.1:8080") { // somebody else's, on this machine
		t.Errorf("it says %s", p.log)
	}
}

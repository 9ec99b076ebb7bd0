package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func readme(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// blocks is the commands that a text prints.
func blocks(text string) (out []string) {
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

// bash is a script in the folder of the project, in a group of processes that
// ends with the test.
func bash(t *testing.T, script string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	cmd.Dir, cmd.Env = "..", append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// TestREADMETourWorksAsPrinted runs the README's first command and, while it
// runs, every block of the tour, in order, in one bash, as a newcomer would.
// Only the ports and the first command's data directory are others. Then it
// runs the commands that the first one has printed, as they are.
func TestREADMETourWorksAsPrinted(t *testing.T) {
	t.Parallel()
	page := readme(t)
	before, tour, ok := strings.Cut(page, "<!-- tour:start -->")
	tour, _, ok2 := strings.Cut(tour, "<!-- tour:end -->")
	if !ok || !ok2 {
		t.Fatal("README.md has no tour")
	}
	main, api, receiver, data := freePort(t), freePort(t), freePort(t), filepath.Join(t.TempDir(), "first minutes")
	first := start(t, bash(t, blocks(before)[0], "CALLBACKD_DATA="+data, "CALLBACKD_LISTEN=127.0.0.1:"+main))
	if said := first.line(t); said != "listening on http://127.0.0.1:"+main {
		t.Fatalf("the first command says %q", said)
	}

	script := "set -euo pipefail\n" + strings.NewReplacer("8081", api, "9000", receiver).Replace(strings.Join(blocks(tour), "\n"))
	out, err := bash(t, script).CombinedOutput()
	for _, want := range []string{`"data":[]`, `"sequence":1,"deliveries":1`, "ACM-0123456789", `"state": "delivered"`, `"status":"STARTED","events":[`, "COMPLETE                       5", "every delivery is in exactly one state"} {
		if !strings.Contains(string(out), want) {
			err = fmt.Errorf("%q was not printed; %v", want, err)
		}
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	followTheFirstCommand(t, first, main)
	ownProgramGetsACallback(t, page, "CALLBACKD_DATA="+data, "CALLBACKD_URL=http://127.0.0.1:"+main)
}

// ownProgramGetsACallback does what the README says for a callback in an own program: it builds,
// creates a key, runs the line with variables that this prints, and follows the page that the
// README names up to the receiver in Python.
func ownProgramGetsACallback(t *testing.T, page string, env ...string) {
	t.Helper()
	_, own, _ := strings.Cut(page, "<!-- own:start -->")
	own, _, ok := strings.Cut(own, "<!-- own:end -->")
	if !ok {
		t.Fatal("README.md has no commands for an own program")
	}
	t.Cleanup(func() { os.Remove("../callbackd") })
	printed, err := bash(t, "set -euo pipefail\n"+strings.Join(blocks(own), "\n"), env...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	variables := regexp.MustCompile(`(?m)^ *export CALLBACKD_URL=.*$`).FindString(string(printed))
	if variables == "" {
		t.Fatalf("no line with variables is printed:\n%s", printed)
	}
	howto, err := os.ReadFile("../docs/howto/receive-your-first-callback.md")
	if err != nil {
		t.Fatal(err)
	}
	python, _, _ := strings.Cut(string(howto), "## Node")
	folder := t.TempDir()
	port := strings.NewReplacer("9000", freePort(t))
	for name, text := range filesOf(python) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(port.Replace(text)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := bash(t, "set -euo pipefail\nPATH=$PWD:$PATH\n"+variables+"\ncd '"+folder+"'\n"+port.Replace(strings.Join(blocks(python), "\n"))).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "signed: 204\nnot signed: 401\n") {
		t.Errorf("the receiver in Python: %v\n%s", err, out)
	}
}

// followTheFirstCommand does what the server has printed: it opens the console
// and runs the two commands.
func followTheFirstCommand(t *testing.T, first *process, port string) {
	t.Helper()
	said := first.line(t)
	if want := "The console is at http://127.0.0.1:" + port + "/console/"; said != want {
		t.Fatalf("it says %q, want %q", said, want)
	}
	for _, path := range []string{"/", "/console/"} { // the root leads there
		req, err := http.NewRequest("GET", "http://127.0.0.1:"+port+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/html")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Request.URL.Path, "/console/") {
			t.Errorf("%s leads to %s: %d", path, resp.Request.URL, resp.StatusCode)
		}
	}
	for _, c := range []struct{ says, prints string }{
		{"To sign in there as the operator, ", "http://127.0.0.1:" + port + "/console/"},
		{"There is no API key yet. ", "api secret  "},
	} {
		if said := first.line(t); !strings.HasPrefix(said, c.says) {
			t.Fatalf("it says %q, want %q", said, c.says)
		}
		command := first.line(t)
		if !strings.HasPrefix(command, "  CGO_ENABLED=0 go run ./cmd/callbackd ") {
			t.Errorf("it prints %q", command)
		}
		if out, err := bash(t, command).CombinedOutput(); err != nil || !strings.Contains(string(out), c.prints) {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	}
}

// freePort returns a port for a program that is started later. It is below those that Linux
// gives to connections, so that none takes it in the meantime.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(20_000 + rand.IntN(12_000))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

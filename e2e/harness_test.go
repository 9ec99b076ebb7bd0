// Package e2e runs the real binary as a person or a crash would.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"callbackd/client"
)

var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "callbackd-e2e-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "callbackd")
	build := exec.Command("go", "build", "-o", binary, "../cmd/callbackd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	os.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config")) // not the profiles of who runs the tests
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// command is callbackd with args, in an environment that holds no setting.
func command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CALLBACKD_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	return cmd
}

// by has another binary run a command.
func by(bin string, cmd *exec.Cmd) *exec.Cmd {
	cmd.Path, cmd.Args[0] = bin, bin
	return cmd
}

// run runs a command of callbackd to its end.
func run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return runCmd(t, command(args...))
}

// wantExit fails the test unless a command ended with the code and printed every part.
func wantExit(t *testing.T, what string, code, want int, printed string, parts ...string) {
	t.Helper()
	if code != want {
		t.Errorf("%s ends with %d, want %d:\n%s", what, code, want, printed)
	}
	for _, p := range parts {
		if !strings.Contains(printed, p) {
			t.Errorf("%s prints no %q:\n%s", what, p, printed)
		}
	}
}

func runCmd(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	stop := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer stop.Stop()
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// patience is how long a test waits for what must come, on a busy machine.
const patience = time.Minute

// process is a command that runs on.
type process struct {
	cmd   *exec.Cmd
	log   *bytes.Buffer // its standard error; read it when it has ended
	lines chan string   // its standard output; closed at the end
}

func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, log: &bytes.Buffer{}, lines: make(chan string, 10_000)}
	if cmd.Stderr == nil {
		cmd.Stderr = p.log
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			p.lines <- sc.Text()
		}
	}()
	t.Cleanup(p.kill)
	return p
}

// line is the next line of output.
func (p *process) line(t *testing.T) string {
	t.Helper()
	select {
	case l, ok := <-p.lines:
		if !ok {
			t.Fatalf("it ended: %v: %s", p.cmd.Wait(), p.log)
		}
		return l
	case <-time.After(patience):
		t.Fatal("it prints nothing")
	}
	return ""
}

// until reads lines up to one with the text and returns them all.
func (p *process) until(t *testing.T, text string) string {
	t.Helper()
	var all strings.Builder
	for {
		l := p.line(t)
		all.WriteString(l + "\n")
		if strings.Contains(l, text) {
			return all.String()
		}
	}
}

func (p *process) kill() {
	if p.cmd.Cancel != nil {
		p.cmd.Cancel()
	}
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// term asks it to stop and returns its exit code.
func (p *process) term(t *testing.T) int {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	return p.wait(t)
}

func (p *process) wait(t *testing.T) int {
	t.Helper()
	stop := time.AfterFunc(patience, func() { p.cmd.Process.Kill() })
	defer stop.Stop()
	p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}

// server is a running `callbackd serve`.
type server struct {
	*process
	url string
}

func serveCmd(dir string, args ...string) *exec.Cmd {
	return command(append([]string{"serve", "--listen", "127.0.0.1:0", "--data", dir, "--allow-target", "127.0.0.0/8", "--log-level", "error"}, args...)...)
}

func serve(t *testing.T, dir string, args ...string) *server {
	t.Helper()
	return listening(t, start(t, serveCmd(dir, args...)))
}

func listening(t *testing.T, p *process) *server {
	t.Helper()
	line := p.line(t)
	url, ok := strings.CutPrefix(line, "listening on ")
	if !ok {
		t.Fatalf("it says %q", line)
	}
	return &server{p, url}
}

// newClient makes a key on the data directory.
func newClient(t *testing.T, dir string) *client.Client { t.Helper(); return newClientWith(t, dir) }

func newClientWith(t *testing.T, dir string, more ...string) *client.Client {
	t.Helper()
	return newClientBy(t, binary, dir, more...)
}

// newClientBy makes a key with the binary of any version.
func newClientBy(t *testing.T, bin, dir string, more ...string) *client.Client {
	t.Helper()
	args := []string{"keys", "create", "--account", "acme", "--json"}
	if dir != "" {
		args = append(args, "--data", dir)
	}
	out, errs, code := runCmd(t, by(bin, command(append(args, more...)...)))
	var k struct {
		APIKey    string `json:"api_key"`
		APISecret string `json:"api_secret"`
	}
	if err := json.Unmarshal([]byte(out), &k); err != nil || code != 0 {
		t.Fatalf("%v, %d: %s%s", err, code, out, errs)
	}
	return &client.Client{Account: "acme", APIKey: k.APIKey, APISecret: k.APISecret, HTTP: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
}

// begin starts a server on a new data directory, with a callback to sk.
func begin(t *testing.T, sk *sink, args ...string) (dir string, srv *server, cl *client.Client) {
	t.Helper()
	dir = t.TempDir()
	srv = serve(t, dir, args...)
	cl = newClient(t, dir)
	cl.Base = srv.url
	hook(t, cl, sk.URL, event)
	return dir, srv, cl
}

// try is one attempt, as the receiver is told of it.
type try struct {
	id string // webhook-id
	n  int    // callback-attempt
}

// sink is a receiver that keeps what arrives, in order.
type sink struct {
	*httptest.Server
	// answer chooses the status; nil: 200. It may wait for ctx.
	answer func(ctx context.Context, try try, sequence int64) int

	mu       sync.Mutex
	arrivals map[string][]int64         // session to sequence numbers
	ids      map[string]int             // webhook-id to arrivals that were taken
	tries    map[try]int                // to arrivals
	last     map[try]time.Time          // the last of them
	apart    map[try]time.Duration      // the last two of them
	once     map[string]map[string]bool // data.once to the webhook-ids that brought it
	conns    int
	changed  chan struct{}
}

func newSink(t *testing.T) *sink {
	s := &sink{arrivals: map[string][]int64{}, ids: map[string]int{}, tries: map[try]int{}, last: map[try]time.Time{}, apart: map[try]time.Duration{}, once: map[string]map[string]bool{}, changed: make(chan struct{}, 1)}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.take))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		s.mu.Lock()
		switch state {
		case http.StateNew:
			s.conns++
		case http.StateClosed, http.StateHijacked:
			s.conns--
		}
		s.mu.Unlock()
		s.wake()
	}
	s.Start()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func (s *sink) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (s *sink) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var in struct {
		Session string `json:"session_key"`
		Once    string `json:"once"`
	}
	if err != nil || json.Unmarshal(body, &in) != nil {
		w.WriteHeader(400)
		return
	}
	seq, _ := strconv.ParseInt(r.Header.Get("callback-sequence"), 10, 64)
	n, _ := strconv.Atoi(r.Header.Get("callback-attempt"))
	attempt := try{r.Header.Get("webhook-id"), n}
	s.mu.Lock()
	s.arrivals[in.Session] = append(s.arrivals[in.Session], seq)
	s.tries[attempt]++
	now := time.Now()
	if before, again := s.last[attempt]; again {
		s.apart[attempt] = now.Sub(before)
	}
	s.last[attempt] = now
	if in.Once != "" {
		if s.once[in.Once] == nil {
			s.once[in.Once] = map[string]bool{}
		}
		s.once[in.Once][attempt.id] = true
	}
	s.mu.Unlock()
	s.wake()
	status := 200
	if s.answer != nil {
		status = s.answer(r.Context(), attempt, seq)
	}
	if status/100 == 2 {
		s.mu.Lock()
		s.ids[attempt.id]++
		s.mu.Unlock()
		s.wake()
	}
	w.WriteHeader(status)
}

// await waits until ok holds of what has arrived.
func (s *sink) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	timeout := time.After(patience)
	ticks := time.NewTicker(20 * time.Millisecond) // what is waited for need not be an arrival
	defer ticks.Stop()
	for {
		s.mu.Lock()
		done := ok()
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-s.changed:
		case <-ticks.C:
		case <-timeout:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// inOrder checks that no number of a session came before the one ahead of
// it. The sink's mutex is held.
func (s *sink) inOrder(t *testing.T) {
	t.Helper()
	for session, seqs := range s.arrivals {
		last := int64(0)
		for _, seq := range seqs {
			if seq > last+1 {
				t.Fatalf("session %s: %d arrived before %d", session, seq, last+1)
			}
			last = max(last, seq)
		}
	}
}

func hook(t *testing.T, cl *client.Client, url, event string) {
	t.Helper()
	if _, err := cl.CreateCallback(t.Context(), client.NewCallback{Event: event, URL: url, Retry: []string{"0s", "100ms", "200ms", "500ms", "1s", "1s", "2s", "5s", "5s"}}); err != nil {
		t.Fatal(err)
	}
}

func fsck(t *testing.T, dir string) {
	t.Helper()
	if out, errs, code := run(t, "fsck", "--data", dir); code != 0 {
		t.Errorf("fsck: %s%s", out, errs)
	}
}

const event = "SESSION:STATUS_CHANGE"

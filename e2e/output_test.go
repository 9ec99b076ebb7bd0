package e2e

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"callbackd/client"
)

// logTo starts a server whose log goes to a pipe, and returns the reading end.
func logTo(t *testing.T, dir string, args ...string) (*server, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	cmd := serveCmd(dir, append(args, "--log-level", "info")...)
	cmd.Stderr = w
	p := start(t, cmd)
	w.Close()
	return listening(t, p), r
}

// Who reads the log may go, and who started the server may close the terminal:
// the server goes on, and what is in flight is sent once.
func TestAServerOutlivesItsReadersAndItsTerminal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv, r := logTo(t, dir)
	cl := newClient(t, dir)
	cl.Base = srv.url
	sk := newSink(t)
	release := make(chan struct{})
	sk.answer = func(context.Context, try, int64) int {
		<-release
		return http.StatusGone // pauses the callback, which is logged
	}
	hook(t, cl, sk.URL, event)
	if _, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "S"}); err != nil {
		t.Fatal(err)
	}
	sk.await(t, "the receiver has it", func() bool { return len(sk.tries) == 1 })
	r.Close()
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE} {
		if err := srv.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	eventually(t, "a line finds no reader, and that is counted", func() bool {
		return counted(t, srv, "callbackd_log_lines_dropped_total") > 0
	})
	if code := srv.term(t); code != 0 {
		t.Errorf("exit %d", code)
	}
	sk.mu.Lock()
	defer sk.mu.Unlock()
	if len(sk.tries) != 1 || sk.tries[try{firstOf(sk.tries).id, 1}] != 1 {
		t.Errorf("what was in flight was sent as %v", sk.tries)
	}
}

func firstOf(tries map[try]int) try {
	for attempt := range tries {
		return attempt
	}
	return try{}
}

// counted is the value of a metric.
func counted(t *testing.T, srv *server, name string) float64 {
	t.Helper()
	for l := range strings.Lines(read(t, srv.url+"/metrics")) {
		if value, ok := strings.CutPrefix(l, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func read(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d, %v", url, resp.StatusCode, err)
	}
	return string(body)
}

// A reader of the log that is stuck stops no call, no delivery and no stop.
func TestAStuckLogReaderStopsNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv, _ := logTo(t, dir, "--grace", "3s", "--log-level", "debug")
	cl := newClient(t, dir)
	cl.Base = srv.url
	sk := newSink(t)
	hook(t, cl, sk.URL, event)
	const n = 300
	for range n { // each attempt is a line: together more than a pipe holds
		if _, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: strings.Repeat("s", 64)}); err != nil {
			t.Fatal(err)
		}
	}
	sk.await(t, "all arrive", func() bool { return len(sk.ids) == n })
	if code := srv.term(t); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// 0.0.0.0 is every address of IPv4 and none of IPv6.
func TestAnIPv4AddressIsIPv4Alone(t *testing.T) {
	t.Parallel()
	srv := listening(t, start(t, command("serve", "--listen", "0.0.0.0:0", "--data", t.TempDir())))
	port, ok := strings.CutPrefix(srv.url, "http://0.0.0.0:")
	if !ok {
		t.Fatalf("it listens on %s", srv.url)
	}
	read(t, "http://127.0.0.1:"+port+"/healthz")
	if c, err := net.Dial("tcp6", "[::1]:"+port); err == nil {
		c.Close()
		t.Error("it listens on IPv6 too")
	}
}

// With few file descriptors a crowd of silent connections is in the log, once,
// and new ones are answered all the same.
func TestFewDescriptorsAreReported(t *testing.T) {
	t.Parallel()
	srv, r := logTo(t, t.TempDir())
	said := make(chan string, 100)
	go func() {
		for sc := bufio.NewScanner(r); sc.Scan(); {
			said <- sc.Text()
		}
		close(said)
	}()
	const most = 48
	limit := syscall.Rlimit{Cur: most, Max: most}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(srv.cmd.Process.Pid), syscall.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	for range 2 * most {
		c, err := net.Dial("tcp", strings.TrimPrefix(srv.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	eventually(t, "it answers", func() bool {
		resp, err := http.Get(srv.url + "/healthz")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
	if code := srv.term(t); code != 0 {
		t.Errorf("exit %d", code)
	}
	// Both have the system's words, "too many open files", which people search for.
	const bounded, none = "to avoid too many open files", "too many open files: none is left"
	warnings := map[string]int{bounded: 0, none: 0}
	for l := range said {
		for warning := range warnings {
			if strings.Contains(l, warning) {
				warnings[warning]++
			}
		}
	}
	for warning, n := range warnings {
		if n > 1 {
			t.Errorf("%q is logged %d times, want once at most", warning, n)
		}
	}
	if warnings[bounded]+warnings[none] == 0 {
		t.Error("no warning is logged, want one")
	}
}

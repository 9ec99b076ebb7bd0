package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/signature"
	"callbackd/internal/store/sqlite"
)

// What one visitor holds in the test below: connections, of which most are
// silent in one way or another, and deleted callbacks.
const (
	heldConnections  = 10_000
	deletedCallbacks = 12_000
	memoryLimit      = 512 << 20
)

// One visitor holds 10,000 connections, bodies that never come and answers that
// nobody reads, and has 12,000 deleted callbacks: every call of another key
// succeeds, and the process stays within 512 MiB. How much longer the other
// key's calls take is written, and asserted nowhere: that is the machine's.
func TestOneVisitorCannotTakeWhatOthersNeed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hostile, other := newClient(t, dir), newClient(t, dir)
	deleteMany(t, dir, hostile.APIKey)
	cmd := serveCmd(dir)
	// What a container of 512 MiB gives to Go.
	cmd.Env = append(cmd.Env, fmt.Sprintf("GOMEMLIMIT=%d", memoryLimit/4*3))
	srv := listening(t, start(t, cmd))
	hostile.Base, other.Base = srv.url, srv.url
	large := strings.Repeat("x", callbackd.MaxEventData-100)
	for range 90 {
		if _, err := hostile.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "large", Data: map[string]string{"x": large}}); err != nil {
			t.Fatal(err)
		}
	}
	alone := callsOf(t, other)
	held := hold(t, strings.TrimPrefix(srv.url, "http://"), hostile)
	beside := callsOf(t, other)
	peak := peakMemory(t, srv.cmd.Process.Pid)
	t.Logf("%d connections were opened; calls of another key: p99 %v alone, %v beside them; the process took %d MiB at most", held, p99(alone), p99(beside), peak>>20)
	if peak > memoryLimit {
		t.Errorf("the process took %d MiB", peak>>20)
	}
	if code := srv.term(t); code != 0 {
		t.Errorf("it stopped with %d: %s", code, srv.log)
	}
}

// deleteMany makes and deletes callbacks of a key, on the store: the API allows
// 30 changes a minute.
func deleteMany(t *testing.T, dir, apiKey string) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	key, err := s.Key(t.Context(), apiKey)
	if err != nil {
		t.Fatal(err)
	}
	const side = 64 // beside each other, so that they share commits
	var work sync.WaitGroup
	for i := range side {
		work.Go(func() {
			cb := callbackd.Callback{Key: key.ID, Event: event, Name: fmt.Sprint("n", i), URL: "https://a.example/", Method: "POST", Payload: bytes.Repeat([]byte(" "), 8000),
				Headers: []callbackd.Header{{Name: "X-A", Value: callbackd.Secret(strings.Repeat("a", 4000))}}, Secrets: []callbackd.SigningSecret{{Value: callbackd.Secret(signature.NewSecret())}}}
			for range deletedCallbacks / side {
				if _, _, err := s.CreateCallback(t.Context(), cb, time.Now()); err != nil {
					t.Error(err)
					return
				}
				if _, err := s.ChangeCallback(t.Context(), key.ID, cb.Event, cb.Name, func(cb *callbackd.Callback) error {
					cb.Delete(time.Now())
					return nil
				}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// hold opens connections from ten addresses and leaves them as they are: some
// silent, some with a body that never comes, some with an answer that is not
// read. The server closes some of them. It returns how many were opened.
func hold(t *testing.T, address string, cl *client.Client) int {
	t.Helper()
	n := heldConnections
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err == nil && r.Cur < uint64(n)+2000 {
		n = int(r.Cur) / 2 // as many as this machine lets one process have
	}
	h := http.Header{}
	signature.SetHeaders(h, cl.Account, cl.APIKey, cl.APISecret, time.Now())
	head := func(line string, more string) []byte {
		var b bytes.Buffer
		b.WriteString(line + " HTTP/1.1\r\nHost: x\r\n" + more)
		if err := h.Write(&b); err != nil {
			t.Fatal(err)
		}
		b.WriteString("\r\n")
		return b.Bytes()
	}
	body := append(head("POST /v1/events", "Content-Length: 1048576\r\n"), bytes.Repeat([]byte(" "), 8192)...)
	list := head("GET /v1/events?limit=200", "")
	deliveries := head("GET /v1/deliveries?state=failed&limit=200", "")
	for i := range n {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(20+i%10))}, Timeout: patience,
			Control: func(_, _ string, c syscall.RawConn) error {
				return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
			}}
		c, err := d.DialContext(context.Background(), "tcp", address)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		t.Cleanup(func() { c.Close() })
		switch i % 10 {
		case 0, 1, 2, 3:
			c.Write(body) // what the server has closed meanwhile is no matter
		case 4, 5:
			c.Write(list)
		case 6:
			c.Write(deliveries)
		}
	}
	return n
}

// callsOf makes calls of a key, one after the other, each of which must
// succeed, and returns how long they took.
func callsOf(t *testing.T, cl *client.Client) (took []time.Duration) {
	t.Helper()
	for i := range 150 {
		for name, call := range map[string]func() error{
			"publish": func() error {
				_, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: fmt.Sprint("S", i)})
				return err
			},
			"list": func() error { return cl.Do(t.Context(), "GET", "/v1/events?limit=5", nil, nil) },
		} {
			begun := time.Now()
			if err := call(); err != nil {
				t.Errorf("call %d of another key, %s: %v", i, name, err)
			}
			took = append(took, time.Since(begun))
		}
	}
	return took
}

func p99(took []time.Duration) time.Duration {
	slices.Sort(took)
	return took[len(took)*99/100].Round(10 * time.Microsecond)
}

// peakMemory is the most resident memory that a process had, in bytes.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(raw)
	if m == nil {
		t.Fatalf("no peak in %s", raw)
	}
	kb, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

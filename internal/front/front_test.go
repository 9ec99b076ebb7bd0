package front

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// site is a server behind a Front.
type site struct {
	t *testing.T
	*Front
	addr string
	log  lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func start(t *testing.T, o Options, h http.HandlerFunc) *site {
	t.Helper()
	s := &site{t: t}
	o.Log = slog.New(slog.NewTextHandler(&s.log, nil))
	s.Front = New(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	server := &http.Server{Handler: s.Handler(h, func(r *http.Request) bool { return r.URL.Path == "/essential" }), ConnContext: ConnContext}
	done := make(chan error, 1)
	go func() { done <- server.Serve(s.Listen(l)) }()
	t.Cleanup(func() { server.Close(); <-done })
	return s
}

// dial opens a connection and sends nothing on it.
func (s *site) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// ask sends a request on a connection of its own and returns the answer's status.
func (s *site) ask(path string, header ...string) int {
	s.t.Helper()
	status, err := ask(s.dial(), path, header...)
	if err != nil {
		s.t.Fatal(err)
	}
	return status
}

func ask(c net.Conn, path string, header ...string) (int, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: x\r\n", path)
	for _, h := range header {
		b.WriteString(h + "\r\n")
	}
	if _, err := io.WriteString(c, b.String()+"\r\n"); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

func ok(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

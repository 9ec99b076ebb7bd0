package sender_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"callbackd"
	"callbackd/internal/egress"
)

// FuzzResponse feeds bytes as what a receiver answers. Whatever they are,
// the attempt ends within its limits, and is a success only for an answer
// that begins with a 2xx status line or with interim ones before it.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		"", "\r\n\r\n", okWith("body"), okWith("canary-secret"), "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nuntil the end", "HTTP/1.0 200\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;ext=1\r\nbody\r\n0\r\nX-T: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nffffffffffffffff\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\n\r\n" + okWith("x"), "HTTP/1.1 101 x\r\nUpgrade: y\r\n\r\nz",
		"HTTP/1.1 302 x\r\nLocation: //canary-secret\xff\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 429 x\r\nRetry-After: 99999999999999999999\r\n\r\n", "HTTP/1.1 +20 x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
		"HTTP/2.0 200 OK\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "\x15\x03\x01\x00\x02\x02\x0a", "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nY:\x00\r\n\r\n", "HTTP/1.1 200 OK\nContent-Length: 1\n\nx",
	} {
		f.Add([]byte(seed))
	}
	var response atomic.Value
	url := raw(f, func(c net.Conn, r *bufio.Reader) {
		if _, _, err := readRequest(r); err != nil {
			return
		}
		c.Write(response.Load().([]byte))
		c.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, r)
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		response.Store(b)
		cb := callbackTo(url)
		cb.Headers = []callbackd.Header{{Name: "X-Key", Value: "canary-secret"}}
		cb.Policy.Timeout = 5 * time.Second
		res := newSender(t, egress.Options{}).Send(t.Context(), cb, event(), 1)
		within(t, &res)
		clean(t, &res, "canary-secret")
		if res.Fault == callbackd.FaultLocal || res.Fault == callbackd.FaultTimeout {
			t.Errorf("%s: %s", res.Fault, res.Error)
		}
		if res.Success() && !saysSuccess(string(b)) {
			t.Errorf("a success: %+v", res)
		}
		if (res.Fault == callbackd.NoFault) != res.Success() {
			t.Errorf("the fault is %q with success %v", res.Fault, res.Success())
		}
		if res.Status != 0 && (res.Status < 100 || res.Status > 999) {
			t.Errorf("the status is %d, want 0 or 100 to 999", res.Status)
		}
		for _, s := range []string{res.Error, res.Headers, res.Location, res.RetryAfter} {
			if !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\x1b\r\x7f") {
				t.Errorf("kept %q, which is no text", s)
			}
		}
	})
}

// saysSuccess reports whether some line of b is a status line with a 2xx code.
func saysSuccess(b string) bool {
	for line := range strings.SplitSeq(b, "\n") {
		_, status, ok := strings.Cut(line, " ")
		status = strings.TrimLeft(status, " ")
		if ok && strings.HasPrefix(line, "HTTP/") && len(status) >= 3 && status[0] == '2' {
			return true
		}
	}
	return false
}

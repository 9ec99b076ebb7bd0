package sender_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/egress"
)

// counted is a receiver that counts its connections and answers each request
// with the next response; the last one is used again.
func counted(t *testing.T, responses ...string) (string, *atomic.Int64) {
	var conns, turn atomic.Int64
	return raw(t, func(c net.Conn, r *bufio.Reader) {
		conns.Add(1)
		for {
			if _, _, err := readRequest(r); err != nil {
				return
			}
			n := min(int(turn.Add(1))-1, len(responses)-1)
			if _, err := io.WriteString(c, responses[n]); err != nil {
				return
			}
		}
	}), &conns
}

// Deliveries share connections.
func TestConnectionsAreReused(t *testing.T) {
	for name, response := range map[string]string{
		"no body": "HTTP/1.1 204 No Content\r\n\r\n", "body": okWith("body"), "body over what is kept": okWith(repeat("b", callbackd.MaxResponseRead-1)),
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", "failure": "HTTP/1.1 503 x\r\nContent-Length: 4\r\n\r\nbusy", "redirect": "HTTP/1.1 302 x\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
	} {
		url, conns := counted(t, response)
		s := newSender(t, egress.Options{})
		for i := range 100 {
			res := s.Send(t.Context(), callbackTo(url), event(), 1)
			if res.Status == 0 {
				t.Fatalf("%s, attempt %d has no answer: %s", name, i+1, res.Error)
			}
			same(t, fmt.Sprintf("%s, attempt %d: whether the connection was reused", name, i+1), res.Reused, i > 0)
			same(t, fmt.Sprintf("%s, attempt %d: the address", name, i+1), "http://"+res.Address, url)
			tm := res.Timings
			if i > 0 && (tm.DNS != 0 || tm.Connect != 0 || tm.TLS != 0) {
				t.Errorf("%s, attempt %d used an open connection, and has times of a new one: %+v", name, i+1, tm)
			}
			if i == 0 && tm.Connect <= 0 {
				t.Errorf("%s: the first attempt has no time to connect: %+v", name, tm)
			}
			if tm.FirstByte <= 0 {
				t.Errorf("%s, attempt %d has no time to the first byte: %+v", name, i+1, tm)
			}
			within(t, &res)
		}
		if n := conns.Load(); n != 1 {
			t.Errorf("%s: 100 attempts used %d connections", name, n)
		}
	}
}

// A connection with anything odd about its answer is not used
// again, because what follows on it may not be an answer to us.
func TestOddAnswersEndTheirConnection(t *testing.T) {
	for name, response := range map[string]string{
		"garbage after the body":  okWith("body") + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
		"garbage after no body":   "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
		"longer than read":        okWith(repeat("b", callbackd.MaxResponseRead+1)),
		"bad chunk":               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"length and chunked":      "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"length and only chunked": "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"the length twice":        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
		"two lengths in one":      "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok",
		"a length of no content":  "HTTP/1.1 204 x\r\nContent-Length: 2\r\n\r\n",
		"a space in a name":       "HTTP/1.1 200 OK\r\nCon tent: a\r\nContent-Length: 0\r\n\r\n",
		"a space after a name":    "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
		"a bare CR":               "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
		"HTTP/2.0":                "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
		"close":                   "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		"HTTP/1.0":                "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
		"too many headers":        "HTTP/1.1 200 OK\r\n" + repeat("X: "+repeat("y", 1000)+"\r\n", 40) + "\r\n",
	} {
		url, conns := counted(t, response, okWith("second"))
		s := newSender(t, egress.Options{})
		s.Send(t.Context(), callbackTo(url), event(), 1)
		res := s.Send(t.Context(), callbackTo(url), event(), 1)
		same(t, name+": the body", string(res.Body), "second")
		same(t, name+": whether the connection was reused", res.Reused, false)
		same(t, name+": the number of connections", conns.Load(), 2)
	}
}

func TestAReceiverThatClosesIdleConnectionsFailsNothing(t *testing.T) {
	closed := make(chan struct{}, 1)
	url := raw(t, func(c net.Conn, r *bufio.Reader) {
		if _, _, err := readRequest(r); err != nil {
			return
		}
		io.WriteString(c, okWith("ok"))
		c.Close()
		closed <- struct{}{}
	})
	s := newSender(t, egress.Options{})
	for i := range 20 {
		if res := s.Send(t.Context(), callbackTo(url), event(), 1); !res.Success() || res.Reused {
			t.Fatalf("attempt %d: %+v", i+1, res)
		}
		<-closed
	}
}

func TestCallbacksDoNotShareConnectionsAcrossOrigins(t *testing.T) {
	a, connsA := counted(t, okWith("a"))
	b, connsB := counted(t, okWith("b"))
	s := newSender(t, egress.Options{})
	for range 5 {
		for url, want := range map[string]string{a: "a", b: "b"} {
			if res := s.Send(t.Context(), callbackTo(url+"/x"), event(), 1); string(res.Body) != want {
				t.Errorf("%q from %s", res.Body, url)
			}
		}
	}
	if connsA.Load() != 1 || connsB.Load() != 1 {
		t.Errorf("%d and %d connections", connsA.Load(), connsB.Load())
	}
}

// What arrives on an idle connection answers nothing we asked: the next
// attempt must not take it for its own answer.
func TestAnUnaskedAnswerIsNotTakenForTheNext(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.issue(t, nil)
	for _, size := range []int{2, 5000} { // within and beyond a reader's buffer
		body := repeat("b", size)
		for _, secure := range []bool{false, true} {
			for _, together := range []bool{false, true} {
				first, sent := make(chan struct{}), make(chan struct{})
				target := raw(t, func(c net.Conn, r *bufio.Reader) {
					if secure {
						c = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
						r = bufio.NewReader(c)
					}
					for n := 0; ; n++ {
						if _, _, err := readRequest(r); err != nil {
							return
						}
						forged := okWith("forged")
						if together {
							io.WriteString(c, okWith(body)+forged)
							continue
						}
						io.WriteString(c, okWith(body))
						if _, ok := <-first; ok {
							io.WriteString(c, forged)
							sent <- struct{}{}
						}
					}
				})
				if secure {
					target = "https" + strings.TrimPrefix(target, "http")
				}
				s := newSender(t, egress.Options{Roots: ca.pool()})
				if res := s.Send(t.Context(), callbackTo(target), event(), 1); string(res.Body) != body {
					t.Fatalf("%+v", res)
				}
				if !together {
					first <- struct{}{}
					<-sent
				}
				close(first)
				if res := s.Send(t.Context(), callbackTo(target), event(), 2); string(res.Body) != body || res.Reused {
					t.Errorf("secure %v, together %v, %d bytes: %q, reused %v", secure, together, size, res.Body[:min(len(res.Body), 20)], res.Reused)
				}
			}
		}
	}
}

// A silent proxy takes no descriptor for longer than an attempt, and is not
// taken for a silent receiver.
func TestASilentProxyKeepsNothing(t *testing.T) {
	var open atomic.Int64
	proxy := raw(t, func(_ net.Conn, r *bufio.Reader) {
		open.Add(1)
		defer open.Add(-1)
		io.Copy(io.Discard, r)
	})
	u, _ := url.Parse(proxy)
	s := newSender(t, egress.Options{Proxy: u, ProxyTimeout: 1500 * time.Millisecond})
	cb := callbackTo("http://127.0.0.1:1")
	cb.Policy.Timeout = time.Second
	if res := s.Send(t.Context(), cb, event(), 1); res.Fault != callbackd.FaultProxy {
		t.Errorf("%s %s", res.Fault, res.Error)
	}
	for end := time.Now().Add(10 * time.Second); open.Load() > 0; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("the connection to the proxy stays open")
		}
	}
}

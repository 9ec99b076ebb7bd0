// Package zoo serves hostile receivers, each at a path or at a port of its own, to find out
// what a sender makes of them. The tests of callbackd's own sender use the same ones.
package zoo

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"callbackd"
)

// Limits of the zoo itself.
const (
	maxVisitors = 256              // connections at a time
	maxVisit    = 10 * time.Minute // of one connection
	maxRequest  = 4 << 20          // bytes of a request's body that are read
)

// Exhibit is one hostile receiver.
type Exhibit struct {
	Name string // part of the path
	Does string // what the receiver does
	Good string // what a good sender does
	// Fault is what callbackd's sender finds. With NoFault the attempt is a success: the
	// status of the answer was 2xx, whatever came afterwards.
	Fault callbackd.Fault
	// Serve answers one request, which was read. It returns when the sender has gone, or
	// when it is done; the connection is closed then.
	Serve func(c net.Conn)

	port *port // nil when it is at a path of the first port
}

// port is what an exhibit has that is at a port of its own.
type port struct {
	scheme string
	// accept gets each connection, of which nothing was read. It reports whether the
	// sender fell for the exhibit.
	accept func(z *Zoo, c net.Conn) (caught bool)
}

// Visit is one connection to an exhibit.
type Visit struct {
	Exhibit string
	Sent    int64 // bytes that the sender took, or that wait in the buffers of the network
	Took    time.Duration
	// Caught is set when the sender did what it must not do: it followed a redirect, or
	// sent its request to a server whose TLS it must not trust.
	Caught bool
}

// Shown is an exhibit with its address.
type Shown struct {
	Exhibit
	URL string
}

// Zoo is a running zoo.
type Zoo struct {
	shown     []Shown
	byPath    map[string]*Exhibit
	authority *authority
	visit     func(Visit)
	listeners []net.Listener
	slots     chan struct{}
	mu        sync.Mutex
	conns     map[net.Conn]bool
	closed    bool
	work      sync.WaitGroup
}

// Open starts a zoo at an address such as "127.0.0.1:9900". The exhibits with a port of
// their own are at the ports that follow; with port 0 every port is a free one. visit is
// called after each connection to an exhibit; it may be called concurrently.
func Open(listen string, visit func(Visit)) (*Zoo, error) {
	host, text, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, err
	}
	first, err := strconv.Atoi(text)
	if err != nil || first < 0 || first > 65535-len(exhibits) {
		return nil, fmt.Errorf("the port %q is invalid; give a number from 0 to %d", text, 65535-len(exhibits))
	}
	ca, err := newAuthority(host)
	if err != nil {
		return nil, err
	}
	z := &Zoo{byPath: map[string]*Exhibit{}, authority: ca, visit: visit, slots: make(chan struct{}, maxVisitors), conns: map[net.Conn]bool{}}
	base, err := z.listen(host, first, z.byRequest)
	if err != nil {
		return nil, err
	}
	next := first
	for i := range exhibits {
		x := &exhibits[i]
		if x.port == nil {
			z.byPath["/"+x.Name] = x
			z.shown = append(z.shown, Shown{*x, "http://" + base + "/" + x.Name})
			continue
		}
		if first > 0 {
			next++
		}
		at, err := z.listen(host, next, func(c net.Conn) (string, bool) { return x.Name, x.port.accept(z, c) })
		if err != nil {
			z.Close()
			return nil, err
		}
		z.shown = append(z.shown, Shown{*x, x.port.scheme + "://" + at + "/" + x.Name})
	}
	return z, nil
}

// URL returns the address of the index page.
func (z *Zoo) URL() string { return "http://" + z.listeners[0].Addr().String() + "/" }

// Exhibits returns the exhibits with their addresses.
func (z *Zoo) Exhibits() []Shown { return z.shown }

// CA returns the certificate of the zoo's authority in PEM. A sender must trust it, or it
// refuses the exhibits with TLS for another reason than the one that they are for.
func (z *Zoo) CA() []byte { return z.authority.pem }

// Close ends all connections and waits for them.
func (z *Zoo) Close() {
	z.mu.Lock()
	z.closed = true
	for _, l := range z.listeners {
		l.Close()
	}
	for c := range z.conns {
		c.Close()
	}
	z.mu.Unlock()
	z.work.Wait()
}

// listen serves connections at a port with f, which returns the name of the exhibit, empty
// for none, and whether the sender was caught.
func (z *Zoo) listen(host string, port int, f func(c net.Conn) (string, bool)) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return "", err
	}
	z.listeners = append(z.listeners, l)
	z.work.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			z.slots <- struct{}{}
			z.work.Go(func() { defer func() { <-z.slots }(); z.serve(c.(*net.TCPConn), f) })
		}
	})
	return l.Addr().String(), nil
}

// serve serves one connection.
func (z *Zoo) serve(tcp *net.TCPConn, f func(c net.Conn) (string, bool)) {
	c := &counted{TCPConn: tcp}
	z.mu.Lock()
	if z.closed {
		z.mu.Unlock()
		c.Close()
		return
	}
	z.conns[c] = true
	z.mu.Unlock()
	begin := time.Now()
	c.SetDeadline(begin.Add(maxVisit))
	name, caught := f(c)
	c.Close()
	z.mu.Lock()
	delete(z.conns, c)
	z.mu.Unlock()
	if name != "" && z.visit != nil {
		z.visit(Visit{Exhibit: name, Sent: c.sent.Load(), Took: time.Since(begin), Caught: caught})
	}
}

// byRequest reads one request and serves the exhibit of its path.
func (z *Zoo) byRequest(c net.Conn) (name string, caught bool) {
	req, err := readRequest(c)
	if err != nil {
		return "", false
	}
	switch x := z.byPath[req.URL.Path]; {
	case x != nil:
		x.Serve(c)
		return x.Name, false
	case req.URL.Path == caughtPath:
		answer(c, "200 OK", "text/plain", "A good sender does not come here: it does not follow redirects.\n")
		return "redirect", true
	case req.URL.Path == "/":
		answer(c, "200 OK", "text/html; charset=utf-8", z.index())
	case req.URL.Path == "/ca.pem":
		answer(c, "200 OK", "application/x-pem-file", string(z.CA()))
	default:
		answer(c, "404 Not Found", "text/plain", "No such exhibit. The list is at /.\n")
	}
	return "", false
}

// readRequest reads a request with its body.
func readRequest(c net.Conn) (*http.Request, error) {
	req, err := http.ReadRequest(bufio.NewReader(io.LimitReader(c, maxRequest)))
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, req.Body)
	return req, err
}

// answer writes a whole answer.
func answer(w io.Writer, status, kind, body string) {
	fmt.Fprintf(w, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, kind, len(body), body)
}

// counted is a connection that counts what is written.
type counted struct {
	*net.TCPConn
	sent atomic.Int64
}

// Write writes to the connection.
func (c *counted) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

package front

import (
	"container/list"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"callbackd/internal/system"
)

// socketBuffer is the size of the kernel's buffers of a connection, in bytes. It limits
// the memory of bytes that nobody reads.
const socketBuffer = 256 << 10

// conns holds every connection. Connections without an active request are idle.
// When there are too many connections, the one that has been idle longest is
// closed for a new one, so that idle clients cannot lock others out.
type conns struct {
	f        *Front
	mu       sync.Mutex
	n        int        // open connections
	active   int        // connections with an active request
	idle     *list.List // of *conn, the longest idle first
	networks map[netip.Prefix]*network
}

// network is a network with open connections.
type network struct {
	n    int
	idle *list.List
}

// conn is an accepted connection.
type conn struct {
	net.Conn
	f       *Front
	remote  netip.Addr   // its other end
	network netip.Prefix // the network that it is counted by; invalid for a trusted proxy

	// Guarded by conns.mu.
	idle, networkIdle *list.Element
	active            bool
	closed            bool

	relay     bool // from another node: not counted
	unwatched atomic.Bool
	request   request    // the active request
	shown     netip.Addr // the last result of ClientText
	shownText string
}

// Listen accepts connections of l within the limits.
func (f *Front) Listen(l net.Listener) net.Listener { return &listener{l, f} }

type listener struct {
	net.Listener
	f *Front
}

// Accept is part of net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			if l.f.outOfDescriptors(err) {
				continue
			}
			return nil, err
		}
		if t, ok := raw.(*net.TCPConn); ok {
			t.SetReadBuffer(socketBuffer)
			t.SetWriteBuffer(socketBuffer)
		}
		if c := l.f.admit(raw); c != nil {
			return c, nil
		}
	}
}

// outOfDescriptors closes an idle connection when the process has no file
// descriptor left, and reports whether to accept again at once.
func (f *Front) outOfDescriptors(err error) bool {
	if !system.Is(err, syscall.EMFILE, syscall.ENFILE) {
		return false
	}
	f.options.Log.Warn(descriptorsWarning, "error", err)
	f.conns.mu.Lock()
	old := f.conns.longestIdle(nil)
	f.conns.mu.Unlock()
	return f.closeIdle(old)
}

// admit counts a new connection. When there are too many, it closes the longest
// idle one, or refuses the new one when none is idle.
func (f *Front) admit(raw net.Conn) *conn {
	c := &conn{Conn: raw, f: f, remote: addrOf(raw.RemoteAddr())}
	if !f.trusts(c.remote) {
		c.network = networkOf(c.remote)
	}
	limit := f.maxConns()
	s := &f.conns
	s.mu.Lock()
	if s.idle == nil {
		s.idle, s.networks = list.New(), map[netip.Prefix]*network{}
	}
	p := s.networks[c.network]
	if p == nil {
		p = &network{idle: list.New()}
		s.networks[c.network] = p
	}
	s.n++
	p.n++
	c.pushIdle()
	var old *conn
	full := false
	switch {
	case c.network.IsValid() && p.n > max(minConns, limit/2):
		old, full = s.longestIdle(p), true
	case s.n > limit:
		old, full = s.longestIdle(nil), true
	}
	s.mu.Unlock()
	if !full {
		return c
	}
	warning := connsWarning
	if limit < f.options.MaxConns {
		warning = filesWarning
	}
	f.options.Log.Warn(warning, "connections", limit, "newest_from", c.network.Addr().String())
	if old != nil && old != c {
		f.closeIdle(old)
		return c
	}
	f.refused.Add(1)
	c.SetWriteDeadline(time.Now().Add(time.Second))
	c.Write([]byte(tooManyConnsAnswer))
	c.Close()
	return nil
}

const tooManyConnsAnswer = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 65\r\n\r\n" +
	`{"message":"Too many connections are open to callbackd; wait."}` + "\r\n"

// longestIdle returns the connection that has been idle longest, of one network or
// of all when p is nil.
func (s *conns) longestIdle(p *network) *conn {
	l := s.idle
	if p != nil {
		l = p.idle
	}
	if l == nil || l.Front() == nil {
		return nil
	}
	return l.Front().Value.(*conn)
}

// closeIdle closes a connection that was idle a moment ago. It reports whether there
// was one: c may be nil.
func (f *Front) closeIdle(c *conn) bool {
	if c == nil {
		return false
	}
	f.closed.Add(1)
	c.Close()
	return true
}

// pushIdle makes the connection the last of the idle ones. conns.mu is held.
func (c *conn) pushIdle() {
	s := &c.f.conns
	c.idle, c.networkIdle = s.idle.PushBack(c), s.networks[c.network].idle.PushBack(c)
}

func (c *conn) removeIdle() {
	if c.idle != nil {
		s := &c.f.conns
		s.idle.Remove(c.idle)
		s.networks[c.network].idle.Remove(c.networkIdle)
		c.idle, c.networkIdle = nil, nil
	}
}

// setActive says whether the connection has an active request. Then it is not closed for
// another one.
func (c *conn) setActive(on bool) {
	if c.relay {
		return
	}
	s := &c.f.conns
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.closed || c.active == on {
		return
	}
	if c.active = on; on {
		s.active++
		c.removeIdle()
	} else {
		s.active--
		c.pushIdle()
	}
}

// onlyReserveLeft reports whether active connections use everything but the
// operator's reserve.
func (c *conn) onlyReserveLeft() bool {
	if c.relay {
		return false
	}
	limit := c.f.maxConns()
	s := &c.f.conns
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active > limit-max(limit/8, minConns/2)
}

// Unwatched keeps the server from watching whether the client of a request is still
// there, so that the end of its connection does not end the request's context. That is for
// calls that are over soon. The watch is a read of one byte on another goroutine, which
// begins when the body was read and is broken off before the next request: it costs a
// twentieth of an event. Call it before the body is read. It does nothing for a body
// without a declared length.
func Unwatched(r *http.Request) {
	if c := connOf(r); c != nil && r.ContentLength > 0 {
		c.unwatched.Store(true)
	}
}

// Read is part of net.Conn. Headers and bodies are read into buffers, so that a read of
// one byte while a body is read is the watch of net/http. It ends when nothing was read.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 1 && c.unwatched.CompareAndSwap(true, false) {
		return 0, nil
	}
	return c.Conn.Read(p)
}

// Close is part of net.Conn.
func (c *conn) Close() error {
	s := &c.f.conns
	s.mu.Lock()
	if !c.closed {
		c.closed = true
		c.removeIdle()
		s.n--
		if c.active {
			s.active--
		}
		p := s.networks[c.network]
		if p.n--; p.n == 0 {
			delete(s.networks, c.network)
		}
	}
	s.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite lets http.Server end a connection without losing the answer that is
// still being read.
func (c *conn) CloseWrite() error {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		return t.CloseWrite()
	}
	return nil
}

// begin notes a new request; a connection has one at a time. It returns an error
// when the client has too many active requests through a trusted proxy.
func (c *conn) begin(r *http.Request) error {
	c.request = request{}
	c.request.addr, c.request.secure = c.f.clientOf(r, c.remote)
	c.setActive(true)
	if c.network.IsValid() {
		return nil
	}
	client := "from " + networkOf(c.request.addr).String()
	if err := c.f.calls.begin(client, proxied); err != nil {
		return err
	}
	c.request.proxied = client
	return nil
}

// end releases what the request used.
func (c *conn) end() {
	c.unwatched.Store(false)
	c.request.release(c.f)
	c.setActive(false)
}

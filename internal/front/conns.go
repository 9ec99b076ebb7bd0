package front

import (
	"container/list"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Sizes of the kernel's buffers of a connection: what is not read on either
// side must not fill the machine's memory.
const socketBuffer = 256 << 10

// conns is every connection. Those without a request under way wait in order
// of how long they have been silent: when there are too many, the one that is
// silent for longest gives its place to the newcomer. So silence costs others
// nothing, and a visitor that does say something is heard.
type conns struct {
	f        *Front
	mu       sync.Mutex
	n        int        // open ones
	active   int        // with a request under way
	idle     *list.List // of *conn, the longest silent first
	networks map[netip.Prefix]*network
}

// peer is one address with connections.
type network struct {
	n      int
	silent *list.List
}

// conn is an accepted connection.
type conn struct {
	net.Conn
	f       *Front
	network netip.Prefix // whom it counts for; invalid: a trusted proxy

	// Guarded by conns.mu.
	idle, networkIdle *list.Element
	active            bool
	closed            bool

	request request // of the request under way
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

// outOfDescriptors makes room when the process has no descriptor left, and
// tells whether to try again at once.
func (f *Front) outOfDescriptors(err error) bool {
	if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
		return false
	}
	f.warner.warn(f.options.Log, "no descriptor is left for a new connection; raise LimitNOFILE or ulimit -n", "error", err)
	f.conns.mu.Lock()
	old := f.conns.longestIdle(nil)
	f.conns.mu.Unlock()
	return f.closeIdle(old)
}

// admit gives a connection a place, takes one from a silent connection for
// it, or refuses it.
func (f *Front) admit(raw net.Conn) *conn {
	c := &conn{Conn: raw, f: f}
	if addr := addrOf(raw.RemoteAddr()); !f.trusts(addr) {
		c.network = networkOf(addr)
	}
	limit := f.maxConns()
	s := &f.conns
	s.mu.Lock()
	if s.idle == nil {
		s.idle, s.networks = list.New(), map[netip.Prefix]*network{}
	}
	p := s.networks[c.network]
	if p == nil {
		p = &network{silent: list.New()}
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
	why := "as many connections are open as there may be"
	if limit < f.options.MaxConns {
		why = "as many connections are open as there may be without too many open files: raise that limit (LimitNOFILE, ulimit -n)"
	}
	f.warner.warn(f.options.Log, why+"; the longest silent connection is closed for each new one", "connections", limit, "newest_from", c.network.Addr().String())
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

// oldest is the longest silent connection, of one address or of all.
func (s *conns) longestIdle(p *network) *conn {
	l := s.idle
	if p != nil {
		l = p.silent
	}
	if l == nil || l.Front() == nil {
		return nil
	}
	return l.Front().Value.(*conn)
}

// evict closes a connection that was silent a moment ago.
func (f *Front) closeIdle(c *conn) bool {
	if c == nil {
		return false
	}
	f.closed.Add(1)
	c.Close()
	return true
}

// queue makes the connection the last of the silent ones. conns.mu is held.
func (c *conn) pushIdle() {
	s := &c.f.conns
	c.idle, c.networkIdle = s.idle.PushBack(c), s.networks[c.network].silent.PushBack(c)
}

func (c *conn) removeIdle() {
	if c.idle != nil {
		s := &c.f.conns
		s.idle.Remove(c.idle)
		s.networks[c.network].silent.Remove(c.networkIdle)
		c.idle, c.networkIdle = nil, nil
	}
}

// work says whether a request is under way, which keeps the connection.
func (c *conn) setActive(on bool) {
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

// crowded tells whether the working connections have taken all places but
// the operator's.
func (c *conn) onlyReserveLeft() bool {
	limit := c.f.maxConns()
	s := &c.f.conns
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active > limit-max(limit/8, minConns/2)
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

// CloseWrite lets http.Server end a connection so that the answer is read
// before it is gone.
func (c *conn) CloseWrite() error {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		return t.CloseWrite()
	}
	return nil
}

// begin notes a request. Requests of a connection come one after the other.
// It fails when too many of the same visitor come over a trusted proxy.
func (c *conn) begin(r *http.Request) error {
	c.request = request{}
	c.request.client, c.request.secure = c.f.clientOf(r)
	c.setActive(true)
	if c.network.IsValid() {
		return nil
	}
	who := "from " + networkOf(c.request.client).String()
	if err := c.f.calls.begin(who, proxied); err != nil {
		return err
	}
	c.request.relayed = who
	return nil
}

// end gives back what the request took.
func (c *conn) end() {
	c.request.leave(c.f)
	c.setActive(false)
}

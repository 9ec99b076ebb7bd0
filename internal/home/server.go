package home

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"callbackd/internal/front"
)

// maxHeaderBytes is enough for a hop and everything that a client may send.
const maxHeaderBytes = 64 << 10

// Server answers calls that other nodes forward. Make it with [Router.Server].
type Server struct {
	router  *Router
	front   *front.Front
	here    http.Handler
	http    *http.Server
	leaving atomic.Bool

	mu     sync.Mutex
	conns  map[*serverConn]bool
	frames map[*frameServer]bool
}

// Server makes a server of calls that other nodes forward. here answers them, within the
// limits of f for the clients that they are from. base has the timeouts.
func (r *Router) Server(base *http.Server, f *front.Front, here http.Handler) *Server {
	s := &Server{router: r, front: f, here: here, http: base, conns: map[*serverConn]bool{}, frames: map[*frameServer]bool{}}
	base.Handler = s
	base.MaxHeaderBytes = maxHeaderBytes
	base.ConnContext = f.RelayContext
	base.ConnState = s.connState
	return s
}

// Serve answers at l until Stop.
func (s *Server) Serve(l net.Listener) { s.http.Serve(serverListener{l, s}) }

// ServeHTTP answers a call that another node forwarded, or a ping. Anybody else gets an
// empty 403.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, ok := s.router.signer.read(r.Header.Get(hopHeader), r.Method, r.RequestURI, s.router.Now())
	if !ok {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusForbidden)
		return
	}
	mine := h.node == s.router.Self() && !s.leaving.Load()
	switch {
	case h.key == 0:
		s.answerPing(w, r, h, mine)
	case !mine || !s.router.Find(h.key).Here:
		w.Header().Set(notHome, "1")
		w.WriteHeader(http.StatusMisdirectedRequest)
	default:
		w.Header()[hopHeader] = taken
		r.Header.Del(hopHeader)
		s.front.Relayed(w, r, s.here, h.client, h.secure)
	}
}

var taken = []string{"taken"}

// readyTimeout is how long the answer to a ping waits to find out whether the node is
// ready.
const readyTimeout = pingTimeout / 2

// answerPing proves that this is the node that was pinged, and reports whether it is ready.
// A ready node answers a request for frames with a connection that carries them.
func (s *Server) answerPing(w http.ResponseWriter, r *http.Request, h hop, mine bool) {
	nonce := strings.TrimPrefix(r.RequestURI, pingPath)
	proof := proof(h.signedWith, nonce, s.router.Self())
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	status := http.StatusNoContent
	if !mine || s.router.Ready(ctx) != nil {
		status = http.StatusServiceUnavailable
	} else if hijacker, ok := w.(http.Hijacker); ok && strings.HasPrefix(nonce, framesPath) {
		s.serveFrames(hijacker, h, nonce, proof)
		return
	}
	w.Header().Set(proofHeader, proof)
	w.WriteHeader(status)
}

// farewell is the refusal that is written to each idle connection when this node stops. A
// node that has just sent a call reads it, and knows that the call was not taken.
const farewell = "HTTP/1.1 421 Misdirected Request\r\n" + notHome + ": 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

// lingerTime is how long idle connections stay open after the farewell, so that it is
// read.
const lingerTime = 100 * time.Millisecond

// Stop takes no more calls and waits for those under way, until ctx ends.
func (s *Server) Stop(ctx context.Context) error {
	s.leaving.Store(true)
	s.mu.Lock()
	said := 0
	for c := range s.conns {
		if c.sayFarewell() {
			said++
		}
	}
	for f := range s.frames {
		f.sayGoodbye()
	}
	s.mu.Unlock()
	if said > 0 {
		select {
		case <-time.After(lingerTime):
		case <-ctx.Done():
		}
	}
	err := s.http.Shutdown(ctx)
	if err != nil { // ctx ended: calls are under way
		err = s.http.Close()
	}
	s.endFrames(ctx)
	return err
}

func (s *Server) connState(c net.Conn, state http.ConnState) {
	own, ok := c.(*serverConn)
	if !ok {
		return
	}
	switch state {
	case http.StateIdle:
		own.setIdle()
		if s.leaving.Load() {
			own.sayFarewell()
		}
	case http.StateClosed, http.StateHijacked:
		s.mu.Lock()
		delete(s.conns, own)
		s.mu.Unlock()
	}
}

type serverListener struct {
	net.Listener
	s *Server
}

// Accept is part of net.Listener.
func (l serverListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	own := &serverConn{Conn: c}
	l.s.mu.Lock()
	l.s.conns[own] = true
	l.s.mu.Unlock()
	return own, nil
}

// serverConn is a connection from another node. It knows whether a part of a request has
// arrived.
type serverConn struct {
	net.Conn
	mu    sync.Mutex
	busy  bool
	ended bool // it got the farewell; nothing more is read from it
}

// Read is part of net.Conn.
func (c *serverConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return 0, net.ErrClosed
	}
	c.busy = c.busy || n > 0
	return n, err
}

func (c *serverConn) setIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = false
}

// sayFarewell writes the farewell and ends the connection. It returns false, and does
// nothing, when a request is under way.
func (c *serverConn) sayFarewell() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy || c.ended {
		return false
	}
	c.ended = true
	c.SetWriteDeadline(time.Now().Add(lingerTime))
	c.Write([]byte(farewell))
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	return true
}

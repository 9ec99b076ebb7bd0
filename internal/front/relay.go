package front

import (
	"context"
	"net"
	"net/http"
	"net/netip"
)

// RelayContext adds a connection from another node to the context of its requests. It is
// the ConnContext of the http.Server for nodes. Such a connection is not counted among
// those of clients, and may always be active.
func (f *Front) RelayContext(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, &conn{f: f, relay: true})
}

// Relayed serves a request that another node has received from a client, within the
// limits of calls, bodies and answers. The other node has checked those of connections.
func (f *Front) Relayed(w http.ResponseWriter, r *http.Request, h http.Handler, client netip.Addr, secure bool) {
	c := connOf(r)
	c.request = request{addr: client, secure: secure}
	defer func() { c.request.release(f) }()
	out := &writer{ResponseWriter: w, c: c}
	h.ServeHTTP(out, r)
	out.extend() // for bytes that the server has not written yet
}

// ReadStart fills b with the start of a request's body, before it is known who sends it.
// Meanwhile the connection counts as idle, so that it can be closed for a new one. The
// error is io.EOF when the body is over.
func ReadStart(r *http.Request, b []byte) (n int, err error) {
	if c := connOf(r); c != nil {
		c.setActive(false)
		defer c.setActive(true)
	}
	for n < len(b) && err == nil {
		var m int
		m, err = r.Body.Read(b[n:])
		n += m
	}
	return n, err
}

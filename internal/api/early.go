package api

import (
	"bytes"
	"fmt"
	"net"
	"strings"

	"callbackd/internal/humanize"
	"callbackd/wire"
)

// Listener makes the answers JSON that net/http gives before it calls a
// handler: to a request that is malformed, that has too many bytes of headers,
// or that expects what net/http does not know. There is no other place to do
// it, for net/http writes them to the connection itself.
func Listener(l net.Listener) net.Listener { return earlyListener{l} }

type earlyListener struct{ net.Listener }

// Accept is part of net.Listener.
func (l earlyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return earlyConn{c}, nil
}

type earlyConn struct{ net.Conn }

// CloseWrite lets net/http end an answer before it closes the connection, so
// that the client can read it.
func (c earlyConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// NetConn is the connection under this one.
func (c earlyConn) NetConn() net.Conn { return c.Conn }

// Write is part of net.Conn.
func (c earlyConn) Write(b []byte) (int, error) {
	out, ok := earlyAnswer(b)
	if !ok {
		return c.Conn.Write(b)
	}
	if _, err := c.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// What net/http's own answers look like. Those of handlers have a Date.
const (
	earlyHeaders    = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
	earlyExpect     = "HTTP/1.1 417 Expectation Failed\r\n"
	earlyStatusLine = len("HTTP/1.1 400")
)

// earlyAnswer is what to write instead of one of net/http's own answers; ok is
// false when b is anything else.
func earlyAnswer(b []byte) (out []byte, ok bool) {
	if len(b) <= earlyStatusLine || b[earlyStatusLine-3] != '4' && b[earlyStatusLine-3] != '5' {
		return nil, false
	}
	line, rest, found := bytes.Cut(b, []byte("\r\n"))
	expect := bytes.HasPrefix(b, []byte(earlyExpect))
	if !found || !expect && !bytes.HasPrefix(b[len(line):], []byte(earlyHeaders)) {
		return nil, false
	}
	_, why, _ := bytes.Cut(rest, []byte("\r\n\r\n"))
	status, _, _ := bytes.Cut(line, []byte(": ")) // "400 Bad Request: why"
	raw, err := marshal(wire.Message{Message: earlyMessage(string(status), string(why))})
	if err != nil {
		return nil, false
	}
	return fmt.Appendf(nil, "%s\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", status, len(raw), raw), true
}

// earlyMessage says what was wrong with a request that reached no handler.
func earlyMessage(status, why string) string {
	_, why, _ = strings.Cut(why, ": ")
	switch code, _, _ := strings.Cut(strings.TrimPrefix(status, "HTTP/1.1 "), " "); {
	case code == "431":
		return fmt.Sprintf("The request line and the headers are larger than %s bytes.", humanize.Number(maxHeaderBytes))
	case code == "417":
		return "The header Expect asks for something else than 100-continue; leave it out."
	case code == "501":
		return "The Transfer-Encoding is not supported; send the body chunked, or with a Content-Length."
	case code == "505":
		return "This is not HTTP/1.1 or HTTP/1.0, which are what is spoken here."
	case why == "":
		return "The request is not well-formed HTTP."
	}
	return "The request is not well-formed HTTP: " + why + "."
}

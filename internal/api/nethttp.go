package api

import (
	"bytes"
	"fmt"
	"net"
	"strings"

	"callbackd/internal/humanize"
	"callbackd/wire"
)

// Listener replaces the plain text errors of net/http by JSON. net/http gives them before
// it calls a handler, when a request is malformed, has too many bytes of headers, or has
// an unknown Expect. It writes them to the connection itself, so they can only be
// replaced there.
func Listener(l net.Listener) net.Listener { return jsonListener{l} }

type jsonListener struct{ net.Listener }

// Accept is part of net.Listener.
func (l jsonListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return jsonConn{c}, nil
}

type jsonConn struct{ net.Conn }

// CloseWrite lets net/http end an answer before it closes the connection, so
// that the client can read it.
func (c jsonConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// NetConn returns the connection under this one.
func (c jsonConn) NetConn() net.Conn { return c.Conn }

// Write is part of net.Conn.
func (c jsonConn) Write(b []byte) (int, error) {
	out, ok := jsonError(b)
	if !ok {
		return c.Conn.Write(b)
	}
	if _, err := c.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// The form of net/http's own errors. The answers of handlers also have a Date.
const (
	plainHeaders      = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
	expectationFailed = "HTTP/1.1 417 Expectation Failed\r\n"
	statusLineLen     = len("HTTP/1.1 400")
)

// jsonError returns what to write instead of b when b is one of net/http's own errors. ok
// is false when it is anything else.
func jsonError(b []byte) (out []byte, ok bool) {
	if len(b) <= statusLineLen || b[statusLineLen-3] != '4' && b[statusLineLen-3] != '5' {
		return nil, false
	}
	line, rest, found := bytes.Cut(b, []byte("\r\n"))
	expect := bytes.HasPrefix(b, []byte(expectationFailed))
	if !found || !expect && !bytes.HasPrefix(b[len(line):], []byte(plainHeaders)) {
		return nil, false
	}
	_, why, _ := bytes.Cut(rest, []byte("\r\n\r\n"))
	status, _, _ := bytes.Cut(line, []byte(": ")) // "400 Bad Request: why"
	raw, err := marshal(wire.Message{Message: malformedMessage(string(status), string(why))})
	if err != nil {
		return nil, false
	}
	return fmt.Appendf(nil, "%s\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", status, len(raw), raw), true
}

// malformedMessage says what is wrong with a request that reached no handler.
func malformedMessage(status, why string) string {
	_, why, _ = strings.Cut(why, ": ")
	switch code, _, _ := strings.Cut(strings.TrimPrefix(status, "HTTP/1.1 "), " "); {
	case code == "431":
		return fmt.Sprintf("The request line and the headers are larger than %s bytes.", humanize.Number(maxHeaderBytes))
	case code == "417":
		return "The header Expect has another value than 100-continue. Leave it out."
	case code == "501":
		return "The Transfer-Encoding is not supported. Send the body chunked, or with a Content-Length."
	case code == "505":
		return "The HTTP version is not supported. Use HTTP/1.1 or HTTP/1.0."
	case why == "":
		return "The request is not well-formed HTTP. Check its first line and its headers. In a path, a space is %20 and a percent sign is %25."
	}
	return "The request is not well-formed HTTP: " + why + "."
}

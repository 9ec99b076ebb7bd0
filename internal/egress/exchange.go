package egress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Trace is what one exchange tells of its way. A phase that did not happen
// is 0.
type Trace struct {
	DNS, Connect, TLS time.Duration
	FirstByte         time.Duration // from the start of the exchange
	Address           string        // ip:port spoken to; empty when none
	Reused            bool          // the connection had been used before
	CertEnds          time.Time     // of the receiver's certificate; zero without TLS
}

// Transport makes HTTP/1.1 exchanges with receivers. An exchange writes its
// request and reads the answer on the calling goroutine, with the standard
// library's reader: net/http's own transport hands both to two goroutines of
// each connection, which doubled the CPU of a delivery, and cannot put one
// deadline over everything from DNS to the last byte. docs/decisions.md has
// the figures.
//
// It follows no redirect, asks for no compression and undoes none, verifies
// TLS always, and shares no TLS session between receivers.
type Transport struct {
	dialer dialer
	tls    *tls.Config
	idle   idlePool
}

var _ http.RoundTripper = (*Transport)(nil)

// Limits of what is read before the answer proper.
const (
	maxInformational = 5 // 1xx answers
	readBuffer       = 4 << 10
)

// ErrRequest is a request that is not sent, because a header of it would
// change where it ends or who answers.
var ErrRequest = errors.New("not allowed in a request")

// framing tells the headers that only this package writes.
func framing(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Te", "Trailer", "Upgrade", "Expect", "Proxy-Connection", "Proxy-Authorization":
		return true
	}
	return false
}

var (
	errHeaders       = errors.New("the answer's headers are larger than allowed")
	errInformational = errors.New("too many 1xx answers")
	errClosedIdle    = errors.New("the connection was closed before an answer")
)

// RoundTrip is [Transport.Exchange] with the body and the deadline of req,
// for http.Client.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		body, err = io.ReadAll(req.Body)
		req.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	return t.Exchange(req.Context(), req, body, &Trace{})
}

// Exchange sends req with body and reads the answer up to its body, which
// the caller reads and closes. Everything, the body included, is over by the
// deadline of ctx. A connection that the receiver had closed while it was
// idle, so that nothing at all came back, is replaced once by a new one.
//
// Errors: [RefusedError], [ProxyError], those of net and crypto/tls, and
// malformed answers.
func (t *Transport) Exchange(ctx context.Context, req *http.Request, body []byte, tr *Trace) (*http.Response, error) {
	start := time.Now()
	out := requests.Get().(*bytes.Buffer)
	defer requests.Put(out)
	out.Reset()
	if err := writeRequest(out, req, body); err != nil {
		return nil, err
	}
	key := poolKey{req.URL.Scheme, hostPort(req)}
	c := t.idle.take(key)
	for {
		*tr = Trace{}
		if c != nil {
			tr.Reused, tr.Address, tr.CertEnds = true, c.address, c.certEnds
		} else {
			var err error
			if c, err = t.open(ctx, key, req.URL.Hostname(), tr); err != nil {
				return nil, err
			}
		}
		resp, err := c.exchange(ctx, out.Bytes(), req, start, tr)
		if err == nil {
			return resp, nil
		}
		c.close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		// What the deadline cut off may read as nonsense, and the connection
		// may notice before the context does.
		if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) {
			return nil, os.ErrDeadlineExceeded
		}
		if !tr.Reused || !errors.Is(err, errClosedIdle) {
			return nil, err
		}
		c = nil
	}
}

var requests = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func hostPort(req *http.Request) string {
	port := req.URL.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[req.URL.Scheme]
	}
	return net.JoinHostPort(req.URL.Hostname(), port)
}

// writeRequest writes a request in HTTP/1.1's form (RFC 9112, section 3).
// What could end a line early is refused here once more, whatever checked
// the callback's headers before.
func writeRequest(b *bytes.Buffer, req *http.Request, body []byte) error {
	b.WriteString(req.Method)
	b.WriteByte(' ')
	b.WriteString(req.URL.RequestURI())
	b.WriteString(" HTTP/1.1\r\nHost: ")
	b.WriteString(req.URL.Host)
	names := make([]string, 0, 16)
	for name := range req.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !httpguts.ValidHeaderFieldName(name) || framing(name) {
			return fmt.Errorf("%w: header name %q", ErrRequest, name)
		}
		for _, v := range req.Header[name] {
			if !httpguts.ValidHeaderFieldValue(v) {
				return fmt.Errorf("%w: the value of header %s", ErrRequest, name)
			}
			b.WriteString("\r\n")
			b.WriteString(name)
			b.WriteString(": ")
			b.WriteString(v)
		}
	}
	if body != nil {
		b.WriteString("\r\nContent-Length: ")
		b.Write(strconv.AppendInt(b.AvailableBuffer(), int64(len(body)), 10))
	}
	b.WriteString("\r\n\r\n")
	b.Write(body)
	return nil
}

// conn is one connection to a receiver.
type conn struct {
	net.Conn
	t         *Transport
	key       poolKey
	address   string // ip:port of the receiver
	certEnds  time.Time
	br        *bufio.Reader
	room      int64 // bytes that may still be read
	idleSince time.Time
	stop      func() bool // of the watch over the exchange's context
}

// Read is the connection's, up to the room there is for headers.
func (c *conn) Read(p []byte) (int, error) {
	if c.room <= 0 {
		return 0, errHeaders
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.room)])
	c.room -= int64(n)
	return n, err
}

func (c *conn) close() {
	if c.stop != nil {
		c.stop()
	}
	c.Conn.Close()
}

// open opens a connection.
func (t *Transport) open(ctx context.Context, key poolKey, host string, tr *Trace) (*conn, error) {
	nc, err := t.dialer.dial(ctx, key.addr, tr)
	if err != nil {
		return nil, err
	}
	if key.scheme == "https" {
		begin := time.Now()
		cfg := t.tls.Clone()
		cfg.ServerName = host
		tc := tls.Client(nc, cfg)
		limited, cancel := context.WithTimeout(ctx, TLSTimeout)
		err := tc.HandshakeContext(limited)
		cancel()
		tr.TLS = time.Since(begin)
		if err != nil {
			nc.Close()
			return nil, fmt.Errorf("TLS handshake: %w", err)
		}
		tr.CertEnds = tc.ConnectionState().PeerCertificates[0].NotAfter
		nc = tc
	}
	c := &conn{Conn: nc, t: t, key: key, address: tr.Address, certEnds: tr.CertEnds}
	c.br = bufio.NewReaderSize(c, readBuffer)
	return c, nil
}

// exchange writes the request and reads the answer up to its body.
func (c *conn) exchange(ctx context.Context, request []byte, req *http.Request, start time.Time, tr *Trace) (*http.Response, error) {
	deadline, _ := ctx.Deadline() // none is the zero time, which is none here too
	if err := c.SetDeadline(deadline); err != nil {
		return nil, err
	}
	c.stop = context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	c.room = MaxResponseHeaders + readBuffer
	_, wrote := c.Write(request)
	// A receiver may answer and close without reading the whole request.
	if _, err := c.br.Peek(1); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			return nil, fmt.Errorf("%w: %w", errClosedIdle, err)
		}
		return nil, err
	}
	tr.FirstByte = time.Since(start)
	for range maxInformational + 1 {
		resp, err := http.ReadResponse(c.br, req)
		if err != nil {
			return nil, unexpected(err)
		}
		if resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		c.room = 1 << 62 // the caller bounds the body
		resp.Body = &answerBody{c: c, src: resp.Body, keep: wrote == nil && !resp.Close && resp.StatusCode/100 != 1}
		return resp, nil
	}
	return nil, errInformational
}

// unexpected keeps an end in the middle from looking like an end.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// answerBody gives its connection back when it was read to a clean end, and
// closes it otherwise: what is left unread is never drained.
type answerBody struct {
	c    *conn
	src  io.Reader
	keep bool
	err  error // how it ended
}

// Read is part of io.Reader.
func (b *answerBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.src.Read(p)
	if err != nil {
		b.end(err)
	}
	return n, err
}

// Close ends the exchange.
func (b *answerBody) Close() error {
	if b.err == nil {
		b.end(http.ErrBodyReadAfterClose)
	}
	return nil
}

func (b *answerBody) end(err error) {
	b.err = err
	c := b.c
	// A watch that has fired may set the deadline at any time: such a
	// connection is not used again.
	if err == io.EOF && b.keep && c.br.Buffered() == 0 && c.stop() {
		c.stop = nil
		c.t.idle.put(c)
		return
	}
	c.close()
}

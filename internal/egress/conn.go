package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// Limits of an exchange.
const (
	MaxResponseHeaders = 32 << 10 // bytes, with those of 1xx answers before
	readBuffer         = 4 << 10
	// writeInline is the size of a request that a socket's buffer takes whatever the
	// receiver does: Linux begins with 16 KiB for each connection. A longer one is
	// written on a goroutine of its own.
	writeInline = 8 << 10
)

var (
	errHeaders  = errors.New("the answer's headers are larger than allowed")
	errNoAnswer = errors.New("the connection ended without an answer")
)

// pastDeadline is a deadline that ends reads and writes at once.
var pastDeadline = time.Unix(1, 0)

// conn is one connection to a receiver.
type conn struct {
	net.Conn
	t         *Transport
	key       poolKey
	address   string // ip:port of the receiver
	certEnds  time.Time
	raw       syscall.RawConn // under TLS; nil when there is none
	br        *bufio.Reader
	room      int64         // bytes that may still be read
	uses      int           // exchanges, this one included
	retireAt  time.Time     // it is not used again after that
	idleFor   time.Duration // how long it may wait for its next use
	idleSince time.Time
	// ctx is the context of the present or last exchange. Its end ends the connection's
	// reads and writes; stop ends that. Exchanges usually have the same context.
	ctx  context.Context
	stop func() bool
}

// Read reads from the connection, up to the limit of the headers.
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

// watch ends reads and writes of the connection when ctx ends.
func (c *conn) watch(ctx context.Context) error {
	if c.ctx == nil || c.ctx.Done() != ctx.Done() {
		if c.stop != nil && !c.stop() {
			return c.ctx.Err() // the deadline may be changed at any time
		}
		c.stop = context.AfterFunc(ctx, func() { c.SetDeadline(pastDeadline) })
	}
	c.ctx = ctx
	return ctx.Err()
}

// open opens a connection.
func (t *Transport) open(ctx context.Context, key poolKey, req *Request, tr *Trace) (*conn, error) {
	nc, err := t.dialer.dial(ctx, key.addr, tr)
	if err != nil {
		return nil, err
	}
	if key.scheme == "https" {
		tr.Phase = Handshaking
		begin := time.Now()
		cfg := t.tls.Clone()
		cfg.ServerName = strings.TrimSuffix(req.URL.Hostname(), ".")
		req.Identity.apply(cfg)
		tc := tls.Client(nc, cfg)
		err := tc.HandshakeContext(ctx)
		tr.TLS = time.Since(begin)
		if err != nil {
			nc.Close()
			return nil, handshakeError(err, t.rootless && !req.Identity.trusts())
		}
		tr.CertEnds = tc.ConnectionState().PeerCertificates[0].NotAfter
		nc = tc
	}
	// Connections that were opened together should not end together.
	age := t.dialer.o.MaxAge
	age -= time.Duration(rand.Int64N(int64(age)/4 + 1))
	c := &conn{Conn: nc, raw: rawConn(nc), t: t, key: key, address: tr.Address, certEnds: tr.CertEnds, retireAt: time.Now().Add(age)}
	c.br = bufio.NewReaderSize(c, readBuffer)
	return c, nil
}

// rawConn returns the socket of a connection; nil when there is none.
func rawConn(nc net.Conn) syscall.RawConn {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// handshakeError returns the error of a TLS handshake. It is a [LocalError] when this
// machine has no certificate authorities, so that it trusts nobody.
func handshakeError(err error, trustsNobody bool) error {
	var stranger x509.UnknownAuthorityError
	var roots x509.SystemRootsError
	if errors.As(err, &roots) || trustsNobody && errors.As(err, &stranger) {
		return &LocalError{Missing: NoRoots, Err: err}
	}
	return fmt.Errorf("TLS handshake: %w", err)
}

// exchange writes the request and reads the answer up to its body.
func (c *conn) exchange(ctx context.Context, deadline time.Time, request []byte, start time.Time, tr *Trace) (*http.Response, error) {
	if err := c.SetDeadline(deadline); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsent, err)
	}
	// After the deadline was set: a context that ends from here on sets its own.
	if err := c.watch(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsent, err)
	}
	c.room = MaxResponseHeaders + readBuffer
	c.uses++
	w := c.send(request)
	if w.failedUnsent() {
		return nil, fmt.Errorf("%w: %w", ErrUnsent, w.err)
	}
	resp, err := c.answer(start, tr)
	complete := w.end(c)
	switch {
	case err == nil:
		c.answered(resp, complete)
		return resp, nil
	case w.n == 0 && w.err != nil && tr.Phase == Sending:
		return nil, fmt.Errorf("%w: %w", ErrUnsent, w.err)
	}
	return nil, err
}

// answer reads the head of the final answer, also while the request is being written.
// Any number of 1xx answers may come first, which slow receivers send while they work.
// They are limited in bytes and by the deadline.
func (c *conn) answer(start time.Time, tr *Trace) (*http.Response, error) {
	if _, err := c.br.Peek(1); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	tr.FirstByte, tr.Phase = time.Since(start), Answering
	for {
		h, err := readHead(c.br)
		if err != nil {
			return nil, err
		}
		if h.status/100 == 1 && h.status != http.StatusSwitchingProtocols {
			continue
		}
		return h.response(c)
	}
}

// answered prepares the reading of the body, and decides whether the
// connection may be used again.
func (c *conn) answered(resp *http.Response, complete bool) {
	c.room = 1 << 62 // the caller bounds the body
	c.idleFor = idleTime(resp.Header)
	resp.Body.(*answerBody).keep = complete && !resp.Close && c.idleFor > 0 && c.uses < c.t.dialer.o.MaxUses && time.Now().Before(c.retireAt)
}

// writing is a request that is being written.
type writing struct {
	size, n int
	err     error
	done    chan struct{} // nil when it was written at once
}

// send begins to write the request. A request that fits into the socket's buffer is
// written when send returns.
func (c *conn) send(request []byte) *writing {
	w := &writing{size: len(request)}
	if len(request) <= writeInline {
		w.n, w.err = c.Write(request)
		return w
	}
	w.done = make(chan struct{})
	go func() {
		defer close(w.done)
		w.n, w.err = c.Write(request)
	}()
	return w
}

// failedUnsent reports whether the write has failed with nothing written.
func (w *writing) failedUnsent() bool { return w.done == nil && w.n == 0 && w.err != nil }

// end stops the writing after an answer or an error, and reports whether the whole request
// was written. The request's memory is not used afterwards.
func (w *writing) end(c *conn) bool {
	if w.done != nil {
		select {
		case <-w.done:
		default:
			c.SetWriteDeadline(pastDeadline)
			<-w.done
		}
	}
	return w.n == w.size && w.err == nil
}

// answerBody returns its connection to the pool when it was read to a clean end, and
// closes it otherwise. Unread bytes are never drained.
type answerBody struct {
	c       *conn
	src     io.Reader
	counted counted // src, when the length is known
	keep    bool
	err     error // how it ended
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
	// When the context has ended, its watcher may set the deadline at any
	// time. Such a connection is not used again.
	if err == io.EOF && b.keep && c.br.Buffered() == 0 && c.ctx.Err() == nil {
		c.t.idle.put(c)
		return
	}
	c.close()
}

package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Request is what an exchange sends.
type Request struct {
	Method string
	URL    *url.URL // of [ParseURL]
	Fields []Field  // in the order and spelling in which they are written
	Body   []byte   // nil for none
	Close  bool     // use a connection of its own, and close it afterwards
	// Identity is used in TLS; nil for the transport's own settings.
	Identity *Identity
}

// Field is one header line.
type Field struct{ Name, Value string }

// Phase is how far an exchange has come.
type Phase int

// The phases of an exchange, in their order. A connection that is used again
// begins with Sending.
const (
	Building    Phase = iota
	Resolving         // the host name is looked up
	Connecting        // to the receiver, or through the proxy
	Handshaking       // TLS
	Sending           // the request is written, and no answer has begun
	Answering         // the head of the answer is read
)

// Trace is what one exchange tells of its way. A phase that did not happen
// is 0.
type Trace struct {
	Phase             Phase // the last one that began
	DNS, Connect, TLS time.Duration
	FirstByte         time.Duration // from the start of the exchange
	Address           string        // ip:port spoken to, or tried last; empty when none
	Reused            bool          // the connection had been used before
	CertEnds          time.Time     // of the receiver's certificate; zero without TLS
}

// Transport makes HTTP/1.1 exchanges with receivers. An exchange writes its
// request and reads the answer on the calling goroutine; only a request that
// may not fit into the socket's buffer is written on another one, so that an
// answer that comes early is read. net/http's own transport hands both to two
// goroutines of each connection, which doubled the CPU of a delivery, and
// cannot put one deadline over everything from DNS to the last byte.
// docs/decisions.md has the figures.
//
// It follows no redirect, asks for no compression and undoes none, verifies
// TLS always, and shares no TLS session between receivers.
type Transport struct {
	dialer dialer
	tls    *tls.Config
	idle   idlePool
	// rootless is set when this machine has no certificate authorities, as in
	// an image without them: nobody is trusted then.
	rootless bool
}

// NewTransport is the one constructor for outbound HTTP.
func NewTransport(o Options) *Transport {
	o = o.withDefaults()
	roots := o.Roots
	if roots == nil {
		roots, _ = x509.SystemCertPool() // an error is none either
	}
	return &Transport{dialer: dialer{o: o}, tls: &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12, VerifyConnection: strongKeys},
		rootless: roots == nil || roots.Equal(x509.NewCertPool())}
}

// CloseIdleConnections closes the idle connections, with the close notification
// of TLS.
func (t *Transport) CloseIdleConnections() { t.idle.closeAll() }

// ErrRequest is a request that is not sent, because a header of it would
// change where it ends or who answers.
var ErrRequest = errors.New("not allowed in a request")

// ErrUnsent is a connection that ended before any byte of the request was
// written: the receiver cannot have read it.
var ErrUnsent = errors.New("the connection was closed before the request was sent")

// framing lists the headers that only this package writes.
var framing = []string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Te", "Trailer", "Upgrade", "Expect", "Proxy-Connection", "Proxy-Authorization"}

func frames(name string) bool {
	for _, f := range framing {
		if len(f) == len(name) && strings.EqualFold(f, name) {
			return true
		}
	}
	return false
}

// Exchange sends req and reads the answer up to its body, which the caller
// reads and closes. Everything, the body included, is over by the deadline, if it is
// not zero, and when ctx ends.
//
// A request is sent once. Only when a used connection turns out to be closed
// before a byte was written does it go to another one; what may have been read
// is an error, and the caller decides about a repeat.
//
// Errors: [RefusedError], [LocalError], [ProxyError], [net.DNSError] for a name
// that does not exist, those of net and crypto/tls, and malformed answers. The
// trace tells in which phase it happened.
func (t *Transport) Exchange(ctx context.Context, deadline time.Time, req *Request, tr *Trace) (*http.Response, error) {
	start := time.Now()
	out := requests.Get().(*bytes.Buffer)
	defer requests.Put(out)
	out.Reset()
	if err := writeRequest(out, req); err != nil {
		return nil, err
	}
	key := poolKey{req.URL.Scheme, hostPort(req.URL), req.Identity.key()}
	for {
		c, err := t.connection(ctx, deadline, key, req, tr)
		if err != nil {
			return nil, err
		}
		tr.Phase = Sending
		resp, err := c.exchange(ctx, deadline, out.Bytes(), start, tr)
		if err == nil {
			return resp, nil
		}
		c.close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		// What the deadline cut off may read as nonsense.
		if !deadline.IsZero() && !time.Now().Before(deadline) {
			return nil, os.ErrDeadlineExceeded
		}
		if !tr.Reused || !errors.Is(err, ErrUnsent) {
			return nil, err
		}
	}
}

// connection takes an idle connection or opens one.
func (t *Transport) connection(ctx context.Context, deadline time.Time, key poolKey, req *Request, tr *Trace) (*conn, error) {
	*tr = Trace{}
	if !req.Close {
		if c := t.idle.take(key); c != nil {
			tr.Reused, tr.Address, tr.CertEnds = true, c.address, c.certEnds
			return c, nil
		}
	}
	if !deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel() // does not affect an open connection
	}
	c, err := t.open(ctx, key, req, tr)
	if err == nil && req.Close {
		c.uses = t.dialer.o.MaxUses // this one is the last
	}
	return c, err
}

var requests = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = defaultPort(u.Scheme)
	}
	return net.JoinHostPort(u.Hostname(), port)
}

func defaultPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}

// Bytes returns the request as [Transport.Exchange] writes it.
func (r *Request) Bytes() ([]byte, error) {
	var b bytes.Buffer
	if err := writeRequest(&b, r); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// writeRequest writes a request in HTTP/1.1's form (RFC 9112, section 3).
// What could end a line early is refused here once more, whatever checked
// the callback's headers before.
func writeRequest(b *bytes.Buffer, req *Request) error {
	if !httpguts.ValidHeaderFieldName(req.Method) {
		return fmt.Errorf("%w: method %q", ErrRequest, req.Method)
	}
	b.WriteString(req.Method)
	b.WriteByte(' ')
	b.WriteString(req.URL.RequestURI())
	b.WriteString(" HTTP/1.1\r\nHost: ")
	b.WriteString(req.URL.Host)
	if err := writeFields(b, req.Fields); err != nil {
		return err
	}
	if req.Close {
		b.WriteString("\r\nConnection: close")
	}
	if req.Body != nil {
		b.WriteString("\r\nContent-Length: ")
		b.Write(strconv.AppendInt(b.AvailableBuffer(), int64(len(req.Body)), 10))
	}
	b.WriteString("\r\n\r\n")
	b.Write(req.Body)
	return nil
}

func writeFields(b *bytes.Buffer, fields []Field) error {
	for _, f := range fields {
		if !httpguts.ValidHeaderFieldName(f.Name) || frames(f.Name) {
			return fmt.Errorf("%w: header name %q", ErrRequest, f.Name)
		}
		if !httpguts.ValidHeaderFieldValue(f.Value) {
			return fmt.Errorf("%w: the value of header %s", ErrRequest, f.Name)
		}
		b.WriteString("\r\n")
		b.WriteString(f.Name)
		b.WriteString(": ")
		b.WriteString(f.Value)
	}
	return nil
}

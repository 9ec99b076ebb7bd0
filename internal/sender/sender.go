// Package sender makes one attempt over HTTP: it builds the request, signs
// it, sends it, and says what happened. It decides nothing: whether and when
// there is another attempt is the domain's rule and the engine's work.
package sender

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"callbackd"
	"callbackd/internal/egress"
	"callbackd/internal/signature"
)

// Limits of what is kept of an answer besides its body, in bytes.
const (
	maxHeadersKept    = 4 << 10
	maxLocationKept   = 1 << 10
	maxRetryAfterKept = 128
	maxErrorKept      = 300
)

// Sender sends. It may be used concurrently.
type Sender struct {
	transport *egress.Transport
	agent     string
	log       *slog.Logger
}

// New makes a sender on a transport of [egress.NewTransport].
func New(transport *egress.Transport, version string, log *slog.Logger) *Sender {
	return &Sender{transport: transport, agent: "callbackd/" + version, log: log}
}

// Request builds attempt number n at the given time, signed with every
// secret in force. The body is returned beside it. It is what a preview
// shows and what Send sends.
func (s *Sender) Request(ctx context.Context, cb *callbackd.Callback, ev *callbackd.Event, n int, at time.Time) (*http.Request, []byte, error) {
	target, err := egress.ParseURL(cb.URL)
	if err != nil {
		return nil, nil, fmt.Errorf("read the URL: %w", err)
	}
	var body []byte
	if cb.Method == http.MethodGet || cb.Method == http.MethodDelete {
		err = addQuery(target, ev, cb.Payload)
	} else {
		body, err = Body(ev, cb.Payload)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("build the body: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, cb.Method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, nil, fmt.Errorf("build the request: %w", err)
	}
	if body == nil {
		req.Body, req.GetBody, req.ContentLength = nil, nil, 0
	}
	keys := make([][]byte, 0, 2)
	for _, secret := range cb.SigningSecrets(at) {
		key, err := signature.ParseSecret(secret.Reveal())
		if err != nil {
			return nil, nil, fmt.Errorf("sign: %w", err)
		}
		keys = append(keys, key)
	}
	h := req.Header
	h["User-Agent"] = []string{s.agent}
	h["Accept-Encoding"] = []string{"identity"}
	if body != nil {
		h["Content-Type"] = []string{"application/json"}
	}
	replaced := map[string]bool{}
	for _, own := range cb.Headers {
		name := http.CanonicalHeaderKey(own.Name)
		if !replaced[name] {
			h.Del(name)
			replaced[name] = true
		}
		h[name] = append(h[name], own.Value.Reveal())
	}
	id := ev.ID.String()
	h["Webhook-Id"] = []string{id}
	h["Webhook-Timestamp"] = []string{strconv.FormatInt(at.Unix(), 10)}
	h["Webhook-Signature"] = []string{signature.Sign(id, at.Unix(), body, keys...)}
	h["Callback-Attempt"] = []string{strconv.Itoa(n)}
	h["Callback-Sequence"] = []string{strconv.FormatInt(ev.Sequence, 10)}
	if ev.Test {
		h["Callback-Test"] = []string{"true"}
	}
	return req, body, nil
}

// Send makes attempt number n. It returns when the exchange is over or its
// deadline, the policy's timeout from DNS to the last byte of the body, has
// passed; it never panics.
func (s *Sender) Send(ctx context.Context, cb *callbackd.Callback, ev *callbackd.Event, n int) (res callbackd.Result) {
	start := time.Now()
	res.StartedAt = start.UTC()
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("attempt panicked", "event", ev.ID.String(), "callback", int64(cb.No), "panic", p)
			res.Fault, res.Error = callbackd.FaultLocal, "callbackd failed; the attempt is made again"
		}
		res.Timings.Total = time.Since(start)
		if res.Fault == callbackd.FaultRefused {
			res.Timings, res.Address = callbackd.Timings{}, "" // says nothing about the network
		}
	}()
	timeout := cb.Policy.WithDefaults().Timeout
	exchange, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, body, err := s.Request(exchange, cb, ev, n, start)
	if err != nil {
		s.log.Error("attempt not built", "event", ev.ID.String(), "callback", int64(cb.No), "error", err)
		res.Fault, res.Error = callbackd.FaultLocal, "callbackd could not build the request; the attempt is made again"
		return res
	}
	hide := newRedactor(cb)
	var tr egress.Trace
	resp, err := s.transport.Exchange(exchange, req, body, &tr)
	res.Timings = callbackd.Timings{DNS: tr.DNS, Connect: tr.Connect, TLS: tr.TLS, FirstByte: tr.FirstByte}
	res.Address, res.Reused, res.CertEnds = tr.Address, tr.Reused, tr.CertEnds
	if err != nil {
		s.fail(&res, ctx, exchange, err, timeout, hide)
		return res
	}
	defer resp.Body.Close()
	if resp.StatusCode < 100 { // "+20" reads as a number of three characters
		s.fail(&res, ctx, exchange, errors.New("malformed status code"), timeout, hide)
		return res
	}
	res.Status = resp.StatusCode
	res.RetryAfter = clip(hide.text(strings.Join(resp.Header.Values("Retry-After"), ", ")), maxRetryAfterKept)
	res.Location = clip(hide.text(resp.Header.Get("Location")), maxLocationKept)
	res.Headers = keptHeaders(resp, hide)
	if err := readBody(resp.Body, &res); err != nil {
		s.fail(&res, ctx, exchange, err, timeout, hide)
	}
	res.Body = hide.body(res.Body, res.Truncated || res.Fault != callbackd.NoFault)
	if res.Fault == callbackd.NoFault && !res.Success() {
		res.Fault = callbackd.FaultStatus
		res.Error = "the receiver answered " + strconv.Itoa(res.Status)
		if res.Status/100 == 3 {
			res.Error += "; redirects are not followed"
		}
	}
	return res
}

var buffers = sync.Pool{New: func() any { return new([callbackd.MaxResponseKept]byte) }}

// readBody keeps the first MaxResponseKept bytes and reads at most
// MaxResponseRead; what is longer is left to the closing of the connection.
func readBody(body io.Reader, res *callbackd.Result) error {
	buf := buffers.Get().(*[callbackd.MaxResponseKept]byte)
	defer buffers.Put(buf)
	n, err := io.ReadFull(body, buf[:])
	res.Body = bytes.Clone(buf[:n])
	res.BodySize = int64(n)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		// ReadFull's own word for a short read; a body that was cut off
		// shows on the next read.
		if _, err := body.Read(buf[:1]); err != nil && err != io.EOF {
			return err
		}
		return nil
	}
	if err != nil {
		return err
	}
	more, err := io.CopyBuffer(onlyWriter{io.Discard}, io.LimitReader(body, callbackd.MaxResponseRead-int64(n)), buf[:])
	res.BodySize += more
	res.Truncated = more > 0
	return err
}

// onlyWriter hides ReadFrom, which would allocate a buffer of its own.
type onlyWriter struct{ io.Writer }

// fail classifies an error of the exchange. Its text may hold what the
// receiver sent.
func (s *Sender) fail(res *callbackd.Result, ctx, exchange context.Context, err error, timeout time.Duration, hide redactor) {
	var (
		refused *egress.RefusedError
		proxy   *egress.ProxyError
		dnsErr  *net.DNSError
		opErr   *net.OpError
		certErr *tls.CertificateVerificationError
		alert   tls.AlertError
		record  tls.RecordHeaderError
	)
	set := func(f callbackd.Fault, text string) { res.Fault, res.Error = f, clip(hide.text(text), maxErrorKept) }
	switch {
	case errors.As(err, &refused):
		set(callbackd.FaultRefused, refused.Error())
		s.log.Warn("target refused", "detail", refused.Detail())
	case ctx.Err() != nil:
		set(callbackd.FaultShutdown, "callbackd stopped during the attempt")
	case exchange.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded): // a connection may notice first
		set(callbackd.FaultTimeout, fmt.Sprintf("the exchange was not over after %v", timeout))
	case errors.Is(err, egress.ErrRequest):
		set(callbackd.FaultLocal, "callbackd could not build the request; the attempt is made again")
		s.log.Error("request not sent", "error", err)
	case isLocal(err):
		set(callbackd.FaultLocal, "callbackd ran out of a local resource; the attempt is made again")
		s.log.Error("local fault", "error", err)
	case errors.As(err, &proxy) && proxy.Unreachable():
		set(callbackd.FaultConnect, "the egress proxy cannot reach the receiver")
	case errors.As(err, &proxy):
		set(callbackd.FaultProxy, "the egress proxy failed; the attempt is made again")
		s.log.Error("egress proxy failed", "error", err)
	case errors.As(err, &dnsErr):
		set(callbackd.FaultDNS, "the host name did not resolve")
	case errors.As(err, &certErr):
		set(callbackd.FaultTLS, "the receiver's certificate is not trusted: "+certErr.Err.Error())
	case errors.As(err, &alert), errors.As(err, &record), strings.Contains(err.Error(), "tls: "), strings.Contains(err.Error(), "TLS handshake"):
		set(callbackd.FaultTLS, "no TLS connection: "+err.Error())
	case errors.As(err, &opErr) && opErr.Op == "dial" && opErr.Timeout():
		set(callbackd.FaultConnect, "the receiver did not accept the connection in time")
	case errors.As(err, &opErr) && opErr.Op == "dial":
		set(callbackd.FaultConnect, "the receiver refused the connection or cannot be reached")
	default:
		set(callbackd.FaultProtocol, "the receiver gave no complete HTTP answer: "+err.Error())
	}
}

// isLocal tells a lack of this machine's own resources.
func isLocal(err error) bool {
	for _, no := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// keptHeaders is the answer's header lines, sorted, without session cookies
// and echoed secrets.
func keptHeaders(resp *http.Response, hide redactor) string {
	names := make([]string, 0, len(resp.Header))
	for name := range resp.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		for _, v := range resp.Header[name] {
			switch name {
			case "Set-Cookie", "Set-Cookie2", "Authorization", "Proxy-Authenticate":
				v = callbackd.Mask
			default:
				v = hide.text(v)
			}
			if b.Len()+len(name)+len(v)+4 > maxHeadersKept {
				return b.String()
			}
			b.WriteString(name)
			b.WriteString(": ")
			b.WriteString(v)
			b.WriteByte('\n')
		}
	}
	return b.String()
}

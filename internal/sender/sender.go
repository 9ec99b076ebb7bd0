// Package sender makes one attempt over HTTP: it builds the request, signs
// it, sends it, and says what happened. It decides nothing: whether and when
// there is another attempt is the domain's rule and the engine's work.
package sender

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/egress"
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
	redactors redactors
	bodies    bodies
}

// New makes a sender on a transport of [egress.NewTransport].
func New(transport *egress.Transport, version string, log *slog.Logger) *Sender {
	return &Sender{transport: transport, agent: "callbackd/" + version, log: log}
}

// Send makes attempt number n. It returns when the exchange is over or its
// deadline, the policy's timeout from DNS to the last byte of the body, has
// passed; it never panics.
func (s *Sender) Send(ctx context.Context, cb *callbackd.Callback, ev *callbackd.Event, n int) (res callbackd.Result) {
	start := time.Now()
	res.StartedAt = start.UTC()
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("attempt panicked", "event", ev.ID.String(), "callback", int64(cb.ID), "panic", p)
			res.Fault, res.Error = callbackd.FaultLocal, "callbackd failed; the attempt is made again"
		}
		res.Timings.Total = time.Since(start)
		if res.Fault == callbackd.FaultRefused || res.Fault == callbackd.FaultDNS {
			res.Timings, res.Address = callbackd.Timings{}, "" // says nothing about the network
		}
	}()
	var body []byte
	var err error
	if !inQuery(cb) {
		var done func()
		body, done, err = s.bodies.of(ev, cb.Payload)
		defer done()
	}
	var req *callbackd.Request
	if err == nil {
		req, err = s.request(cb, ev, n, start, body)
	}
	if err != nil {
		s.log.Error("attempt not built", "event", ev.ID.String(), "callback", int64(cb.ID), "error", err)
		res.Fault, res.Error = callbackd.FaultLocal, "callbackd could not build the request; the attempt is made again"
		return res
	}
	if req.Body == nil && len(req.URL.RawQuery) > callbackd.MaxQuery {
		res.Fault = callbackd.FaultQuery
		res.Error = fmt.Sprintf("the query of the %s would have %d bytes, and at most %d are sent", req.Method, len(req.URL.RawQuery), callbackd.MaxQuery)
		return res
	}
	// The timeout is the receiver's: what the building took is not of it.
	policy := cb.Policy.WithDefaults()
	exchange, cancel := context.WithTimeout(ctx, policy.Timeout)
	defer cancel()
	a := attempt{Sender: s, ctx: ctx, exchange: exchange, start: time.Now(), hide: s.redactors.of(cb), res: &res}
	resp, err := s.transport.Exchange(exchange, onWire(req, policy.NoKeepAlive), &a.trace)
	tr := &a.trace
	res.Timings = callbackd.Timings{DNS: tr.DNS, Connect: tr.Connect, TLS: tr.TLS, FirstByte: tr.FirstByte}
	res.Address, res.Reused, res.CertEnds = tr.Address, tr.Reused, tr.CertEnds
	if err != nil {
		a.fail(err)
		return res
	}
	defer resp.Body.Close()
	a.answered(resp)
	return res
}

// answered takes what the receiver answered. Status and headers decide: a body
// that is cut changes nothing of what they say.
func (a *attempt) answered(resp *http.Response) {
	res := a.res
	res.Status = resp.StatusCode
	res.RetryAfter = clip(a.hide.text(strings.Join(resp.Header["Retry-After"], ", ")), maxRetryAfterKept)
	res.Location = clip(a.hide.text(resp.Header.Get("Location")), maxLocationKept)
	res.Headers = keptHeaders(resp, a.hide)
	cut := readBody(resp.Body, res)
	res.Body = a.hide.body(res.Body, res.Truncated || cut != nil)
	if !res.Success() {
		res.Fault = callbackd.FaultStatus
		res.Error = "the receiver answered " + strconv.Itoa(res.Status)
		if res.Status/100 == 3 {
			res.Error += "; redirects are not followed"
		}
	}
	if cut == nil {
		return
	}
	text := a.hide.text("the body of the answer was cut: " + a.cut(cut))
	if res.Error != "" {
		text = res.Error + "; " + text
	}
	res.Error = clip(text, maxErrorKept)
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

// keptHeaders is the answer's header lines, sorted, without session cookies
// and echoed secrets.
func keptHeaders(resp *http.Response, hide *redactor) string {
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

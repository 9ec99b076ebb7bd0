// Package sender makes one attempt over HTTP: it builds the request, signs it, sends
// it, and returns the result. It does not decide whether and when there is another
// attempt; that is the domain's rule and the engine's work.
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

// Limits of the stored parts of an answer besides its body, in bytes.
const (
	maxHeadersKept    = 4 << 10
	maxLocationKept   = 1 << 10
	maxRetryAfterKept = 128
	maxErrorKept      = 300
)

// Sender makes attempts. It is safe for concurrent use.
type Sender struct {
	transport *egress.Transport
	agent     string
	log       *slog.Logger
	settings  settings
	tokens    tokenSources
	bodies    bodies
	deadlines deadlines
	traces    TraceMode
}

// New makes a sender on a transport of [egress.NewTransport].
func New(transport *egress.Transport, version string, log *slog.Logger) *Sender {
	return &Sender{transport: transport, agent: "callbackd/" + version, log: log}
}

// TraceMode says which trace context a receiver gets with an event that has one.
type TraceMode uint8

// The modes of traces.
const (
	PassTrace     TraceMode = iota // that of the event
	TraceAttempts                  // the span of the attempt, because somebody reports those
	NoTrace                        // none
)

// SetTraceMode chooses the mode, which is PassTrace otherwise. Call it before the first Send.
func (s *Sender) SetTraceMode(m TraceMode) { s.traces = m }

// Send makes attempt number n. It returns when the exchange is done, or when the
// policy's timeout has passed, which covers everything from DNS to the last byte of
// the body. When very many attempts would time out together, it has up to a tenth more.
// It never panics.
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
			res.Timings, res.Address = callbackd.Timings{}, "" // they would tell about the operator's network
		}
	}()
	var body []byte
	var err error
	switch {
	case inQuery(cb):
	case cb.Policy.Format.ForPeople():
		body, err = messageBody(ev, cb.Policy.Format, cb.Payload)
	default:
		var done func()
		body, done, err = s.bodies.of(ev, cb.Policy.Fields, cb.Payload)
		defer done()
	}
	set := s.settings.of(cb, s)
	var req *egress.Request
	if err == nil {
		req, err = set.request(cb, ev, n, start, body)
	}
	if err != nil {
		s.log.Error("attempt not built", "event", ev.ID.String(), "callback", int64(cb.ID), "error", err)
		res.Fault, res.Error = callbackd.FaultLocal, "callbackd could not build the request; the attempt is made again"
		return res
	}
	if req.Body == nil && len(req.URL.RawQuery) > callbackd.MaxQuery {
		res.Fault = callbackd.FaultQuery
		res.Error = fmt.Sprintf("the query of the %s request would have %d bytes; the limit is %d", req.Method, len(req.URL.RawQuery), callbackd.MaxQuery)
		return res
	}
	// The timeout is for the receiver; building the request does not count.
	policy := cb.Policy.WithDefaults()
	req.Close = policy.NoKeepAlive
	begin := time.Now()
	deadline, slot := s.deadlines.take(begin, policy.Timeout)
	defer s.deadlines.free(slot)
	a := attempt{Sender: s, ctx: ctx, start: begin, deadline: deadline, redact: set.redact, res: &res, noResponse: policy.NoResponse}
	if set.credentials != nil {
		a.signedIn(set.credentials, req)
		return res
	}
	a.exchange(req)
	return res
}

// exchange sends a request and stores what happened.
func (a *attempt) exchange(req *egress.Request) {
	resp, err := a.transport.Exchange(a.ctx, a.deadline, req, &a.trace)
	res, tr := a.res, &a.trace
	res.Timings = callbackd.Timings{DNS: tr.DNS, Connect: tr.Connect, TLS: tr.TLS, FirstByte: tr.FirstByte}
	res.Address, res.Reused, res.CertEnds = tr.Address, tr.Reused, tr.CertEnds
	a.noCert = err != nil && certRefused(err, tr.Phase)
	if err != nil {
		a.fail(err)
		return
	}
	defer resp.Body.Close()
	a.answered(resp)
}

// answered stores the receiver's answer. Status and headers decide about the
// attempt, also when the body is incomplete.
func (a *attempt) answered(resp *http.Response) {
	res := a.res
	res.Status = resp.StatusCode
	res.RetryAfter = callbackd.Clip(a.redact.text(strings.Join(resp.Header["Retry-After"], ", ")), maxRetryAfterKept)
	res.Control = callbackd.ParseControl(strings.Join(resp.Header["Callback-Control"], ","))
	res.Location = callbackd.Clip(a.redact.text(resp.Header.Get("Location")), maxLocationKept)
	if !a.noResponse {
		res.Headers = keptHeaders(resp, a.redact)
	}
	cut := readBody(resp.Body, res)
	res.Body = a.redact.body(res.Body, res.Truncated || cut != nil)
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
	text := a.redact.text("the body of the answer is incomplete: " + a.bodyError(cut))
	if res.Error != "" {
		text = res.Error + "; " + text
	}
	res.Error = callbackd.Clip(text, maxErrorKept)
}

var buffers = sync.Pool{New: func() any { return new([callbackd.MaxResponseKept]byte) }}

// readBody keeps the first MaxResponseKept bytes and reads at most MaxResponseRead.
// The connection of a longer body is closed.
func readBody(body io.Reader, res *callbackd.Result) error {
	buf := buffers.Get().(*[callbackd.MaxResponseKept]byte)
	defer buffers.Put(buf)
	n, err := io.ReadFull(body, buf[:])
	res.Body = bytes.Clone(buf[:n])
	res.BodySize = int64(n)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		// ReadFull reports a short body in this way. The next read tells
		// whether the body is complete.
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

// keptHeaders returns the answer's header lines, sorted, without session cookies
// and echoed secrets.
func keptHeaders(resp *http.Response, redact *redactor) string {
	var room [16]string
	names, size := room[:0], 0
	for name, values := range resp.Header {
		names = append(names, name)
		for _, v := range values {
			size += len(name) + len(v) + 4
		}
	}
	slices.Sort(names)
	var b strings.Builder
	b.Grow(min(size, maxHeadersKept))
	for _, name := range names {
		for _, v := range resp.Header[name] {
			switch name {
			case "Set-Cookie", "Set-Cookie2", "Authorization", "Proxy-Authenticate":
				v = callbackd.Mask
			default:
				v = redact.text(v)
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

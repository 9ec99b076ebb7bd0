package telemetry

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"callbackd"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// spanIDs makes random IDs, except for a span whose ID is in the context.
type spanIDs struct{}

type spanIDKey struct{}

// NewIDs is part of sdktrace.IDGenerator.
func (s spanIDs) NewIDs(ctx context.Context) (id trace.TraceID, span trace.SpanID) {
	rand.Read(id[:])
	return id, s.NewSpanID(ctx, id)
}

// NewSpanID is part of sdktrace.IDGenerator.
func (spanIDs) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	if id, ok := ctx.Value(spanIDKey{}).(trace.SpanID); ok {
		return id
	}
	var id trace.SpanID
	rand.Read(id[:])
	return id
}

// spanContext returns a trace context as OpenTelemetry has it.
func spanContext(t *callbackd.Trace) trace.SpanContext {
	state, err := trace.ParseTraceState(t.State)
	if err != nil { // its rules are stricter; then the state is not in our spans
		state = trace.TraceState{}
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: t.ID, SpanID: t.Span, TraceFlags: trace.TraceFlags(t.Flags), TraceState: state, Remote: true})
}

// Call is the span of a call that may make events.
type Call struct {
	span trace.Span
	own  *callbackd.Trace
}

// Begin begins the span of a call with a route such as "POST /v1/events". parent is the trace
// context that came with the call, or nil.
func (t *Telemetry) Begin(method, route string, parent *callbackd.Trace, at time.Time) *Call {
	ctx := context.Background()
	if parent != nil {
		ctx = trace.ContextWithSpanContext(ctx, spanContext(parent))
	}
	_, span := t.tracer.Start(ctx, route, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(at), trace.WithAttributes(
		attribute.String("http.request.method", method),
		attribute.String("http.route", route),
		attribute.String("messaging.system", "callbackd"),
		attribute.String("messaging.operation.name", "accept"),
		attribute.String("messaging.operation.type", "send"),
	))
	c := &Call{span: span, own: &callbackd.Trace{}}
	sc := span.SpanContext()
	c.own.ID, c.own.Span, c.own.Flags, c.own.State = sc.TraceID(), sc.SpanID(), byte(sc.TraceFlags()), sc.TraceState().String()
	if parent != nil && c.own.State == "" {
		c.own.State = parent.State
	}
	return c
}

// Trace returns the trace context that the events of the call get.
func (c *Call) Trace() *callbackd.Trace { return c.own }

// End ends the span of a call that may have made events. A call that cannot have made any is
// not ended, and then there is no span of it.
func (c *Call) End(events []*callbackd.Event, status int) {
	if !c.span.IsRecording() {
		return
	}
	c.span.SetAttributes(attribute.Int("http.response.status_code", status))
	switch {
	case len(events) == 1:
		c.span.SetAttributes(attribute.String("messaging.message.id", events[0].ID.String()), attribute.String("messaging.destination.name", string(events[0].Type)))
	case len(events) > 1:
		c.span.SetAttributes(attribute.Int("messaging.batch.message_count", len(events)))
	}
	if status >= http.StatusInternalServerError {
		c.span.SetStatus(codes.Error, "")
		c.span.SetAttributes(attribute.String("error.type", strconv.Itoa(status)))
	}
	c.span.End()
}

// Sender makes one attempt, as engine.Sender does.
type Sender interface {
	Send(ctx context.Context, cb *callbackd.Callback, ev *callbackd.Event, attempt int) callbackd.Result
}

// Attempts returns a sender that sends as next does, and makes a span of each attempt for an
// event with a trace context, and one of the time that the event waited for its first.
func (t *Telemetry) Attempts(next Sender) Sender { return attempts{t, next} }

type attempts struct {
	t    *Telemetry
	next Sender
}

// Send is part of engine.Sender.
func (a attempts) Send(ctx context.Context, cb *callbackd.Callback, ev *callbackd.Event, n int) callbackd.Result {
	res := a.next.Send(ctx, cb, ev, n)
	if ev.Trace != nil && ev.Trace.Sampled() {
		a.t.attempt(cb, ev, n, &res)
	}
	return res
}

// attempt makes the spans of an attempt that has ended. What the callback's URL has besides
// its host may be a secret, so it is left out.
func (t *Telemetry) attempt(cb *callbackd.Callback, ev *callbackd.Event, n int, res *callbackd.Result) {
	id := callbackd.DeliveryID{Event: ev.ID, Callback: cb.ID}
	of := trace.WithAttributes(
		attribute.String("messaging.system", "callbackd"),
		attribute.String("messaging.message.id", ev.ID.String()),
		attribute.String("messaging.destination.name", string(ev.Type)),
		attribute.String("callbackd.delivery.id", id.String()),
		attribute.Int64("callbackd.callback.id", int64(cb.ID)),
	)
	parent := trace.ContextWithSpanContext(context.Background(), spanContext(ev.Trace))
	if from := ev.MaySendFrom(); n == 1 && from.Before(res.StartedAt) {
		_, span := t.tracer.Start(parent, "wait", trace.WithTimestamp(from), of)
		span.End(trace.WithTimestamp(res.StartedAt))
	}
	own := trace.SpanID(ev.Trace.OfAttempt(id, n).Span)
	_, span := t.tracer.Start(context.WithValue(parent, spanIDKey{}, own), cb.Method, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(res.StartedAt), of, trace.WithAttributes(
		attribute.String("messaging.operation.name", "deliver"),
		attribute.String("messaging.operation.type", "send"),
		attribute.String("http.request.method", cb.Method),
		attribute.Int("http.request.resend_count", n-1),
		attribute.Int("callbackd.attempt", n),
	))
	span.SetAttributes(addresses(cb.URL, res)...)
	if res.Status != 0 {
		span.SetAttributes(attribute.Int("http.response.status_code", res.Status))
	}
	if !res.Success() {
		kind := string(res.Fault)
		if res.Fault == callbackd.FaultStatus {
			kind = strconv.Itoa(res.Status)
		}
		span.SetStatus(codes.Error, callbackd.FailureText(res.Fault, res.Status))
		span.SetAttributes(attribute.String("error.type", kind))
	}
	span.End(trace.WithTimestamp(res.EndedAt()))
}

// addresses says where an attempt went.
func addresses(target string, res *callbackd.Result) (out []attribute.KeyValue) {
	if u, err := url.Parse(target); err == nil {
		port, _ := strconv.Atoi(u.Port())
		if port == 0 {
			port = map[string]int{"http": 80, "https": 443}[u.Scheme]
		}
		out = append(out, attribute.String("url.scheme", u.Scheme), attribute.String("server.address", u.Hostname()), attribute.Int("server.port", port))
	}
	if at, err := netip.ParseAddrPort(res.Address); err == nil {
		out = append(out, attribute.String("network.peer.address", at.Addr().String()), attribute.Int("network.peer.port", int(at.Port())))
	}
	return out
}

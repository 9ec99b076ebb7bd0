package api

import (
	"net/http"
	"time"

	"callbackd"
	"callbackd/internal/front"
	"callbackd/internal/store"
)

// Span is the span of a call that may make events, for who collects traces.
type Span interface {
	// Trace returns the trace context that the events of the call get.
	Trace() *callbackd.Trace
	// End ends the span. A span that is not ended is not collected.
	End(events []*callbackd.Event, status int)
}

// Tracing says what is done with trace contexts. The zero value keeps them.
type Tracing struct {
	// Ignored leaves out those that come with calls.
	Ignored bool
	// Begin begins the span of a call; nil when nobody collects traces. parent is what
	// came with the call, or nil.
	Begin func(method, route string, parent *callbackd.Trace, at time.Time) Span
}

// The headers of a trace context in the spelling of http.Header.
const (
	headerTraceParent = "Traceparent"
	headerTraceState  = "Tracestate"
)

// traced returns a call with the trace context that its events get, and its span, which is
// nil when nobody collects traces. A call without a trace context costs nothing then.
func (a *API) traced(r *http.Request, begin time.Time) (*http.Request, Span) {
	var t *callbackd.Trace
	if parent := r.Header[headerTraceParent]; parent != nil && !a.Tracing.Ignored {
		t = callbackd.ParseTrace(parent, r.Header[headerTraceState])
	}
	var span Span
	if a.Tracing.Begin != nil {
		span = a.Tracing.Begin(r.Method, r.Pattern, t, begin)
		t = span.Trace()
	}
	if t == nil {
		return r, nil
	}
	return r.WithContext(store.WithTrace(r.Context(), t)), span
}

// trace gives a call that may change something its trace context.
func (a *API) trace(c *call, begin time.Time) {
	if front.KindOf(c.Request) == front.Write {
		c.Request, c.span = a.traced(c.Request, begin)
	}
}

// endSpan ends the span of a call, when the call could make events.
func (c *call) endSpan(status int) {
	if c.span != nil && c.makesEvents {
		c.span.End(c.made, status)
	}
}

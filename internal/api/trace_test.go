package api_test

import (
	"net/http"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/api"
	"callbackd/wire"
)

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	parent  = "00-" + traceID + "-b7ad6b7169203331-01"
)

// withTrace adds the headers of a trace context to a call.
func withTrace(parent, state string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("traceparent", parent)
		if state != "" {
			r.Header.Set("tracestate", state)
		}
	}
}

// An event has the trace context of the call that made it, and its receivers get it. What is
// not valid is as if it were not there, and the signature is right in any case.
func TestAnEventBelongsToTheTraceOfItsCall(t *testing.T) {
	onBothStores(t, func(t *testing.T, on func(*setup)) {
		s := start(t, on)
		recv := listen(t, func(http.ResponseWriter, int) {})
		s.register("SESSION:COMPLETE", recv.url, "")
		const body = `{"event":"SESSION:COMPLETE","session_key":"%","data":{}}`
		for _, c := range []struct{ parent, state, wantParent, wantState, wantID string }{
			{parent, "vendor=1", parent, "vendor=1", traceID},
			{parent, "VENDOR", parent, "", traceID},
			{"00-" + traceID + "-0000000000000000-01", "vendor=1", "", "", ""},
			{"x", "", "", "", ""},
		} {
			made := decode[wire.Accepted](s.call("POST", "/v1/events", body, withTrace(c.parent, c.state)).ok(202))
			equal(t, "the trace of the event", decode[wire.Event](s.call("GET", "/v1/events/"+made.ID, "").ok(200)).TraceID, c.wantID)
			h := (<-recv.hits).header
			equal(t, "what the receiver gets", []string{h.Get("traceparent"), h.Get("tracestate")}, []string{c.wantParent, c.wantState})
		}
		// A session's change is a call like any other.
		x := decode[wire.Session](s.call("POST", "/v1/sessions", "{}").ok(200))
		s.call("POST", "/v1/sessions/"+x.SessionKey+"/start", "", withTrace(parent, "")).ok(200)
		events := decode[wire.EventList](s.call("GET", "/v1/events?session_key="+x.SessionKey, "").ok(200)).Data
		equal(t, "the trace of what a change fired", events[0].TraceID, traceID)
	})
}

// span is a span that a test collects.
type span struct {
	trace  *callbackd.Trace
	route  string
	parent *callbackd.Trace
	events int
	status int
}

func (s *span) Trace() *callbackd.Trace { return s.trace }
func (s *span) End(events []*callbackd.Event, status int) {
	s.events, s.status = len(events), status
}

// Calls that come to where they make events have a span, whatever the answer; others have none.
func TestCallsThatMakeEventsHaveSpans(t *testing.T) {
	var spans []*span
	s := start(t, func(c *setup) {
		c.api.Tracing.Begin = func(_, route string, parent *callbackd.Trace, _ time.Time) api.Span {
			spans = append(spans, &span{trace: &callbackd.Trace{ID: [16]byte{byte(len(spans) + 1)}, Span: [8]byte{1}}, route: route, parent: parent})
			return spans[len(spans)-1]
		}
	})
	one := func(route string, events, status int) *span {
		t.Helper()
		var ended []*span
		for _, s := range spans {
			if s.status != 0 {
				ended = append(ended, s)
			}
		}
		spans = nil
		if len(ended) != 1 {
			t.Fatalf("there are %d spans of %s, want 1", len(ended), route)
		}
		got := ended[0]
		equal(t, "the span", []any{got.route, got.events, got.status}, []any{route, events, status})
		return got
	}
	const event = `{"event":"SESSION:COMPLETE","session_key":"S","data":{}}`
	made := decode[wire.Accepted](s.call("POST", "/v1/events", event, withTrace(parent, "")).ok(202))
	got := one("POST /v1/events", 1, 202)
	equal(t, "its parent", got.parent.Parent(), parent)
	equal(t, "the trace of the event", decode[wire.Event](s.call("GET", "/v1/events/"+made.ID, "").ok(200)).TraceID, got.trace.IDText())
	s.call("POST", "/v1/events", "["+event+","+event+"]").ok(202)
	one("POST /v1/events", 2, 202)
	x := decode[wire.Session](s.call("POST", "/v1/sessions", "{}").ok(200))
	spans = nil
	s.call("POST", "/v1/sessions/"+x.SessionKey+"/start", "").ok(200)
	one("POST /v1/sessions/{key}/start", 1, 200)
	s.call("POST", "/v1/sessions/"+x.SessionKey+"/start", "").ok(409)
	one("POST /v1/sessions/{key}/start", 0, 409)
	s.register("SESSION:COMPLETE", "https://a.example/hook", "")
	s.call("POST", "/v1/events", "{").ok(400)
	s.call("GET", "/v1/events", "").ok(200)
	for _, s := range spans {
		if s.status != 0 {
			t.Errorf("%s has a span", s.route)
		}
	}
}

// Without traces a call costs nothing more.
func TestACallWithoutATraceCostsNothing(t *testing.T) {
	s := start(t)
	r, err := http.NewRequest("POST", "/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { s.api.Traced(r, time.Time{}) }); n != 0 {
		t.Errorf("it makes %v allocations", n)
	}
}

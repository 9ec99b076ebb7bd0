package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"callbackd/client"
	"callbackd/wire"

	metricpb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector is an OpenTelemetry collector that keeps what it gets.
type collector struct {
	*httptest.Server
	mu      sync.Mutex
	spans   []*tracepb.Span
	metrics map[string]bool // names
	service string
	raw     bytes.Buffer
}

func newCollector(t *testing.T) *collector {
	c := &collector{metrics: map[string]bool{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			unpacked, err := gzip.NewReader(body)
			if err != nil {
				t.Error(err)
				return
			}
			body = unpacked
		}
		b, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.raw.Write(b)
		w.Header().Set("Content-Type", "application/x-protobuf")
		switch r.URL.Path {
		case "/v1/traces":
			var req collectorpb.ExportTraceServiceRequest
			if err := proto.Unmarshal(b, &req); err != nil {
				t.Error(err)
			}
			for _, of := range req.ResourceSpans {
				for _, a := range of.Resource.Attributes {
					if a.Key == "service.name" {
						c.service = a.Value.GetStringValue()
					}
				}
				for _, s := range of.ScopeSpans {
					c.spans = append(c.spans, s.Spans...)
				}
			}
		case "/v1/metrics":
			var req metricpb.ExportMetricsServiceRequest
			if err := proto.Unmarshal(b, &req); err != nil {
				t.Error(err)
			}
			for _, of := range req.ResourceMetrics {
				for _, s := range of.ScopeMetrics {
					for _, m := range s.Metrics {
						c.metrics[m.Name] = true
					}
				}
			}
		default:
			t.Errorf("a call of %s", r.URL.Path)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// attribute returns an attribute of a span that is a text.
func attribute(s *tracepb.Span, key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

// fromTrace adds headers of a trace to each call of a client.
type fromTrace struct{ headers map[string]string }

func (f fromTrace) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, value := range f.headers {
		r.Header.Set(name, value)
	}
	return http.DefaultTransport.RoundTrip(r)
}

const (
	callersTrace  = "0af7651916cd43dd8448eb211c80319c"
	callersSpan   = "b7ad6b7169203331"
	callersParent = "00-" + callersTrace + "-" + callersSpan + "-01"
)

// traced starts a server in an environment, with a receiver that fails at first. It publishes
// one event from the caller's trace and one from none, and returns what the receiver got.
func traced(t *testing.T, environment ...string) (srv *server, cl *client.Client, attempts []http.Header) {
	t.Helper()
	dir := t.TempDir()
	cmd := serveCmd(dir)
	cmd.Env = append(cmd.Env, environment...)
	srv, cl = listening(t, start(t, cmd)), newClient(t, dir)
	cl.Base = srv.url
	got := make(chan http.Header, 10)
	var n atomic.Int64
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			w.WriteHeader(http.StatusBadGateway)
		}
		got <- r.Header.Clone()
	}))
	t.Cleanup(receiver.Close)
	_, err := cl.CreateCallback(t.Context(), client.NewCallback{Event: event, URL: receiver.URL + "/secret-path?token=secret-token", Retry: []string{"0s", "0s"}})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(session string) string {
		t.Helper()
		ev, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: session, Data: map[string]string{"name": "secret-name"}})
		if err != nil {
			t.Fatal(err)
		}
		return ev.ID
	}
	plain := cl.HTTP.Transport
	cl.HTTP.Transport = fromTrace{map[string]string{"traceparent": callersParent, "tracestate": "vendor=1"}}
	id := publish("traced")
	cl.HTTP.Transport = plain
	for range 2 {
		attempts = append(attempts, <-got)
	}
	publish("plain")
	attempts = append(attempts, <-got)
	var ev wire.Event
	if err := cl.Do(t.Context(), "GET", "/v1/events/"+id, nil, &ev); err != nil || ev.TraceID != callersTrace {
		t.Errorf("the event has the trace %q, want the caller's", ev.TraceID)
	}
	return srv, cl, attempts
}

// With the standard variables the spans of an event come to a collector, as children of the
// caller's span, and the receiver's are children of the attempts.
func TestTracesComeToACollector(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	srv, _, attempts := traced(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL, "OTEL_METRIC_EXPORT_INTERVAL=200", "OTEL_SERVICE_NAME=hooks")
	if code := srv.term(t); code != 0 {
		t.Fatalf("it ends with %d", code)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.service != "hooks" {
		t.Errorf("the service is %q", c.service)
	}
	var accept *tracepb.Span
	var sent []string
	waits, own := 0, 0
	for _, s := range c.spans {
		switch of := hexID(s.TraceId); {
		case of != callersTrace:
			own++
		case s.Kind == tracepb.Span_SPAN_KIND_SERVER:
			accept = s
		}
	}
	if accept == nil || hexID(accept.ParentSpanId) != callersSpan || accept.Name != "POST /v1/events" || accept.TraceState != "vendor=1" {
		t.Fatalf("the span of the publish is %v", accept)
	}
	for _, s := range c.spans {
		if hexID(s.TraceId) != callersTrace || s == accept {
			continue
		}
		if !bytes.Equal(s.ParentSpanId, accept.SpanId) || s.StartTimeUnixNano > s.EndTimeUnixNano || s.StartTimeUnixNano < accept.StartTimeUnixNano-1e6 {
			t.Errorf("it is no child of the publish: %v", s)
		}
		if s.Name == "wait" {
			waits++
			continue
		}
		sent = append(sent, "00-"+callersTrace+"-"+hexID(s.SpanId)+"-01")
		if s.Kind != tracepb.Span_SPAN_KIND_CLIENT || s.Name != "POST" || attribute(s, "server.address") != "127.0.0.1" || attribute(s, "messaging.message.id") == "" {
			t.Errorf("the span of an attempt is %v", s)
		}
		failed := attribute(s, "error.type") == "502"
		if failed != (s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR) {
			t.Errorf("the status of an attempt: %v", s)
		}
	}
	if waits != 1 || len(sent) != 2 || own != 3 {
		t.Errorf("%d waits, %d attempts, and %d spans of the event that had no trace; want 1, 2 and 3", waits, len(sent), own)
	}
	for _, h := range attempts[:2] {
		if !slices.Contains(sent, h.Get("traceparent")) || h.Get("tracestate") != "vendor=1" {
			t.Errorf("the receiver gets the trace %q %q, want one of %q", h.Get("traceparent"), h.Get("tracestate"), sent)
		}
	}
	if attempts[0].Get("traceparent") == attempts[1].Get("traceparent") || attempts[2].Get("traceparent") == "" {
		t.Errorf("the traces that the receiver gets are %q, %q and %q", attempts[0].Get("traceparent"), attempts[1].Get("traceparent"), attempts[2].Get("traceparent"))
	}
	for _, secret := range []string{"secret-path", "secret-token", "secret-name"} {
		if bytes.Contains(c.raw.Bytes(), []byte(secret)) {
			t.Errorf("the collector gets %s", secret)
		}
	}
	for _, name := range []string{"callbackd_events_accepted_total", "callbackd_attempt_seconds", "callbackd_store_deliveries_pending"} {
		if !c.metrics[name] {
			t.Errorf("the collector does not get %s, but %v", name, c.metrics)
		}
	}
}

// Without a collector the receiver gets the trace of the caller, and nothing when there is none.
func TestTheCallersTraceIsPassedOn(t *testing.T) {
	t.Parallel()
	_, _, attempts := traced(t)
	for _, h := range attempts[:2] {
		if h.Get("traceparent") != callersParent || h.Get("tracestate") != "vendor=1" {
			t.Errorf("the receiver gets the trace %q %q", h.Get("traceparent"), h.Get("tracestate"))
		}
	}
	if h := attempts[2]; h.Get("traceparent") != "" || h.Get("tracestate") != "" {
		t.Errorf("the receiver gets the trace %q %q of an event without one", h.Get("traceparent"), h.Get("tracestate"))
	}
}

// A collector that never answers holds neither events nor the stop.
func TestACollectorThatHangsHoldsNothing(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-open }))
	t.Cleanup(func() { close(open); hanging.Close() })
	srv, cl, _ := traced(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+hanging.URL, "OTEL_METRIC_EXPORT_INTERVAL=100", "OTEL_BSP_MAX_QUEUE_SIZE=64", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=16")
	sk := newSink(t)
	hook(t, cl, sk.URL, "SESSION:NOTE_INSERT")
	for range 500 {
		if _, err := cl.Publish(t.Context(), client.NewEvent{Event: "SESSION:NOTE_INSERT", SessionKey: "S", Data: map[string]string{}}); err != nil {
			t.Fatal(err)
		}
	}
	sk.await(t, "all events", func() bool { return len(sk.arrivals["S"]) == 500 })
	if code := srv.term(t); code != 0 {
		t.Errorf("it ends with %d", code)
	}
}

// A value that callbackd does not support ends the start, with what to do.
func TestOpenTelemetryThatIsNotSupportedIsRefused(t *testing.T) {
	t.Parallel()
	for variable, says := range map[string]string{
		"OTEL_EXPORTER_OTLP_PROTOCOL=grpc": "http/protobuf only",
		"OTEL_TRACES_EXPORTER=zipkin":      "set it to otlp or none",
	} {
		cmd := serveCmd(t.TempDir())
		cmd.Env = append(cmd.Env, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", variable)
		_, errs, code := runCmd(t, cmd)
		wantExit(t, variable, code, 78, errs, says)
	}
}

func hexID(b []byte) string { return hex.EncodeToString(b) }

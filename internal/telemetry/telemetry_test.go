package telemetry_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/telemetry"
)

func TestWhatIsSentComesFromTheEnvironment(t *testing.T) {
	type env = map[string]string
	for _, c := range []struct {
		env  env
		want telemetry.Signals
		err  string
	}{
		{env{}, telemetry.Signals{}, ""},
		{env{"OTEL_SERVICE_NAME": "x"}, telemetry.Signals{}, ""},
		{env{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, telemetry.Signals{Traces: true, Metrics: true}, ""},
		{env{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_METRICS_EXPORTER": "none"}, telemetry.Signals{Traces: true}, ""},
		{env{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://a"}, telemetry.Signals{Metrics: true}, ""},
		{env{"OTEL_TRACES_EXPORTER": "otlp"}, telemetry.Signals{Traces: true}, ""},
		{env{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_SDK_DISABLED": "TRUE"}, telemetry.Signals{}, ""},
		{env{"OTEL_PROPAGATORS": "none"}, telemetry.Signals{NoContext: true}, ""},
		{env{"OTEL_PROPAGATORS": "baggage, tracecontext"}, telemetry.Signals{}, ""},
		{env{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, telemetry.Signals{Traces: true, Metrics: true}, ""},
		{env{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, telemetry.Signals{}, "http/protobuf only"},
		{env{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/json"}, telemetry.Signals{}, "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"},
		{env{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, telemetry.Signals{}, ""}, // nothing is sent
		{env{"OTEL_METRICS_EXPORTER": "prometheus"}, telemetry.Signals{}, "set it to otlp or none"},
	} {
		got, err := telemetry.Read(func(name string) string { return c.env[name] })
		switch {
		case c.err == "" && (err != nil || got != c.want):
			t.Errorf("%v: %+v, %v; want %+v", c.env, got, err, c.want)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%v: %v, want %q", c.env, err, c.err)
		}
	}
}

// answers is a sender that sends nothing.
type answers struct{}

func (answers) Send(context.Context, *callbackd.Callback, *callbackd.Event, int) callbackd.Result {
	return callbackd.Result{StartedAt: time.Now(), Status: 200, Address: "192.0.2.1:443"}
}

// Spans for a collector that does not answer are dropped: they fill a queue of bounded size,
// and nobody waits for them, not even the stop for long.
func TestACollectorThatHangsFillsNothing(t *testing.T) {
	open := make(chan struct{})
	var mu sync.Mutex
	calls := 0
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		calls++
		mu.Unlock()
		<-open
	}))
	defer hanging.Close()
	defer close(open)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", hanging.URL)
	tel, err := telemetry.Start(t.Context(), telemetry.Options{Signals: telemetry.Signals{Traces: true}, Version: "1", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	send := tel.Attempts(answers{})
	cb := &callbackd.Callback{ID: 7, URL: "https://a.example/secret", Method: "POST"}
	for i := range 20_000 {
		call := tel.Begin("POST", "POST /v1/events", nil, time.Now())
		ev := &callbackd.Event{ID: callbackd.FirstEventID(time.Now()) + callbackd.EventID(i), Type: callbackd.Complete, Trace: call.Trace()}
		call.End([]*callbackd.Event{ev}, 202)
		send.Send(t.Context(), cb, ev, 1)
	}
	if err := tel.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if calls > 10 {
		t.Errorf("a collector that does not answer is called %d times", calls)
	}
}

// Without a variable nothing is made, and an event without a trace makes no span.
func TestNothingIsSentWithoutAVariable(t *testing.T) {
	tel, err := telemetry.Start(t.Context(), telemetry.Options{})
	if tel != nil || err != nil || tel.Traces() {
		t.Errorf("it is %v, %v", tel, err)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	on, err := telemetry.Start(t.Context(), telemetry.Options{Signals: telemetry.Signals{Traces: true}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer on.Stop(t.Context())
	send := on.Attempts(answers{})
	cb, ev := &callbackd.Callback{ID: 7, URL: "https://a.example", Method: "POST"}, &callbackd.Event{}
	if n := testing.AllocsPerRun(100, func() { send.Send(context.Background(), cb, ev, 1) }); n != 0 {
		t.Errorf("an attempt for an event without a trace makes %v allocations", n)
	}
}

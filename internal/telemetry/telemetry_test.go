package telemetry_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
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

// A value that cannot be right ends the start, because the SDK would use its default in its
// place. The message has the variable, and no secret.
func TestValuesThatCannotBeRightAreRefused(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		refused []string
		taken   []string
	}{
		{"OTEL_EXPORTER_OTLP_ENDPOINT", []string{"localhost:4318", "127.0.0.1:4318", "ftp://a", "http://", "http://a b", "http://user:hunter2@a b"}, []string{"https://a:4318/otlp", " http://[::1]:4318 "}},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", []string{"collector:4318/v1/traces"}, []string{"http://a/v1/traces"}},
		{"OTEL_EXPORTER_OTLP_HEADERS", []string{"Bearer hunter2", "a b=hunter2", "a=%zzhunter2", "a=b,hunter2", "a=hunter2%0Ab"}, []string{"api-key=hunter2, authorization=Bearer%20hunter2"}},
		{"OTEL_EXPORTER_OTLP_METRICS_HEADERS", []string{"hunter2"}, []string{"a=b"}},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", []string{"5s", "-1"}, []string{"5000"}},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", []string{"zstd"}, []string{"gzip", "none"}},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", []string{empty, empty + ".missing"}, nil},
		{"OTEL_EXPORTER_OTLP_CLIENT_KEY", []string{empty}, nil},
		{"OTEL_TRACES_SAMPLER", []string{"bogus", "jaeger_remote"}, []string{"always_on", "ParentBased_TraceIDRatio"}},
		{"OTEL_TRACES_SAMPLER_ARG", []string{"7", "-1", "1%", "NaN"}, []string{"0", "0.01", "1"}},
		{"OTEL_BSP_MAX_QUEUE_SIZE", []string{"-1", "0", "9000000000000000000", "many"}, []string{"4096"}},
		{"OTEL_METRIC_EXPORT_INTERVAL", []string{"-5", "1m"}, []string{"1000"}},
		{"OTEL_SDK_DISABLED", []string{"1", "yes"}, []string{"false", "True"}},
		{"OTEL_TRACES_EXPORTER", []string{"console"}, []string{"None", " otlp"}},
	} {
		env := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_TRACES_SAMPLER": "traceidratio"}
		for _, value := range c.refused {
			env[c.name] = value
			_, err := telemetry.Read(func(name string) string { return env[name] })
			if err == nil || !strings.HasPrefix(err.Error(), strings.TrimSuffix(c.name, "CLIENT_KEY")) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s=%q: the error is %v", c.name, value, err)
			}
		}
		for _, value := range c.taken {
			env[c.name] = value
			if _, err := telemetry.Read(func(name string) string { return env[name] }); err != nil {
				t.Errorf("%s=%q: %v", c.name, value, err)
			}
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

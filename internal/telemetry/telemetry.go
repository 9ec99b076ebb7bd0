// Package telemetry sends traces and metrics to an OpenTelemetry collector, when the standard
// variables OTEL_… name one. Without them nothing of it runs.
//
// A trace has the call that made an event, how long the event waited, and each attempt. The
// metrics are those of /metrics.
//
// Spans wait in a queue of bounded size and are sent in batches; when the collector is slow or
// away, further ones are dropped. Nothing waits for it but a stop, for a short time.
package telemetry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// stopWait bounds how long a stop waits for the collector.
const stopWait = 5 * time.Second

// Signals says what is sent, as the environment has it.
type Signals struct {
	Traces, Metrics bool
	// NoContext says that the trace context of calls is not taken, and none is sent on.
	NoContext bool
}

// Read reads the standard variables. It returns an error for a value that is not supported.
func Read(getenv func(string) string) (s Signals, err error) {
	s.NoContext = !propagates(getenv("OTEL_PROPAGATORS"))
	switch disabled := value(getenv, "OTEL_SDK_DISABLED"); disabled {
	case "true":
		return s, nil
	case "", "false":
	default:
		return s, fmt.Errorf("OTEL_SDK_DISABLED is %q; set it to true or false", disabled)
	}
	if s.Traces, err = wanted(getenv, "TRACES"); err != nil {
		return s, err
	}
	if s.Metrics, err = wanted(getenv, "METRICS"); err != nil {
		return s, err
	}
	return s, s.check(getenv)
}

// value returns a variable whose values are names. OpenTelemetry ignores their case.
func value(getenv func(string) string, name string) string {
	return strings.ToLower(strings.TrimSpace(getenv(name)))
}

func propagates(names string) bool {
	if strings.TrimSpace(names) == "" {
		return true
	}
	for name := range strings.SplitSeq(names, ",") {
		if strings.TrimSpace(name) == "tracecontext" {
			return true
		}
	}
	return false
}

// wanted reports whether a signal is sent: when its exporter is named, or an endpoint for it.
func wanted(getenv func(string) string, signal string) (bool, error) {
	name := "OTEL_" + signal + "_EXPORTER"
	switch exporter := value(getenv, name); exporter {
	case "none":
		return false, nil
	case "otlp":
	case "":
		if value(getenv, otlp+"ENDPOINT") == "" && value(getenv, otlp+signal+"_ENDPOINT") == "" {
			return false, nil
		}
	default:
		return false, fmt.Errorf("%s is %q, which callbackd does not have; set it to otlp or none", name, exporter)
	}
	for _, name := range []string{otlp + signal + "_PROTOCOL", otlp + "PROTOCOL"} {
		switch protocol := value(getenv, name); protocol {
		case "http/protobuf":
			return true, nil
		case "":
		default:
			return false, fmt.Errorf("%s is %q; callbackd sends http/protobuf only, most often to port 4318 of the collector. Set it to that, or unset it", name, protocol)
		}
	}
	return true, nil
}

// Options holds the options of [Start].
type Options struct {
	Signals
	Version string
	Log     *slog.Logger
	From    prometheus.Gatherer // of the metrics
}

// Telemetry sends what it is told. Make it with [Start].
type Telemetry struct {
	log    *slog.Logger
	tracer trace.Tracer // nil: traces are not sent
	stops  []func(context.Context) error
}

// Start begins to send. It returns nil when nothing is to be sent.
func Start(ctx context.Context, o Options) (*Telemetry, error) {
	if !o.Traces && !o.Metrics {
		return nil, nil
	}
	t := &Telemetry{log: o.Log}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { o.Log.Warn(NotSent, "error", err) }))
	otel.SetLogger(logr.FromSlogHandler(o.Log.Handler()))
	// The environment comes last, because it names the service otherwise.
	res, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(), resource.WithAttributes(
		attribute.String("service.name", "callbackd"),
		attribute.String("service.version", o.Version),
		attribute.String("service.instance.id", rand.Text()),
	), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	if o.Traces {
		exporter, err := otlptracehttp.New(ctx)
		if err != nil {
			return nil, fmt.Errorf("begin to send traces: %w", err)
		}
		provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(res), sdktrace.WithIDGenerator(spanIDs{}))
		t.tracer = provider.Tracer("callbackd", trace.WithInstrumentationVersion(o.Version))
		t.stops = append(t.stops, provider.Shutdown)
	}
	if o.Metrics {
		exporter, err := otlpmetrichttp.New(ctx)
		if err != nil {
			return nil, fmt.Errorf("begin to send metrics: %w", err)
		}
		reader := metric.NewPeriodicReader(exporter, metric.WithProducer(bridge.NewMetricProducer(bridge.WithGatherer(o.From))))
		provider := metric.NewMeterProvider(metric.WithReader(reader), metric.WithResource(res))
		t.stops = append(t.stops, provider.Shutdown)
	}
	o.Log.Info("OpenTelemetry is on", "traces", o.Traces, "metrics", o.Metrics)
	return t, nil
}

// NotSent is the message that is logged when the collector does not take something. It comes
// again and again while the collector is away, so a log should limit it.
const NotSent = "OpenTelemetry: traces or metrics are not sent"

// Traces reports whether traces are sent.
func (t *Telemetry) Traces() bool { return t != nil && t.tracer != nil }

// Stop sends what is left, and gives up after a few seconds. That something was not sent is
// logged and is no error of the stop.
func (t *Telemetry) Stop(ctx context.Context) error {
	// Not with the context of the stop, which has ended when attempts took too long.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
	defer cancel()
	done := make(chan error, len(t.stops))
	for _, stop := range t.stops {
		go func() { done <- stop(ctx) }()
	}
	for range t.stops {
		select {
		case err := <-done:
			if err != nil {
				t.log.Warn(NotSent, "error", err)
			}
		case <-ctx.Done():
			t.log.Warn(NotSent, "error", ctx.Err())
			return nil
		}
	}
	return nil
}

package app

import (
	"context"
	"time"

	"callbackd"
	"callbackd/internal/api"
	"callbackd/internal/engine"
	"callbackd/internal/obs"
	"callbackd/internal/sender"
	"callbackd/internal/telemetry"
)

// startTelemetry begins to send traces and metrics, when the environment asks for it. It is
// stopped after the engine, so that the last attempts are in it, and before the store, from
// which some metrics come.
func (a *App) startTelemetry(ctx context.Context, c Config, m *obs.Metrics) (*telemetry.Telemetry, error) {
	t, err := telemetry.Start(ctx, telemetry.Options{
		Signals: c.Signals, Version: Version, From: m.Gatherer(), Log: obs.Limit(c.Log, time.Minute, telemetry.NotSent),
	})
	if t != nil {
		a.teardown.add("telemetry", t.Stop)
	}
	return t, err
}

// traced returns what makes attempts, with their spans when traces are sent.
func traced(send *sender.Sender, t *telemetry.Telemetry, s telemetry.Signals) engine.Sender {
	switch {
	case s.NoContext:
		send.SetTraceMode(sender.NoTrace)
	case t.Traces():
		send.SetTraceMode(sender.TraceAttempts)
	}
	if t.Traces() {
		return t.Attempts(send)
	}
	return send
}

// tracing returns what the API does with trace contexts.
func tracing(t *telemetry.Telemetry, s telemetry.Signals) api.Tracing {
	out := api.Tracing{Ignored: s.NoContext}
	if t.Traces() {
		out.Begin = func(method, route string, parent *callbackd.Trace, at time.Time) api.Span {
			return t.Begin(method, route, parent, at)
		}
	}
	return out
}

package store

import (
	"context"

	"callbackd"
)

type traceKey struct{}

// WithTrace returns a context that carries the trace context of a call to the commands that
// accept events: all events that they accept get it. It is in the context for the reason
// for which [WithActor] is.
func WithTrace(ctx context.Context, t *callbackd.Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf returns the trace context of a call; nil when it has none.
func TraceOf(ctx context.Context) *callbackd.Trace {
	t, _ := ctx.Value(traceKey{}).(*callbackd.Trace)
	return t
}

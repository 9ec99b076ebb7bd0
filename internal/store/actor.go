package store

import (
	"context"

	"callbackd"
)

type actorKey struct{}

// WithActor returns a context that carries who makes a change to the store's commands. It
// is in the context, like the [Once], because it comes from where a call, a form or a
// command is taken, and no code between there and the store decides anything by it. A
// command whose context has none is audited as [callbackd.ActorUnknown].
func WithActor(ctx context.Context, a callbackd.Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a.Clipped())
}

// ActorOf returns the actor of a context.
func ActorOf(ctx context.Context) callbackd.Actor {
	if a, ok := ctx.Value(actorKey{}).(callbackd.Actor); ok {
		return a
	}
	return callbackd.Actor{Kind: callbackd.ActorUnknown}
}

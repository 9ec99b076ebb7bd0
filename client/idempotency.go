package client

import "context"

type idempotencyKey struct{}

// WithIdempotencyKey returns a context for one call that changes something. A repeat of the
// call with the same key changes nothing more, and gets the first answer.
func WithIdempotencyKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, idempotencyKey{}, key)
}

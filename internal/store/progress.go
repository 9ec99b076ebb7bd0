package store

import "context"

// Progress is told how far a long command has come: done of total, in the unit of the command.
type Progress func(done, total int64)

type progressKey struct{}

// WithProgress returns a context whose long commands ([Upkeep.Check] and backups) tell p. It is
// in the context for the same reason as the actor: nothing is decided by it.
func WithProgress(ctx context.Context, p Progress) context.Context {
	return context.WithValue(ctx, progressKey{}, p)
}

// ProgressOf returns who is told; nil for nobody.
func ProgressOf(ctx context.Context) Progress {
	p, _ := ctx.Value(progressKey{}).(Progress)
	return p
}

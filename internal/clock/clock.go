// Package clock waits by the clock of this machine.
package clock

import (
	"context"
	"time"
)

// Sleep waits for d, and reports whether it did. It returns as soon as ctx ends.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// System is the clock of this machine.
type System struct{}

// Now returns the time, with a reading of the monotonic clock.
func (System) Now() time.Time { return time.Now() }

// Sleep is [Sleep].
func (System) Sleep(ctx context.Context, d time.Duration) bool { return Sleep(ctx, d) }

// Timer returns a channel that gives the time once after d, unless stop is called.
func (System) Timer(d time.Duration) (c <-chan time.Time, stop func()) {
	timer := time.NewTimer(d)
	return timer.C, func() { timer.Stop() }
}

// WithTimeout returns a context that ends after d.
func (System) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}

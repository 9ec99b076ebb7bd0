// Package clock waits.
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

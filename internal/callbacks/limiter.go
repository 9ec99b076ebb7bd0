package callbacks

import (
	"sync"
	"time"

	"callbackd"

	"golang.org/x/time/rate"
)

// Test-sends of one API key: one a second, five at once. They answer what a
// target did, so they must not serve as a scanner.
const (
	TestRate  = 1 // a second
	TestBurst = 5
)

// Limiter limits each API key by itself. It forgets everybody when it has
// seen many: a full bucket is what they would have by then.
type Limiter struct {
	mu   sync.Mutex
	keys map[callbackd.KeyNo]*rate.Limiter
}

// Allow takes one, and returns a Limited error when there is none left.
func (l *Limiter) Allow(key callbackd.KeyNo, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keys == nil || len(l.keys) > 10_000 {
		l.keys = map[callbackd.KeyNo]*rate.Limiter{}
	}
	if l.keys[key] == nil {
		l.keys[key] = rate.NewLimiter(TestRate, TestBurst)
	}
	if !l.keys[key].AllowN(now, 1) {
		return callbackd.Errorf(callbackd.KindLimited, "Test-sends are limited to %d a second; try again in a moment.", TestRate)
	}
	return nil
}

package api

import (
	"sync"
	"time"

	"callbackd"

	"golang.org/x/time/rate"
)

// Test-sends of one API key: one a second, five at once. They answer what a
// target did, so they must not serve as a scanner.
const (
	testRate  = 1
	testBurst = 5
)

// limiter limits each API key by itself. It forgets everybody when it has
// seen many: a full bucket is what they would have by then.
type limiter struct {
	mu   sync.Mutex
	keys map[callbackd.KeyNo]*rate.Limiter
}

func (l *limiter) allow(key callbackd.KeyNo, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keys == nil || len(l.keys) > 10_000 {
		l.keys = map[callbackd.KeyNo]*rate.Limiter{}
	}
	if l.keys[key] == nil {
		l.keys[key] = rate.NewLimiter(testRate, testBurst)
	}
	return l.keys[key].AllowN(now, 1)
}

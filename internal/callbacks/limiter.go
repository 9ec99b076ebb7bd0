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

// Changes of callbacks of one API key: every one may leave a row behind that is
// kept for as long as an event points at it. The burst sets up all callbacks
// that a key can have.
const (
	ChangeRate  = 0.5 // a second
	ChangeBurst = 1000
)

// Limiter limits test-sends and changes of each API key by itself. It forgets
// everybody when it has seen many: a full bucket is what they would have by
// then.
type Limiter struct {
	mu      sync.Mutex
	tests   map[callbackd.KeyID]*rate.Limiter
	changes map[callbackd.KeyID]*rate.Limiter
}

func take(of *map[callbackd.KeyID]*rate.Limiter, key callbackd.KeyID, now time.Time, each rate.Limit, burst int) bool {
	if *of == nil || len(*of) > 10_000 {
		*of = map[callbackd.KeyID]*rate.Limiter{}
	}
	if (*of)[key] == nil {
		(*of)[key] = rate.NewLimiter(each, burst)
	}
	return (*of)[key].AllowN(now, 1)
}

// AllowChange takes one change of a callback, and returns a Limited error when
// there is none left.
func (l *Limiter) AllowChange(key callbackd.KeyID, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !take(&l.changes, key, now, ChangeRate, ChangeBurst) {
		return callbackd.Errorf(callbackd.KindLimited, "Changes of callbacks are limited to %d at once and %d a minute for an API key; try again later.", ChangeBurst, int(ChangeRate*60))
	}
	return nil
}

// Allow takes one, and returns a Limited error when there is none left.
func (l *Limiter) Allow(key callbackd.KeyID, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !take(&l.tests, key, now, TestRate, TestBurst) {
		return callbackd.Errorf(callbackd.KindLimited, "Test-sends are limited to %d a second; try again in a moment.", TestRate)
	}
	return nil
}

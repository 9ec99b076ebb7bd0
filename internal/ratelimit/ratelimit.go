// Package ratelimit limits how often each of many callers may do something, in
// bounded memory.
package ratelimit

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxKeys is how many callers a limiter remembers.
const maxKeys = 10_000

// Limiter is a token bucket for each key. It is safe for concurrent use. Make
// it with [New].
type Limiter[K comparable] struct {
	rate  rate.Limit // a second
	burst int

	mu      sync.Mutex
	buckets map[K]*rate.Limiter
}

// New returns a limiter that lets each key do something burst times at once, and
// perSecond times a second from then on.
func New[K comparable](perSecond rate.Limit, burst int) *Limiter[K] {
	return &Limiter[K]{rate: perSecond, burst: burst, buckets: map[K]*rate.Limiter{}}
}

// Allow reports whether the key may do something now. If so, it counts that.
func (l *Limiter[K]) Allow(key K, now time.Time) bool { return l.Take(now, key) == 0 }

// AllowN reports whether the key may do something n times now. If so, it counts that.
func (l *Limiter[K]) AllowN(key K, n int, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bucket(key, now).AllowN(now, n)
}

// Take counts one for every key and returns 0. When one of the keys has none left, it
// counts nothing and returns how long to wait, in whole seconds.
func (l *Limiter[K]) Take(now time.Time, keys ...K) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		if tokens := l.bucket(key, now).TokensAt(now); tokens < 1 {
			missing := time.Duration((1 - tokens) / float64(l.rate) * float64(time.Second))
			wait = max(wait, missing.Truncate(time.Second)+time.Second)
		}
	}
	if wait > 0 {
		return wait
	}
	for _, key := range keys {
		l.bucket(key, now).AllowN(now, 1)
	}
	return 0
}

func (l *Limiter[K]) bucket(key K, now time.Time) *rate.Limiter {
	b := l.buckets[key]
	if b == nil {
		l.forget(now)
		b = rate.NewLimiter(l.rate, l.burst)
		l.buckets[key] = b
	}
	return b
}

// forget makes room for another key. It removes the keys whose buckets are full again,
// which changes nothing for them. When that is not enough, it removes any half.
func (l *Limiter[K]) forget(now time.Time) {
	if len(l.buckets) < maxKeys {
		return
	}
	for key, b := range l.buckets {
		if b.TokensAt(now) >= float64(l.burst) {
			delete(l.buckets, key)
		}
	}
	for key := range l.buckets {
		if len(l.buckets) <= maxKeys/2 {
			return
		}
		delete(l.buckets, key)
	}
}

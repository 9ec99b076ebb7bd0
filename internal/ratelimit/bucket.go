package ratelimit

import "time"

// Bucket is a token bucket whose rate may change. Its zero value is full. Unlike those of
// a Limiter it lets more than it holds through when it is full, and owes the rest. It is
// not safe for concurrent use.
type Bucket struct {
	used float64 // what is missing from a full bucket
	at   time.Time
}

// Take takes n tokens and returns 0. When there are not enough, it takes none and returns
// how long to wait. The bucket gets perSecond tokens a second, up to burst.
func (b *Bucket) Take(n, perSecond, burst float64, now time.Time) (wait time.Duration) {
	b.fill(perSecond, now)
	if missing := b.used + min(n, burst) - burst; missing > 0 {
		return max(1, time.Duration(missing/perSecond*float64(time.Second)))
	}
	b.used += n
	return 0
}

// Left returns how many tokens the bucket has now, and how long it takes until it is full.
func (b *Bucket) Left(perSecond, burst float64, now time.Time) (tokens float64, full time.Duration) {
	b.fill(perSecond, now)
	return max(0, burst-b.used), time.Duration(b.used / perSecond * float64(time.Second))
}

// fill adds the tokens since the last call. A clock that went back adds none.
func (b *Bucket) fill(perSecond float64, now time.Time) {
	if passed := now.Sub(b.at); passed > 0 {
		b.used = max(0, b.used-passed.Seconds()*perSecond)
	}
	b.at = now
}

package callbacks

import (
	"time"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/ratelimit"
)

// Limits of test-sends for one API key. A test-send shows how a target answered, so that
// it could serve as a scanner without a limit.
const (
	TestRate  = 1 // a second
	TestBurst = 5
)

// Limits of published tests for one API key. The breaker does not count how tests end, so
// that it does not hold them back from a receiver that fails.
const (
	PublishedTestRate  = 10 // a second
	PublishedTestBurst = 100
)

// Limits of changes of callbacks for one API key. Each change may leave a row that is
// stored as long as an event refers to it. The burst is enough to set up all callbacks
// that a key can have.
const (
	ChangeRate  = 0.5 // a second
	ChangeBurst = 1000
)

// Limiter limits the tests and the changes of each API key. Make it with
// [NewLimiter].
type Limiter struct {
	tests     *ratelimit.Limiter[callbackd.KeyID]
	published *ratelimit.Limiter[callbackd.KeyID]
	changes   *ratelimit.Limiter[callbackd.KeyID]
	// Sessions bounds the callbacks that are for one session.
	Sessions SessionLimiter
}

// NewLimiter returns a limiter with nothing counted yet.
func NewLimiter() *Limiter {
	return &Limiter{
		tests:     ratelimit.New[callbackd.KeyID](TestRate, TestBurst),
		published: ratelimit.New[callbackd.KeyID](PublishedTestRate, PublishedTestBurst),
		changes:   ratelimit.New[callbackd.KeyID](ChangeRate, ChangeBurst),
		Sessions:  SessionLimiter{keys: map[callbackd.KeyID]sessionCount{}},
	}
}

// AllowTest counts one test-send, and returns an error of kind
// [callbackd.KindLimited] when none is left.
func (l *Limiter) AllowTest(key callbackd.KeyID, now time.Time) error {
	if !l.tests.Allow(key, now) {
		return callbackd.Errorf(callbackd.KindLimited, "Test-sends are limited to %d a second. Try again in a moment.", TestRate)
	}
	return nil
}

// AllowPublishedTests counts n published tests, and returns an error of kind
// [callbackd.KindLimited] when fewer are left.
func (l *Limiter) AllowPublishedTests(key callbackd.KeyID, n int, now time.Time) error {
	if n > 0 && !l.published.AllowN(key, n, now) {
		return callbackd.Errorf(callbackd.KindLimited, "Published tests are limited to %d at once and %d a second for an API key. Try again in a moment.", PublishedTestBurst, PublishedTestRate)
	}
	return nil
}

// AllowChange counts one change of a callback, and returns an error of kind
// [callbackd.KindLimited] when none is left.
func (l *Limiter) AllowChange(key callbackd.KeyID, now time.Time) error {
	if !l.changes.Allow(key, now) {
		return callbackd.Errorf(callbackd.KindLimited, "Changes of callbacks are limited to %s at once and %d a minute for an API key. Try again later.", humanize.Number(ChangeBurst), int(ChangeRate*60))
	}
	return nil
}

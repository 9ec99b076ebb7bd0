package callbackd

import "time"

// Limits of the times of an event and of the ttl of a policy.
const (
	// MaxDeferral is how far in the future DeliverAt may be. Until then the event and
	// its idempotency key stay, whatever the retention.
	MaxDeferral = 30 * 24 * time.Hour
	MinTTL      = time.Second
	MaxTTL      = 30 * 24 * time.Hour
	// TestTTL is the ttl of a test. A test that cannot be sent soon, because its callback is
	// paused or its receiver fails, must not count as a backlog of real events for long, and
	// must not arrive when nobody expects it any more.
	TestTTL = 10 * time.Minute
)

// MaySendFrom returns since when the event may be sent: since DeliverAt, or else since it
// was accepted.
func (e *Event) MaySendFrom() time.Time {
	if !e.DeliverAt.IsZero() {
		return e.DeliverAt
	}
	return e.Accepted()
}

// ExpiryOf returns when a delivery of the event expires, to a callback with that ttl; zero:
// never. The ttl counts from when the event may be sent, and the earlier of the event's own
// expiry and the ttl's counts. A test has a ttl of [TestTTL] at most.
func (e *Event) ExpiryOf(ttl time.Duration) time.Time {
	if e.Test && (ttl == 0 || ttl > TestTTL) {
		ttl = TestTTL
	}
	if ttl == 0 {
		return e.ExpiresAt
	}
	by := e.MaySendFrom().Add(ttl)
	if !e.ExpiresAt.IsZero() && e.ExpiresAt.Before(by) {
		return e.ExpiresAt
	}
	return by
}

// DeferredUntil returns the DeliverAt of an event that is accepted at a time: zero when
// that has come already.
func DeferredUntil(deliverAt, accepted time.Time) time.Time {
	if !deliverAt.After(accepted) {
		return time.Time{}
	}
	return deliverAt
}

// CheckTimes returns an error when an event that is published at a time can have no such
// DeliverAt and ExpiresAt. A time in the past is allowed: what is published again must get
// the answer that it got before.
func CheckTimes(deliverAt, expiresAt, now time.Time) error {
	switch {
	case deliverAt.IsZero():
		return nil
	case deliverAt.Sub(now) > MaxDeferral:
		return Invalid("deliver_at %s is more than %s in the future.", stamp(deliverAt), DurationText(MaxDeferral))
	case !expiresAt.IsZero() && !deliverAt.Before(expiresAt):
		return Invalid("deliver_at %s is not before expires_at %s, so the event could never be delivered.", stamp(deliverAt), stamp(expiresAt))
	}
	return nil
}

// WhyExpired is the reason that the last row of an expired delivery gives.
func WhyExpired(at time.Time) string { return "it expired at " + stamp(at) }

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999Z07:00") }

// notAfterExpiry returns t, or the expiry of d when that is sooner.
func (d *Delivery) notAfterExpiry(t time.Time) time.Time {
	if !d.ExpiresAt.IsZero() && t.After(d.ExpiresAt) {
		return d.ExpiresAt
	}
	return t
}

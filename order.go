package callbackd

import "time"

// GroupByOrigin, as the order group of a policy, stands for the origin of the callback's
// URL.
const GroupByOrigin = "auto"

// OrderGroup returns the name of the callback's order group; "" when it has none. The
// callbacks of an API key with the same order group get the events of a session in order,
// across event types.
func (c *Callback) OrderGroup() string {
	if c.Policy.OrderGroup == GroupByOrigin {
		return Origin(c.URL)
	}
	return c.Policy.OrderGroup
}

// HoldsSession reports whether a pending delivery holds later deliveries of its session to
// other callbacks of the order group, and until when. until is zero when it holds them
// until its next outcome. g is the gate of its callback, and order the OrderWait of its
// policy.
//
// A delivery that was not tried holds them until it was. When its callback gets no requests
// because the receiver failed or asked to wait, it holds them as long as if its first
// attempt had failed when the event was accepted. A delivery that failed holds them as long
// as it blocks its lane. A delivery that is deferred or expired holds nothing, and neither
// does a paused callback: a pause can last for ever.
func (g *Gate) HoldsSession(d *Delivery, order time.Duration, now time.Time) (until time.Time, holds bool) {
	switch {
	case g.Paused || d.Expired(now):
		return time.Time{}, false
	case !d.Due.IsZero():
		return d.HoldsUntil, d.HoldsUntil.After(now)
	case g.Shut(now):
		until = d.notAfterExpiry(d.MaySendFrom().Add(order))
		return until, until.After(now)
	}
	return d.ExpiresAt, true
}

// Shut reports whether nothing is sent at now because receivers failed or asked to wait.
func (g *Gate) Shut(now time.Time) bool {
	for _, reason := range []WaitReason{WaitForProbe, WaitForReceiver, WaitForOriginProbe} {
		if g.until(reason).After(now) {
			return true
		}
	}
	return false
}

// OrderWait says what the next first attempt of a session waits for: an earlier delivery of
// the session to another callback of the order group.
type OrderWait struct {
	Earlier  DeliveryID // zero: it waits for nothing
	Sequence int64      // of the earlier delivery
	Failed   bool       // it failed; otherwise it waits for its first attempt
	Until    time.Time  // zero: until the outcome of the earlier delivery
}

package callbackd

import (
	"fmt"
	"math"
	"time"
)

// Limit names a limit that a call can run into. The names are members of settings and the
// labels of a metric.
type Limit string

// The limits.
const (
	LimitPublishRate  Limit = "publish_rate"       // events a second of an API key
	LimitPending      Limit = "pending_deliveries" // of an API key
	LimitPendingBytes Limit = "pending_bytes"      // of an API key
	LimitCallbacks    Limit = "callbacks"          // of an API key for one event
	LimitOverload     Limit = "overload"           // of the server: more comes than it can store in time
)

// Limits lists the limits.
var Limits = []Limit{LimitPublishRate, LimitPending, LimitPendingBytes, LimitCallbacks, LimitOverload}

// KeyLimits bounds what an API key may use. A member that is 0 stands for the server's
// default, and NoLimit for no limit. Of Callbacks the default is MaxCallbacks, which is
// the most that it can be.
type KeyLimits struct {
	PublishRate  float64 `json:"publish_rate,omitempty"`       // events a second
	Pending      int64   `json:"pending_deliveries,omitempty"` // pending deliveries
	PendingBytes int64   `json:"pending_bytes,omitempty"`      // event data of pending deliveries
	Callbacks    int     `json:"callbacks,omitempty"`          // callbacks for one event
}

// NoLimit is the value of a member of KeyLimits that does not limit.
const NoLimit = -1

// Bounds of [KeyLimits].
const (
	MaxPublishRate  = 1_000_000
	MaxPendingLimit = 1_000_000_000_000 // deliveries, or bytes
)

// KeyUse is what an API key uses of its limits.
type KeyUse struct {
	Deliveries int64 // pending ones
	Bytes      int64 // event data of the pending deliveries: an event counts once for each
}

// Add returns the sum of two uses.
func (u KeyUse) Add(v KeyUse) KeyUse { return KeyUse{u.Deliveries + v.Deliveries, u.Bytes + v.Bytes} }

// Sub returns the difference of two uses. No member is less than 0.
func (u KeyUse) Sub(v KeyUse) KeyUse {
	return KeyUse{max(0, u.Deliveries-v.Deliveries), max(0, u.Bytes-v.Bytes)}
}

// UseOf returns what events add to the use of their API key.
func UseOf(events []*Event) (u KeyUse) {
	for _, ev := range events {
		n := int64(len(ev.Targets))
		u = u.Add(KeyUse{n, n * int64(len(ev.Data))})
	}
	return u
}

// WithDefaults returns l with the server's defaults in place of members that are 0.
func (l KeyLimits) WithDefaults(server KeyLimits) KeyLimits {
	if l.PublishRate == 0 {
		l.PublishRate = server.PublishRate
	}
	if l.Pending == 0 {
		l.Pending = server.Pending
	}
	if l.PendingBytes == 0 {
		l.PendingBytes = server.PendingBytes
	}
	if l.Callbacks == 0 {
		l.Callbacks = MaxCallbacks
	}
	return l
}

// Reset gives a limit its default.
func (l *KeyLimits) Reset(limit Limit) {
	switch limit {
	case LimitPublishRate:
		l.PublishRate = 0
	case LimitPending:
		l.Pending = 0
	case LimitPendingBytes:
		l.PendingBytes = 0
	case LimitCallbacks:
		l.Callbacks = 0
	}
}

// LimitsRate reports whether l limits how fast a key publishes.
func (l KeyLimits) LimitsRate() bool { return l.PublishRate > 0 }

// LimitsPending reports whether l limits what a key leaves pending.
func (l KeyLimits) LimitsPending() bool { return l.Pending > 0 || l.PendingBytes > 0 }

// PublishBurst returns how many events a key may publish at once: what its rate allows in
// a second, and one at least. A larger array is accepted too when nothing was taken
// before, and the key then waits until its rate has made up for it.
func (l KeyLimits) PublishBurst() float64 { return max(1, math.Ceil(l.PublishRate)) }

// CheckPending returns an error of KindLimited when the use has reached a limit. retry is
// when some of it has probably been delivered.
func (l KeyLimits) CheckPending(use KeyUse, retry time.Duration) error {
	switch {
	case l.Pending > 0 && use.Deliveries >= l.Pending:
		return limited(LimitPending, retry, "%d deliveries of this API key are pending, and its limit pending_deliveries is %d. Nothing was accepted; try again when receivers have taken some, or cancel what is no longer needed.", use.Deliveries, l.Pending)
	case l.PendingBytes > 0 && use.Bytes >= l.PendingBytes:
		return limited(LimitPendingBytes, retry, "The pending deliveries of this API key have %d bytes of event data, and its limit pending_bytes is %d. Nothing was accepted; try again when receivers have taken some, or cancel what is no longer needed.", use.Bytes, l.PendingBytes)
	}
	return nil
}

// RefuseRate returns the error for a key that publishes faster than its rate.
func (l KeyLimits) RefuseRate(events int, retry time.Duration) error {
	what := "An event"
	if events > 1 {
		what = fmt.Sprintf("An array of %d events", events)
	}
	return limited(LimitPublishRate, retry, "%s is too much now: the limit publish_rate of this API key is %g events a second. Nothing was accepted; send it again after the time in Retry-After.", what, l.PublishRate)
}

// retryCallbacks is the Retry-After of a key that has as many callbacks as it may have.
// Only a person can change that.
const retryCallbacks = time.Hour

// CheckCallbacks returns an error of KindLimited when a key that has n callbacks for an
// event may not have another one.
func (l KeyLimits) CheckCallbacks(n int, ev EventType) error {
	most := MaxCallbacks
	if l.Callbacks > 0 {
		most = min(most, l.Callbacks)
	}
	if n < most {
		return nil
	}
	return limited(LimitCallbacks, retryCallbacks, "This API key has %d callbacks for the event %s, and its limit callbacks is %d for one event. Delete one first.", n, ev, most)
}

// Fault says what is wrong with the stored limits of a key; empty when nothing is.
func (l KeyLimits) Fault() string {
	outside := func(value, least, most float64) bool {
		return value != 0 && value != NoLimit && !(value >= least && value <= most)
	}
	switch {
	case outside(l.PublishRate, 0, MaxPublishRate):
		return fmt.Sprintf("the limit publish_rate is %g", l.PublishRate)
	case outside(float64(l.Pending), 0, MaxPendingLimit):
		return fmt.Sprintf("the limit pending_deliveries is %d", l.Pending)
	case outside(float64(l.PendingBytes), 0, MaxPendingLimit):
		return fmt.Sprintf("the limit pending_bytes is %d", l.PendingBytes)
	case l.Callbacks < 0 || l.Callbacks > MaxCallbacks:
		return fmt.Sprintf("the limit callbacks is %d", l.Callbacks)
	}
	return ""
}

// limited builds an error of KindLimited.
func limited(l Limit, retry time.Duration, format string, args ...any) error {
	return &Error{Kind: KindLimited, Message: fmt.Sprintf(format, args...), Limit: l, RetryAfter: retry}
}

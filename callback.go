package callbackd

import (
	"bytes"
	"slices"
	"strings"
	"time"
)

// CallbackID is a callback's number in the store, part of a delivery's id.
type CallbackID int64

// DefaultName is the name of a callback created the way PAVE clients do.
const DefaultName = "default"

// Header is one header of a callback, in the order and spelling it was given.
type Header struct {
	Name  string
	Value Secret
}

// Callback is the setting of one API key for one event: whom to tell, and how.
type Callback struct {
	ID      CallbackID
	Key     KeyID
	Event   EventType
	Name    string
	Version int64 // counts the settings this callback has had, from 1

	URL     string   // as it was given: absolute, http or https
	Method  string   // POST, PUT, PATCH, GET or DELETE
	Headers []Header // as given; values are secrets
	Payload []byte   // a JSON object of extra attributes, as given; never nil
	Policy  Policy

	Secrets   []SigningSecret // newest first; every one in force signs
	CreatedAt time.Time
	UpdatedAt time.Time
	DeletedAt time.Time // zero: in force

	Pause        Pause
	FailingSince time.Time // see [Health.FailingSince]; kept over restarts
	ClosedUntil  time.Time // see [Health.ClosedUntil]; kept over restarts
	// Proven tells that an attempt at the present origin has succeeded; see
	// [Probation].
	Proven bool
	// ReleasedAt is when a person last made due at once what waits for a later
	// time: with a resume, or another URL. Zero: never. Releasing tells that
	// this is not done yet for all that waits.
	ReleasedAt time.Time
	Releasing  bool
}

// SendsLike tells whether two settings make the same requests to the same
// place, byte for byte: then they are one version.
func (c *Callback) SendsLike(o *Callback) bool {
	return c.URL == o.URL && c.Method == o.Method && slices.Equal(c.Headers, o.Headers) && bytes.Equal(c.Payload, o.Payload)
}

// SigningSecret is one "whsec_…" secret of a callback.
type SigningSecret struct {
	Value     Secret
	ExpiresAt time.Time // zero: does not end
}

// MaxSigningSecrets is how many secrets of a callback can be in force: each of
// them signs every request.
const MaxSigningSecrets = 32

// RotateSecret puts next in front; the secrets before it sign along until keep,
// or until their own end when that is sooner. It fails when too many would be
// in force at the time at.
func (c *Callback) RotateSecret(next Secret, keep, at time.Time) error {
	secrets := []SigningSecret{{Value: next}}
	for _, old := range c.Secrets {
		if old.ExpiresAt.IsZero() || old.ExpiresAt.After(keep) {
			old.ExpiresAt = keep
		}
		if old.ExpiresAt.After(at) {
			secrets = append(secrets, old)
		}
	}
	if len(secrets) > MaxSigningSecrets {
		return Errorf(KindLimited, "%d signing secrets are in force, which is the limit; wait until one of them ends, or rotate with a shorter keep", MaxSigningSecrets)
	}
	c.Secrets = secrets
	return nil
}

// SigningSecrets is the secrets in force at now, newest first.
func (c *Callback) SigningSecrets(now time.Time) []Secret {
	out := make([]Secret, 0, len(c.Secrets))
	for _, s := range c.Secrets {
		if s.ExpiresAt.IsZero() || now.Before(s.ExpiresAt) {
			out = append(out, s.Value)
		}
	}
	return out
}

// PauseReason is why a callback is paused.
type PauseReason string

// The reasons for a pause.
const (
	NotPaused      PauseReason = ""
	PausedByUser   PauseReason = "user"
	PausedGone     PauseReason = "gone"       // the receiver answered 410
	PausedNoAnswer PauseReason = "no_success" // nothing succeeded for AutoPauseAfter
)

// Pause is set while a callback's deliveries wait for a person.
type Pause struct {
	Reason PauseReason
	At     time.Time // of its beginning, and of its end when there is no reason
}

// Origin returns scheme, host and port of a callback's URL in one spelling, such
// as "https://example.com:8443": what the URL speaks to. The port is left out
// when it is the scheme's own, and so is the dot at the end of a name. It is ""
// when url has no scheme or host.
func Origin(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	if !ok || scheme == "" || rest == "" {
		return ""
	}
	scheme, host := strings.ToLower(scheme), strings.ToLower(rest)
	port := map[string]string{"http": ":80", "https": ":443"}[scheme]
	if port != "" {
		host = strings.TrimSuffix(host, port)
	}
	name, port, ok := strings.Cut(host, ":")
	if ok && !strings.HasPrefix(host, "[") {
		port = ":" + port
	} else {
		name, port = host, ""
	}
	return scheme + "://" + strings.TrimSuffix(name, ".") + port
}

// Paused tells whether deliveries wait.
func (c *Callback) Paused() bool { return c.Pause.Reason != NotPaused }

// Deleted tells whether the callback was removed; what it was still owed is
// canceled.
func (c *Callback) Deleted() bool { return !c.DeletedAt.IsZero() }

// Replace gives c the URL, method, headers, payload and policy of next at the
// given time. It is a new version when something else is sent than before. What
// is known of a receiver is known of the version that it answered; what it asked
// for and whether it has succeeded holds for its origin. With another origin come
// the secrets of next. changed tells whether there is anything to store; released
// that what waits for a later time is due at once: at another URL, and with the
// end of a pause that no person set.
func (c *Callback) Replace(next *Callback, at time.Time) (changed, released bool) {
	same, paused := c.SendsLike(next), c.Paused() && c.Pause.Reason != PausedByUser
	if same && !paused && c.Policy.Identical(next.Policy) {
		return false, false
	}
	released = c.URL != next.URL || paused
	if !SameOrigin(c.URL, next.URL) {
		c.Secrets, c.ClosedUntil, c.Proven = next.Secrets, time.Time{}, false
	}
	c.URL, c.Method, c.Headers, c.Payload, c.Policy = next.URL, next.Method, next.Headers, next.Payload, next.Policy
	if !same {
		c.Version++
	}
	c.UpdatedAt = at
	if !same || paused { // the same version goes on as it is
		c.FailingSince = time.Time{}
	}
	if paused {
		c.Pause = Pause{}
	}
	if released {
		c.ReleasedAt, c.Releasing = at, true
	}
	return true, released
}

// Resume ends a pause at the given time: a person vouches for the receiver.
// What waits for a later time is due at once.
func (c *Callback) Resume(at time.Time) {
	c.Pause, c.FailingSince, c.ClosedUntil = Pause{}, time.Time{}, time.Time{}
	c.ReleasedAt, c.Releasing = at, true
}

// Policy is how a callback wants to be treated. The zero value of a member
// means its default.
type Policy struct {
	Timeout     time.Duration   // whole exchange; default 15 s, 1 s to 60 s
	Retry       []time.Duration // delays before attempts 1, 2, …; default DefaultSchedule
	OrderWait   time.Duration   // how long a failing head holds its lane; default 5 min, 0 to 24 h; NoOrder for none
	Rate        float64         // attempts a second; default none
	Concurrency int             // attempts in flight; default 32, 1 to 256
	NoKeepAlive bool            // a connection serves one request and is closed
}

// Same tells whether p and q treat a receiver alike. A default that is spelled
// out is the same as one that is left out.
func (p Policy) Same(q Policy) bool {
	p, q = p.WithDefaults(), q.WithDefaults()
	return p.Timeout == q.Timeout && slices.Equal(p.Retry, q.Retry) && p.OrderWait == q.OrderWait &&
		p.Rate == q.Rate && p.Concurrency == q.Concurrency && p.NoKeepAlive == q.NoKeepAlive
}

// Identical tells whether p and q are written alike.
func (p Policy) Identical(q Policy) bool {
	return p.Timeout == q.Timeout && slices.Equal(p.Retry, q.Retry) && p.OrderWait == q.OrderWait && p.Rate == q.Rate &&
		p.Concurrency == q.Concurrency && p.NoKeepAlive == q.NoKeepAlive
}

// Defaults and limits of [Policy].
const (
	DefaultTimeout     = 15 * time.Second
	MinTimeout         = time.Second
	MaxTimeout         = 60 * time.Second
	DefaultOrderWait   = 5 * time.Minute
	MaxOrderWait       = 24 * time.Hour
	NoOrderWait        = time.Duration(-1) // a failing head does not hold its lane
	DefaultConcurrency = 32
	MaxConcurrency     = 256
	MaxRate            = 10_000 // attempts a second
	MaxRetries         = 50     // entries of a schedule
	MaxRetryDelay      = 7 * 24 * time.Hour
)

// DefaultSchedule is the delay before each attempt, from the recommendation
// in Standard Webhooks 1.0.0, "Retry schedule": 75 h 35 min 5 s in all.
var DefaultSchedule = []time.Duration{
	0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
	10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// WithDefaults fills in what p leaves at zero.
func (p Policy) WithDefaults() Policy {
	if p.Timeout == 0 {
		p.Timeout = DefaultTimeout
	}
	if len(p.Retry) == 0 {
		p.Retry = DefaultSchedule
	}
	switch p.OrderWait {
	case 0:
		p.OrderWait = DefaultOrderWait
	case NoOrderWait:
		p.OrderWait = 0
	}
	if p.Concurrency == 0 {
		p.Concurrency = DefaultConcurrency
	}
	return p
}

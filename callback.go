package callbackd

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"time"
)

// CallbackID identifies a callback in the store. It is part of a delivery's id.
type CallbackID int64

// DefaultName is the name of a callback that was created without a name, as PAVE
// clients do.
const DefaultName = "default"

// Header is one header of a callback, in the order and spelling of the client.
type Header struct {
	Name  string
	Value Secret
}

// Callback is the setting of one API key for one event, or for one session: the URL to
// call, and how.
type Callback struct {
	ID      CallbackID
	Key     KeyID
	Event   EventType   // empty when it is for one session
	Name    string      // of a callback for one session: its ID
	Session string      // the session that it is for; empty when it is for all
	Types   []EventType // of the events of that session that it gets, in the order of EventTypes; nil without a session
	Version int64       // counts the changes of what is sent, from 1

	URL     string   // as given by the client: absolute, http or https
	Method  string   // POST, PUT, PATCH, GET or DELETE
	Headers []Header // as given; the values are secrets
	Payload []byte   // a JSON object of extra members, as given; never nil
	Policy  Policy

	Secrets   []SigningSecret // newest first; each one in force signs
	OldAuth   OldAuth         // the credentials before those of Policy.Auth
	CreatedAt time.Time
	UpdatedAt time.Time
	DeletedAt time.Time // zero while the callback is in force

	Pause        Pause
	FailingSince time.Time // see [Health.FailingSince]; survives restarts
	ClosedUntil  time.Time // see [Health.ClosedUntil]; survives restarts
	// Proven is set when an attempt at the present origin has succeeded; see
	// [Probation].
	Proven bool
	// ReleasedAt is when a person last made the waiting retries due, by a resume
	// or another URL; zero when never. Releasing is set while this is not done
	// for all of them.
	ReleasedAt time.Time
	Releasing  bool
}

// SendsLike reports whether two settings send the same requests, byte for byte, to
// the same URL. They then have the same version.
func (c *Callback) SendsLike(o *Callback) bool {
	return c.URL == o.URL && c.Method == o.Method && slices.Equal(c.Headers, o.Headers) && bytes.Equal(c.Payload, o.Payload) && c.Policy.Fields.Equal(o.Policy.Fields) && c.Policy.Format == o.Policy.Format
}

// SigningSecret is one signing secret of a callback: "whsec_…", or any text that a client
// gave for other schemes than SignStandard.
type SigningSecret struct {
	Value     Secret
	ExpiresAt time.Time // zero when it does not expire
}

// InForce reports whether the secret signs at a time.
func (s *SigningSecret) InForce(at time.Time) bool {
	return s.ExpiresAt.IsZero() || at.Before(s.ExpiresAt)
}

// MaxSigningSecrets is how many secrets of a callback may be in force at once. Each
// of them signs every request.
const MaxSigningSecrets = 32

// RotateSecret puts next in front of the secrets. The others sign too until
// keep, or until their own end when that is sooner. It fails when more than
// MaxSigningSecrets would be in force at the time at.
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

// SigningSecrets returns the secrets in force at now, newest first.
func (c *Callback) SigningSecrets(now time.Time) []Secret {
	out := make([]Secret, 0, len(c.Secrets))
	for _, s := range c.Secrets {
		if s.InForce(now) {
			out = append(out, s.Value)
		}
	}
	return out
}

// PauseReason says why a callback is paused.
type PauseReason string

// The reasons for a pause.
const (
	NotPaused        PauseReason = ""
	PausedByUser     PauseReason = "user"
	PausedGone       PauseReason = "gone"       // the receiver answered 410
	PausedByReceiver PauseReason = "receiver"   // the receiver asked for it: see [Control]
	PausedNoAnswer   PauseReason = "no_success" // no attempt succeeded for AutoPauseAfter
)

// PauseReasons lists the reasons for a pause, and NotPaused.
var PauseReasons = []PauseReason{NotPaused, PausedByUser, PausedGone, PausedByReceiver, PausedNoAnswer}

// Pause holds a callback's deliveries until a person resumes it.
type Pause struct {
	Reason PauseReason
	At     time.Time // when the pause began; when it ended, if there is no reason
}

// Origin returns the scheme, host and port of a callback's URL in one spelling, such
// as "https://example.com:8443". The scheme's default port and the dot at the end
// of a host name are left out. Origin returns "" when url has no scheme or host.
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

// Paused reports whether the callback is paused.
func (c *Callback) Paused() bool { return c.Pause.Reason != NotPaused }

// Deleted reports whether the callback was deleted. Its pending deliveries are
// canceled.
func (c *Callback) Deleted() bool { return !c.DeletedAt.IsZero() }

// Replace gives c the URL, method, headers, payload and policy of next at the given
// time, and the events of next when c is for one session. It does nothing when c has all
// of them already and no pause would end.
//
// A change of what is sent makes a new version and clears FailingSince, which belongs
// to the version before. With another origin, c also gets the secrets of next and is on
// probation again. A pause that callbackd made itself ends. With another URL or other
// credentials, or when a pause ends, the waiting retries are made due. Credentials that
// change are kept for DefaultKeep, but not when the origin changes.
func (c *Callback) Replace(next *Callback, at time.Time) {
	same := c.SendsLike(next)
	endsPause := c.Paused() && c.Pause.Reason != PausedByUser
	if c.OfSession() && !slices.Equal(c.Types, next.Types) {
		c.Types, c.UpdatedAt = slices.Clone(next.Types), at
	}
	if same && !endsPause && c.Policy.Identical(next.Policy) {
		return
	}
	release := c.URL != next.URL || endsPause
	if !SameOrigin(c.URL, next.URL) {
		c.Secrets, c.ClosedUntil, c.Proven = next.Secrets, time.Time{}, false
		c.Policy.Auth, c.OldAuth = nil, OldAuth{}
	}
	c.RotateAuth(next.Policy.Auth, at.Add(DefaultKeep), at)
	c.URL, c.Method, c.Headers, c.Payload, c.Policy = next.URL, next.Method, next.Headers, next.Payload, next.Policy
	c.UpdatedAt = at
	if !same {
		c.Version++
	}
	if !same || endsPause {
		c.FailingSince = time.Time{}
	}
	if endsPause {
		c.Pause = Pause{}
	}
	if release {
		c.release(at)
	}
}

// SetPause pauses c, or resumes it when p has no reason: see [Callback.Resume]. A pause
// for the same reason keeps the time at which it began.
func (c *Callback) SetPause(p Pause) {
	switch {
	case p.Reason == NotPaused:
		c.Resume(p.At)
	case p.Reason != c.Pause.Reason:
		c.Pause = p
	}
}

// Resume ends the pause of c, if there is one. A person vouches for the receiver, so
// Resume also forgets its failures and its Retry-After, and makes the waiting retries
// due.
func (c *Callback) Resume(at time.Time) {
	c.Pause, c.FailingSince, c.ClosedUntil = Pause{}, time.Time{}, time.Time{}
	c.release(at)
}

// release makes the waiting retries due. The store does so in steps, while Releasing is
// set.
func (c *Callback) release(at time.Time) {
	c.ReleasedAt, c.Releasing = at, true
}

// Delete marks c as deleted at the given time. It gets no deliveries from then on.
func (c *Callback) Delete(at time.Time) { c.DeletedAt = at }

// OfKey returns c as it counts with its key k: when the key was revoked, c counts as
// deleted at that time. OfKey does not change c itself.
func (c *Callback) OfKey(k *Key) *Callback {
	if !k.Revoked() || c.Deleted() && !k.RevokedAt.Before(c.DeletedAt) {
		return c
	}
	ended := *c
	ended.DeletedAt = k.RevokedAt
	return &ended
}

// Policy says how deliveries to a callback are made. The zero value of a field means
// its default.
type Policy struct {
	Timeout     time.Duration   // of the whole exchange; default 15 s, 1 s to 60 s
	Retry       []time.Duration // delays before attempts 1, 2, …; default DefaultSchedule
	OrderWait   time.Duration   // how long a failed delivery blocks its lane; default 5 min, 0 to 24 h; NoOrderWait for 0
	Rate        float64         // attempts per second; default unlimited
	Concurrency int             // attempts in flight; default 32, 1 to 256
	NoKeepAlive bool            // a connection serves one request and is closed
	NoResponse  bool            `json:",omitempty"` // of the receiver's answers only the status and the size are stored, see [Result.DropResponse]
	Signing     []SigningScheme // how requests are signed; default SignStandard
	Expect      time.Duration   `json:",omitempty"` // how soon after the last event the next one is expected; 0: whenever. See [SilenceCondition]
	OrderGroup  string          // see [Callback.OrderGroup]; a name or GroupByOrigin; default none
	TTL         time.Duration   `json:"-"` // how long after it may be sent a delivery expires; 0: never. It is stored apart, see [Candidates]
	Filter      *Filter         `json:"-"` // which events go to the callback; nil for all. It is stored apart, see [Candidates]
	Fields      *Fields         `json:"-"` // what of an event's data is sent; nil for all. It is stored with the version
	Format      Format          `json:"-"` // of the body of a notice; default FormatJSON. It is stored with the version
	Auth        *Auth           `json:"-"` // how callbackd signs in; nil for none. It is sealed with the secrets
}

// Same reports whether p and q have the same effect. A field that is left out equals
// one that is set to its default.
func (p Policy) Same(q Policy) bool {
	return p.WithDefaults().Identical(q.WithDefaults())
}

// Identical reports whether p and q have the same fields.
func (p Policy) Identical(q Policy) bool { return reflect.DeepEqual(p, q) }

// Defaults and limits of [Policy].
const (
	DefaultTimeout     = 15 * time.Second
	MinTimeout         = time.Second
	MaxTimeout         = 60 * time.Second
	DefaultOrderWait   = 5 * time.Minute
	MaxOrderWait       = 24 * time.Hour
	NoOrderWait        = time.Duration(-1) // a failed delivery does not block its lane
	DefaultConcurrency = 32
	MaxConcurrency     = 256
	MaxRate            = 10_000 // attempts per second
	MaxRetries         = 50     // entries of a schedule
	MaxRetryDelay      = 7 * 24 * time.Hour
)

// DefaultSchedule holds the delay before each attempt, as Standard Webhooks 1.0.0
// recommends in "Retry schedule": 75 h 35 min 5 s in total.
var DefaultSchedule = []time.Duration{
	0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
	10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

var defaultSigning = []SigningScheme{SignStandard}

// WithDefaults returns p with the defaults in place of zero values.
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
	if len(p.Signing) == 0 {
		p.Signing = defaultSigning
	}
	if p.Format == "" {
		p.Format = FormatJSON
	}
	return p
}

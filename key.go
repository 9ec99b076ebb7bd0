package callbackd

import (
	"cmp"
	"time"
)

// KeyID identifies an API key in the store. It is never shown.
type KeyID int64

// Key is an API key. It signs the calls of one account and owns callbacks,
// sessions, events and deliveries.
type Key struct {
	ID      KeyID
	Account string // the primary account name that appears in the token string
	APIKey  string // opaque text; never parsed
	Secret  Secret // raw text, the HMAC key of the API token
	Name    string
	Live    bool // a test key may always use plain http targets
	// TimeFrame is how long the key's sessions may take; zero means DefaultTimeFrame.
	TimeFrame time.Duration
	// CaptureURL is the template of the sessions' capture links. When it is empty,
	// the server's template is used.
	CaptureURL CaptureTemplate
	CreatedAt  time.Time
	RevokedAt  time.Time // zero unless the key was revoked
	// ExpiresAt is when the key's calls begin to be refused; zero when they never are.
	// What was accepted before is still delivered.
	ExpiresAt time.Time
	// Limits are the key's own limits; see [KeyLimits.WithDefaults].
	Limits KeyLimits
	// CallbackPolicy is a JSON object with members of the policy of a callback, in one
	// spelling. A callback that is registered gets those that its own policy leaves out.
	// It is empty without any.
	CallbackPolicy string
	// Retention is how long the key's events are kept, when that is shorter than the server
	// keeps them; 0 without a retention of its own. RetentionEvents has the retention of
	// some types instead, as [FormatRetentions] writes it.
	Retention       time.Duration
	RetentionEvents string
	// OldSecret is the secret from before the last rotation. It is accepted until
	// OldUntil.
	OldSecret Secret
	OldUntil  time.Time
}

// SessionTimeFrame returns how long the key's sessions may take until QC_PASSED.
func (k *Key) SessionTimeFrame() time.Duration {
	if k.TimeFrame == 0 {
		return DefaultTimeFrame
	}
	return k.TimeFrame
}

// CaptureLink returns the link to the capture pages of one of the key's sessions,
// from the key's template or else from the server's. It is empty without a template.
func (k *Key) CaptureLink(server CaptureTemplate, sessionKey string) string {
	return cmp.Or(k.CaptureURL, server).Link(k.Account, sessionKey)
}

// Secrets returns the secrets in force at now, newest first.
func (k *Key) Secrets(now time.Time) []Secret {
	if k.OldSecret != "" && now.Before(k.OldUntil) {
		return []Secret{k.Secret, k.OldSecret}
	}
	return []Secret{k.Secret}
}

// Revoked reports whether the key was revoked: its calls are refused.
func (k *Key) Revoked() bool { return !k.RevokedAt.IsZero() }

// Expired reports whether the key's calls are refused at a time because it has expired.
func (k *Key) Expired(at time.Time) bool { return !k.ExpiresAt.IsZero() && !at.Before(k.ExpiresAt) }

// InForce reports whether calls with the key are accepted at a time: it was not revoked
// and has not expired.
func (k *Key) InForce(at time.Time) bool { return !k.Revoked() && !k.Expired(at) }

// State returns the key's state at a time in a word.
func (k *Key) State(at time.Time) string {
	switch {
	case k.Revoked():
		return "revoked"
	case k.Expired(at):
		return "expired"
	}
	return "active"
}

// SetSettings gives k the settings of next that a person chooses.
func (k *Key) SetSettings(next *Key) {
	k.Name, k.TimeFrame, k.CaptureURL, k.ExpiresAt = next.Name, next.TimeFrame, next.CaptureURL, next.ExpiresAt
	k.Limits, k.CallbackPolicy = next.Limits, next.CallbackPolicy
	k.Retention, k.RetentionEvents = next.Retention, next.RetentionEvents
}

// Revoke ends k at the given time. A key that was revoked before keeps the time
// of that.
func (k *Key) Revoke(at time.Time) {
	if !k.Revoked() {
		k.RevokedAt = at
	}
}

// Rotate gives k the secret next. The secret before it is accepted too until
// keep, and one from before that no more. Rotate does nothing when next is the
// secret already, so that it may be repeated. It fails for a revoked key.
func (k *Key) Rotate(next Secret, keep time.Time) error {
	if k.Revoked() {
		return Errorf(KindConflict, "the API key %s is revoked", k.APIKey)
	}
	if k.Secret != next {
		k.Secret, k.OldSecret, k.OldUntil = next, k.Secret, keep
	}
	return nil
}

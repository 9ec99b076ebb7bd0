package callbackd

import (
	"cmp"
	"time"
)

// KeyID is an API key's number in the store. It is never shown.
type KeyID int64

// Key is an API key: it signs the calls of one account and owns callbacks,
// sessions, events and deliveries.
type Key struct {
	ID      KeyID
	Account string // the primary account name that appears in the token string
	APIKey  string // opaque text; never parsed
	Secret  Secret // raw text, the HMAC key of the API token
	Name    string
	Live    bool // test keys may use plain http targets always
	// TimeFrame is how long the key's sessions may take; zero: DefaultTimeFrame.
	TimeFrame time.Duration
	// CaptureURL makes the links of the key's sessions; empty: the server's does.
	CaptureURL CaptureTemplate
	CreatedAt  time.Time
	RevokedAt  time.Time // zero: in force
	// OldSecret, from before a rotation, signs along until OldUntil.
	OldSecret Secret
	OldUntil  time.Time
}

// SessionTimeFrame is how long the key's sessions may take until QC_PASSED.
func (k *Key) SessionTimeFrame() time.Duration {
	if k.TimeFrame == 0 {
		return DefaultTimeFrame
	}
	return k.TimeFrame
}

// CaptureLink is the link to the capture pages of one of the key's sessions, by
// the key's template or else the server's; empty without one.
func (k *Key) CaptureLink(server CaptureTemplate, sessionKey string) string {
	return cmp.Or(k.CaptureURL, server).Link(k.Account, sessionKey)
}

// Secrets is those in force at now, newest first.
func (k *Key) Secrets(now time.Time) []Secret {
	if k.OldSecret != "" && now.Before(k.OldUntil) {
		return []Secret{k.Secret, k.OldSecret}
	}
	return []Secret{k.Secret}
}

// Revoked tells whether the key no longer signs anything.
func (k *Key) Revoked() bool { return !k.RevokedAt.IsZero() }

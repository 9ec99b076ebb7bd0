package callbackd

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
	"time"
)

// AuditAction says what was done. The part before the dot is what it was done to.
type AuditAction string

// The actions that the audit log has. Accepted events, attempts, and changes of sessions
// by the platform's events are not among them, because they have a history of their own.
const (
	AuditKeyCreated AuditAction = "key.created"
	AuditKeyChanged AuditAction = "key.changed"
	AuditKeyRotated AuditAction = "key.rotated"
	AuditKeyRevoked AuditAction = "key.revoked"

	AuditCallbackCreated  AuditAction = "callback.created"
	AuditCallbackReplaced AuditAction = "callback.replaced"
	AuditCallbackDeleted  AuditAction = "callback.deleted"
	AuditCallbackPaused   AuditAction = "callback.paused"
	AuditCallbackResumed  AuditAction = "callback.resumed"
	AuditSecretRotated    AuditAction = "callback.secret_rotated"
	AuditAuthRotated      AuditAction = "callback.auth_rotated"

	AuditReplayStarted      AuditAction = "replay.started"
	AuditReplayPaused       AuditAction = "replay.paused"
	AuditReplayResumed      AuditAction = "replay.resumed"
	AuditReplayCanceled     AuditAction = "replay.canceled"
	AuditDeliveriesCanceled AuditAction = "deliveries.canceled" // a cancellation was started
	AuditDeliveryResent     AuditAction = "delivery.resent"

	AuditIncidentAcknowledged AuditAction = "incident.acknowledged"
	AuditIncidentMuted        AuditAction = "incident.muted" // or the end of that

	AuditErasureStarted AuditAction = "erasure.started"
	AuditErasureEnded   AuditAction = "erasure.ended"

	AuditSessionChanged AuditAction = "session.changed"
	AuditSessionRemoved AuditAction = "session.removed"
	AuditSMSResent      AuditAction = "session.sms_resent"

	AuditTokenCreated AuditAction = "token.created"
	AuditTokenRevoked AuditAction = "token.revoked"

	AuditLinkCreated AuditAction = "console.link_created"
	AuditLinkUsed    AuditAction = "console.link_used" // of a customer: it signed a browser in
	AuditSignedIn    AuditAction = "console.signed_in"
	AuditSignedOut   AuditAction = "console.signed_out"

	AuditOptionsChanged  AuditAction = "server.options_changed"   // a server started with others than the last time
	AuditLogLevelChanged AuditAction = "server.log_level_changed" // of a running server

	AuditKeysetChanged  AuditAction = "keyset.changed"  // the file with the keys that seal secrets
	AuditKeysetResealed AuditAction = "keyset.resealed" // secrets in the store were sealed with the primary key
)

// AuditActions lists the actions.
var AuditActions = []AuditAction{
	AuditKeyCreated, AuditKeyChanged, AuditKeyRotated, AuditKeyRevoked,
	AuditCallbackCreated, AuditCallbackReplaced, AuditCallbackDeleted, AuditCallbackPaused, AuditCallbackResumed, AuditSecretRotated, AuditAuthRotated,
	AuditReplayStarted, AuditReplayPaused, AuditReplayResumed, AuditReplayCanceled, AuditDeliveriesCanceled, AuditDeliveryResent,
	AuditIncidentAcknowledged, AuditIncidentMuted,
	AuditErasureStarted, AuditErasureEnded,
	AuditSessionChanged, AuditSessionRemoved, AuditSMSResent,
	AuditTokenCreated, AuditTokenRevoked,
	AuditLinkCreated, AuditLinkUsed, AuditSignedIn, AuditSignedOut,
	AuditOptionsChanged, AuditLogLevelChanged,
	AuditKeysetChanged, AuditKeysetResealed,
}

// Valid reports whether the action is one of AuditActions.
func (a AuditAction) Valid() bool { return slices.Contains(AuditActions, a) }

// AuditEntry is one entry of the audit log: who did what, to what, and what it changed. It
// is written in the transaction of the change and never changed.
type AuditEntry struct {
	// Key is the API key that the entry belongs to; 0 for what belongs to none. The
	// entries of a key are a chain.
	Key     KeyID
	Number  int64     // within the chain, from 1; set by the store
	At      time.Time // in milliseconds
	Action  AuditAction
	Actor   Actor
	Subject string     // the event and name of a callback, the id of a replay or a delivery, a session key, the name of a machine
	Target  CallbackID // 0 when it is not about a callback
	// Before and After are JSON objects with the members that differ. Either is nil when
	// there was nothing before, or nothing is left.
	Before, After []byte
	Hash          AuditHash // of the entry and of the hash before it; set by the store
}

// AuditHash is the hash of an entry. It is keyed, so that only callbackd can make it.
type AuditHash [sha256.Size]byte

// String returns the hash in hexadecimal digits.
func (h AuditHash) String() string { return hex.EncodeToString(h[:]) }

// Limits of the audit log.
const (
	// MaxAudit is how many entries a chain has. The oldest ones beyond it are removed,
	// so that a key cannot fill the database.
	MaxAudit = 10_000
	// MaxAuditValue is the longest value of a member, in bytes. A longer one is replaced
	// by its size and its hash.
	MaxAuditValue = 512
	// MaxAuditState is the size of Before and of After, in bytes. When a state is larger,
	// its values are replaced by hashes, and then by their number.
	MaxAuditState = 4 << 10
	// MaxAuditSubject is the longest subject, in bytes.
	MaxAuditSubject = 200
)

// Link returns the hash of e, which comes after the entry with the hash before.
func (e *AuditEntry) Link(key []byte, before AuditHash) (h AuditHash) {
	return auditMAC(key, "entry", before[:], numberBytes(int64(e.Key)), numberBytes(e.Number), numberBytes(e.At.UnixMilli()), []byte(e.Action),
		[]byte(e.Actor.Kind), []byte(e.Actor.Name), []byte(e.Actor.Address), []byte(e.Subject), numberBytes(int64(e.Target)), e.Before, e.After)
}

func numberBytes(n int64) []byte { return strconv.AppendInt(nil, n, 10) }

// auditMAC returns the HMAC of fields, each with its length before it.
func auditMAC(key []byte, what string, fields ...[]byte) (h AuditHash) {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("callbackd audit " + what + "\n"))
	for _, f := range fields {
		m.Write(binary.AppendUvarint(nil, uint64(len(f))))
		m.Write(f)
	}
	m.Sum(h[:0])
	return h
}

package callbackd

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"time"
)

// OperatorToken lets a program call /v1/admin in the operator's name. The store has a
// hash of its text, which is shown once.
type OperatorToken struct {
	ID         string   // part of the text; names the token in lists and logs
	Hash       [32]byte // SHA-256 of the text
	Name       string
	Role       TokenRole
	CreatedAt  time.Time
	ExpiresAt  time.Time
	LastUsedAt time.Time // within MaxUseDelay; zero while it was not used
	RevokedAt  time.Time // zero while the token is in force
}

// TokenRole says what an operator token may do.
type TokenRole string

// The roles of operator tokens. RoleRead may read everything that /v1/admin shows, and
// change nothing.
const (
	RoleRead TokenRole = "read"
	RoleFull TokenRole = "full"
)

// TokenRoles lists the roles.
var TokenRoles = []TokenRole{RoleRead, RoleFull}

// Limits of operator tokens.
const (
	// MaxOperatorTokens is how many tokens may be in force at once. As many that have
	// ended are still listed.
	MaxOperatorTokens    = 100
	DefaultTokenLifetime = 90 * 24 * time.Hour
	MinTokenLifetime     = time.Minute
	MaxTokenLifetime     = 2 * 365 * 24 * time.Hour
	// MaxUseDelay is how long after a call its time may be missing in LastUsedAt.
	MaxUseDelay = time.Minute
)

// OperatorTokenPrefix begins the text of every operator token, so that scanners for
// secrets find one that got into a log or a repository.
const OperatorTokenPrefix = "cbop_"

// OperatorTokenText returns the text of a token: the prefix, its ID and its secret.
func OperatorTokenText(id, secret string) Secret {
	return Secret(OperatorTokenPrefix + id + "_" + secret)
}

// HashOfToken returns what the store has of the text of a token.
func HashOfToken(text Secret) [32]byte { return sha256.Sum256([]byte(text.Reveal())) }

// ParseOperatorToken returns the ID of the token that a text names, whether the token
// exists or not.
func ParseOperatorToken(text Secret) (id string, ok bool) {
	rest, ok := strings.CutPrefix(text.Reveal(), OperatorTokenPrefix)
	id, secret, cut := strings.Cut(rest, "_")
	return id, ok && cut && validTokenID(id) && secret != ""
}

// TokenIDLength is the length of the ID of an operator token.
const TokenIDLength = 12

func validTokenID(id string) bool {
	return len(id) == TokenIDLength && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// Accepts reports whether text is the token's and the token is in force at the time. It
// compares in constant time.
func (t *OperatorToken) Accepts(text Secret, at time.Time) bool {
	given := HashOfToken(text)
	return subtle.ConstantTimeCompare(given[:], t.Hash[:]) == 1 && t.InForce(at)
}

// InForce reports whether the token was neither revoked nor has expired at a time.
func (t *OperatorToken) InForce(at time.Time) bool {
	return t.RevokedAt.IsZero() && at.Before(t.ExpiresAt)
}

// State returns the token's state at a time in a word.
func (t *OperatorToken) State(at time.Time) string {
	switch {
	case !t.RevokedAt.IsZero():
		return "revoked"
	case !t.InForce(at):
		return "expired"
	}
	return "active"
}

// MayChange reports whether the token may change anything.
func (t *OperatorToken) MayChange() bool { return t.Role == RoleFull }

// Fault returns what is wrong with a stored token; it is empty for a sound one.
func (t *OperatorToken) Fault() string {
	switch {
	case t.Hash == [32]byte{}:
		return "has no hash"
	case t.Name == "":
		return "has no name"
	case t.Role != RoleRead && t.Role != RoleFull:
		return "has the unknown role " + string(t.Role)
	case !t.ExpiresAt.After(t.CreatedAt):
		return "expires before it was created"
	}
	return ""
}

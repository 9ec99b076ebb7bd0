package store

import (
	"context"
	"time"

	"callbackd"
)

// Login is a browser that is signed in to the console, or a link that signs a browser
// in once.
type Login struct {
	Hash  [32]byte        // of the token; the token itself is not stored
	Key   callbackd.KeyID // 0: the operator
	Link  bool            // can be taken only
	Proof [32]byte        // of the secret that was given at the login; the console checks it
	// Customer is set for a link that the operator made for the holder of a key, and for the
	// login that it led to. Role is empty for other logins.
	Customer callbackd.ConsoleLink
	// A login is not valid from ExpiresAt on.
	CreatedAt, ExpiresAt time.Time
}

// Expired reports whether the login is no longer valid.
func (l *Login) Expired(now time.Time) bool { return !now.Before(l.ExpiresAt) }

// NewCustomerLink returns the login to store for a link to the console of a key. hash is that
// of its token.
func NewCustomerLink(hash [32]byte, key callbackd.KeyID, link callbackd.ConsoleLink, now time.Time) Login {
	now = now.UTC().Truncate(time.Millisecond)
	return Login{Hash: hash, Key: key, Link: true, Customer: link, CreatedAt: now, ExpiresAt: now.Add(callbackd.LinkLifetime)}
}

// MaxCustomerLogins is how many browsers may be signed in for one key by links. They do not
// count for MaxLogins.
const MaxCustomerLogins = 500

// MaxLogins is how many browsers may be signed in for one key or for the operator. The
// next login ends the oldest one.
const MaxLogins = 50

// Logins stores the logins of the console. Other processes may add links while a server
// runs.
type Logins interface {
	// CreateLogin stores l durably. It removes logins that have expired by
	// l.CreatedAt, and the oldest ones of the key when there are more than MaxLogins, or
	// MaxCustomerLogins of those by links.
	CreateLogin(ctx context.Context, l Login) error
	// Login returns the login with a hash. It fails with NotFound when there is none,
	// when it is a link, or when it has expired by now.
	Login(ctx context.Context, hash [32]byte, now time.Time) (*Login, error)
	// TakeLogin removes the login or link with a hash durably and returns it, expired
	// or not. Only one of several calls succeeds; the others fail with NotFound.
	TakeLogin(ctx context.Context, hash [32]byte) (*Login, error)
}

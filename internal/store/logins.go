package store

import (
	"context"
	"time"

	"callbackd"
)

// Login is a browser that is signed in to the console, or a link that lets
// one in once.
type Login struct {
	Hash  [32]byte        // of the token; the token itself is nowhere
	Key   callbackd.KeyID // whose; 0: the operator's
	Link  bool            // good for one TakeLink, and for nothing else
	Proof [32]byte        // of the secret that was shown; the console's to check
	// A login is void from ExpiresAt on.
	CreatedAt, ExpiresAt time.Time
}

// MaxLogins is how many browsers are signed in for one key, or for the
// operator: the next one ends the oldest.
const MaxLogins = 50

// Logins keeps who is signed in to the console. Other processes may add
// links while a server runs.
type Logins interface {
	// CreateLogin keeps l durably, and forgets those that are void at
	// l.CreatedAt, and the oldest of the key beyond MaxLogins.
	CreateLogin(ctx context.Context, l Login) error
	// Login returns the login with that hash that is not a link and not void
	// at now; NotFound otherwise.
	Login(ctx context.Context, hash [32]byte, now time.Time) (*Login, error)
	// TakeLink removes the link with that hash, not void at now: of several
	// calls one succeeds. NotFound otherwise.
	TakeLink(ctx context.Context, hash [32]byte, now time.Time) (*Login, error)
	// DeleteLogin removes it, durably; that there is none is no error.
	DeleteLogin(ctx context.Context, hash [32]byte) error
}

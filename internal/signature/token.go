package signature

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// The headers of an authenticated call (PAVE, "Authentication").
const (
	HeaderKey       = "API-Key"
	HeaderToken     = "API-Token"
	HeaderTimestamp = "API-Timestamp"
	// HeaderAccessToken holds the API key alone, for the v2 resend.
	HeaderAccessToken = "API-Access-Token"
)

// Window is how far API-Timestamp may be from the server's time.
const Window = 5 * time.Minute

// Errors of TokenChecker.
var (
	// ErrToken means that the token is not the one for this key and timestamp.
	ErrToken = errors.New("unknown API key or wrong API-Token")
	// ErrTimestampAlone means that the token signs the timestamp only, which is a
	// common mistake.
	ErrTimestampAlone = errors.New(`the API-Token signs the timestamp alone; sign "<account>:<API key>@<API-Timestamp>" instead`)
)

// TimestampError is the error of a timestamp that cannot be read or is not fresh.
type TimestampError struct {
	Text string
	Now  time.Time
	Bad  bool // the timestamp cannot be read
}

// Error returns a sentence for the caller, with the server's time.
func (e *TimestampError) Error() string {
	now := e.Now.UTC().Format(time.RFC3339)
	if e.Bad {
		return "API-Timestamp cannot be read; send for example " + now + " or Unix seconds"
	}
	return fmt.Sprintf("API-Timestamp is more than %d minutes from the server's time, which is %s", int(Window.Minutes()), now)
}

// Token returns PAVE's API token: HMAC-SHA256 of "account:apiKey@timestamp" in lowercase
// hex. The text of the API secret is the key of the HMAC.
func Token(account, apiKey, timestamp, secret string) string {
	sum := token(account, apiKey, timestamp, NewKey([]byte(secret)))
	return hex.EncodeToString(sum[:])
}

func token(account, apiKey, timestamp string, key *Key) [sha256.Size]byte {
	return key.sum(nil, account, ":", apiKey, "@", timestamp)
}

// TokenChecker checks API tokens. It keeps the keys of the secrets that it needs. The zero
// value is ready, and safe for concurrent use.
type TokenChecker struct {
	mu   sync.Mutex
	keys map[string]*Key // by secret
}

const maxTokenKeys = 4096

func (c *TokenChecker) key(secret string) *Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keys[secret]
	if k == nil {
		if len(c.keys) >= maxTokenKeys || c.keys == nil {
			c.keys = map[string]*Key{}
		}
		k = NewKey([]byte(secret))
		c.keys[secret] = k
	}
	return k
}

// Check checks a token over the text of the timestamp, and after that whether the
// timestamp is fresh. It accepts hex digits in upper and lower case. A server that does
// not know the API key calls it with an empty account and secret, so that the call takes
// the same time; Check then always fails.
func (c *TokenChecker) Check(account, apiKey, secret, timestamp, tok string, now time.Time) error {
	key := c.key(secret)
	want := token(account, apiKey, timestamp, key)
	var got [sha256.Size]byte
	n, err := hex.Decode(got[:], []byte(tok[:min(len(tok), 2*len(got))]))
	whole := err == nil && n == len(got) && len(tok) == 2*len(got)
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || !whole || secret == "" {
		alone := key.sum(nil, timestamp)
		if subtle.ConstantTimeCompare(got[:], alone[:]) == 1 && whole && secret != "" {
			return ErrTimestampAlone
		}
		return ErrToken
	}
	at, err := ParseTimestamp(timestamp)
	if err != nil {
		return &TimestampError{Text: timestamp, Now: now, Bad: true}
	}
	if d := now.Sub(at); d > Window || d < -Window {
		return &TimestampError{Text: timestamp, Now: now}
	}
	return nil
}

// SetHeaders authenticates a request made at now.
func SetHeaders(h http.Header, account, apiKey, secret string, now time.Time) {
	stamp := now.UTC().Format(time.RFC3339)
	h.Set(HeaderKey, apiKey)
	h.Set(HeaderTimestamp, stamp)
	h.Set(HeaderToken, Token(account, apiKey, stamp, secret))
}

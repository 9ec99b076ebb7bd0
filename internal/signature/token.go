package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
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

// Faults of a token.
var (
	// ErrToken: the token is not the one for this key and timestamp.
	ErrToken = errors.New("unknown API key or wrong API-Token")
	// ErrTimestampAlone: the token signs the timestamp only, a known mistake.
	ErrTimestampAlone = errors.New(`the API-Token signs the timestamp alone; sign "<account>:<API key>@<API-Timestamp>" instead`)
)

// TimestampError is a timestamp that cannot be read or is not fresh.
type TimestampError struct {
	Text string
	Now  time.Time
	Bad  bool // it cannot be read
}

// Error is a sentence for the caller, with the server's time in it.
func (e *TimestampError) Error() string {
	now := e.Now.UTC().Format(time.RFC3339)
	if e.Bad {
		return "API-Timestamp cannot be read; send for example " + now + " or Unix seconds"
	}
	return fmt.Sprintf("API-Timestamp is more than %d minutes from the server's time, which is %s", int(Window.Minutes()), now)
}

// Token is PAVE's API token: lowercase hex of HMAC-SHA256, keyed by the API
// secret as text, over "account:apiKey@timestamp".
func Token(account, apiKey, timestamp, secret string) string {
	sum := token(account, apiKey, timestamp, secret)
	return hex.EncodeToString(sum[:])
}

func token(account, apiKey, timestamp, secret string) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, []byte(secret))
	msg := make([]byte, 0, 128)
	msg = append(msg, account...)
	msg = append(msg, ':')
	msg = append(msg, apiKey...)
	msg = append(msg, '@')
	msg = append(msg, timestamp...)
	mac.Write(msg)
	mac.Sum(sum[:0])
	return sum
}

// CheckToken checks a token over the timestamp's raw text, and only then
// whether that time is fresh. Hex digits of either case are accepted: they
// are the same number. A caller that does not know the key calls it with an
// empty account and secret, so that the same time is spent, and answers with
// [ErrToken] whatever it returns.
func CheckToken(account, apiKey, secret, timestamp, tok string, now time.Time) error {
	want := token(account, apiKey, timestamp, secret)
	var got [sha256.Size]byte
	n, err := hex.Decode(got[:], []byte(tok[:min(len(tok), 2*len(got))]))
	whole := err == nil && n == len(got) && len(tok) == 2*len(got)
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || !whole || secret == "" {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(timestamp))
		if whole && secret != "" && hmac.Equal(mac.Sum(nil), got[:]) {
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

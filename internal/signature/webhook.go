// Package signature signs and checks outgoing requests (Standard Webhooks 1.0.0) and API
// calls (PAVE's token). The server, the Go client and the test receiver all use it.
package signature

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Sizes of a signing secret in bytes (Standard Webhooks 1.0.0, "Signature scheme"), and
// how far a request's timestamp may be from the receiver's time.
const (
	MinSecret = 24
	MaxSecret = 64
	Tolerance = 5 * time.Minute
)

const secretPrefix = "whsec_"

// NewSecret returns a new signing secret: 32 random bytes in their text form.
func NewSecret() string {
	raw := make([]byte, 32)
	rand.Read(raw) // never fails: crypto/rand ends the process instead
	return secretPrefix + base64.StdEncoding.EncodeToString(raw)
}

// DeriveSecret returns a signing secret that is always the same for an API secret and a
// purpose. The API secret cannot be found from it.
func DeriveSecret(apiSecret, purpose string) string {
	sum := NewKey([]byte(apiSecret)).sum(nil, "signing secret for ", purpose)
	return secretPrefix + base64.StdEncoding.EncodeToString(sum[:])
}

// ParseSecret reads the text form of a signing secret.
func ParseSecret(s string) ([]byte, error) {
	b64, ok := strings.CutPrefix(s, secretPrefix)
	if !ok {
		return nil, fmt.Errorf("a signing secret begins with %s", secretPrefix)
	}
	raw, err := base64.StdEncoding.DecodeString(b64)
	if err != nil {
		return nil, errors.New("a signing secret is standard base64 after " + secretPrefix)
	}
	if len(raw) < MinSecret || len(raw) > MaxSecret {
		return nil, fmt.Errorf("a signing secret holds %d to %d bytes; this one holds %d", MinSecret, MaxSecret, len(raw))
	}
	return raw, nil
}

// Sign returns the value of webhook-signature: one "v1," signature for each key,
// separated by spaces. The timestamp counts seconds since 1970.
func Sign(id string, timestamp int64, body []byte, keys ...*Key) string {
	var room [256]byte
	out, stamp := room[:0], strconv.FormatInt(timestamp, 10)
	for i, key := range keys {
		if i > 0 {
			out = append(out, ' ')
		}
		sum := sign(key, id, stamp, body)
		out = append(out, "v1,"...)
		out = base64.StdEncoding.AppendEncode(out, sum[:])
	}
	return string(out)
}

func sign(key *Key, id, timestamp string, body []byte) [sha256.Size]byte {
	return key.sum(body, id, ".", timestamp, ".")
}

// Verify checks a request the way a receiver does: the three webhook-* headers against
// the raw body and a key. The error says which part is wrong.
func Verify(key []byte, h http.Header, body []byte, now time.Time) error {
	id, stamp := h.Get("webhook-id"), h.Get("webhook-timestamp")
	if id == "" || stamp == "" || h.Get("webhook-signature") == "" {
		return errors.New("the request lacks webhook-id, webhook-timestamp or webhook-signature")
	}
	secs, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return errors.New("webhook-timestamp is not a number of seconds")
	}
	if age := now.Sub(time.Unix(secs, 0)); age > Tolerance || age < -Tolerance {
		return fmt.Errorf("webhook-timestamp is %v away from now, more than %v", age.Abs().Round(time.Second), Tolerance)
	}
	want := sign(NewKey(key), id, stamp, body)
	for one := range strings.FieldsSeq(h.Get("webhook-signature")) {
		b64, ok := strings.CutPrefix(one, "v1,")
		if !ok {
			continue
		}
		got, err := base64.StdEncoding.Strict().DecodeString(b64)
		// The length is checked before the digest: "v1," alone must not pass.
		if err == nil && len(got) == len(want) && subtle.ConstantTimeCompare(got, want[:]) == 1 {
			return nil
		}
	}
	return errors.New("no signature in webhook-signature is right: the secret is another one, or the body was changed")
}

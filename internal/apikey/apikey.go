// Package apikey makes API keys and operator tokens for the API, the command line and the
// console.
package apikey

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/safetext"
)

// New returns a key with a new text and secret. The store sets its ID.
func New(account, name string, live bool, at time.Time) (callbackd.Key, error) {
	if account == "" || strings.ContainsAny(account, ":@ ") || !safetext.IsVisible(account) || len(account) > callbackd.MaxName {
		return callbackd.Key{}, callbackd.Errorf(callbackd.KindInvalid, "account must be 1 to %d printable characters without spaces, colons or at signs: it is part of what tokens sign", callbackd.MaxName)
	}
	if !safetext.IsVisible(name) || len(name) > callbackd.MaxName {
		return callbackd.Key{}, callbackd.Errorf(callbackd.KindInvalid, "name must be up to %d bytes of printable text, without characters that format or hide text", callbackd.MaxName)
	}
	return callbackd.Key{Account: account, APIKey: Text(), Secret: Secret(), Name: name, Live: live, CreatedAt: at}, nil
}

// Secret returns 260 random bits as text.
func Secret() callbackd.Secret { return callbackd.Secret(rand.Text() + rand.Text()) }

// Text returns 128 random bits in the form of PAVE's keys.
func Text() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

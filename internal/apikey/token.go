package apikey

import (
	"crypto/rand"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/safetext"
)

// NewToken returns a new operator token and its text, which has 260 random bits.
func NewToken(name string, role callbackd.TokenRole, lifetime time.Duration, at time.Time) (callbackd.OperatorToken, callbackd.Secret, error) {
	if name == "" || !safetext.IsVisible(name) || len(name) > callbackd.MaxName {
		return callbackd.OperatorToken{}, "", callbackd.Errorf(callbackd.KindInvalid, "name must be 1 to %d bytes of printable text: it says who or what uses the token", callbackd.MaxName)
	}
	id := strings.ToLower(rand.Text()[:callbackd.TokenIDLength])
	text := callbackd.OperatorTokenText(id, Secret().Reveal())
	at = at.UTC().Truncate(time.Millisecond)
	return callbackd.OperatorToken{
		ID: id, Hash: callbackd.HashOfToken(text), Name: name, Role: role,
		CreatedAt: at, ExpiresAt: at.Add(lifetime),
	}, text, nil
}

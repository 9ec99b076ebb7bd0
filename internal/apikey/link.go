package apikey

import (
	"crypto/rand"
	"crypto/sha256"

	"callbackd"
	"callbackd/internal/request"
)

// NewLinkToken returns the text of a token for a link to the console, and its hash, which is
// what the store has of it.
func NewLinkToken() (text callbackd.Secret, hash [sha256.Size]byte) {
	token := rand.Text()
	return callbackd.Secret(token), sha256.Sum256([]byte(token))
}

// LinkFields describes a link for a customer. What it may lead back to is not checked.
func LinkFields(l *callbackd.ConsoleLink) []request.Field {
	l.Lasts = callbackd.DefaultVisit
	return []request.Field{
		request.Choice("role", &l.Role, callbackd.LinkRoles).Required(),
		request.Text("return_to", &l.ReturnTo, callbackd.MaxURL),
		request.Duration("expires_in", &l.Lasts, callbackd.MinVisit, callbackd.MaxVisit),
	}
}

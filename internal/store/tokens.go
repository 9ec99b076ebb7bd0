package store

import (
	"context"
	"time"

	"callbackd"
)

// Tokens stores operator tokens. Other processes may change them while a server runs: a
// change counts at once.
type Tokens interface {
	// CreateToken stores t durably. It fails with Conflict when a token in force at
	// t.CreatedAt has the name, and with Limited when MaxOperatorTokens are in force.
	// Of the tokens that have ended it removes the oldest ones beyond
	// MaxOperatorTokens.
	CreateToken(ctx context.Context, t callbackd.OperatorToken) error
	// ListTokens returns all tokens, oldest first, including those that have ended.
	ListTokens(ctx context.Context) ([]callbackd.OperatorToken, error)
	// Token returns the token with an ID, in force or not. It fails with NotFound when
	// there is none.
	Token(ctx context.Context, id string) (*callbackd.OperatorToken, error)
	// RevokeToken ends the token with an ID at the given time and returns it. A token
	// that was revoked before keeps the time of that. RevokeToken fails with NotFound
	// when there is none.
	RevokeToken(ctx context.Context, id string, at time.Time) (*callbackd.OperatorToken, error)
	// UseTokens notes when tokens were last used, by their IDs. An earlier time than
	// the noted one changes nothing, and neither does the ID of no token.
	UseTokens(ctx context.Context, used map[string]time.Time) error
}

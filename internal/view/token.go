package view

import (
	"time"

	"callbackd"
	"callbackd/wire"
)

// OperatorToken returns an operator token as it is at now, without its text.
func OperatorToken(t *callbackd.OperatorToken, now time.Time) wire.OperatorToken {
	return wire.OperatorToken{
		ID: t.ID, Name: t.Name, Role: string(t.Role), State: t.State(now), CreatedAt: t.CreatedAt.UTC(), ExpiresAt: t.ExpiresAt.UTC(),
		LastUsedAt: timeOrNull(t.LastUsedAt), RevokedAt: timeOrNull(t.RevokedAt),
	}
}

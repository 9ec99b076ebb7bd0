package wire

import "time"

// NewOperatorToken is the body of POST /v1/admin/tokens.
type NewOperatorToken struct {
	Name         string `json:"name"`
	Role         string `json:"role"`                    // "read" or "full"
	ExpiresAfter string `json:"expires_after,omitempty"` // such as "90d", which is the default
}

// OperatorToken is a token for /v1/admin.
type OperatorToken struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Role       string     `json:"role"`
	State      string     `json:"state"` // active, expired or revoked
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  time.Time  `json:"expires_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
	RevokedAt  *time.Time `json:"revoked_at"`
	Token      string     `json:"token,omitempty"` // its text: only in the answer that created it
}

// OperatorTokenList answers GET /v1/admin/tokens with all tokens, oldest first.
type OperatorTokenList struct {
	Data []OperatorToken `json:"data"`
}

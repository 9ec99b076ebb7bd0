package wire

import (
	"encoding/json"
	"time"
)

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

// KeySettings is the body of PUT /v1/admin/keys/:key. A member that is left out gets its
// default.
type KeySettings struct {
	Name                string     `json:"name,omitempty"`
	SessionsExpireAfter string     `json:"sessions_expire_after,omitempty"` // such as "7d", which is the default
	CaptureURL          string     `json:"capture_url,omitempty"`           // empty: the server's
	ExpiresAt           *time.Time `json:"expires_at,omitempty"`            // nil: never
	Limits              *KeyLimits `json:"limits,omitempty"`
	// CallbackPolicy has members of a callback's policy: timeout, retry, order, rate,
	// concurrency, keep_alive, store_response, signing, ttl, expect. A callback that is registered gets those that its
	// own policy leaves out.
	CallbackPolicy json.RawMessage `json:"callback_policy,omitempty"`
	// Retention is how long events are kept, such as "7d"; empty for as long as the server
	// keeps them, which is never exceeded. RetentionEvents has it for some types instead.
	Retention       string            `json:"retention,omitempty"`
	RetentionEvents map[string]string `json:"retention_events,omitempty"`
}

// KeyLimits bounds what an API key may use. A member that is left out or null stands for
// the server's default, and 0 for no limit.
type KeyLimits struct {
	PublishRate       *float64 `json:"publish_rate"`       // events a second
	PendingDeliveries *int64   `json:"pending_deliveries"` // accepted and not ended
	PendingBytes      *int64   `json:"pending_bytes"`      // event data of the pending deliveries
	Callbacks         *int     `json:"callbacks"`          // for one event: 1 to 100
}

// Limits answers GET /v1/limits: the limits in force of an API key, and what it uses.
type Limits struct {
	APIKey            string    `json:"api_key"`
	PublishRate       RateLimit `json:"publish_rate"`
	PendingDeliveries Limit     `json:"pending_deliveries"`
	PendingBytes      Limit     `json:"pending_bytes"`
	Callbacks         Limit     `json:"callbacks"`  // for the event with the most
	CountedAt         time.Time `json:"counted_at"` // when the pending deliveries were counted; what happened since is added
}

// Limit is a limit and what is used of it. A limit of 0 is none.
type Limit struct {
	Limit int64 `json:"limit"`
	Used  int64 `json:"used"`
}

// RateLimit is a limit of events a second, how many may be published at once, and how many
// of those are left. A limit of 0 is none; then the others are 0 too.
type RateLimit struct {
	Limit float64 `json:"limit"`
	Burst int64   `json:"burst"`
	Left  int64   `json:"left"`
}

// NewKey is the body of POST /v1/admin/keys.
type NewKey struct {
	Account string `json:"account"`
	Live    *bool  `json:"live,omitempty"` // nil: true
	KeySettings
}

// Key is an API key.
type Key struct {
	APIKey              string          `json:"api_key"`
	Account             string          `json:"account"`
	Name                string          `json:"name"`
	Live                bool            `json:"live"`
	State               string          `json:"state"` // active, expired or revoked
	SessionsExpireAfter string          `json:"sessions_expire_after"`
	CaptureURL          *string         `json:"capture_url"` // null: the server's
	CreatedAt           time.Time       `json:"created_at"`
	ExpiresAt           *time.Time      `json:"expires_at"`
	RevokedAt           *time.Time      `json:"revoked_at"`
	OldSecretEndsAt     *time.Time      `json:"old_secret_ends_at"` // null: there is none
	Limits              KeyLimits       `json:"limits"`
	CallbackPolicy      json.RawMessage `json:"callback_policy"`  // {} without members
	Retention           *string         `json:"retention"`        // null: the server's
	RetentionEvents     json.RawMessage `json:"retention_events"` // an object with a duration for each type
	Secret              string          `json:"secret,omitempty"` // only in the answer that made it
}

// KeyList answers GET /v1/admin/keys. Next is null at the end.
type KeyList struct {
	Data []Key   `json:"data"`
	Next *string `json:"next"`
}

// Account is an account with the number of its API keys.
type Account struct {
	Account string `json:"account"`
	Keys    int    `json:"keys"`
	Active  int    `json:"active"` // keys in force
}

// AccountList answers GET /v1/admin/accounts.
type AccountList struct {
	Data []Account `json:"data"`
}

// CallbackState is a callback in the list over all API keys.
type CallbackState struct {
	APIKey       string     `json:"api_key"`
	Callback     int64      `json:"callback"`
	Event        string     `json:"event"`
	Name         string     `json:"name"`
	URL          string     `json:"url"`
	Method       string     `json:"method"`
	Paused       bool       `json:"paused"`
	PauseReason  string     `json:"pause_reason"`
	PausedAt     *time.Time `json:"paused_at"`
	FailingSince *time.Time `json:"failing_since"`
	ClosedUntil  *time.Time `json:"closed_until"`
	CreatedAt    time.Time  `json:"created_at"`
	UpdatedAt    time.Time  `json:"updated_at"`
}

// CallbackStateList answers GET /v1/admin/callbacks. Next is null at the end.
type CallbackStateList struct {
	Data []CallbackState `json:"data"`
	Next *int64          `json:"next"`
}

// Stats has the counts of one minute or hour.
type Stats struct {
	At        time.Time `json:"at"`
	Delivered int64     `json:"delivered"`
	Failed    int64     `json:"failed"`
	Canceled  int64     `json:"canceled"`
	Expired   int64     `json:"expired"`
	Attempts  int64     `json:"attempts"`
	Faults    int64     `json:"faults"`   // attempts that failed
	ByFault   ByFault   `json:"by_fault"` // the same by kind
	Repeats   int64     `json:"repeats"`  // attempts of resends and replays
}

// StatsList answers GET /v1/admin/stats. Intervals in which nothing happened are left out.
type StatsList struct {
	Data []Stats `json:"data"`
}

// Node is one process on the store.
type Node struct {
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	Address    string     `json:"address"`
	Self       bool       `json:"self"` // it answered the call
	StartedAt  time.Time  `json:"started_at"`
	Shards     int        `json:"shards"`
	InFlight   int        `json:"in_flight"`
	Callbacks  int        `json:"callbacks"` // with pending deliveries
	LeaseUntil *time.Time `json:"lease_until"`
}

// NodeList answers GET /v1/admin/nodes.
type NodeList struct {
	Data []Node `json:"data"`
}

// Setting is one option that the server runs with.
type Setting struct {
	Name   string `json:"name"`  // of the option, without --
	Value  string `json:"value"` // masked when it is a secret
	Source string `json:"source"`
}

// SettingList answers GET /v1/admin/settings.
type SettingList struct {
	Data []Setting `json:"data"`
}

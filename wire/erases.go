package wire

import (
	"encoding/json"
	"time"
)

// NewErase is the body of POST /v1/erases. Exactly one of the first four members is given.
type NewErase struct {
	SessionKey string `json:"session_key,omitempty"`
	VIN        string `json:"vin,omitempty"`
	Phone      string `json:"phone,omitempty"`
	Reference  string `json:"reference,omitempty"`
	DryRun     bool   `json:"dry_run,omitempty"`
}

// Erase is an erasure and how far it has come.
type Erase struct {
	APIKey    string      `json:"api_key,omitempty"` // only in answers of /v1/admin
	Group     string      `json:"group,omitempty"`   // only in answers of /v1/admin, when one order erased in all API keys
	ID        string      `json:"id"`
	By        string      `json:"by"`      // session_key, vin, phone or reference
	Subject   string      `json:"subject"` // the session key, or a keyed hash of the value
	DryRun    bool        `json:"dry_run"`
	State     string      `json:"state"` // running or done
	Phase     string      `json:"phase"`
	CreatedAt time.Time   `json:"created_at"`
	EndedAt   *time.Time  `json:"ended_at"`
	Counts    EraseCounts `json:"counts"`
	// Receipt is canonical JSON; null before the end. ReceiptSHA256 is the hash of its
	// bytes, as they stand in this answer.
	Receipt       json.RawMessage `json:"receipt"`
	ReceiptSHA256 string          `json:"receipt_sha256"`
}

// EraseGroup is an erasure over all API keys.
type EraseGroup struct {
	ID        string      `json:"id"`
	By        string      `json:"by"`
	DryRun    bool        `json:"dry_run"`
	State     string      `json:"state"` // running until the last one has ended, then done
	CreatedAt time.Time   `json:"created_at"`
	EndedAt   *time.Time  `json:"ended_at"`
	Keys      int         `json:"keys"`   // in how many API keys it was started
	Counts    EraseCounts `json:"counts"` // the sums
	// Receipt is canonical JSON with the hash of each erasure's receipt; null before the end,
	// and when an erasure is no longer stored.
	Receipt       json.RawMessage `json:"receipt"`
	ReceiptSHA256 string          `json:"receipt_sha256"`
	Data          []Erase         `json:"data"` // one for each API key
}

// EraseCounts is how much an erasure has erased so far.
type EraseCounts struct {
	Sessions       int64 `json:"sessions"`
	SessionRecords int64 `json:"session_records"`
	Photos         int64 `json:"photos"`
	Notes          int64 `json:"notes"`
	Events         int64 `json:"events"`
	Canceled       int64 `json:"canceled"`
	Attempts       int64 `json:"attempts"`
	Callbacks      int64 `json:"callbacks"`
	Idempotency    int64 `json:"idempotency_keys"`
	LogMessages    int64 `json:"log_messages"`
	Reasons        int64 `json:"reasons"`
}

// EraseList answers GET /v1/erases. Next is null at the end.
type EraseList struct {
	Data []Erase `json:"data"`
	Next *string `json:"next"`
}

// EraseGroupList answers GET /v1/admin/erase-groups. Next is null at the end.
type EraseGroupList struct {
	Data []EraseGroup `json:"data"`
	Next *string      `json:"next"`
}

package wire

import (
	"encoding/json"
	"time"
)

// AuditList answers GET /v1/audit.
type AuditList struct {
	Data []AuditEntry `json:"data"`
	Next *string      `json:"next"`
}

// AuditEntry says who changed what. Before and After have the members that differ; secrets
// are hashes in them. Each is null when there was nothing before, or nothing is left.
type AuditEntry struct {
	Number   int64           `json:"number"` // within the log of the API key, from 1
	At       time.Time       `json:"at"`
	Action   string          `json:"action"`
	Actor    AuditActor      `json:"actor"`
	Subject  string          `json:"subject"`
	Callback int64           `json:"callback"` // 0: none
	Before   json.RawMessage `json:"before"`
	After    json.RawMessage `json:"after"`
	Hash     string          `json:"hash"` // of this entry and the hash before it
}

// AuditActor is who made a change, and from where. Name and Address are empty when they
// are not known. Of the operator an API key sees the kind only.
type AuditActor struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Address string `json:"address"`
}

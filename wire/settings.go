package wire

import (
	"encoding/json"
	"time"
)

// SettingsFile has API keys with their callbacks. GET /v1/admin/settings/export answers with
// it, and POST /v1/admin/settings/apply takes it. In place of a secret is a reference:
// {"keep": true}, or {"value": "…"}.
type SettingsFile struct {
	Version int           `json:"version"` // 1
	Keys    []SettingsKey `json:"keys"`
}

// SettingsKey is an API key in a file. Without an api_key it is found by its account and
// name, or made.
type SettingsKey struct {
	APIKey              string             `json:"api_key"`
	Account             string             `json:"account"`
	Name                string             `json:"name"`
	Live                bool               `json:"live"`
	Secret              json.RawMessage    `json:"secret"`
	SessionsExpireAfter string             `json:"sessions_expire_after"`
	CaptureURL          string             `json:"capture_url,omitempty"` // empty: the server's
	ExpiresAt           *time.Time         `json:"expires_at,omitempty"`  // nil: never
	Limits              json.RawMessage    `json:"limits,omitempty"`      // the members that are set
	CallbackPolicy      json.RawMessage    `json:"callback_policy,omitempty"`
	Retention           *string            `json:"retention,omitempty"` // nil: the server's
	RetentionEvents     json.RawMessage    `json:"retention_events,omitempty"`
	Callbacks           []SettingsCallback `json:"callbacks"`
}

// SettingsCallback is a callback in a file.
type SettingsCallback struct {
	Event   string          `json:"event"`
	Name    string          `json:"name"`
	URL     string          `json:"url"`
	Method  string          `json:"method"`
	Headers json.RawMessage `json:"headers,omitempty"` // an object; a value is a text or a reference
	Payload json.RawMessage `json:"payload,omitempty"`
	Policy  json.RawMessage `json:"policy,omitempty"` // the members that are set
	Secret  json.RawMessage `json:"secret"`
	Paused  bool            `json:"paused,omitempty"` // by a person
}

// SettingsApplication is the body of POST /v1/admin/settings/apply.
type SettingsApplication struct {
	Settings    json.RawMessage `json:"settings"` // a SettingsFile, where members may be left out
	DryRun      bool            `json:"dry_run,omitempty"`
	Prune       bool            `json:"prune,omitempty"`       // remove what the file does not name
	Fingerprint string          `json:"fingerprint,omitempty"` // of the plan that was read; empty: of any
}

// SettingsPlan answers POST /v1/admin/settings/apply.
type SettingsPlan struct {
	Applied     bool             `json:"applied"`     // false for a dry run
	Fingerprint string           `json:"fingerprint"` // of the settings that the plan was made from
	Created     int              `json:"created"`
	Changed     int              `json:"changed"`
	Removed     int              `json:"removed"`
	Changes     []SettingsChange `json:"changes"`
	Keys        []SettingsNewKey `json:"keys"` // that were made, with their secrets; none in a dry run
	Warnings    []string         `json:"warnings"`
}

// SettingsChange is one change of a plan: of a callback, or of an API key when it has no
// event.
type SettingsChange struct {
	Action  string           `json:"action"` // "create", "change" or "remove"
	Place   string           `json:"place"`  // in the file; empty when it does not name what is removed
	APIKey  string           `json:"api_key"`
	Account string           `json:"account"`
	KeyName string           `json:"key_name"`
	Event   string           `json:"event"`
	Name    string           `json:"name"` // of the callback
	Members []SettingsMember `json:"members"`
}

// SettingsMember is a member that a change changes. Secrets are masked.
type SettingsMember struct {
	Name   string `json:"name"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// SettingsNewKey is an API key that was made.
type SettingsNewKey struct {
	APIKey  string `json:"api_key"`
	Account string `json:"account"`
	Name    string `json:"name"`
	Secret  string `json:"secret"`
}

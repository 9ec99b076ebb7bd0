package wire

import "encoding/json"

// EventKind describes one type of events.
type EventKind struct {
	Type        string `json:"type"`
	Group       string `json:"group"` // session, notice or own
	Description string `json:"description"`
	// Schema is the JSON Schema (2020-12) of the body that a receiver gets, without the
	// payload of the callback.
	Schema json.RawMessage `json:"schema"`
	Sample json.RawMessage `json:"sample"` // a whole body
}

// EventKindList answers GET /v1/event-types.
type EventKindList struct {
	Data []EventKind `json:"data"`
}

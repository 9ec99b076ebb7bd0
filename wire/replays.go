package wire

import "time"

// NewReplay is the body of POST /v1/replays. Callback and Target are the number of a
// callback, or its name when Event is given.
type NewReplay struct {
	States     []string   `json:"states,omitempty"`
	Event      string     `json:"event,omitempty"`
	Callback   any        `json:"callback,omitempty"`
	SessionKey string     `json:"session_key,omitempty"`
	Since      *time.Time `json:"since,omitempty"`
	Until      *time.Time `json:"until,omitempty"`
	Target     any        `json:"target,omitempty"`
	Rate       float64    `json:"rate,omitempty"`
	Missing    bool       `json:"missing,omitempty"`
	DryRun     bool       `json:"dry_run,omitempty"`
}

// NewCancellation is the body of POST /v1/deliveries/cancel. Callback is the number of a
// callback, or its name when Event is given.
type NewCancellation struct {
	Event      string     `json:"event,omitempty"`
	Callback   any        `json:"callback,omitempty"`
	SessionKey string     `json:"session_key,omitempty"`
	Since      *time.Time `json:"since,omitempty"`
	Until      *time.Time `json:"until,omitempty"`
	Rate       float64    `json:"rate,omitempty"`
	Reason     string     `json:"reason,omitempty"`
	DryRun     bool       `json:"dry_run,omitempty"`
}

// ReplayCount answers POST /v1/replays and POST /v1/deliveries/cancel with dry_run.
type ReplayCount struct {
	Total int64 `json:"total"`
}

// Replay is a replay, or a cancellation, with its counts.
type Replay struct {
	APIKey     string     `json:"api_key,omitempty"` // only in answers of /v1/admin
	ID         string     `json:"id"`
	Action     string     `json:"action"` // resend or cancel
	State      string     `json:"state"`
	States     []string   `json:"states"`
	Event      string     `json:"event"`
	Callback   int64      `json:"callback"` // 0: any
	SessionKey string     `json:"session_key"`
	Since      *time.Time `json:"since"`
	Until      *time.Time `json:"until"`
	Target     int64      `json:"target"` // 0: none
	Missing    bool       `json:"missing"`
	By         string     `json:"by"`     // who cancels; empty for a replay that resends
	Reason     string     `json:"reason"` // of the cancellation
	Rate       float64    `json:"rate"`   // deliveries per second; 0: no limit
	CreatedAt  time.Time  `json:"created_at"`
	EndedAt    *time.Time `json:"ended_at"`
	Total      int64      `json:"total"`
	Due        int64      `json:"due"`
	Skipped    int64      `json:"skipped"`
	Created    int64      `json:"created"`
	Pending    int64      `json:"pending"`
	Delivered  int64      `json:"delivered"`
	Failed     int64      `json:"failed"`
	Canceled   int64      `json:"canceled"`
}

// ReplayList answers GET /v1/replays. Next is null at the end.
type ReplayList struct {
	Data []Replay `json:"data"`
	Next *string  `json:"next"`
}

// Explanation says why a delivery is in its state, or why there is no delivery.
type Explanation struct {
	Delivery     *string  `json:"delivery"` // null: there is no delivery
	EventID      string   `json:"event_id"`
	Callback     int64    `json:"callback"`
	CallbackName string   `json:"callback_name"`
	State        string   `json:"state"` // empty without a delivery
	Reasons      []Reason `json:"reasons"`
	Next         string   `json:"next"` // what to do; empty: nothing
}

// Reason is one reason of an explanation. The decisive one comes first.
type Reason struct {
	Code    string     `json:"code"`
	Message string     `json:"message"`
	Since   *time.Time `json:"since"`
	Until   *time.Time `json:"until"`
}

// EventExplanation answers GET /v1/events/:id/explain.
type EventExplanation struct {
	EventID string        `json:"event_id"`
	Data    []Explanation `json:"data"`
}

// Log is one call that was made with the API key, or the sum of a minute's
// calls of one kind.
type Log struct {
	APIKey   string    `json:"api_key,omitempty"` // only in answers of /v1/admin
	At       time.Time `json:"at"`
	Method   string    `json:"method"`
	Path     string    `json:"path"`
	Status   int       `json:"status"`
	Duration float64   `json:"duration_ms"` // of a sum: the mean
	Message  string    `json:"message"`
	Address  string    `json:"address"`
	Count    int64     `json:"count"` // more than 1, or of a sum: how many
}

// LogList answers GET /v1/logs. Next is null at the end.
type LogList struct {
	Data []Log   `json:"data"`
	Next *string `json:"next"`
}

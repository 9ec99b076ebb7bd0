package wire

import "time"

// About names what an incident is about. What does not apply is left out.
type About struct {
	Account  string `json:"account,omitempty"`  // of the API key
	KeyName  string `json:"key_name,omitempty"` // of the API key
	Callback int64  `json:"callback,omitempty"` // its ID
	Event    string `json:"callback_event,omitempty"`
	Name     string `json:"callback_name,omitempty"`
	Origin   string `json:"origin,omitempty"` // of the callback's URL

	Since       *time.Time `json:"since,omitempty"`  // when the condition began
	Status      int        `json:"status,omitempty"` // of the last attempt that failed
	Fault       string     `json:"fault,omitempty"`  // of the last attempt that failed
	PauseReason string     `json:"pause_reason,omitempty"`
	Pending     int64      `json:"pending,omitempty"`
	EndsAt      *time.Time `json:"ends_at,omitempty"` // of a certificate
	Own         bool       `json:"own,omitempty"`     // it is the client certificate
	Expect      string     `json:"expect,omitempty"`
	Free        int64      `json:"free_bytes,omitempty"` // of the volume
	Node        string     `json:"node,omitempty"`
	Deleted     bool       `json:"deleted,omitempty"` // the incident ended because the callback was deleted
}

// Notice is the data of the events about callbackd itself.
type Notice struct {
	Incident string     `json:"incident"`
	State    string     `json:"state"` // open or closed
	Text     string     `json:"text"`
	OpenedAt time.Time  `json:"opened_at"`
	ClosedAt *time.Time `json:"closed_at"`
	Count    int64      `json:"count"`
	About
}

// Incident is one incident.
type Incident struct {
	ID       string     `json:"id"`
	APIKey   string     `json:"api_key,omitempty"` // for operator tokens
	Event    string     `json:"event"`             // the type of its notices: the last one, not that of the end
	State    string     `json:"state"`             // open or closed
	Text     string     `json:"text"`
	OpenedAt time.Time  `json:"opened_at"`
	GoneAt   *time.Time `json:"gone_at"` // since when the condition has been gone; null while it lasts
	ClosedAt *time.Time `json:"closed_at"`
	Count    int64      `json:"count"`
	About

	AcknowledgedAt *time.Time `json:"acknowledged_at"`
	AcknowledgedBy string     `json:"acknowledged_by,omitempty"`
	MutedUntil     *time.Time `json:"muted_until"`
}

// IncidentList answers GET /v1/incidents. Next is null at the end.
type IncidentList struct {
	Data []Incident `json:"data"`
	Next *string    `json:"next"`
}

package wire

import "time"

// Status is what a server says of itself to the operator: GET /statusz.
type Status struct {
	Version   string           `json:"version"`
	StartedAt time.Time        `json:"started_at"`
	Ready     bool             `json:"ready"`
	Reason    string           `json:"reason,omitempty"` // why it is not ready
	Store     string           `json:"store"`            // sqlite or postgresql
	LogLevel  string           `json:"log_level"`
	InFlight  int              `json:"in_flight"` // attempts
	Pending   *int64           `json:"pending"`   // deliveries; null: the store did not answer
	OldestDue *time.Time       `json:"oldest_due"`
	Incidents *StatusIncidents `json:"incidents"` // null: the store did not answer
	// Archive says why the archive cannot be written, so that nothing old is removed; it is
	// null when it can be. Of several nodes only the one that removes old events has it.
	Archive *StatusArchive `json:"archive"`
	// Troubled is the number of callbacks that fail, are paused or are late, up to 20.
	Troubled int           `json:"troubled"`
	Nodes    []StatusNode  `json:"nodes"`
	Errors   []StatusError `json:"errors"` // the last ones first
}

// StatusIncidents counts incidents.
type StatusIncidents struct {
	Open         int64 `json:"open"`
	Mails        int64 `json:"mails_waiting"` // of which a mail is to be sent
	MailsFailing int64 `json:"mails_failing"` // of which a mail could not be sent yet
}

// StatusArchive is an archive that cannot be written.
type StatusArchive struct {
	FailingSince time.Time `json:"failing_since"`
	Error        string    `json:"error"`
}

// StatusNode is a node on the database.
type StatusNode struct {
	Name      string    `json:"name"`
	Address   string    `json:"address"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	Self      bool      `json:"self"` // the node that answers
	Shards    int       `json:"shards"`
	InFlight  int       `json:"in_flight"`
}

// StatusError is a fault that the server has logged.
type StatusError struct {
	At      time.Time `json:"at"` // when it was logged last
	Level   string    `json:"level"`
	Message string    `json:"message"`
	Error   string    `json:"error,omitempty"`
	Count   int       `json:"count"` // how often it was logged
}

// LogLevel is the lowest level that a server logs: PUT /log-level.
type LogLevel struct {
	Level string `json:"level"` // debug, info, warn or error
}

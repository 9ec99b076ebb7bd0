package wire

import "time"

// Forward is a line of `callbackd listen --json`: one event, and what the local program
// answered.
type Forward struct {
	At         time.Time `json:"at"`
	ID         string    `json:"id"` // of the event
	Event      string    `json:"event"`
	SessionKey string    `json:"session_key"`
	Sequence   int64     `json:"sequence"`
	Test       bool      `json:"test"`
	// Callback is the name of the callback whose setting was used; empty for none.
	Callback string `json:"callback"`
	// Withheld is the term of the callback's filter that did not match. Then nothing was sent.
	Withheld string   `json:"withheld,omitempty"`
	Attempt  int      `json:"attempt,omitempty"`
	Request  *Request `json:"request,omitempty"` // nil when nothing was sent
	Status   int      `json:"status,omitempty"`  // 0 without an answer
	Took     float64  `json:"took_ms,omitempty"`
	Fault    string   `json:"fault,omitempty"`
	Error    string   `json:"error,omitempty"`
	Response string   `json:"response,omitempty"` // the body of the answer
}

// Triggered is what `callbackd trigger --json` prints: the events that it published, and
// their deliveries, which have ended when the command waited for them.
type Triggered struct {
	Events     []Accepted `json:"events"`
	Deliveries []Delivery `json:"deliveries"`
}

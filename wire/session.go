package wire

import (
	"encoding/json"
	"fmt"
	"time"
)

// Timestamp is a time as sessions write it, in seconds: 2021-08-17T13:27:10+00:00;
// null for the zero time.
type Timestamp time.Time

const stampLayout = "2006-01-02T15:04:05+00:00"

// MarshalJSON writes the time in UTC.
func (s Timestamp) MarshalJSON() ([]byte, error) {
	t := time.Time(s)
	if t.IsZero() {
		return []byte("null"), nil
	}
	return t.UTC().AppendFormat(make([]byte, 0, len(stampLayout)+2), `"`+stampLayout+`"`), nil
}

// UnmarshalJSON reads any RFC 3339 time, or null.
func (s *Timestamp) UnmarshalJSON(b []byte) error {
	var text *string
	if err := json.Unmarshal(b, &text); err != nil || text == nil {
		*s = Timestamp{}
		return err
	}
	t, err := time.Parse(time.RFC3339, *text)
	if err != nil {
		return fmt.Errorf("time of a session: %w", err)
	}
	*s = Timestamp(t.UTC())
	return nil
}

// Session is one inspection as PAVE documents it. Unknown members are null.
type Session struct {
	APIKey           string         `json:"api_key,omitempty"` // only in answers of /v1/admin
	SessionKey       string         `json:"session_key"`
	Theme            string         `json:"theme"`
	Active           bool           `json:"active"`
	Status           string         `json:"status"`
	RedirectURL      *string        `json:"redirect_url"`
	InspectStartedAt Timestamp      `json:"inspect_started_at"`
	InspectEndedAt   Timestamp      `json:"inspect_ended_at"`
	CreatedAt        Timestamp      `json:"created_at"`
	UpdatedAt        Timestamp      `json:"updated_at"`
	Language         string         `json:"language"`
	CaptureURL       *string        `json:"capture_url"` // the link that the person opens
	Options          SessionOptions `json:"options"`
	Source           SessionSource  `json:"source"`
	Vehicle          *Vehicle       `json:"vehicle,omitempty"` // once something is known of it
	// Callback is the one that POST /v1/sessions gave the session; only in its answer.
	Callback *Callback  `json:"callback,omitempty"`
	ErasedAt *time.Time `json:"erased_at,omitempty"`
}

// SessionOptions has the options that the client gave for a session.
type SessionOptions struct {
	ClientID  *string         `json:"client_id"`
	SMS       SessionSMS      `json:"sms"`
	Contact   SessionContact  `json:"contact"`
	Reference json.RawMessage `json:"reference"` // null 24 hours after completion
}

// SessionSMS says who gets the SMS with the link, and from whom.
type SessionSMS struct {
	To     *string `json:"to"`
	ToName *string `json:"to_name"`
	From   *string `json:"from"`
	By     *string `json:"by"`
}

// SessionContact has the user's name.
type SessionContact struct {
	FirstName *string `json:"first_name"`
	LastName  *string `json:"last_name"`
}

// SessionSource says where a session was created.
type SessionSource struct {
	Type       string          `json:"type"`
	Properties json.RawMessage `json:"properties"`
}

// Vehicle describes a vehicle. Unknown members are null.
type Vehicle struct {
	VehicleID    *int64  `json:"vehicle_id"`
	VIN          *string `json:"vin"`
	Year         *int    `json:"year"`
	Make         *string `json:"make"`
	Model        *string `json:"model"`
	BodyType     *string `json:"body_type"`
	Trim         *string `json:"trim"`
	Transmission *string `json:"transmission"`
	Drivetrain   *string `json:"drivetrain"`
	EngineType   *string `json:"engine_type"`
	FuelType     *string `json:"fuel_type"`
	ExtCol       *string `json:"ext_col"`
	IntCol       *string `json:"int_col"`
	OdomReading  *string `json:"odom_reading"`
	OdomUnit     *string `json:"odom_unit"`
}

// CompletedSession is the member session of COMPLETE and of GET …/results, as
// PAVE sends it. The platform may have added members.
type CompletedSession struct {
	SessionKey       string          `json:"session_key"`
	Theme            string          `json:"theme"`
	Active           bool            `json:"active"`
	Status           string          `json:"status"`
	RedirectURL      *string         `json:"redirect_url"`
	InspectStartedAt Timestamp       `json:"inspect_started_at"`
	InspectEndedAt   Timestamp       `json:"inspect_ended_at"`
	CreatedAt        Timestamp       `json:"created_at"`
	UpdatedAt        Timestamp       `json:"updated_at"`
	Language         string          `json:"language"`
	Options          SessionOptions  `json:"options"`
	UserAccount      UserAccount     `json:"user_account"`
	Source           SessionSource   `json:"source"`
	CaptureDuration  int64           `json:"capture_duration"` // seconds from the start to QC_PASSED
	InspectDuration  int64           `json:"inspect_duration"` // seconds from the start to the end
	Vehicle          json.RawMessage `json:"vehicle"`
}

// UserAccount is the user of the session. Only the platform knows it.
type UserAccount struct {
	Username  *string `json:"username"`
	FirstName *string `json:"first_name"`
	LastName  *string `json:"last_name"`
	Email     *string `json:"email"`
	Phone     *string `json:"phone"`
}

// Photo is the latest capture of one step. URL is empty for a typed value.
type Photo struct {
	PhotoCode       int       `json:"photo_code"`
	PhotoLabel      string    `json:"photo_label"`
	URL             string    `json:"url"`
	Approved        bool      `json:"approved"`
	ApprovedMessage string    `json:"approved_message"`
	CreatedAt       Timestamp `json:"created_at"`
	UpdatedAt       Timestamp `json:"updated_at"`
}

// Note is a remark on a session.
type Note struct {
	Title       string    `json:"title"`
	Description string    `json:"description"`
	InsertedBy  string    `json:"inserted_by"`
	InsertedAt  Timestamp `json:"inserted_at"`
}

// SMSProcess, StageChange, StatusChange, NoteInsert and SMSRequested are the
// data of events.
type (
	// SMSProcess says that the state of the session's SMS changed.
	SMSProcess struct {
		Phone   string `json:"phone"`
		Status  string `json:"status"` // success or error
		Message string `json:"message,omitempty"`
	}
	// StageChange says that a photo was captured, or its value typed.
	StageChange struct {
		PhotoURL    string `json:"photo_url"`
		PhotoStatus string `json:"photo_status"` // ACCEPTED, or REJECTED: reason
		Message     string `json:"message,omitempty"`
		PhotoCode   int    `json:"photo_code"`
		PhotoLabel  string `json:"photo_label"`
	}
	// StatusChange says that the session has another status.
	StatusChange struct {
		Status         string    `json:"status"`
		Timestamp      Timestamp `json:"timestamp"`
		PreviousStatus string    `json:"previous_status"`
		Reason         string    `json:"reason,omitempty"` // of INVALID
	}
	// NoteInsert says that a note was added.
	NoteInsert struct {
		Note Note `json:"note"`
	}
	// SMSRequested asks the platform to send the SMS with the session's link.
	SMSRequested struct {
		Phone string  `json:"phone"`
		Name  *string `json:"name"`
		Link  *string `json:"link"` // the session's capture_url
	}
)

// SessionChange answers the calls of the platform with the session's new status and the
// events that were accepted with the change.
type SessionChange struct {
	SessionKey string     `json:"session_key"`
	Status     string     `json:"status"`
	Events     []Accepted `json:"events"`
}

// SessionList answers GET /v1/sessions. Next is null at the end. A page before the end
// may be short.
type SessionList struct {
	Data []Session `json:"data"`
	Next *string   `json:"next"`
}

// SessionEvent is one event of a session with its deliveries.
type SessionEvent struct {
	ID         string            `json:"id"`
	Event      string            `json:"event"`
	Sequence   int64             `json:"sequence"`
	AcceptedAt time.Time         `json:"accepted_at"`
	Data       json.RawMessage   `json:"data"`
	Deliveries []SessionDelivery `json:"deliveries"`
	ErasedAt   *time.Time        `json:"erased_at,omitempty"` // when an erasure removed the data
}

// SessionDelivery is the state of one delivery of an event.
type SessionDelivery struct {
	ID           string     `json:"id"`
	Callback     int64      `json:"callback"`
	CallbackName string     `json:"callback_name"`
	State        string     `json:"state"`
	Attempts     int        `json:"attempts"`
	NextAttempt  *time.Time `json:"next_attempt_at"` // null: at once, or ended
}

// SessionEventList answers GET /v1/sessions/:key/events. The events are in their order.
// Next is null at the end.
type SessionEventList struct {
	SessionKey string         `json:"session_key"`
	Data       []SessionEvent `json:"data"`
	Next       *string        `json:"next"`
}

// Resent answers the v2 resend.
type Resent struct {
	Status         string `json:"status"` // success
	Message        string `json:"message"`
	SessionKey     string `json:"session_key"`
	Phone          string `json:"phone"`
	SessionAgeDays int    `json:"session_age_days"`
	DaysRemaining  int    `json:"days_remaining"`
}

// NotResent answers a resend that was refused.
type NotResent struct {
	Status        string `json:"status"` // error
	Message       string `json:"message"`
	SessionKey    string `json:"session_key"`
	SessionStatus string `json:"session_status,omitempty"`
}

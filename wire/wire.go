// Package wire has the JSON bodies of the HTTP API, which openapi.yaml describes. Their
// members are in the documented order. Times are RFC 3339 in UTC, durations are in
// milliseconds.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"
)

// Message is the body of every error, and of some other answers. APIKey is set where
// PAVE documents it.
type Message struct {
	APIKey  string `json:"api_key,omitempty"`
	Message string `json:"message"`
}

// Links answers GET / with the paths to go on with.
type Links struct {
	Message   string `json:"message"`
	Console   string `json:"console"`
	Docs      string `json:"docs"`
	Callbacks string `json:"callbacks"`
	Events    string `json:"events"`
	Sessions  string `json:"sessions"`
	OpenAPI   string `json:"openapi"`
	Health    string `json:"health"`
	Ready     string `json:"ready"`
	Metrics   string `json:"metrics"`
}

// Headers has headers in the order in which they were given. In JSON it is an object.
type Headers []Header

// Header is one of [Headers].
type Header struct{ Name, Value string }

// MarshalJSON writes an object with the headers in their order.
func (h Headers) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // values come back as they were sent
	out.WriteByte('{')
	for i, v := range h {
		if i > 0 {
			out.WriteByte(',')
		}
		if err := enc.Encode(v.Name); err != nil {
			return nil, err
		}
		out.WriteByte(':')
		if err := enc.Encode(v.Value); err != nil {
			return nil, err
		}
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// UnmarshalJSON reads an object of strings and keeps its order.
func (h *Headers) UnmarshalJSON(b []byte) error {
	*h = Headers{}
	dec := json.NewDecoder(bytes.NewReader(b))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return errors.New("headers are not an object")
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		var value string
		if err := dec.Decode(&value); err != nil {
			return err
		}
		*h = append(*h, Header{name.(string), value})
	}
	return nil
}

// Callback is a callback as PAVE documents it, with our optional name.
type Callback struct {
	APIKey  string          `json:"api_key,omitempty"` // not in lists
	Event   string          `json:"event,omitempty"`   // not of a callback for one session
	URL     string          `json:"url"`
	Method  string          `json:"method"`
	Headers Headers         `json:"headers"`
	Payload json.RawMessage `json:"payload"`
	Name    string          `json:"name,omitempty"` // not of the default callback

	// These are of a callback for one session.
	ID         int64    `json:"callback_id,omitempty"` // names it in paths: GET /v1/callbacks/:id
	SessionKey string   `json:"session_key,omitempty"`
	Events     []string `json:"events,omitzero"`
	Secret     string   `json:"secret,omitempty"` // only in the answer to the call that made it, or moved it to another host
}

// CallbackList answers GET /v1/callbacks.
type CallbackList struct {
	APIKey string     `json:"api_key"`
	Data   []Callback `json:"data"`
}

// CallbackOne answers GET /v1/callbacks/:event.
type CallbackOne struct {
	APIKey string   `json:"api_key"`
	Data   Callback `json:"data"`
}

// Policy answers GET /v1/callbacks/:event/policy, pause and resume.
type Policy struct {
	APIKey        string          `json:"api_key"`
	Event         string          `json:"event,omitempty"` // not of a callback for one session
	Name          string          `json:"name"`
	Callback      int64           `json:"callback"`
	Timeout       string          `json:"timeout"`
	Retry         []string        `json:"retry"`
	Order         string          `json:"order"` // how long a failed delivery blocks later ones of its session
	Rate          float64         `json:"rate"`  // attempts a second; 0 is no limit
	Concurrency   int             `json:"concurrency"`
	KeepAlive     bool            `json:"keep_alive"`     // whether connections are used again
	StoreResponse bool            `json:"store_response"` // whether headers and bodies of answers are stored
	Signing       []string        `json:"signing"`        // "standard", "github", "hmac-hex:" and the name of a header
	TTL           string          `json:"ttl"`            // how long after it may be sent a delivery expires; "" for never
	Expect        string          `json:"expect"`         // how soon after the last event the next one is expected; "" for whenever
	OrderGroup    string          `json:"order_group"`    // "" when there is none, "auto", or a name
	Filter        json.RawMessage `json:"filter"`         // which events go to the callback; null for all
	Fields        json.RawMessage `json:"fields"`         // what of the data is sent; null for all
	Format        string          `json:"format"`         // of the body: "json", and for notices "slack" or "teams" too
	Auth          Auth            `json:"auth"`           // how callbackd signs in; without members when it does not
	OldAuthEnds   *time.Time      `json:"old_auth_ends"`  // until then the credentials before count too; null: there are none
	Paused        bool            `json:"paused"`
	PauseReason   string          `json:"pause_reason"`
	PausedAt      *time.Time      `json:"paused_at"`
	ClosedUntil   *time.Time      `json:"closed_until"` // until then the receiver asked for no requests; null: it did not, or the time has passed
}

// CallbackStats has the health, the backlog and the counts of a callback.
type CallbackStats struct {
	APIKey          string      `json:"api_key"`
	Event           string      `json:"event"`
	Name            string      `json:"name"`
	Callback        int64       `json:"callback"`
	Failing         bool        `json:"failing"` // an attempt failed, and none has succeeded since
	FailingSince    *time.Time  `json:"failing_since"`
	Paused          bool        `json:"paused"`
	PauseReason     string      `json:"pause_reason"`
	Pending         int         `json:"pending"`       // pending deliveries, counted up to 10,000
	PendingMore     bool        `json:"pending_more"`  // there may be more than were counted
	Overdue         int         `json:"overdue"`       // of those that were counted: waiting for more than a minute
	WaitingSince    *time.Time  `json:"waiting_since"` // since when the oldest has been waiting; null: nothing is pending
	LastSuccess     *time.Time  `json:"last_success"`
	LastFailure     *time.Time  `json:"last_failure"`
	LastFault       string      `json:"last_fault"`  // of the last failure
	LastStatus      int         `json:"last_status"` // of the last failure; 0 without an answer
	CertificateEnds *time.Time  `json:"certificate_ends"`
	Hour            StatsWindow `json:"last_hour"`
	Day             StatsWindow `json:"last_day"`
	Week            StatsWindow `json:"last_week"`
}

// StatsWindow has the counts of a callback since a time.
type StatsWindow struct {
	Since     time.Time `json:"since"`
	Attempts  int64     `json:"attempts"`
	Succeeded int64     `json:"succeeded"` // attempts
	Faults    int64     `json:"faults"`    // attempts that failed, for any reason
	ByFault   ByFault   `json:"by_fault"`  // the same by kind
	Repeats   int64     `json:"repeats"`   // attempts of resends and replays
	Delivered int64     `json:"delivered"` // deliveries that ended so, as are the three below
	Failed    int64     `json:"failed"`
	Canceled  int64     `json:"canceled"`
	Expired   int64     `json:"expired"`
	Latency   *Latency  `json:"latency_ms"` // null: nothing was delivered
}

// ByFault counts attempts that failed, by kind: a fault such as timeout, or the class of the
// answer's status such as status_5xx. It has only kinds that happened.
type ByFault map[string]int64

// Latency has percentiles of the time from acceptance to success, without resends and
// replays, in milliseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// Auth is the member policy.auth of a callback. The answers of the API have [redacted] in
// place of its secrets.
type Auth struct {
	OAuth2 *OAuth2     `json:"oauth2,omitempty"`
	Basic  *BasicAuth  `json:"basic,omitempty"`
	Bearer *BearerAuth `json:"bearer,omitempty"`
	TLS    *ClientTLS  `json:"tls,omitempty"`
}

// OAuth2 fetches access tokens with the client credentials grant.
type OAuth2 struct {
	TokenURL     string `json:"token_url"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	Scope        string `json:"scope,omitempty"`
	Audience     string `json:"audience,omitempty"`
	Style        string `json:"style,omitempty"` // "basic" or "body"
}

// BasicAuth is a name and a password.
type BasicAuth struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// BearerAuth is a token that does not change.
type BearerAuth struct {
	Token string `json:"token"`
}

// ClientTLS is what a callback sets for TLS. All texts but ServerName are PEM.
type ClientTLS struct {
	Cert       string `json:"cert,omitempty"`
	Key        string `json:"key,omitempty"`
	CA         string `json:"ca,omitempty"`
	ServerName string `json:"server_name,omitempty"`
}

// AuthTest answers POST …/auth/test. A part is null when there is nothing to try.
type AuthTest struct {
	OK    bool       `json:"ok"`
	Token *TokenTest `json:"token"`
	TLS   *TLSTest   `json:"tls"`
}

// TokenTest is what the provider of access tokens answered, without the token.
type TokenTest struct {
	Status    int    `json:"status"` // 0 when there was no answer
	Error     string `json:"error"`
	Type      string `json:"token_type"`
	ExpiresIn int64  `json:"expires_in"` // seconds; 0 when the answer did not say
	Scope     string `json:"scope"`
}

// TLSTest is how the TLS handshake with the receiver ended.
type TLSTest struct {
	Error    string     `json:"error"`
	CertEnds *time.Time `json:"cert_ends"` // of the receiver's certificate
}

// Secret answers GET and POST …/secret.
type Secret struct {
	APIKey string `json:"api_key"`
	Event  string `json:"event,omitempty"` // not of a callback for one session
	Secret string `json:"secret"`
}

// Accepted answers POST /v1/events.
type Accepted struct {
	ID         string `json:"id"`
	Event      string `json:"event"`
	SessionKey string `json:"session_key"`
	Sequence   int64  `json:"sequence"`
	Deliveries int    `json:"deliveries"`
	// Callback is the one that the event gave its session; nil when it gave none.
	Callback *Callback `json:"callback,omitempty"`
	// Warning says what in the data does not fit the schema of the event's type; only with
	// "serve --validate warn".
	Warning string `json:"warning,omitempty"`
}

// Event is one event as it is shown.
type Event struct {
	APIKey     string          `json:"api_key,omitempty"` // only in answers of /v1/admin
	ID         string          `json:"id"`
	Event      string          `json:"event"`
	SessionKey string          `json:"session_key"`
	Sequence   int64           `json:"sequence"`
	AcceptedAt time.Time       `json:"accepted_at"`
	DeliverAt  *time.Time      `json:"deliver_at,omitzero"` // before it, nothing is sent
	ExpiresAt  *time.Time      `json:"expires_at,omitzero"` // from it on, no attempt starts
	Test       bool            `json:"test"`
	Data       json.RawMessage `json:"data"`
	Deliveries []string        `json:"deliveries"` // their ids
	// Withheld has the callbacks whose filter did not match the event when it was
	// accepted. A replay may have sent it to them since.
	Withheld []Withheld `json:"withheld"`
	ErasedAt *time.Time `json:"erased_at,omitempty"` // when an erasure removed the data
	TraceID  string     `json:"trace_id,omitempty"`  // of the W3C trace context of the publish
}

// Withheld is a callback that did not get an event.
type Withheld struct {
	Callback int64  `json:"callback"`
	Term     string `json:"term"` // of its filter, that did not match
}

// EventList answers GET /v1/events. Next is null at the end.
type EventList struct {
	Data []Event `json:"data"`
	Next *string `json:"next"`
}

// Delivery is one delivery as it is shown.
type Delivery struct {
	APIKey       string     `json:"api_key,omitempty"` // only in answers of /v1/admin
	ID           string     `json:"id"`
	EventID      string     `json:"event_id"`
	Event        string     `json:"event"`
	SessionKey   string     `json:"session_key"`
	Sequence     int64      `json:"sequence"`
	Callback     int64      `json:"callback"`
	CallbackName string     `json:"callback_name"`
	State        string     `json:"state"`
	Attempts     int        `json:"attempts"`
	AcceptedAt   time.Time  `json:"accepted_at"`
	NextAttempt  *time.Time `json:"next_attempt_at"`     // null: at once, or ended
	ExpiresAt    *time.Time `json:"expires_at,omitzero"` // of a pending delivery: by its event or the callback's ttl
	Repeated     bool       `json:"repeated"`            // a person resent it, and it is pending
	Test         bool       `json:"test"`
	History      []Attempt  `json:"history,omitzero"` // empty before the first attempt; not in lists
	// Earlier is set when there are attempts before those in History. They are read
	// with ?before= and this number.
	Earlier int `json:"earlier,omitzero"`
	// Cancellation is set when the delivery was canceled between two attempts. Lists do
	// not have it.
	Cancellation *Cancellation `json:"cancellation,omitzero"`
	// Expiry is set when the delivery expired between two attempts. Lists do not have it.
	Expiry *Cancellation `json:"expiry,omitzero"`
}

// Cancellation says when a delivery was canceled or expired, and why.
type Cancellation struct {
	At  time.Time `json:"at"`
	Why string    `json:"why"`
}

// DeliveryList answers GET /v1/deliveries. Next is null at the end. A page before the end
// may be short.
type DeliveryList struct {
	Data []Delivery `json:"data"`
	Next *string    `json:"next"`
}

// Attempt is one HTTP request with its answer, and what callbackd decided after it.
type Attempt struct {
	Number    int        `json:"number"`
	Repeat    bool       `json:"repeat"` // the delivery had ended before, and a person resent it
	StartedAt time.Time  `json:"started_at"`
	Address   string     `json:"address"`
	Reused    bool       `json:"connection_reused"`
	Timings   Timings    `json:"timings_ms"`
	Request   Request    `json:"request"`
	Response  *Response  `json:"response"` // null without an answer
	Fault     string     `json:"fault"`
	Error     string     `json:"error"`
	State     string     `json:"state"`
	Why       string     `json:"why"`
	Next      *time.Time `json:"next_attempt_at"`
	// Capture is "erased" when the request and the answer are not shown, because an erasure
	// removed them, and "response_not_stored" when of the answer only the status and the size
	// were stored. It is left out when everything is shown.
	Capture string `json:"capture,omitempty"`
}

// Timings has the duration of each phase of an attempt in milliseconds.
type Timings struct {
	DNS       float64 `json:"dns"`
	Connect   float64 `json:"connect"`
	TLS       float64 `json:"tls"`
	FirstByte float64 `json:"first_byte"`
	Total     float64 `json:"total"`
}

// Request is the request of an attempt. The values of the callback's own headers are
// redacted.
type Request struct {
	Method  string  `json:"method"`
	URL     string  `json:"url"`
	Headers Headers `json:"headers"`
	Body    string  `json:"body"`
	// BodyOf is set when the body is long and the same as that of another attempt. It
	// is the number of that attempt, and Body is empty.
	BodyOf int `json:"body_of,omitzero"`
}

// Response is the answer of the receiver, as received. Body is text when it is UTF-8,
// and base64 otherwise.
type Response struct {
	Status     int    `json:"status"`
	Headers    string `json:"headers"`
	Body       string `json:"body"`
	Encoding   string `json:"body_encoding"` // "utf-8" or "base64"
	Size       int64  `json:"size"`          // bytes read
	Truncated  bool   `json:"truncated"`
	Location   string `json:"location"`
	RetryAfter string `json:"retry_after"`
}

// FilterTest answers POST /v1/callbacks/filter/test.
type FilterTest struct {
	APIKey   string          `json:"api_key"`
	Matching int             `json:"matching"` // how many of the events match
	Data     []FilteredEvent `json:"data"`     // newest first
}

// FilteredEvent is an event that a filter and a choice of fields were tried with.
type FilteredEvent struct {
	ID         string          `json:"id"`
	Event      string          `json:"event"`
	SessionKey string          `json:"session_key"`
	AcceptedAt time.Time       `json:"accepted_at"`
	Matches    bool            `json:"matches"`
	Failed     string          `json:"failed"` // the term that did not hold; empty when the event matches
	Data       json.RawMessage `json:"data"`   // what is sent of the event's data
}

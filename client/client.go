// Package client calls callbackd's HTTP API: Client with an API key, Admin with an operator
// token, and Server without either. Verify checks the requests that a receiver gets.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"callbackd/internal/signature"
	"callbackd/wire"
)

// Client calls the API with one API key. It may be used concurrently.
type Client struct {
	Base                       string // such as http://127.0.0.1:8080
	Account, APIKey, APISecret string
	HTTP                       *http.Client // nil: http.DefaultClient
}

// Error is the error of a call that was answered with another status than 2xx.
type Error struct {
	Status  int
	Message string
}

// Error returns the status and the server's message.
func (e *Error) Error() string { return fmt.Sprintf("%d: %s", e.Status, e.Message) }

// maxAnswer is how much of an answer is read, in bytes.
const maxAnswer = 64 << 20

// Do makes a signed call. It sends body as JSON unless it is nil, and reads the answer
// into out unless that is nil.
func (c *Client) Do(ctx context.Context, method, path string, body, out any) error {
	var r io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, r)
	if err != nil {
		return err
	}
	signature.SetHeaders(req.Header, c.Account, c.APIKey, c.APISecret, time.Now())
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.send(req, out)
}

// send makes a call and reads its answer into out unless that is nil.
func (c *Client) send(req *http.Request, out any) error {
	if key, ok := req.Context().Value(idempotencyKey{}).(string); ok {
		req.Header.Set("Idempotency-Key", key)
	}
	h := c.HTTP
	if h == nil {
		h = http.DefaultClient
	}
	resp, err := h.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode/100 != 2 {
		return answerError(resp.StatusCode, raw)
	}
	if out == nil {
		return nil
	}
	if text, ok := out.(*string); ok { // a body that is not JSON
		*text = string(raw)
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("decode the answer: %w", err)
	}
	return nil
}

// answerError returns the error of an answer with another status than 2xx.
func answerError(status int, body []byte) error {
	var m wire.Message
	if json.Unmarshal(body, &m) != nil || m.Message == "" {
		m.Message = http.StatusText(status)
	}
	return &Error{status, m.Message}
}

// NewCallback is the body that CreateCallback sends.
type NewCallback struct {
	Event   string            `json:"event"`
	URL     string            `json:"url"`
	Method  string            `json:"method,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Payload map[string]any    `json:"payload,omitempty"`
	Name    string            `json:"name,omitempty"`
	Retry   []string          `json:"retry,omitempty"`
	Timeout string            `json:"timeout,omitempty"`
	Order   string            `json:"order,omitempty"`
	Secret  string            `json:"secret,omitempty"` // the receiver's signing secret; empty: a new one
	Policy  *Policy           `json:"policy,omitempty"`
}

// Policy is the member policy of a callback, as far as it has no field in NewCallback.
type Policy struct {
	Signing       []string            `json:"signing,omitempty"`
	StoreResponse *bool               `json:"store_response,omitempty"` // false: headers and bodies of answers are not stored
	TTL           string              `json:"ttl,omitempty"`            // such as "15m": what is older is not sent
	Expect        string              `json:"expect,omitempty"`         // such as "1h": a longer silence is an incident
	OrderGroup    string              `json:"order_group,omitempty"`    // "auto", or a name
	Filter        map[string]any      `json:"filter,omitempty"`         // such as {"data.grade": {"lt": 3}}
	Fields        map[string][]string `json:"fields,omitempty"`         // such as {"except": ["vehicle.vin"]}
	Format        string              `json:"format,omitempty"`         // for callbacks for notices: "slack" or "teams"
	Auth          *wire.Auth          `json:"auth,omitempty"`
}

// NewSessionCallback is the member callback of a session or an event: a callback for that
// session alone.
type NewSessionCallback struct {
	URL     string            `json:"url"`
	Method  string            `json:"method,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Payload map[string]any    `json:"payload,omitempty"`
	Events  []string          `json:"events,omitempty"` // that it gets; empty for all of callbackd's
	Policy  *Policy           `json:"policy,omitempty"`
}

// SessionCallbacks returns the callbacks that are for one session, oldest first. Secret,
// DeleteCallback and the like take the text of a CallbackID in place of an event.
func (c *Client) SessionCallbacks(ctx context.Context, session string) (out wire.CallbackList, err error) {
	return out, c.Do(ctx, http.MethodGet, "/v1/callbacks?session="+url.QueryEscape(session), nil, &out)
}

// FilterTrial is the body that TestFilter sends.
type FilterTrial struct {
	Event  string              `json:"event,omitempty"` // empty for events of all types
	Filter map[string]any      `json:"filter,omitempty"`
	Fields map[string][]string `json:"fields,omitempty"`
}

// TestFilter shows what a filter and a choice of fields would do with the latest events.
func (c *Client) TestFilter(ctx context.Context, t FilterTrial) (out wire.FilterTest, err error) {
	return out, c.Do(ctx, http.MethodPost, "/v1/callbacks/filter/test", t, &out)
}

// CreateCallback registers a callback.
func (c *Client) CreateCallback(ctx context.Context, n NewCallback) (out wire.Callback, err error) {
	return out, c.Do(ctx, http.MethodPost, "/v1/callbacks", n, &out)
}

// Callbacks lists the callbacks of the API key, without those for one session.
func (c *Client) Callbacks(ctx context.Context) (out wire.CallbackList, err error) {
	return out, c.Do(ctx, http.MethodGet, "/v1/callbacks", nil, &out)
}

// callbackPath returns the path of what belongs to a callback: of the event, with the name,
// which may be empty for the default callback.
func callbackPath(event, name, more string) string {
	path := "/v1/callbacks/" + url.PathEscape(event) + more
	if name != "" {
		path += "?name=" + url.QueryEscape(name)
	}
	return path
}

// Policy reads the policy of the callback of an event with a name; empty for the default one.
func (c *Client) Policy(ctx context.Context, event, name string) (out wire.Policy, err error) {
	return out, c.Do(ctx, http.MethodGet, callbackPath(event, name, "/policy"), nil, &out)
}

// SecretOf reads the signing secret of the callback of an event with a name; empty for the
// default one.
func (c *Client) SecretOf(ctx context.Context, event, name string) (string, error) {
	var out wire.Secret
	err := c.Do(ctx, http.MethodGet, callbackPath(event, name, "/secret"), nil, &out)
	return out.Secret, err
}

// TestAuth tries how the callback of an event signs in at its receiver.
func (c *Client) TestAuth(ctx context.Context, event string) (out wire.AuthTest, err error) {
	return out, c.Do(ctx, http.MethodPost, "/v1/callbacks/"+event+"/auth/test", nil, &out)
}

// Secret reads the signing secret of a callback.
func (c *Client) Secret(ctx context.Context, event string) (string, error) {
	var out wire.Secret
	err := c.Do(ctx, http.MethodGet, "/v1/callbacks/"+url.PathEscape(event)+"/secret", nil, &out)
	return out.Secret, err
}

// CallbackStats reads the statistics of the callback of an event.
func (c *Client) CallbackStats(ctx context.Context, event string) (out wire.CallbackStats, err error) {
	return out, c.Do(ctx, http.MethodGet, "/v1/callbacks/"+url.PathEscape(event)+"/stats", nil, &out)
}

// NewEvent is the body that Publish sends.
type NewEvent struct {
	Event      string `json:"event"`
	SessionKey string `json:"session_key"`
	Data       any    `json:"data,omitempty"`
	ID         string `json:"id,omitempty"` // the idempotency key: a repeat gets the first answer
	// Nothing is sent before DeliverAt, which may be 30 days in the future, and no attempt
	// starts from ExpiresAt on. A zero time sets nothing.
	DeliverAt time.Time `json:"deliver_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// Callback is given to the session; nil for none. The answer has its secret once.
	Callback *NewSessionCallback `json:"callback,omitempty"`
	// Test marks the event as a test: it goes where a real event goes, once.
	Test bool `json:"test,omitempty"`
}

// Publish publishes one event.
func (c *Client) Publish(ctx context.Context, ev NewEvent) (out wire.Accepted, err error) {
	return out, c.Do(ctx, http.MethodPost, "/v1/events", ev, &out)
}

// Incidents returns a page of the key's incidents, newest first: see GET /v1/incidents.
func (c *Client) Incidents(ctx context.Context, query url.Values) (out wire.IncidentList, err error) {
	return out, c.Do(ctx, "GET", "/v1/incidents?"+query.Encode(), nil, &out)
}

// AcknowledgeIncident notes that somebody knows of an incident.
func (c *Client) AcknowledgeIncident(ctx context.Context, id string) (out wire.Incident, err error) {
	return out, c.Do(ctx, "POST", "/v1/incidents/"+url.PathEscape(id)+"/acknowledge", nil, &out)
}

// MuteIncident has no notices of an incident sent for a while; 0 ends that.
func (c *Client) MuteIncident(ctx context.Context, id string, wait time.Duration) (out wire.Incident, err error) {
	body := map[string]float64{"for": wait.Seconds()}
	return out, c.Do(ctx, "POST", "/v1/incidents/"+url.PathEscape(id)+"/mute", body, &out)
}

// Deliveries lists deliveries. query is the query of GET /v1/deliveries.
func (c *Client) Deliveries(ctx context.Context, query url.Values) (out wire.DeliveryList, err error) {
	return out, c.Do(ctx, http.MethodGet, "/v1/deliveries?"+query.Encode(), nil, &out)
}

// Delivery reads one delivery with its attempts.
func (c *Client) Delivery(ctx context.Context, id string) (out wire.Delivery, err error) {
	return out, c.Do(ctx, http.MethodGet, "/v1/deliveries/"+url.PathEscape(id), nil, &out)
}

package client

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"callbackd/wire"
)

// NewSession is the body that CreateSession sends. Every field is optional.
type NewSession struct {
	Theme       string          `json:"theme,omitempty"`
	Language    string          `json:"language,omitempty"`
	RedirectURL string          `json:"redirect_url,omitempty"`
	Options     *SessionOptions `json:"options,omitempty"`
	SMS         *SMS            `json:"sms,omitempty"`
	Vehicle     *wire.Vehicle   `json:"vehicle,omitempty"`
	// Callback is given to the session; nil for none. The answer has its secret once.
	Callback *NewSessionCallback `json:"callback,omitempty"`
}

// SessionOptions has the options of a session, which are returned with it. Reference is
// any value that can be written as JSON.
type SessionOptions struct {
	ClientID  string               `json:"client_id,omitempty"`
	Contact   *wire.SessionContact `json:"contact,omitempty"`
	Reference any                  `json:"reference,omitempty"`
}

// SMS says who gets the SMS with the link, and from whom.
type SMS struct {
	To     string `json:"to"`
	ToName string `json:"to_name,omitempty"`
	From   string `json:"from,omitempty"`
	By     string `json:"by,omitempty"`
}

// SessionUpdate is the body that UpdateSession sends. A nil field is not changed.
type SessionUpdate struct {
	RedirectURL *string `json:"redirect_url,omitempty"`
	Language    *string `json:"language,omitempty"`
	Theme       *string `json:"theme,omitempty"`
	SMS         *SMS    `json:"sms,omitempty"`
}

// NewPhoto is the body that AddPhoto sends. For the steps VIN and Cluster it may have
// Typed instead of URL.
type NewPhoto struct {
	PhotoCode       int    `json:"photo_code"`
	URL             string `json:"url,omitempty"`
	Approved        bool   `json:"approved"`
	ApprovedMessage string `json:"approved_message,omitempty"`
	Typed           string `json:"typed,omitempty"`
}

// NewNote is the body that AddNote sends.
type NewNote struct {
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	InsertedBy  string `json:"inserted_by,omitempty"`
}

// SMSReport is the body that ReportSMS sends. Status is success or error.
type SMSReport struct {
	Status  string `json:"status"`
	Phone   string `json:"phone,omitempty"`
	Message string `json:"message,omitempty"`
}

func sessionPath(key string, more ...string) string {
	path := "/v1/sessions/" + url.PathEscape(key)
	for _, m := range more {
		path += "/" + m
	}
	return path
}

// CreateSession creates a session.
func (c *Client) CreateSession(ctx context.Context, n NewSession) (out wire.Session, err error) {
	err = c.Do(ctx, http.MethodPost, "/v1/sessions", n, &out)
	return out, err
}

// Session reads a session.
func (c *Client) Session(ctx context.Context, key string) (out wire.Session, err error) {
	err = c.Do(ctx, http.MethodGet, sessionPath(key), nil, &out)
	return out, err
}

// Sessions lists sessions. query is the query of GET /v1/sessions.
func (c *Client) Sessions(ctx context.Context, query url.Values) (out wire.SessionList, err error) {
	err = c.Do(ctx, http.MethodGet, "/v1/sessions?"+query.Encode(), nil, &out)
	return out, err
}

// SessionEvents reads a page of the events of a session. cursor is the Next of the
// previous page, and empty at the start.
func (c *Client) SessionEvents(ctx context.Context, key, cursor string) (out wire.SessionEventList, err error) {
	q := url.Values{"limit": {"200"}}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	err = c.Do(ctx, http.MethodGet, sessionPath(key, "events")+"?"+q.Encode(), nil, &out)
	return out, err
}

// Photos reads the latest capture of each step.
func (c *Client) Photos(ctx context.Context, key string) (out []wire.Photo, err error) {
	err = c.Do(ctx, http.MethodGet, sessionPath(key, "photos"), nil, &out)
	return out, err
}

// Notes reads a session's notes.
func (c *Client) Notes(ctx context.Context, key string) (out []wire.Note, err error) {
	err = c.Do(ctx, http.MethodGet, sessionPath(key, "notes"), nil, &out)
	return out, err
}

// Results reads the results of a completed session, as COMPLETE delivered them.
func (c *Client) Results(ctx context.Context, key string) (out json.RawMessage, err error) {
	err = c.Do(ctx, http.MethodGet, sessionPath(key, "results"), nil, &out)
	return out, err
}

// UpdateSession changes fields of a session that are not frozen.
func (c *Client) UpdateSession(ctx context.Context, key string, u SessionUpdate) (out wire.Session, err error) {
	err = c.Do(ctx, http.MethodPut, sessionPath(key), u, &out)
	return out, err
}

// DeleteSession removes a session that was not started.
func (c *Client) DeleteSession(ctx context.Context, key string) error {
	return c.Do(ctx, http.MethodDelete, sessionPath(key), nil, nil)
}

// StartSession reports that the user pressed start.
func (c *Client) StartSession(ctx context.Context, key string) (wire.SessionChange, error) {
	return c.change(ctx, http.MethodPost, key, "start", nil)
}

// AddPhoto adds a photo, or a value that was typed instead.
func (c *Client) AddPhoto(ctx context.Context, key string, p NewPhoto) (wire.SessionChange, error) {
	return c.change(ctx, http.MethodPost, key, "photos", p)
}

// AddNote adds a note.
func (c *Client) AddNote(ctx context.Context, key string, n NewNote) (wire.SessionChange, error) {
	return c.change(ctx, http.MethodPost, key, "notes", n)
}

// ReportSMS reports the result of the SMS.
func (c *Client) ReportSMS(ctx context.Context, key string, r SMSReport) (wire.SessionChange, error) {
	return c.change(ctx, http.MethodPost, key, "sms", r)
}

// PutResults sets the results, a JSON object.
func (c *Client) PutResults(ctx context.Context, key string, results any) (wire.SessionChange, error) {
	return c.change(ctx, http.MethodPut, key, "results", results)
}

// CompleteSession completes a session.
func (c *Client) CompleteSession(ctx context.Context, key string) (wire.SessionChange, error) {
	return c.change(ctx, http.MethodPost, key, "complete", nil)
}

// InvalidateSession ends a session as invalid.
func (c *Client) InvalidateSession(ctx context.Context, key, reason string) (wire.SessionChange, error) {
	return c.change(ctx, http.MethodPost, key, "invalidate", map[string]string{"reason": reason})
}

func (c *Client) change(ctx context.Context, method, key, what string, body any) (out wire.SessionChange, err error) {
	err = c.Do(ctx, method, sessionPath(key, what), body, &out)
	return out, err
}

// Resend asks for the SMS again. A phone that is not empty is the new number. Resend
// calls PAVE's v2 endpoint, which needs the API key only and no signature.
func (c *Client) Resend(ctx context.Context, key, phone string) (out wire.Resent, err error) {
	body := []byte("{}")
	if phone != "" {
		if body, err = json.Marshal(map[string]string{"phone": phone}); err != nil {
			return out, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Base+"/v2/capture/sessions/"+url.PathEscape(key)+"/resend", bytes.NewReader(body))
	if err != nil {
		return out, err
	}
	req.Header.Set("API-Access-Token", c.APIKey)
	req.Header.Set("Content-Type", "application/json")
	err = c.send(req, &out)
	return out, err
}

package client

import (
	"context"
	"net/http"

	"callbackd/wire"
)

// Rotation is the body that RotateSecret sends.
type Rotation struct {
	Keep   string `json:"keep,omitempty"`   // how long the old secrets are valid, such as "24h", which is the default
	Secret string `json:"secret,omitempty"` // the receiver's own; empty: a new one
}

// AuthRotation is the body that RotateAuth sends.
type AuthRotation struct {
	Keep string `json:"keep,omitempty"` // how long the old credentials are valid, such as "24h", which is the default
	wire.Auth
}

// Callback reads the callback of an event with a name; empty for the default one.
func (c *Client) Callback(ctx context.Context, event, name string) (out wire.CallbackOne, err error) {
	return out, c.Do(ctx, http.MethodGet, callbackPath(event, name, ""), nil, &out)
}

// ReplaceCallback replaces the callback of an event with a name; empty for the default one.
// What n leaves out gets its default.
func (c *Client) ReplaceCallback(ctx context.Context, event, name string, n NewCallback) (out wire.Callback, err error) {
	body := struct {
		Event string `json:"event,omitempty"`
		NewCallback
	}{n.Event, n}
	return out, c.Do(ctx, http.MethodPut, callbackPath(event, name, ""), body, &out)
}

// DeleteCallback removes the callback of an event with a name; empty for the default one.
func (c *Client) DeleteCallback(ctx context.Context, event, name string) (out wire.Message, err error) {
	return out, c.Do(ctx, http.MethodDelete, callbackPath(event, name, ""), nil, &out)
}

// CallbackStatsOf reads the statistics of the callback of an event with a name; empty for the
// default one.
func (c *Client) CallbackStatsOf(ctx context.Context, event, name string) (out wire.CallbackStats, err error) {
	return out, c.Do(ctx, http.MethodGet, callbackPath(event, name, "/stats"), nil, &out)
}

// RotateSecret gives the callback of an event with a name another signing secret.
func (c *Client) RotateSecret(ctx context.Context, event, name string, r Rotation) (out wire.Secret, err error) {
	return out, c.Do(ctx, http.MethodPost, callbackPath(event, name, "/secret/rotate"), r, &out)
}

// RotateAuth gives the callback of an event with a name other credentials for its receiver.
func (c *Client) RotateAuth(ctx context.Context, event, name string, r AuthRotation) (out wire.Policy, err error) {
	return out, c.Do(ctx, http.MethodPost, callbackPath(event, name, "/auth/rotate"), r, &out)
}

// TestAuthOf tries how the callback of an event with a name signs in at its receiver.
func (c *Client) TestAuthOf(ctx context.Context, event, name string) (out wire.AuthTest, err error) {
	return out, c.Do(ctx, http.MethodPost, callbackPath(event, name, "/auth/test"), nil, &out)
}

// PauseCallback pauses the callback of an event with a name. Events are kept for it.
func (c *Client) PauseCallback(ctx context.Context, event, name string) (out wire.Policy, err error) {
	return out, c.Do(ctx, http.MethodPost, callbackPath(event, name, "/pause"), nil, &out)
}

// ResumeCallback resumes the callback of an event with a name.
func (c *Client) ResumeCallback(ctx context.Context, event, name string) (out wire.Policy, err error) {
	return out, c.Do(ctx, http.MethodPost, callbackPath(event, name, "/resume"), nil, &out)
}

// TestCallback sends a test event to the callback of an event with a name, and waits for the
// answer.
func (c *Client) TestCallback(ctx context.Context, event, name string) (out wire.Delivery, err error) {
	return out, c.Do(ctx, http.MethodPost, callbackPath(event, name, "/test"), nil, &out)
}

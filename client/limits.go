package client

import (
	"context"
	"net/http"
	"net/url"

	"callbackd/wire"
)

// Limits returns the limits of the API key, and what it uses of them.
func (c *Client) Limits(ctx context.Context) (out wire.Limits, err error) {
	return out, c.Do(ctx, http.MethodGet, "/v1/limits", nil, &out)
}

// Limits returns the limits in force of an API key, and what it uses of them.
func (a *Admin) Limits(ctx context.Context, apiKey string) (out wire.Limits, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/keys/"+url.PathEscape(apiKey)+"/limits", nil, &out)
}

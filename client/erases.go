package client

import (
	"context"
	"net/http"
	"net/url"

	"callbackd/wire"
)

// EraseSession starts an erasure of a session and its events. With dryRun it only counts
// what would be erased.
func (c *Client) EraseSession(ctx context.Context, sessionKey string, dryRun bool) (out wire.Erase, err error) {
	path := "/v1/sessions/" + url.PathEscape(sessionKey) + "/data"
	if dryRun {
		path += "?dry_run=true"
	}
	return out, c.Do(ctx, http.MethodDelete, path, nil, &out)
}

// StartErase starts an erasure of the sessions that have a value.
func (c *Client) StartErase(ctx context.Context, n wire.NewErase) (out wire.Erase, err error) {
	return out, c.Do(ctx, http.MethodPost, "/v1/erases", n, &out)
}

// Erase reads an erasure, with its receipt when it has ended.
func (c *Client) Erase(ctx context.Context, id string) (out wire.Erase, err error) {
	return out, c.Do(ctx, http.MethodGet, "/v1/erases/"+url.PathEscape(id), nil, &out)
}

// Erases lists erasures, newest first. query is the query of GET /v1/erases.
func (c *Client) Erases(ctx context.Context, query url.Values) (out wire.EraseList, err error) {
	return out, c.Do(ctx, http.MethodGet, "/v1/erases?"+query.Encode(), nil, &out)
}

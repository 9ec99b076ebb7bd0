package client

import (
	"context"
	"net/http"
	"net/url"

	"callbackd/wire"
)

// EventTypes returns all types of events, with the schema and a sample of each.
func (c *Client) EventTypes(ctx context.Context) (out wire.EventKindList, err error) {
	return out, c.Do(ctx, http.MethodGet, "/v1/event-types", nil, &out)
}

// EventType returns one type of events.
func (c *Client) EventType(ctx context.Context, event string) (out wire.EventKind, err error) {
	return out, c.Do(ctx, http.MethodGet, "/v1/event-types/"+url.PathEscape(event), nil, &out)
}

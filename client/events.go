package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"callbackd/internal/signature"
	"callbackd/wire"
)

// PublishAll publishes up to 1000 events: all of them or none.
func (c *Client) PublishAll(ctx context.Context, events []NewEvent) (out []wire.Accepted, err error) {
	return out, c.Do(ctx, http.MethodPost, "/v1/events", events, &out)
}

// Events lists events, newest first. query is the query of GET /v1/events.
func (c *Client) Events(ctx context.Context, query url.Values) (out wire.EventList, err error) {
	return out, c.Do(ctx, http.MethodGet, "/v1/events?"+query.Encode(), nil, &out)
}

// Event reads one event.
func (c *Client) Event(ctx context.Context, id string) (out wire.Event, err error) {
	return out, c.Do(ctx, http.MethodGet, "/v1/events/"+url.PathEscape(id), nil, &out)
}

// StreamEvents opens the stream of server-sent events. query is the query of GET
// /v1/events/stream. The caller reads the stream and closes it; it has no end, so that
// Client.HTTP must have no time limit for a whole call.
func (c *Client) StreamEvents(ctx context.Context, query url.Values) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Base+"/v1/events/stream?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	signature.SetHeaders(req.Header, c.Account, c.APIKey, c.APISecret, time.Now())
	h := c.HTTP
	if h == nil {
		h = http.DefaultClient
	}
	resp, err := h.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return nil, err
		}
		return nil, answerError(resp.StatusCode, raw)
	}
	return resp.Body, nil
}

// RetryDelivery sends a delivery again, or a pending one at once.
func (c *Client) RetryDelivery(ctx context.Context, id string) (out wire.Delivery, err error) {
	return out, c.Do(ctx, http.MethodPost, "/v1/deliveries/"+url.PathEscape(id)+"/retry", nil, &out)
}

// DeliveryBefore reads one delivery with the attempts before one of them. attempt is the
// Earlier of the previous answer.
func (c *Client) DeliveryBefore(ctx context.Context, id string, attempt int) (out wire.Delivery, err error) {
	return out, c.Do(ctx, http.MethodGet, "/v1/deliveries/"+url.PathEscape(id)+"?before="+strconv.Itoa(attempt), nil, &out)
}

// Incident reads one incident.
func (c *Client) Incident(ctx context.Context, id string) (out wire.Incident, err error) {
	return out, c.Do(ctx, http.MethodGet, "/v1/incidents/"+url.PathEscape(id), nil, &out)
}

// CreateSessionAsInSamples creates a session at the path that PAVE's samples have.
func (c *Client) CreateSessionAsInSamples(ctx context.Context, n NewSession) (out wire.Session, err error) {
	return out, c.Do(ctx, http.MethodPost, "/v1/session", n, &out)
}

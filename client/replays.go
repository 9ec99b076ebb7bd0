package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"callbackd/wire"
)

// CountReplay returns how many deliveries a replay would send now.
func (c *Client) CountReplay(ctx context.Context, n wire.NewReplay) (int64, error) {
	var out wire.ReplayCount
	n.DryRun = true
	err := c.Do(ctx, http.MethodPost, "/v1/replays", n, &out)
	return out.Total, err
}

// StartReplay starts a replay.
func (c *Client) StartReplay(ctx context.Context, n wire.NewReplay) (out wire.Replay, err error) {
	n.DryRun = false
	return out, c.Do(ctx, http.MethodPost, "/v1/replays", n, &out)
}

// CountPending returns how many deliveries a cancellation would cancel now.
func (c *Client) CountPending(ctx context.Context, n wire.NewCancellation) (int64, error) {
	var out wire.ReplayCount
	n.DryRun = true
	err := c.Do(ctx, http.MethodPost, "/v1/deliveries/cancel", n, &out)
	return out.Total, err
}

// CancelPending starts a cancellation of pending deliveries. It is paused, resumed, read
// and canceled like a replay.
func (c *Client) CancelPending(ctx context.Context, n wire.NewCancellation) (out wire.Replay, err error) {
	n.DryRun = false
	return out, c.Do(ctx, http.MethodPost, "/v1/deliveries/cancel", n, &out)
}

// Replay reads a replay with its counts.
func (c *Client) Replay(ctx context.Context, id string) (out wire.Replay, err error) {
	return out, c.Do(ctx, http.MethodGet, "/v1/replays/"+url.PathEscape(id), nil, &out)
}

// Replays lists replays. query is the query of GET /v1/replays.
func (c *Client) Replays(ctx context.Context, query url.Values) (out wire.ReplayList, err error) {
	return out, c.Do(ctx, http.MethodGet, "/v1/replays?"+query.Encode(), nil, &out)
}

// PauseReplay pauses a replay. Nothing more becomes due until it is resumed.
func (c *Client) PauseReplay(ctx context.Context, id string) (out wire.Replay, err error) {
	return out, c.Do(ctx, http.MethodPost, "/v1/replays/"+url.PathEscape(id)+"/pause", nil, &out)
}

// ResumeReplay resumes a paused replay.
func (c *Client) ResumeReplay(ctx context.Context, id string) (out wire.Replay, err error) {
	return out, c.Do(ctx, http.MethodPost, "/v1/replays/"+url.PathEscape(id)+"/resume", nil, &out)
}

// CancelReplay cancels a replay. Deliveries that are due already are still sent.
func (c *Client) CancelReplay(ctx context.Context, id string) (out wire.Replay, err error) {
	return out, c.Do(ctx, http.MethodDelete, "/v1/replays/"+url.PathEscape(id), nil, &out)
}

// EventsAfter reads the events that were accepted after a cursor, oldest first. The
// cursor is the Next of the previous answer, "start" or "now". When there is no event
// yet, the call waits for one, up to wait and at most 30 s. query may have event,
// session_key and limit.
func (c *Client) EventsAfter(ctx context.Context, after string, wait time.Duration, query url.Values) (out wire.EventList, err error) {
	q := url.Values{}
	for name, values := range query {
		q[name] = values
	}
	q.Set("after", after)
	if wait > 0 {
		q.Set("wait", strconv.Itoa(int(wait.Seconds())))
	}
	return out, c.Do(ctx, http.MethodGet, "/v1/events?"+q.Encode(), nil, &out)
}

// ExplainDelivery reads why a delivery is in its state.
func (c *Client) ExplainDelivery(ctx context.Context, id string) (out wire.Explanation, err error) {
	return out, c.Do(ctx, http.MethodGet, "/v1/deliveries/"+url.PathEscape(id)+"/explain", nil, &out)
}

// ExplainEvent reads why a callback got an event or did not. callback is its number or
// its name. When it is empty, the answer has all targets of the event and all callbacks
// that are registered for its type.
func (c *Client) ExplainEvent(ctx context.Context, id, callback string) (out wire.EventExplanation, err error) {
	q := url.Values{}
	if callback != "" {
		q.Set("callback", callback)
	}
	return out, c.Do(ctx, http.MethodGet, "/v1/events/"+url.PathEscape(id)+"/explain?"+q.Encode(), nil, &out)
}

// Audit lists who changed what of the key. query is the query of GET /v1/audit.
func (c *Client) Audit(ctx context.Context, query url.Values) (out wire.AuditList, err error) {
	return out, c.Do(ctx, http.MethodGet, "/v1/audit?"+query.Encode(), nil, &out)
}

// Logs lists the calls that were made with the key. query is the query of GET /v1/logs.
func (c *Client) Logs(ctx context.Context, query url.Values) (out wire.LogList, err error) {
	return out, c.Do(ctx, http.MethodGet, "/v1/logs?"+query.Encode(), nil, &out)
}

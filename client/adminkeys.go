package client

import (
	"context"
	"net/http"
	"net/url"

	"callbackd/wire"
)

// Session reads a session of an API key.
func (a *Admin) Session(ctx context.Context, apiKey, session string) (out wire.Session, err error) {
	return out, a.Do(ctx, http.MethodGet, keyPath(apiKey)+"/sessions/"+url.PathEscape(session), nil, &out)
}

// ExplainEvent reads why a callback of an API key got an event or did not. callback is as
// in Client.ExplainEvent.
func (a *Admin) ExplainEvent(ctx context.Context, apiKey, id, callback string) (out wire.EventExplanation, err error) {
	q := url.Values{}
	if callback != "" {
		q.Set("callback", callback)
	}
	return out, a.Do(ctx, http.MethodGet, keyPath(apiKey)+"/events/"+url.PathEscape(id)+"/explain?"+q.Encode(), nil, &out)
}

// ExplainDelivery reads why a delivery of an API key is in its state.
func (a *Admin) ExplainDelivery(ctx context.Context, apiKey, id string) (out wire.Explanation, err error) {
	return out, a.Do(ctx, http.MethodGet, keyPath(apiKey)+"/deliveries/"+url.PathEscape(id)+"/explain", nil, &out)
}

// RetryDelivery sends a delivery of an API key again, or a pending one at once.
func (a *Admin) RetryDelivery(ctx context.Context, apiKey, id string) (out wire.Delivery, err error) {
	return out, a.Do(ctx, http.MethodPost, keyPath(apiKey)+"/deliveries/"+url.PathEscape(id)+"/retry", nil, &out)
}

// CountReplay returns how many deliveries of an API key a replay would send now.
func (a *Admin) CountReplay(ctx context.Context, apiKey string, n wire.NewReplay) (int64, error) {
	var out wire.ReplayCount
	n.DryRun = true
	err := a.Do(ctx, http.MethodPost, keyPath(apiKey)+"/replays", n, &out)
	return out.Total, err
}

// CountPending returns how many deliveries of an API key a cancellation would cancel now.
func (a *Admin) CountPending(ctx context.Context, apiKey string, n wire.NewCancellation) (int64, error) {
	var out wire.ReplayCount
	n.DryRun = true
	err := a.Do(ctx, http.MethodPost, keyPath(apiKey)+"/deliveries/cancel", n, &out)
	return out.Total, err
}

// CancelPending starts a cancellation of pending deliveries of an API key.
func (a *Admin) CancelPending(ctx context.Context, apiKey string, n wire.NewCancellation) (out wire.Replay, err error) {
	n.DryRun = false
	return out, a.Do(ctx, http.MethodPost, keyPath(apiKey)+"/deliveries/cancel", n, &out)
}

// PauseReplay pauses a replay of an API key.
func (a *Admin) PauseReplay(ctx context.Context, apiKey, id string) (out wire.Replay, err error) {
	return out, a.Do(ctx, http.MethodPost, keyPath(apiKey)+"/replays/"+url.PathEscape(id)+"/pause", nil, &out)
}

// ResumeReplay resumes a paused replay of an API key.
func (a *Admin) ResumeReplay(ctx context.Context, apiKey, id string) (out wire.Replay, err error) {
	return out, a.Do(ctx, http.MethodPost, keyPath(apiKey)+"/replays/"+url.PathEscape(id)+"/resume", nil, &out)
}

// CancelReplay cancels a replay of an API key. Deliveries that are due already are still sent.
func (a *Admin) CancelReplay(ctx context.Context, apiKey, id string) (out wire.Replay, err error) {
	return out, a.Do(ctx, http.MethodDelete, keyPath(apiKey)+"/replays/"+url.PathEscape(id), nil, &out)
}

// Policy reads the policy of a callback of an API key: of an event, with a name; empty for
// the default one.
func (a *Admin) Policy(ctx context.Context, apiKey, event, name string) (out wire.Policy, err error) {
	return out, a.Do(ctx, http.MethodGet, keyCallbackPath(apiKey, event, name, "policy"), nil, &out)
}

// PauseCallback pauses a callback of an API key.
func (a *Admin) PauseCallback(ctx context.Context, apiKey, event, name string) (out wire.Policy, err error) {
	return out, a.Do(ctx, http.MethodPost, keyCallbackPath(apiKey, event, name, "pause"), nil, &out)
}

// ResumeCallback resumes a callback of an API key.
func (a *Admin) ResumeCallback(ctx context.Context, apiKey, event, name string) (out wire.Policy, err error) {
	return out, a.Do(ctx, http.MethodPost, keyCallbackPath(apiKey, event, name, "resume"), nil, &out)
}

func keyCallbackPath(apiKey, event, name, what string) string {
	path := keyPath(apiKey) + "/callbacks/" + url.PathEscape(event) + "/" + what
	if name != "" {
		path += "?name=" + url.QueryEscape(name)
	}
	return path
}

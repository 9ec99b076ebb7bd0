package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"callbackd/wire"
)

// Accounts lists the accounts with the number of their API keys.
func (a *Admin) Accounts(ctx context.Context) (out wire.AccountList, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/accounts", nil, &out)
}

// Sessions lists sessions of all API keys. query is the query of GET /v1/admin/sessions.
func (a *Admin) Sessions(ctx context.Context, query url.Values) (out wire.SessionList, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/sessions?"+query.Encode(), nil, &out)
}

// Events lists events of all API keys. query is the query of GET /v1/admin/events.
func (a *Admin) Events(ctx context.Context, query url.Values) (out wire.EventList, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/events?"+query.Encode(), nil, &out)
}

// Event reads an event of any API key.
func (a *Admin) Event(ctx context.Context, id string) (out wire.Event, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/events/"+url.PathEscape(id), nil, &out)
}

// Delivery reads a delivery of any API key with its attempts. before is the Earlier of the
// previous answer, and 0 at the start.
func (a *Admin) Delivery(ctx context.Context, id string, before int) (out wire.Delivery, err error) {
	path := "/v1/admin/deliveries/" + url.PathEscape(id)
	if before > 0 {
		path += "?before=" + strconv.Itoa(before)
	}
	return out, a.Do(ctx, http.MethodGet, path, nil, &out)
}

// Erases lists erasures of all API keys. query is the query of GET /v1/admin/erases.
func (a *Admin) Erases(ctx context.Context, query url.Values) (out wire.EraseList, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/erases?"+query.Encode(), nil, &out)
}

// EraseGroups lists erasures over all API keys, newest first. query is the query of GET
// /v1/admin/erase-groups.
func (a *Admin) EraseGroups(ctx context.Context, query url.Values) (out wire.EraseGroupList, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/erase-groups?"+query.Encode(), nil, &out)
}

// Replays lists replays of all API keys. query is the query of GET /v1/admin/replays.
func (a *Admin) Replays(ctx context.Context, query url.Values) (out wire.ReplayList, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/replays?"+query.Encode(), nil, &out)
}

// Replay reads a replay of any API key.
func (a *Admin) Replay(ctx context.Context, id string) (out wire.Replay, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/replays/"+url.PathEscape(id), nil, &out)
}

// Logs lists the calls that were made with any API key. query is the query of GET
// /v1/admin/logs.
func (a *Admin) Logs(ctx context.Context, query url.Values) (out wire.LogList, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/logs?"+query.Encode(), nil, &out)
}

// Stats reads counts over time. query is the query of GET /v1/admin/stats.
func (a *Admin) Stats(ctx context.Context, query url.Values) (out wire.StatsList, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/stats?"+query.Encode(), nil, &out)
}

// Nodes lists the processes on the store.
func (a *Admin) Nodes(ctx context.Context) (out wire.NodeList, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/nodes", nil, &out)
}

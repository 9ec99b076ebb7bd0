package api

import (
	"context"
	"net/http"
	"time"

	"callbackd"
	"callbackd/internal/request"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

// About has what the management API shows of the server. Each may be nil: then there is nothing
// to show.
type About struct {
	Nodes func(context.Context) ([]wire.Node, error)
	// Settings are those that the server runs with.
	Settings []wire.Setting
}

// adminRoutes returns the endpoints of the management API. Lists are over all API keys,
// or over the one in ?key=. What only the home of a key can say or do has the key in its
// path.
func (a *API) adminRoutes() []route {
	return []route{
		{pattern: "GET /v1/admin/tokens", operated: a.listTokens},
		{pattern: "POST /v1/admin/tokens", operated: a.createToken},
		{pattern: "DELETE /v1/admin/tokens/{id}", operated: a.revokeToken},

		{pattern: "GET /v1/admin/accounts", operated: a.listAccounts},
		adminQuery("GET /v1/admin/keys", a.listKeys, keyListFields),
		{pattern: "POST /v1/admin/keys", operated: a.createKey},
		{pattern: "GET /v1/admin/keys/{key}", operated: a.getKey},
		{pattern: "PUT /v1/admin/keys/{key}", operated: a.replaceKey},
		{pattern: "GET /v1/admin/keys/{key}/limits", operated: a.getLimits},
		{pattern: "POST /v1/admin/keys/{key}/rotate", operated: a.rotateKey},
		{pattern: "POST /v1/admin/keys/{key}/revoke", operated: a.revokeKey},
		{pattern: "POST /v1/admin/keys/{key}/link", operated: a.createLink},

		a.overKeys(adminQuery("GET /v1/admin/callbacks", a.listAllCallbacks, callbackListFields)),
		a.overKeys(adminQuery("GET /v1/admin/sessions", a.listSessions, sessionListFields)),
		a.overKeys(adminQuery("GET /v1/admin/events", a.listAllEvents, eventListFields)),
		{pattern: "GET /v1/admin/events/{id}", operated: a.getEvent},
		a.overKeys(adminQuery("GET /v1/admin/deliveries", a.listDeliveries, deliveryFields)),
		adminQuery("GET /v1/admin/deliveries/{id}", a.getDelivery, attemptsFields),
		a.overKeys(adminQuery("GET /v1/admin/replays", a.listReplays, replayListFields)),
		{pattern: "GET /v1/admin/replays/{id}", operated: a.getReplay},
		a.overKeys(adminQuery("GET /v1/admin/erases", a.listErases, eraseListFields)),
		{pattern: "POST /v1/admin/erases", operated: a.createErases},
		{pattern: "GET /v1/admin/erases/{id}", operated: a.getErase},
		adminQuery("GET /v1/admin/erase-groups", a.listEraseGroups, eraseGroupListFields),
		{pattern: "GET /v1/admin/erase-groups/{id}", operated: a.getEraseGroup},
		a.overKeys(adminQuery("GET /v1/admin/incidents", a.listIncidents, incidentListFields)),
		{pattern: "GET /v1/admin/incidents/{id}", operated: a.getIncident},
		{pattern: "POST /v1/admin/incidents/{id}/acknowledge", operated: a.acknowledgeIncident},
		{pattern: "POST /v1/admin/incidents/{id}/mute", operated: a.muteIncident},
		a.overKeys(adminQuery("GET /v1/admin/logs", a.listLogs, logFields)),
		a.overKeys(adminQuery("GET /v1/admin/stats", a.listStats, statsFields)),
		{pattern: "GET /v1/admin/nodes", operated: a.listNodes},
		{pattern: "GET /v1/admin/settings", operated: a.listSettings},
		a.overKeys(route{pattern: "GET /v1/admin/settings/export", operated: a.exportSettings}),
		{pattern: "POST /v1/admin/settings/apply", operated: a.applySettings},

		{pattern: "GET /v1/admin/keys/{key}/sessions/{session}", operated: a.getSession},
		{pattern: "GET /v1/admin/keys/{key}/events/{id}/explain", params: []string{"callback"}, operated: a.explainEvent},
		{pattern: "GET /v1/admin/keys/{key}/deliveries/{id}/explain", operated: a.explainDelivery},
		{pattern: "POST /v1/admin/keys/{key}/deliveries/{id}/retry", operated: a.retryDelivery},
		{pattern: "POST /v1/admin/keys/{key}/deliveries/cancel", operated: a.cancelDeliveries},
		{pattern: "POST /v1/admin/keys/{key}/replays", operated: a.createReplay},
		{pattern: "DELETE /v1/admin/keys/{key}/replays/{id}", operated: a.setReplay(callbackd.ReplayCanceled)},
		{pattern: "POST /v1/admin/keys/{key}/replays/{id}/pause", operated: a.setReplay(callbackd.ReplayPaused)},
		{pattern: "POST /v1/admin/keys/{key}/replays/{id}/resume", operated: a.setReplay(callbackd.ReplayRunning)},
		{pattern: "POST /v1/admin/keys/{key}/erases", operated: a.createErase},
		{pattern: "GET /v1/admin/keys/{key}/callbacks/{event}/policy", params: nameParams, operated: a.getPolicy},
		{pattern: "POST /v1/admin/keys/{key}/callbacks/{event}/pause", params: nameParams, operated: a.pauseCallback},
		{pattern: "POST /v1/admin/keys/{key}/callbacks/{event}/resume", params: nameParams, operated: a.resumeCallback},
	}
}

// adminQuery is withQuery for calls with an operator token.
func adminQuery[Q any](pattern string, f func(http.ResponseWriter, *call, *Q) error, fields func(*Q) []request.Field) route {
	r := withQuery(pattern, f, fields)
	r.operated, r.signed = r.signed, nil
	return r
}

// overKeys returns the route of a list that is over all API keys, or over the one in
// ?key=.
func (a *API) overKeys(r route) route {
	f := r.operated
	r.params = append(r.params, "key")
	r.operated = func(w http.ResponseWriter, c *call) error {
		v, given := c.query.Get("key")
		if apiKey, _ := v.JSON.Text(); given && apiKey != "" {
			k, err := a.Store.Key(c.Context(), apiKey)
			if err != nil {
				return noKey(err, apiKey)
			}
			c.key = k
		}
		c.query = c.query.Without("key")
		return f(w, c)
	}
	return r
}

// listAllEvents is listEvents without the parameters of readers, which follow one key.
func (a *API) listAllEvents(w http.ResponseWriter, c *call, q *eventsQuery) error {
	return a.answerEvents(w, c, q)
}

// statsFields describes the query of GET /v1/admin/stats, by default the last hour by
// minutes.
func statsFields(q *store.StatsQuery) []request.Field {
	interval := "minute"
	q.Interval = store.Minute
	return []request.Field{
		request.Choice("interval", &interval, []string{"minute", "hour"}).Check(func(string) error {
			if interval == "hour" {
				q.Interval = store.Hour
			}
			return nil
		}),
		request.CallbackID("callback", &q.Callback),
		request.Time("since", &q.Since),
		request.Time("until", &q.Until),
	}
}

// maxBuckets bounds an answer with statistics: a week of minutes, or more than a year of
// hours.
const maxBuckets = 10_080

func (a *API) listStats(w http.ResponseWriter, c *call, q *store.StatsQuery) error {
	q.Key = c.keyID()
	if q.Until.IsZero() {
		q.Until = time.Now()
	}
	if q.Since.IsZero() {
		q.Since = q.Until.Add(-60 * time.Duration(q.Interval))
	}
	if span := q.Until.Sub(q.Since); span > maxBuckets*time.Duration(q.Interval) {
		return callbackd.Invalid("since and until are %s apart. An answer has at most %d intervals; ask for less, or by hour.", callbackd.FormatDuration(span.Truncate(time.Second)), maxBuckets)
	}
	buckets, err := a.Store.ListStats(c.Context(), *q)
	if err != nil {
		return err
	}
	out := wire.StatsList{Data: []wire.Stats{}}
	for i := range buckets {
		out.Data = append(out.Data, view.Stats(&buckets[i]))
	}
	answer(w, http.StatusOK, out)
	return nil
}

func (a *API) listNodes(w http.ResponseWriter, c *call) error {
	out := wire.NodeList{Data: []wire.Node{}}
	if a.About.Nodes != nil {
		nodes, err := a.About.Nodes(c.Context())
		if err != nil {
			return err
		}
		out.Data = append(out.Data, nodes...)
	}
	answer(w, http.StatusOK, out)
	return nil
}

func (a *API) listSettings(w http.ResponseWriter, _ *call) error {
	answer(w, http.StatusOK, wire.SettingList{Data: append([]wire.Setting{}, a.About.Settings...)})
	return nil
}

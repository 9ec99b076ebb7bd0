package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"callbackd/wire"
)

// Admin calls the management API with an operator token. It may be used concurrently.
type Admin struct {
	Base  string // such as http://127.0.0.1:8080
	Token string // as `callbackd tokens create` prints it
	HTTP  *http.Client
}

// Do makes a call. It sends body as JSON unless it is nil, and reads the answer into out
// unless that is nil.
func (a *Admin) Do(ctx context.Context, method, path string, body, out any) error {
	var r io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.Base+path, r)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+a.Token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return (&Client{HTTP: a.HTTP}).send(req, out)
}

// Tokens lists the operator tokens, oldest first.
func (a *Admin) Tokens(ctx context.Context) (out wire.OperatorTokenList, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/tokens", nil, &out)
}

// CreateToken makes an operator token. The answer alone has its text.
func (a *Admin) CreateToken(ctx context.Context, n wire.NewOperatorToken) (out wire.OperatorToken, err error) {
	return out, a.Do(ctx, http.MethodPost, "/v1/admin/tokens", n, &out)
}

// RevokeToken revokes an operator token by its ID.
func (a *Admin) RevokeToken(ctx context.Context, id string) (out wire.OperatorToken, err error) {
	return out, a.Do(ctx, http.MethodDelete, "/v1/admin/tokens/"+url.PathEscape(id), nil, &out)
}

// Keys lists API keys, oldest first. query is the query of GET /v1/admin/keys.
func (a *Admin) Keys(ctx context.Context, query url.Values) (out wire.KeyList, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/keys?"+query.Encode(), nil, &out)
}

// Key reads an API key.
func (a *Admin) Key(ctx context.Context, apiKey string) (out wire.Key, err error) {
	return out, a.Do(ctx, http.MethodGet, keyPath(apiKey), nil, &out)
}

// CreateKey makes an API key. The answer alone has its secret.
func (a *Admin) CreateKey(ctx context.Context, n wire.NewKey) (out wire.Key, err error) {
	return out, a.Do(ctx, http.MethodPost, "/v1/admin/keys", n, &out)
}

// ReplaceKey replaces the settings of an API key.
func (a *Admin) ReplaceKey(ctx context.Context, apiKey string, s wire.KeySettings) (out wire.Key, err error) {
	return out, a.Do(ctx, http.MethodPut, keyPath(apiKey), s, &out)
}

// RotateKey gives an API key a new secret. The old one is accepted for keep, such as
// "24h", which an empty text stands for.
func (a *Admin) RotateKey(ctx context.Context, apiKey, keep string) (out wire.Key, err error) {
	body := struct {
		Keep string `json:"keep,omitempty"`
	}{keep}
	return out, a.Do(ctx, http.MethodPost, keyPath(apiKey)+"/rotate", body, &out)
}

// RevokeKey revokes an API key.
func (a *Admin) RevokeKey(ctx context.Context, apiKey string) (out wire.Key, err error) {
	return out, a.Do(ctx, http.MethodPost, keyPath(apiKey)+"/revoke", nil, &out)
}

// Callbacks lists callbacks of all API keys. query is the query of GET
// /v1/admin/callbacks.
func (a *Admin) Callbacks(ctx context.Context, query url.Values) (out wire.CallbackStateList, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/callbacks?"+query.Encode(), nil, &out)
}

// Deliveries lists deliveries of all API keys. query is the query of GET
// /v1/admin/deliveries.
func (a *Admin) Deliveries(ctx context.Context, query url.Values) (out wire.DeliveryList, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/deliveries?"+query.Encode(), nil, &out)
}

// StartReplay starts a replay of an API key.
func (a *Admin) StartReplay(ctx context.Context, apiKey string, n wire.NewReplay) (out wire.Replay, err error) {
	return out, a.Do(ctx, http.MethodPost, keyPath(apiKey)+"/replays", n, &out)
}

// Incidents lists incidents, newest first. query is the query of GET /v1/admin/incidents.
func (a *Admin) Incidents(ctx context.Context, query url.Values) (out wire.IncidentList, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/incidents?"+query.Encode(), nil, &out)
}

// Incident reads one incident.
func (a *Admin) Incident(ctx context.Context, id string) (out wire.Incident, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/incidents/"+url.PathEscape(id), nil, &out)
}

// AcknowledgeIncident notes that the operator knows of an incident.
func (a *Admin) AcknowledgeIncident(ctx context.Context, id string) (out wire.Incident, err error) {
	return out, a.Do(ctx, http.MethodPost, "/v1/admin/incidents/"+url.PathEscape(id)+"/acknowledge", nil, &out)
}

// MuteIncident has no notices of an incident sent for a while, such as "4h".
func (a *Admin) MuteIncident(ctx context.Context, id, wait string) (out wire.Incident, err error) {
	body := map[string]string{"for": wait}
	return out, a.Do(ctx, http.MethodPost, "/v1/admin/incidents/"+url.PathEscape(id)+"/mute", body, &out)
}

// StartErase starts an erasure of the sessions of an API key that have a value.
func (a *Admin) StartErase(ctx context.Context, apiKey string, n wire.NewErase) (out wire.Erase, err error) {
	return out, a.Do(ctx, http.MethodPost, keyPath(apiKey)+"/erases", n, &out)
}

// StartErases starts an erasure in every API key, or for a session key in each that has the
// session.
func (a *Admin) StartErases(ctx context.Context, n wire.NewErase) (out wire.EraseGroup, err error) {
	return out, a.Do(ctx, http.MethodPost, "/v1/admin/erases", n, &out)
}

// EraseGroup reads an erasure over all API keys, with its receipt when it has ended.
func (a *Admin) EraseGroup(ctx context.Context, id string) (out wire.EraseGroup, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/erase-groups/"+url.PathEscape(id), nil, &out)
}

// Erase reads an erasure of any API key, with its receipt when it has ended.
func (a *Admin) Erase(ctx context.Context, id string) (out wire.Erase, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/erases/"+url.PathEscape(id), nil, &out)
}

// Settings lists the options that the server runs with.
func (a *Admin) Settings(ctx context.Context) (out wire.SettingList, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/settings", nil, &out)
}

// CreateLink makes a link that signs a browser in to the console of an API key, once.
func (a *Admin) CreateLink(ctx context.Context, apiKey string, n wire.NewConsoleLink) (out wire.ConsoleLink, err error) {
	return out, a.Do(ctx, http.MethodPost, keyPath(apiKey)+"/link", n, &out)
}

// ExportSettings returns all API keys with their callbacks as a file, without secrets.
func (a *Admin) ExportSettings(ctx context.Context) (out wire.SettingsFile, err error) {
	return out, a.Do(ctx, http.MethodGet, "/v1/admin/settings/export", nil, &out)
}

// ApplySettings makes the stored settings like a file, or says what it would change.
func (a *Admin) ApplySettings(ctx context.Context, s wire.SettingsApplication) (out wire.SettingsPlan, err error) {
	return out, a.Do(ctx, http.MethodPost, "/v1/admin/settings/apply", s, &out)
}

func keyPath(apiKey string) string { return "/v1/admin/keys/" + url.PathEscape(apiKey) }

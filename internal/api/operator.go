package api

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/front"
	"callbackd/internal/ratelimit"
	"callbackd/internal/request"
	"callbackd/internal/store"
)

// adminRoot begins the paths of the management API.
const adminRoot = "/v1/admin/"

// Wrong operator tokens are limited for each address. The right one always passes: it
// cannot be guessed within any limit, and otherwise anybody who shares an address with the
// operator's programs could lock them out.
const (
	wrongTokenBurst = 10
	wrongTokenRate  = 1.0 / 3 // a second
)

const (
	refusedToken = "call with a wrong operator token refused"
	// refusedTokenInterval is the shortest time between two log lines about them.
	refusedTokenInterval = 10 * time.Second
)

// errNoToken is the answer to every call that does not prove a token. It does not tell
// whether there is such a token.
var errNoToken = callbackd.Errorf(callbackd.KindUnauthorized, "This call needs an operator token: Authorization: Bearer %s…. The token is missing, unknown, revoked or expired. `callbackd tokens create` makes one.", callbackd.OperatorTokenPrefix)

// operators checks operator tokens and remembers their use.
type operators struct {
	wrong *ratelimit.Limiter[string]

	mu   sync.Mutex
	used map[string]time.Time // by the ID of the token, what is not stored yet
}

func newOperators() *operators {
	return &operators{wrong: ratelimit.New[string](wrongTokenRate, wrongTokenBurst), used: map[string]time.Time{}}
}

// bearer returns the token of a request; it is empty without one.
func bearer(r *http.Request) callbackd.Secret {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return callbackd.Secret(strings.TrimSpace(text))
}

// operatorToken returns the token of a request when it is in force, and errNoToken for any
// other request.
func (a *API) operatorToken(r *http.Request, now time.Time) (*callbackd.OperatorToken, error) {
	text := bearer(r)
	id, ok := callbackd.ParseOperatorToken(text)
	if !ok {
		return nil, errNoToken
	}
	token, err := a.Store.Token(r.Context(), id)
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		token, err = &callbackd.OperatorToken{}, nil // the check takes the same time and fails
	}
	if err == nil && !token.Accepts(text, now) {
		err = errNoToken
	}
	if err != nil {
		return nil, err
	}
	return token, nil
}

// authorize returns the operator token of a request, and refuses what its role may not do.
func (a *API) authorize(w http.ResponseWriter, r *http.Request) (*callbackd.OperatorToken, error) {
	now := time.Now()
	token, err := a.operatorToken(r, now)
	switch {
	case err == errNoToken:
		if bearer(r) != "" { // without one it guesses nothing
			wait := a.operators.wrong.Take(now, front.ClientNetwork(r))
			a.Log.Warn(refusedToken, "from", front.ClientAddr(r), "limited", wait > 0)
			if wait > 0 {
				return nil, callbackd.Errorf(callbackd.KindLimited, "Too many calls without a valid operator token came from this address. Try again in %s with a valid one.", callbackd.FormatDuration(wait))
			}
		}
		w.Header().Set("WWW-Authenticate", "Bearer")
		return nil, err
	case err != nil:
		return nil, err
	}
	a.operators.use(token, now)
	if front.KindOf(r) == front.Write && !token.MayChange() {
		return nil, callbackd.Errorf(callbackd.KindForbidden, "The operator token %s may read and not change anything. Use one with the role %s.", token.Name, callbackd.RoleFull)
	}
	return token, nil
}

// operated returns a handler that calls f for requests with an operator token whose role
// allows them. When the path names an API key, the call is about that key; otherwise
// about all keys.
func (a *API) operated(params []string, f func(http.ResponseWriter, *call) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w}
		c, err := a.beginOperated(rec, r, params)
		if err == nil {
			err = a.madeMeanwhile(c, f(rec, c))
		}
		if err != nil && !repeated(rec, err) {
			rec.message = a.fail(rec, r, err)
		}
		if c != nil && front.KindOf(r) == front.Write {
			a.Log.Info("operator call", "method", r.Method, "path", r.URL.Path, "status", rec.status, "token", c.token.Name, "token_id", c.token.ID, "from", front.ClientAddr(r))
		}
	})
}

// beginOperated returns the call of a request with an operator token. The call is nil when
// the request has none.
func (a *API) beginOperated(w http.ResponseWriter, r *http.Request, params []string) (*call, error) {
	w.Header().Set("Cache-Control", "no-store")
	token, err := a.authorize(w, r)
	if err != nil {
		return nil, err
	}
	// A name can be given again after a revocation; an ID cannot.
	actor := callbackd.Actor{Kind: callbackd.ActorToken, Name: token.Name + " " + token.ID, Address: address(r)}
	c := &call{Request: withActor(r, actor), token: token}
	client, kind := "\x00token "+token.ID, front.KindOf(r) // cannot be an API key
	if err := front.BeginCall(r, client, kind); err != nil {
		return c, err
	}
	if kind == front.Read {
		if err := front.BeginAnswer(r, client); err != nil {
			return c, err
		}
	}
	if c.query, err = request.Query(r.URL.RawQuery, params); err != nil {
		return c, err
	}
	if apiKey := r.PathValue("key"); apiKey != "" {
		if c.key, err = a.Store.Key(r.Context(), apiKey); err != nil {
			return c, noKey(err, apiKey)
		}
	}
	return c, a.prepareOnce(w, c)
}

// noKey replaces the store's NotFound by a sentence with the API key.
func noKey(err error, apiKey string) error {
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return callbackd.Errorf(callbackd.KindNotFound, "There is no API key %s. GET /v1/admin/keys lists them.", callbackd.Clip(apiKey, 60))
	}
	return err
}

// keyID returns the ID of the key that the call is about; [store.AllKeys] when it is about
// all of them, which only a call with an operator token can be.
func (c *call) keyID() callbackd.KeyID {
	if c.key == nil && c.token != nil {
		return store.AllKeys
	}
	return c.key.ID
}

// use remembers the use of a token, unless the store has a time close to it.
func (o *operators) use(t *callbackd.OperatorToken, now time.Time) {
	if now.Sub(t.LastUsedAt) < callbackd.MaxUseDelay/2 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.used[t.ID] = now.UTC().Truncate(time.Millisecond)
}

// take returns what is not stored yet, and forgets it.
func (o *operators) take() map[string]time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	used := o.used
	o.used = map[string]time.Time{}
	return used
}

// restore remembers again what could not be stored.
func (o *operators) restore(used map[string]time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.Copy(used, o.used)
	o.used = used
}

// StoreTokenUses stores when operator tokens were last used. It is called every
// [callbackd.MaxUseDelay] / 2, and before the store is closed.
func (a *API) StoreTokenUses(ctx context.Context) error {
	used := a.operators.take()
	if len(used) == 0 {
		return nil
	}
	err := a.Store.UseTokens(ctx, used)
	if err != nil {
		a.operators.restore(used)
	}
	return err
}

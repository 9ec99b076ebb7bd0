package api

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/signature"
)

// KeyOf returns the API key that a call names, before its signature is checked. It is 0
// when the call names none, or one that no call can be made with.
func (a *API) KeyOf(r *http.Request) callbackd.KeyID {
	path := strings.TrimLeft(r.URL.Path, "/")
	if rest, isAdmin := strings.CutPrefix(path, adminRoot[1:]); isAdmin {
		return a.adminKeyOf(r, rest)
	}
	version, _, _ := strings.Cut(path, "/")
	apiKey := ""
	switch version {
	case "v1":
		apiKey = r.Header.Get(signature.HeaderKey)
	case "v2":
		apiKey = r.Header.Get(signature.HeaderAccessToken)
	}
	key := a.keyNamed(r, apiKey)
	if key == nil || !key.InForce(time.Now()) {
		return 0
	}
	return key.ID
}

// adminKeyOf returns the API key that a call of the management API names in its path,
// which is behind /v1/admin/, or in its query. Anything else is answered by any node.
func (a *API) adminKeyOf(r *http.Request, path string) callbackd.KeyID {
	if bearer(r) == "" { // it is refused here
		return 0
	}
	apiKey := ""
	if rest, ok := strings.CutPrefix(path, "keys/"); ok {
		apiKey, _, _ = strings.Cut(rest, "/")
	} else if q, err := url.ParseQuery(r.URL.RawQuery); err == nil {
		apiKey = q.Get("key")
	}
	if key := a.keyNamed(r, apiKey); key != nil {
		return key.ID
	}
	return 0
}

// keyNamed returns the key with a text; nil when there is none.
func (a *API) keyNamed(r *http.Request, apiKey string) *callbackd.Key {
	if apiKey == "" {
		return nil
	}
	key, err := a.Store.Key(r.Context(), apiKey)
	if err != nil {
		return nil
	}
	return key
}

// Fail answers with an error and logs it.
func (a *API) Fail(w http.ResponseWriter, r *http.Request, err error) { a.fail(w, r, err) }

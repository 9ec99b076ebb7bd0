package api

import (
	"net/http"
	"strings"

	"callbackd"
	"callbackd/internal/signature"
)

// KeyOf returns the API key that a call names, before its signature is checked. It is 0
// when the call names none, or one that no call can be made with.
func (a *API) KeyOf(r *http.Request) callbackd.KeyID {
	version, _, _ := strings.Cut(strings.TrimLeft(r.URL.Path, "/"), "/")
	apiKey := ""
	switch version {
	case "v1":
		apiKey = r.Header.Get(signature.HeaderKey)
	case "v2":
		apiKey = r.Header.Get(signature.HeaderAccessToken)
	}
	if apiKey == "" {
		return 0
	}
	key, err := a.Store.Key(r.Context(), apiKey)
	if err != nil || key.Revoked() {
		return 0
	}
	return key.ID
}

// Fail answers with an error and logs it.
func (a *API) Fail(w http.ResponseWriter, r *http.Request, err error) { a.fail(w, r, err) }

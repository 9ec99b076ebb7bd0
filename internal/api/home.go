package api

import (
	"mime"
	"net/http"
	"strings"

	"callbackd/wire"
)

// home answers GET /. It redirects browsers to the console and sends links to other
// clients.
func (a *API) home(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	if wantsHTML(r.Header) {
		w.Header().Set("Location", "console/") // relative: a proxy may serve all of this below a path
		answer(w, http.StatusSeeOther, wire.Message{Message: "The console is at /console/."})
		return
	}
	answer(w, http.StatusOK, wire.Links{
		Message: "callbackd is running.", Console: "/console/", Docs: "/docs", Callbacks: "/v1/callbacks", Events: "/v1/events", Sessions: "/v1/sessions",
		OpenAPI: "/openapi.yaml", Health: "/healthz", Ready: "/readyz", Metrics: "/metrics",
	})
}

// wantsHTML reports whether a client accepts HTML, as browsers do and other clients do
// not.
func wantsHTML(h http.Header) bool {
	for _, one := range strings.Split(strings.Join(h.Values("Accept"), ","), ",") {
		typ, params, err := mime.ParseMediaType(one)
		q, given := params["q"]
		if err == nil && typ == "text/html" && (!given || strings.Trim(q, "0.") != "") {
			return true
		}
	}
	return false
}

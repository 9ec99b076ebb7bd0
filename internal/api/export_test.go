package api

import (
	"net/http"
	"strings"
	"time"

	"callbackd/internal/callbacks"
)

// Patterns is every route, for the tests that compare the table with
// openapi.yaml and with the documents.
func (a *API) Patterns() []string {
	var out []string
	for _, r := range a.routes() {
		out = append(out, strings.TrimSuffix(r.pattern, "{$}"))
	}
	return out
}

// Params is what the query of a route may have.
func (a *API) Params(pattern string) []string {
	for _, r := range a.routes() {
		if r.pattern == pattern {
			return r.params
		}
	}
	return nil
}

// What the document states as defaults and limits.
const (
	DefaultLimit = defaultLimit
	DefaultKeep  = callbacks.DefaultKeep
	MaxKeep      = callbacks.MaxKeep
	TestRate     = callbacks.TestRate
	TestBurst    = callbacks.TestBurst
	MaxWaiting   = maxWaiting
)

// Traced is what each call that may change something begins with.
func (a *API) Traced(r *http.Request, at time.Time) (*http.Request, Span) { return a.traced(r, at) }

package api

import "callbackd/internal/callbacks"

// Patterns is every route, for the tests that compare the table with
// openapi.yaml and with the documents.
func (a *API) Patterns() []string {
	var out []string
	for _, r := range a.routes() {
		out = append(out, r.pattern)
	}
	return out
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

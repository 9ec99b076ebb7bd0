package app

import (
	"net/http"
	"strings"

	"callbackd/docs"
	"callbackd/internal/api"
	"callbackd/internal/console"
	"callbackd/internal/docsite"
)

// documents returns what serves the documents, in the look of the console.
func documents(c Config) http.Handler {
	return docsite.New(docsite.Options{
		Files: docs.Files, OpenAPI: api.Document(), Style: console.Style(), Base: console.Base(c.PublicURL), Log: c.Log,
	})
}

// routed serves the console and the documents under their roots, and the API everywhere
// else.
func routed(service, pages, documents http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case isConsole(r):
			pages.ServeHTTP(w, r)
		case below(docsite.Root, r):
			documents.ServeHTTP(w, r)
		default:
			service.ServeHTTP(w, r)
		}
	})
}

func isConsole(r *http.Request) bool { return below(console.Root, r) }

// below reports whether a request is for a root or a path below it.
func below(root string, r *http.Request) bool {
	return r.URL.Path == root || strings.HasPrefix(r.URL.Path, root+"/")
}

package api

import (
	"net/http"
	"net/url"
	"strings"
)

// tidy removes slashes from a request's path that people write by mistake: double ones
// and those at the end. The mux would redirect such a path, and a client that follows
// the redirect loses its body. ok is false for a path with a segment "." or "..", which
// is not resolved.
func tidy(r *http.Request) (ok bool) {
	path := r.URL.EscapedPath()
	if path == "" || path[0] != '/' {
		return false
	}
	if !strings.Contains(path, "//") && !strings.Contains(path, "/.") && (path == "/" || !strings.HasSuffix(path, "/")) {
		return true // as nearly all are
	}
	segments := strings.FieldsFunc(path, func(c rune) bool { return c == '/' })
	for _, s := range segments {
		if s == "." || s == ".." {
			return false
		}
	}
	clean := "/" + strings.Join(segments, "/")
	if clean == path {
		return true
	}
	plain, err := url.PathUnescape(clean)
	if err != nil {
		return false
	}
	u := *r.URL // a copy, so that the caller's URL does not change
	u.Path, u.RawPath = plain, clean
	r.URL = &u
	return true
}

package api

import (
	"net/http"
	"net/url"
	"strings"
)

// tidy takes the slashes out of a request's path that people write by mistake:
// doubled ones, and those at the end. The mux would redirect such a path, and
// a client that follows loses its body. It tells whether the path may be one
// of ours: "." and ".." as segments are not resolved.
func tidy(r *http.Request) bool {
	path := r.URL.EscapedPath()
	if path == "" || path[0] != '/' {
		return false
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
	u := *r.URL // the caller's stays as it came
	u.Path, u.RawPath = plain, clean
	r.URL = &u
	return true
}

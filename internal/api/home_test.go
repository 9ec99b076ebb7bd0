package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"callbackd/wire"
)

// The root leads a browser to the console, and gives anything else links that
// lead to what they say.
func TestRootLeadsOn(t *testing.T) {
	s := start(t)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, c := range []struct {
		accept []string
		want   int
	}{
		{[]string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, http.StatusSeeOther},
		{[]string{"image/png", "Text/HTML; charset=utf-8; q=0.1"}, http.StatusSeeOther},
		{[]string{"text/html;q=0.0, */*"}, http.StatusOK},
		{[]string{"*/*"}, http.StatusOK}, // curl
		{[]string{"application/json"}, http.StatusOK},
		{[]string{";;,"}, http.StatusOK},
		{nil, http.StatusOK},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			req, err := http.NewRequest(method, s.url+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header["Accept"] = c.accept
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			to, _ := resp.Location()
			name := fmt.Sprintf("%s with Accept %q: ", method, c.accept)
			equal(t, name+"the status", resp.StatusCode, c.want)
			equal(t, name+"Vary", resp.Header.Get("Vary"), "Accept")
			if c.want == http.StatusOK {
				equal(t, name+"the redirect", to, (*url.URL)(nil))
			} else if to == nil || to.Path != "/console/" {
				t.Errorf("%sthe redirect is to %v, want /console/", name, to)
			}
		}
	}
	links := decode[wire.Links](s.call("GET", "/", "").ok(200))
	patterns := s.api.Patterns()
	for _, path := range []string{links.Callbacks, links.Events, links.Sessions, links.OpenAPI, links.Health, links.Ready, links.Metrics} {
		if !slices.ContainsFunc(patterns, func(p string) bool { return strings.HasSuffix(p, " "+path) }) {
			t.Errorf("%q is no route", path)
		}
	}
	s.call("POST", "/", "").ok(405)
}

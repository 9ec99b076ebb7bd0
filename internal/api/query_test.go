package api_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
)

// places fills in the wildcards of a route.
var places = strings.NewReplacer("{event}", "SESSION:COMPLETE", "{id}", "x", "{key}", "ACM-0123456789")

// A parameter that does not exist is refused by every route, before anything is
// done: a selector with a typing error would change something else.
func TestEveryRouteRefusesParametersThatItDoesNotHave(t *testing.T) {
	s := start(t)
	s.register("SESSION:COMPLETE", "https://receiver.example/hook", "")
	before := s.call("GET", "/v1/callbacks", "").ok(200).body
	for _, p := range s.api.Patterns() {
		method, path, _ := strings.Cut(p, " ")
		path = places.Replace(path)
		names := []string{"nme", "Name", "NAME", "callbacks", "dryrun", "dry_run", "name[]", "api_key", "x"}
		for _, known := range s.api.Params(p) {
			names = append(names, strings.ToUpper(known), known+"s", known[1:])
		}
		for _, name := range names {
			if slices.Contains(s.api.Params(p), name) {
				continue
			}
			r := s.call(method, path+"?"+escape(name)+"=eu", `{"url":"https://other.example/"}`, set("API-Access-Token", s.key.APIKey))
			r.says(400, `Unknown parameter "`+name+`". This call takes`)
		}
		for _, query := range []string{"?x", "?=", "?a;b", "?%zz=1"} {
			s.call(method, path+query, "{}", set("API-Access-Token", s.key.APIKey)).says(400)
		}
		for _, known := range s.api.Params(p) {
			s.call(method, path+"?"+known+"=1&"+known+"=1", "{}").says(400, known+" is given twice.")
		}
	}
	s.call("GET", "/v1/callbacks", "").is(200, strings.TrimSpace(strings.ReplaceAll(before, s.key.APIKey, "KEY")))
	s.call("GET", "/v1/events", "").is(200, `{"data":[],"next":null}`)
	s.call("GET", "/v1/sessions", "").is(200, `{"data":[],"next":null}`)
	// A caller without the token of a key learns nothing about the key.
	s.call("DELETE", "/v1/callbacks/SESSION:COMPLETE?nme=eu", "", without("API-Token")).ok(401)
}

// The parameters of each route are those of the document.
func TestTheDocumentHasEveryParameter(t *testing.T) {
	s := start(t)
	for _, p := range s.api.Patterns() {
		method, path, _ := strings.Cut(p, " ")
		item := document.doc.Paths.Value(path)
		var want []string
		for _, all := range []openapi3.Parameters{item.Parameters, item.GetOperation(method).Parameters} {
			for _, param := range all {
				if param.Value.In == "query" {
					want = append(want, param.Value.Name)
				}
			}
		}
		got := slices.Sorted(slices.Values(s.api.Params(p)))
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -document +route\n%s", p, diff)
		}
		if item.GetOperation(method).Responses.Status(400) == nil {
			t.Errorf("%s lacks 400", p)
		}
	}
}

package console_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"callbackd"
)

// A session key may be any visible ASCII; whatever it looks like, each link to
// it leads to its own page, for its holder and for the operator.
func TestEveryLinkToASessionLeadsToItsPage(t *testing.T) {
	s := startSite(t)
	recv := newReceiver(t)
	s.fill(s.Key, recv.URL)
	victim := s.NewKey("victim", "theirs")
	keys := []string{"../keys/" + victim.APIKey + "/revoke", "../link?token=AAAA", "a/b", "a?b", "a#b", "a%2fb", "a%b", "//evil.example/", `\\evil.example`, "a;b=c", "a&key=x", "plain", "..", "."}
	events := map[string]string{}
	for _, key := range keys {
		events[key] = s.Publish(s.Key, callbackd.StatusChange, key, map[string]any{"status": "STARTED"})
	}
	for _, v := range []*visitor{s.visitor(t).signIn(s.Key), s.visitor(t).operator()} {
		for _, key := range keys {
			id := "dlv_" + strings.TrimPrefix(events[key], "evt_") + "-1"
			pages := []string{"/console/deliveries?session=" + url.QueryEscape(key), "/console/deliveries/" + id, "/console/events/" + events[key], "/console/sessions?q=" + url.QueryEscape(key)}
			for _, page := range pages {
				found := false
				for _, href := range linksSaying(t, v.get(page), key) {
					found = true
					u, err := url.Parse(href)
					if err != nil || u.Fragment != "" || u.Path != "/console/sessions/"+key {
						t.Errorf("%s: the link to %q is %q", page, key, href)
						continue
					}
					if a := v.get(href); a.StatusCode != http.StatusOK || headline(t, a) != key {
						t.Errorf("%s: the link to %q (%s) leads to %s %q", page, key, href, a.Status, headline(t, a))
					}
				}
				if !found {
					t.Errorf("%s has no link to %q", page, key)
				}
			}
		}
	}
}

// No template writes an address of its own: each comes from the one function.
func TestTemplatesBuildNoAddresses(t *testing.T) {
	files, err := filepath.Glob("templates/*.html")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	own := regexp.MustCompile(`(href|action|src|formaction)="[^"{#]`)
	joined := regexp.MustCompile(`(href|action|src|formaction)="{{[^}]*}}[^"{]`)
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, re := range []*regexp.Regexp{own, joined} {
			if m := re.FindString(string(raw)); m != "" {
				t.Errorf("%s builds an address: %s", f, m)
			}
		}
	}
}

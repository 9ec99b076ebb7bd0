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

// A session key may be any visible ASCII. Every link to a session leads to its page,
// for the holder of the key and for the operator.
func TestEveryLinkToASessionLeadsToItsPage(t *testing.T) {
	s := startSite(t)
	s.fill(s.Key, newReceiver(t).URL)
	victim := s.NewKey("victim", "theirs")
	keys := []string{"../keys/" + victim.APIKey + "/revoke", "../link?token=AAAA", "a/b", "a?b", "a#b", "a%2fb", "a%b", "//evil.example/", `\\evil.example`, "a;b=c", "a&key=x", "plain", "..", "."}
	events := map[string]string{}
	for _, key := range keys {
		events[key] = s.Publish(s.Key, callbackd.StatusChange, key, map[string]any{"status": "STARTED"})
	}
	for _, v := range []*visitor{s.visitor(t).signIn(s.Key), s.visitor(t).operator()} {
		for _, key := range keys {
			for _, page := range []string{
				"/console/deliveries?session=" + url.QueryEscape(key),
				deliveryPath(events[key], "1"),
				"/console/events/" + events[key],
				"/console/sessions?q=" + url.QueryEscape(key),
			} {
				v.checkLinks(page, key)
			}
		}
	}
}

// checkLinks checks that a page has links to a session, and that they lead to its page.
func (v *visitor) checkLinks(page, session string) {
	v.t.Helper()
	hrefs := linksSaying(v.t, v.get(page), session)
	if len(hrefs) == 0 {
		v.t.Errorf("%s has no link to %q", page, session)
	}
	for _, href := range hrefs {
		u, err := url.Parse(href)
		if err != nil {
			v.t.Errorf("%s: the link to %q cannot be read: %v", page, session, err)
			continue
		}
		if want := "/console/sessions/" + session; u.Path != want || u.Fragment != "" {
			v.t.Errorf("%s: the link to %q is %q, with the path %q; want %q", page, session, href, u.Path, want)
			continue
		}
		if a := v.get(href); a.StatusCode != http.StatusOK || headline(v.t, a) != session {
			v.t.Errorf("%s: the link to %q leads to %s, which answers %s with the headline %q", page, session, href, a.Status, headline(v.t, a))
		}
	}
}

// Templates take every address from the function link, which escapes it.
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
			page := strings.ReplaceAll(string(raw), ` href="/docs"`, "") // the documents, which addPublicPath knows
			if m := re.FindString(page); m != "" {
				t.Errorf("%s builds an address: %s", f, m)
			}
		}
	}
}

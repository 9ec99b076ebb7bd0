package console_test

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/console"
	"callbackd/wire"

	"github.com/google/go-cmp/cmp"
)

// routeRequest is a request for one of the console's routes.
type routeRequest struct {
	method, path string
	named        bool // the path has an ID
}

var wildcard = regexp.MustCompile(`\{(\w+)(\.\.\.)?\}`)

// routeRequests returns a request for each route with these IDs in its path, but
// for the paths that begin with one of the exceptions.
func routeRequests(ids map[string]string, except ...string) (requests []routeRequest) {
	for _, pattern := range console.Patterns() {
		method, path, _ := strings.Cut(pattern, " ")
		isExcepted := func(prefix string) bool { return strings.HasPrefix(path, prefix) }
		if path == "" || slices.ContainsFunc(except, isExcepted) { // without a method: the page that does not exist
			continue
		}
		named := wildcard.MatchString(path)
		path = wildcard.ReplaceAllStringFunc(path, func(name string) string {
			if strings.HasPrefix(path, "/console/replays") {
				return ids["replay"]
			}
			return ids[strings.Trim(name, "{}.")]
		})
		requests = append(requests, routeRequest{method, strings.TrimSuffix(path, "{$}"), named})
	}
	return requests
}

// fillWithReplay makes one of everything for a key and replays its delivery.
func (s *site) fillWithReplay(t *testing.T, k callbackd.Key, receiver string) map[string]string {
	t.Helper()
	ids, cl := s.fill(k, receiver), s.Client(k)
	delivered := func(attempts int) func() bool {
		return func() bool {
			d, err := cl.Delivery(context.Background(), ids["id"])
			return err == nil && d.State == "delivered" && d.Attempts == attempts
		}
	}
	s.Await(delivered(1))
	replay := s.visitor(t).operator().post("/console/replays/new", url.Values{"key": {k.APIKey}, "state": {"delivered"}})
	ids["incident"] = s.incident(t, k)
	ids["erase"] = s.dryRun(t, k, ids["session"])
	ids["group"] = s.dryRunOverKeys(t, ids["session"])
	ids["replay"] = strings.TrimPrefix(replay, "/console/replays/")
	s.Await(delivered(2))
	return ids
}

// contents is what a key has, as its API shows it.
func (s *site) contents(t *testing.T, k callbackd.Key) (callbacks wire.CallbackList, deliveries wire.DeliveryList) {
	t.Helper()
	for path, to := range map[string]any{"/v1/callbacks": &callbacks, "/v1/deliveries": &deliveries} {
		if err := s.Client(k).Do(context.Background(), "GET", path, nil, to); err != nil {
			t.Fatal(err)
		}
	}
	return callbacks, deliveries
}

// aKeySeesNothingOfAnother requests every route with the IDs of another key. The
// answer is the one for what does not exist: it shows nothing and changes nothing.
func aKeySeesNothingOfAnother(t *testing.T, s *site) {
	other := s.NewKey("other-account", "theirs")
	ids := s.fillWithReplay(t, other, newReceiver(t).URL+"/their-hook")
	callbacks, deliveries := s.contents(t, other)
	me := s.visitor(t).signIn(s.Key)
	requests := routeRequests(ids, "/console/webhooks", "/console/static/", "/console/sign-out")
	if len(requests) < 25 {
		t.Errorf("there are only %d requests", len(requests))
	}
	parameters := "?" + url.Values{"key": {other.APIKey}, "callback": {ids["callback"]}, "session": {ids["session"]}, "delivery": {ids["id"]}, "q": {ids["session"]}}.Encode()
	form := url.Values{"keep": {"1h"}, "url": {"https://evil.example/"}, "event": {"SESSION:COMPLETE"}, "method": {"POST"},
		"callback": {ids["callback"]}, "state": {"delivered", "failed"}, "target": {ids["callback"]}}
	for _, r := range requests {
		for _, query := range []string{"", parameters} {
			a := me.do(r.method, r.path+query, form)
			if r.named && a.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s%s answers %s, want 404", r.method, r.path, query, a.Status)
			}
			for _, secret := range []string{"their-hook", "other-account", other.Secret.Reveal()} {
				if strings.Contains(a.body, secret) {
					t.Errorf("%s %s%s shows %q", r.method, r.path, query, secret)
				}
			}
		}
	}
	callbacksNow, deliveriesNow := s.contents(t, other)
	if diff := cmp.Diff(callbacks, callbacksNow); diff != "" {
		t.Errorf("another key's callbacks changed (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(deliveries, deliveriesNow); diff != "" {
		t.Errorf("another key's deliveries changed (-before +after):\n%s", diff)
	}
}

// The paths of older versions lead to the pages of today.
func TestOldPathsOfCallbacksAreRedirected(t *testing.T) {
	s := startSite(t)
	v := s.visitor(t).signIn(s.Key)
	for old, want := range map[string]string{
		"/console/webhooks":        "/console/callbacks",
		"/console/webhooks?key=a":  "/console/callbacks?key=a",
		"/console/webhooks/7":      "/console/callbacks/7",
		"/console/webhooks/7/edit": "/console/callbacks/7/edit",
	} {
		a := v.get(old)
		if a.StatusCode != http.StatusMovedPermanently {
			t.Errorf("%s answers %s, want 301", old, a.Status)
		}
		if got := a.Header.Get("Location"); got != want {
			t.Errorf("%s leads to %q, want %q", old, got, want)
		}
	}
}

// theOperatorSeesAll opens the pages of a key's objects, and lists with them, as
// the operator.
func theOperatorSeesAll(t *testing.T, s *site) {
	recv := newReceiver(t)
	other := s.NewKey("other-account", "theirs")
	ids := s.fill(other, recv.URL+"/their-hook")
	op := s.visitor(t).operator()
	host := strings.TrimPrefix(recv.URL, "http://")
	for path, want := range map[string]string{
		"/console/callbacks/" + ids["callback"]:           host,
		"/console/deliveries/" + ids["id"]:                host,
		"/console/events/" + ids["event"]:                 host,
		"/console/sessions/" + ids["session"]:             host,
		"/console/deliveries?key=" + other.APIKey:         host,
		"/console/callbacks?key=" + other.APIKey:          host,
		"/console/sessions?q=" + ids["session"]:           "other-account",
		"/console/keys":                                   "other-account",
		"/console/deliveries?callback=" + ids["callback"]: "other-account",
	} {
		a := op.get(path)
		if a.StatusCode != http.StatusOK {
			t.Errorf("%s answers %s, want 200", path, a.Status)
		}
		if !strings.Contains(a.body, want) {
			t.Errorf("%s does not show %q", path, want)
		}
	}
}

func TestWithoutALoginOnlyTheSignInPageIsServed(t *testing.T) {
	s := startSite(t)
	v := s.visitor(t)
	ids := map[string]string{"callback": "1", "id": "1", "event": "1", "session": "1", "key": "1", "replay": "1", "rest": "1", "incident": "1", "token": "1", "erase": "1", "group": "1"}
	for _, r := range routeRequests(ids, "/console/static/", "/console/sign-", "/console/link", "/console/enter") {
		if r.path == "/console" {
			continue // redirects to the overview
		}
		if to := v.do(r.method, r.path, nil).Header.Get("Location"); !strings.HasPrefix(to, "/console/sign-in") {
			t.Errorf("%s %s leads to %q, want the sign-in page", r.method, r.path, to)
		}
	}
}

// TestLoginsOverARestart signs in, restarts the server with another operator token,
// and looks who is still logged in.
func TestLoginsOverARestart(t *testing.T) { onBothStores(t, loginsOverARestart) }

func loginsOverARestart(t *testing.T, s *site) {
	holder, operator, byLink := s.visitor(t).signIn(s.Key), s.visitor(t).operator(), s.visitor(t)
	_, token, _ := strings.Cut(s.Link(), "=")
	byLink.post("/console/link", url.Values{"token": {token}})
	signedOut := s.visitor(t).signIn(s.Key)
	stolen := signedOut.cookies()
	signedOut.post("/console/sign-out", nil)
	signedOut.http.Jar.SetCookies(stolen.at, stolen.cookies)
	if signedOut.in() {
		t.Error("a copied cookie works after the sign-out")
	}

	s.Stop()
	s.Token = "another-operator-token"
	s.Start()

	for _, c := range []struct {
		who  string
		v    *visitor
		want bool
	}{
		{"the holder of a key", holder, true},
		{"who has a copied cookie after the sign-out", signedOut, false},
		{"who signed in with the old operator token", operator, false},
		{"the operator who signed in with a link", byLink, true},
	} {
		if got := c.v.in(); got != c.want {
			t.Errorf("after the restart %s is logged in: %v, want %v", c.who, got, c.want)
		}
	}

	byLink.post("/console/keys/"+s.Key.APIKey+"/revoke", nil)
	if holder.in() {
		t.Error("the holder of a revoked key is still logged in")
	}
}

// A link signs in one browser, before it expires. The token of a cookie is no link.
func TestOnlyALinkThatIsValidSignsIn(t *testing.T) {
	s := startSite(t)
	_, link, _ := strings.Cut(s.Link(), "=")
	_, expired, _ := strings.Cut(s.LinkFrom(time.Now().Add(-console.LinkLifetime)), "=")
	cookie := s.visitor(t).operator().cookies().cookies[0].Value
	for _, c := range []struct {
		name, token string
		want        bool
	}{
		{"a link", link, true},
		{"a link that was used", link, false},
		{"a link that has expired", expired, false},
		{"the token of a cookie", cookie, false},
		{"any other token", "token", false},
	} {
		v := s.visitor(t)
		v.do("POST", "/console/link", url.Values{"token": {c.token}})
		if got := v.in(); got != c.want {
			t.Errorf("%s signs in: %v, want %v", c.name, got, c.want)
		}
	}
}

// jar is the cookies of a visitor.
type jar struct {
	at      *url.URL
	cookies []*http.Cookie
}

func (v *visitor) cookies() jar {
	v.t.Helper()
	at, err := url.Parse(v.site.URL + "/console")
	if err != nil {
		v.t.Fatal(err)
	}
	return jar{at, v.http.Jar.Cookies(at)}
}

func TestTheCookieIsForTheConsoleAndNotForScripts(t *testing.T) {
	s := startSite(t)
	got := s.visitor(t).do("POST", "/console/sign-in", keyForm(s.Key)).Header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Lax", "Path=/console"} {
		if !strings.Contains(got, want) {
			t.Errorf("the cookie is %q, want %s in it", got, want)
		}
	}
}

// Only a trusted proxy can say that the browser used TLS.
func TestTheCookieIsSecureWhenATrustedProxySaysSo(t *testing.T) {
	s := startSite(t)
	check := func(trusted bool) {
		t.Helper()
		for _, proto := range []string{"", "https"} {
			cookie := s.visitor(t).do("POST", "/console/sign-in", keyForm(s.Key), "X-Forwarded-Proto", proto).Header.Get("Set-Cookie")
			want := trusted && proto == "https"
			if got := strings.Contains(cookie, "Secure"); got != want {
				t.Errorf("trusted %v, X-Forwarded-Proto %q: the cookie is Secure: %v, want %v", trusted, proto, got, want)
			}
		}
	}
	check(false)
	s.Stop()
	s.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	s.Start()
	check(true)
}

func TestOtherOriginsAreRefused(t *testing.T) {
	s := startSite(t)
	v := s.visitor(t).signIn(s.Key)
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
		if a := v.do("POST", "/console/sign-out", nil, header...); a.StatusCode != http.StatusForbidden {
			t.Errorf("a form with %v is answered with %s, want 403", header, a.Status)
		}
	}
	if !v.in() {
		t.Error("another site signed the visitor out")
	}
}

func TestWrongAttemptsToSignInAreLimited(t *testing.T) {
	s := startSite(t)
	v := s.visitor(t)
	wrong := operatorForm("wrong")
	for i := range 10 {
		if a := v.do("POST", "/console/sign-in", wrong); a.StatusCode != http.StatusUnauthorized {
			t.Fatalf("attempt %d is answered with %s, want 401", i+1, a.Status)
		}
	}
	a := v.do("POST", "/console/sign-in", wrong)
	if a.StatusCode != http.StatusTooManyRequests {
		t.Errorf("attempt 11 is answered with %s, want 429", a.Status)
	}
	if a.Header.Get("Retry-After") == "" {
		t.Error("attempt 11 is answered without Retry-After")
	}
	if a := v.do("POST", "/console/sign-in", operatorForm(operatorToken)); a.StatusCode != http.StatusSeeOther {
		t.Errorf("the right token is answered with %s, want 303", a.Status)
	}
}

// After the sign-in the browser goes to the page that was asked for, if it is one
// of the console.
func TestTheSignInLeadsToAPageOfTheConsole(t *testing.T) {
	s := startSite(t)
	for next, want := range map[string]string{
		"/console/logs?status=5xx":      "/console/logs?status=5xx",
		"":                              "/console/",
		"https://evil.example/console/": "/console/",
		"//evil.example/console/":       "/console/",
		"/console/../v1":                "/console/",
		"/\\evil.example":               "/console/",
		"/console/sign-out":             "/console/",
		"javascript:alert(1)":           "/console/",
		"/v1/events":                    "/console/",
	} {
		form := keyForm(s.Key)
		form.Set("next", next)
		if got := s.visitor(t).post("/console/sign-in", form); got != want {
			t.Errorf("next=%q leads to %q, want %q", next, got, want)
		}
	}
}

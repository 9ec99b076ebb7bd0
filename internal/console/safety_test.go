package console_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/console"
)

// visitor is a browser without JavaScript.
type visitor struct {
	t    *testing.T
	site *site
	http *http.Client
}

func (s *site) visitor(t *testing.T) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t, s, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

type answer struct {
	*http.Response
	body string
}

func (v *visitor) do(method, path string, form url.Values, header ...string) answer {
	v.t.Helper()
	req, err := http.NewRequest(method, v.site.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := v.http.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Header.Get("Content-Type") == "text/event-stream" {
		return answer{res, ""}
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return answer{res, string(body)}
}

func (v *visitor) get(path string) answer { return v.do("GET", path, nil) }

func (v *visitor) signIn(k callbackd.Key) *visitor {
	v.t.Helper()
	if a := v.do("POST", "/console/sign-in", url.Values{"as": {"key"}, "api_key": {k.APIKey}, "secret": {k.Secret.Reveal()}}); a.StatusCode != http.StatusSeeOther {
		v.t.Fatalf("sign in: %s", a.Status)
	}
	return v
}

func (v *visitor) operator() *visitor {
	v.t.Helper()
	if a := v.do("POST", "/console/sign-in", url.Values{"as": {"operator"}, "token": {operatorToken}}); a.StatusCode != http.StatusSeeOther {
		v.t.Fatalf("sign in: %s", a.Status)
	}
	return v
}

// in tells whether the visitor is let in.
func (v *visitor) in() bool { return v.get("/console/callbacks").StatusCode == http.StatusOK }

// fill makes one of everything for a key, and returns what its pages are named
// by.
func (s *site) fill(k callbackd.Key, receiver string) map[string]string {
	s.T.Helper()
	ctx := context.Background()
	c := s.Client(k)
	if _, err := c.CreateCallback(ctx, client.NewCallback{Event: string(callbackd.StatusChange), URL: receiver, Retry: []string{"0s"}}); err != nil {
		s.T.Fatal(err)
	}
	var policy struct{ Callback int64 }
	if err := c.Do(ctx, "GET", "/v1/callbacks/SESSION:STATUS_CHANGE/policy", nil, &policy); err != nil {
		s.T.Fatal(err)
	}
	ev := s.Publish(k, callbackd.StatusChange, "OTH-"+k.APIKey[:8], map[string]any{"status": "STARTED"})
	no := fmt.Sprint(policy.Callback)
	return map[string]string{"callback": no, "id": "dlv_" + strings.TrimPrefix(ev, "evt_") + "-" + no, "event": ev, "session": "OTH-" + k.APIKey[:8], "key": k.APIKey}
}

// Every route, with another key's ids: nothing is told, nothing is changed,
// and the answer is the one for what does not exist.
func TestAKeySeesNothingOfAnother(t *testing.T) { onBothStores(t, aKeySeesNothingOfAnother) }

func aKeySeesNothingOfAnother(t *testing.T, s *site) {
	recv := newReceiver(t)
	other := s.NewKey("other-account", "theirs")
	theirs := s.fill(other, recv.URL+"/their-hook")
	me := s.visitor(t).signIn(s.Key)
	s.Await(func() bool {
		d, err := s.Client(other).Delivery(context.Background(), theirs["id"])
		return err == nil && d.State == "delivered"
	})
	replay := s.visitor(t).operator().do("POST", "/console/replays/new", url.Values{"key": {other.APIKey}, "state": {"delivered"}}).Header.Get("Location")
	if !strings.HasPrefix(replay, "/console/replays/rpl_") {
		t.Fatalf("no replay: %q", replay)
	}
	c := s.Client(other)
	s.Await(func() bool {
		d, err := c.Delivery(context.Background(), theirs["id"])
		return err == nil && d.Attempts == 2 && d.State == "delivered"
	})
	seen := 0
	for _, pattern := range console.Patterns() {
		method, path, _ := strings.Cut(pattern, " ")
		if path == "" || strings.Contains(path, "/webhooks") { // not found; the old paths
			continue
		}
		named := false
		path = regexp.MustCompile(`\{(\w+)\}`).ReplaceAllStringFunc(path, func(p string) string {
			named = true
			name := strings.Trim(p, "{}")
			if strings.HasPrefix(path, "/console/replays") {
				return strings.TrimPrefix(replay, "/console/replays/")
			}
			return theirs[name]
		})
		if strings.Contains(path, "/static/") || strings.Contains(path, "/sign-out") {
			continue
		}
		path = strings.TrimSuffix(path, "{$}")
		for _, query := range []string{"", "?key=" + other.APIKey + "&callback=" + theirs["callback"] + "&session=" + theirs["session"] + "&delivery=" + theirs["id"] + "&q=" + theirs["session"]} {
			form := url.Values{"keep": {"1h"}, "url": {"https://evil.example/"}, "event": {"SESSION:COMPLETE"}, "method": {"POST"}, "callback": {theirs["callback"]}, "state": {"delivered", "failed"}, "target": {theirs["callback"]}}
			a := me.do(method, path+query, form)
			if named && a.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s%s: %s", method, path, query, a.Status)
			}
			for _, secret := range []string{"their-hook", "other-account", other.Secret.Reveal()} {
				if strings.Contains(a.body, secret) {
					t.Errorf("%s %s%s shows %q", method, path, query, secret)
				}
			}
			seen++
		}
	}
	if seen < 50 {
		t.Errorf("only %d requests were made", seen)
	}
	list, err := c.Deliveries(context.Background(), url.Values{})
	if err != nil || len(list.Data) != 1 || list.Data[0].Attempts != 2 {
		t.Errorf("another key's deliveries changed: %+v, %v", list.Data, err)
	}
	var cbs struct {
		Data []struct{ URL string }
	}
	if err := c.Do(context.Background(), "GET", "/v1/callbacks", nil, &cbs); err != nil || len(cbs.Data) != 1 || cbs.Data[0].URL != recv.URL+"/their-hook" {
		t.Errorf("another key's callbacks changed: %+v, %v", cbs, err)
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

// The operator sees what the key's holder does, by the same addresses.
func TestTheOperatorSeesAll(t *testing.T) { onBothStores(t, theOperatorSeesAll) }

func theOperatorSeesAll(t *testing.T, s *site) {
	recv := newReceiver(t)
	other := s.NewKey("other-account", "theirs")
	theirs := s.fill(other, recv.URL+"/their-hook")
	op := s.visitor(t).operator()
	for _, path := range []string{"/console/callbacks/" + theirs["callback"], "/console/deliveries/" + theirs["id"], "/console/events/" + theirs["event"], "/console/sessions/" + theirs["session"], "/console/deliveries", "/console/callbacks", "/console/keys", "/console/sessions"} {
		if a := op.get(path); a.StatusCode != http.StatusOK || !strings.Contains(a.body, strings.TrimPrefix(recv.URL, "http://")) && !strings.Contains(a.body, "other-account") {
			t.Errorf("%s: %s", path, a.Status)
		}
	}
}

func TestWithoutALoginThereIsTheDoorOnly(t *testing.T) {
	s := startSite(t)
	v := s.visitor(t)
	for _, pattern := range console.Patterns() {
		method, path, _ := strings.Cut(pattern, " ")
		if path == "" || strings.Contains(path, "static") || strings.Contains(path, "sign-") || strings.Contains(path, "link") || path == "/console" {
			continue
		}
		path = strings.TrimSuffix(regexp.MustCompile(`\{\w+(\.\.\.)?\}`).ReplaceAllString(path, "1"), "{$}")
		if a := v.do(method, path, url.Values{}); a.StatusCode != http.StatusSeeOther || !strings.HasPrefix(a.Header.Get("Location"), "/console/sign-in") {
			t.Errorf("%s %s: %s", method, path, a.Status)
		}
	}
}

func TestALoginLastsOverARestartAndEndsForGood(t *testing.T) {
	onBothStores(t, aLoginLastsOverARestartAndEndsForGood)
}

func aLoginLastsOverARestartAndEndsForGood(t *testing.T, s *site) {
	v := s.visitor(t).signIn(s.Key)
	s.Stop()
	s.Start()
	if !v.in() {
		t.Error("the login did not survive a restart")
	}
	at, err := url.Parse(s.URL + "/console")
	if err != nil {
		t.Fatal(err)
	}
	stolen := v.http.Jar.Cookies(at)
	v.do("POST", "/console/sign-out", nil)
	v.http.Jar.SetCookies(at, stolen)
	if v.in() {
		t.Error("the cookie works after the sign-out")
	}
	s.Stop()
	s.Start()
	if v.in() {
		t.Error("the cookie works after the sign-out and a restart")
	}

	v = s.visitor(t).signIn(s.Key)
	if a := s.visitor(t).operator().do("POST", "/console/keys/"+s.Key.APIKey+"/revoke", nil); a.StatusCode != http.StatusSeeOther {
		t.Fatal(a.Status)
	}
	if v.in() {
		t.Error("the login outlives its key")
	}
}

// A login that the operator token gave ends when the token changes.
func TestANewOperatorTokenEndsLogins(t *testing.T) { onBothStores(t, aNewOperatorTokenEndsLogins) }

func aNewOperatorTokenEndsLogins(t *testing.T, s *site) {
	v := s.visitor(t).operator()
	byLink := s.visitor(t)
	link := s.Link()
	byLink.do("POST", "/console/link", url.Values{"token": {link[strings.Index(link, "=")+1:]}})
	s.Stop()
	s.Token = "another-operator-token"
	s.Start()
	if v.in() {
		t.Error("the old token's login still works")
	}
	if !byLink.in() {
		t.Error("a login by link ended with the token")
	}
}

func TestTheCookie(t *testing.T) {
	s := startSite(t)
	for _, trusted := range []bool{false, true} {
		if trusted { // who is not is not believed that the browser came by TLS
			s.Stop()
			s.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			s.Start()
		}
		for _, proto := range []string{"", "https"} {
			a := s.visitor(t).do("POST", "/console/sign-in", url.Values{"as": {"key"}, "api_key": {s.Key.APIKey}, "secret": {s.Key.Secret.Reveal()}}, "X-Forwarded-Proto", proto)
			c, secure := a.Header.Get("Set-Cookie"), trusted && proto == "https"
			if !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Lax") || !strings.Contains(c, "Path=/console") || strings.Contains(c, "Secure") != secure {
				t.Errorf("trusted %t, %q: %s", trusted, proto, c)
			}
		}
	}
}

func TestOtherOriginsAreRefused(t *testing.T) {
	s := startSite(t)
	v := s.visitor(t).signIn(s.Key)
	for _, h := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
		if a := v.do("POST", "/console/sign-out", nil, h...); a.StatusCode != http.StatusForbidden {
			t.Errorf("%v: %s", h, a.Status)
		}
	}
	if !v.in() {
		t.Error("another site signed the visitor out")
	}
}

func TestTriesToSignInAreCounted(t *testing.T) { onBothStores(t, triesToSignInAreCounted) }

func triesToSignInAreCounted(t *testing.T, s *site) {
	v := s.visitor(t)
	wrong := url.Values{"as": {"operator"}, "token": {"wrong"}}
	for range 10 {
		if a := v.do("POST", "/console/sign-in", wrong); a.StatusCode != http.StatusUnauthorized {
			t.Fatal(a.Status)
		}
	}
	if a := v.do("POST", "/console/sign-in", wrong); a.StatusCode != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" {
		t.Errorf("the 11th try: %s", a.Status)
	}
	if a := v.do("POST", "/console/sign-in", url.Values{"as": {"operator"}, "token": {operatorToken}}); a.StatusCode != http.StatusSeeOther {
		t.Errorf("the right token after too many tries: %s", a.Status)
	}
}

// After signing in one goes where one wanted, on this server alone.
func TestNextStaysHere(t *testing.T) {
	s := startSite(t)
	for next, want := range map[string]string{
		"/console/logs?status=5xx": "/console/logs?status=5xx", "": "/console/", "https://evil.example/console/": "/console/", "//evil.example/console/": "/console/",
		"/console/../v1": "/console/", "/\\evil.example": "/console/", "/console/sign-out": "/console/", "javascript:alert(1)": "/console/", "/v1/events": "/console/",
	} {
		a := s.visitor(t).do("POST", "/console/sign-in", url.Values{"as": {"key"}, "api_key": {s.Key.APIKey}, "secret": {s.Key.Secret.Reveal()}, "next": {next}})
		if got := a.Header.Get("Location"); got != want {
			t.Errorf("%q leads to %q", next, got)
		}
	}
}

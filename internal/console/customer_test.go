package console_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/apikey"
	"callbackd/internal/console"
	"callbackd/internal/store"
	"callbackd/wire"

	"golang.org/x/net/html"
)

// customerLink returns the path of a link to the console of a key.
func (s *site) customerLink(t *testing.T, k callbackd.Key, role callbackd.ConsoleRole) string {
	t.Helper()
	token, hash := apikey.NewLinkToken()
	st := s.Store(true)
	defer st.Close()
	link := callbackd.ConsoleLink{Role: role, Lasts: time.Hour, ReturnTo: "https://app.example.com/settings"}
	if err := st.CreateLogin(context.Background(), store.NewCustomerLink(hash, k.ID, link, time.Now())); err != nil {
		t.Fatal(err)
	}
	return callbackd.CustomerURL("", token)
}

// enter uses a link.
func (v *visitor) enter(path string) *visitor {
	v.t.Helper()
	_, token, _ := strings.Cut(path, "token=")
	if to := v.post("/console/enter", url.Values{"token": {token}}); to != "/console/" {
		v.t.Errorf("the link leads to %s", to)
	}
	return v
}

// Every route has a least role, and whoever has less is refused. A form that nobody decided
// about is refused for viewers.
func TestRoutesHaveRoles(t *testing.T) {
	s := startSite(t)
	recv := newReceiver(t)
	ids := s.fillWithReplay(t, s.Key, recv.URL)
	ids["key"] = s.Key.APIKey
	visitors := map[callbackd.ConsoleRole]*visitor{
		callbackd.ConsoleViewer:    s.visitor(t).enter(s.customerLink(t, s.Key, callbackd.ConsoleViewer)),
		callbackd.ConsoleDeveloper: s.visitor(t).enter(s.customerLink(t, s.Key, callbackd.ConsoleDeveloper)),
		callbackd.ConsoleHolder:    s.visitor(t).signIn(s.Key),
	}
	least := console.LeastRoles()
	posts := 0
	for pattern, role := range least {
		method, path, _ := strings.Cut(pattern, " ")
		if role == "" {
			if !slices.ContainsFunc([]string{"/static/", "/sign-", "/link", "/enter"}, func(p string) bool { return strings.Contains(pattern, p) }) && pattern != "GET /console" && pattern != "/console/" {
				t.Errorf("%s is for everybody", pattern)
			}
			continue
		}
		if method == "POST" {
			posts++
			if role == callbackd.ConsoleViewer {
				t.Errorf("a viewer may use %s", pattern)
			}
		}
		path = strings.TrimSuffix(wildcard.ReplaceAllStringFunc(path, func(name string) string {
			if strings.HasPrefix(path, "/console/replays") {
				return ids["replay"]
			}
			return ids[strings.Trim(name, "{}.")]
		}), "{$}")
		for as, v := range visitors {
			if as.Includes(role) {
				if method == "GET" && !strings.Contains(path, "stream") {
					if a := v.get(path); a.StatusCode >= 400 && !strings.Contains(path, "curl") {
						t.Errorf("%s gets %s at %s", as, a.Status, path)
					}
				}
				continue
			}
			want := http.StatusForbidden
			if role == callbackd.ConsoleOperator {
				want = http.StatusNotFound
			}
			if a := v.do(method, path, url.Values{"keep": {"0s"}}); a.StatusCode != want {
				t.Errorf("%s gets %s at %s %s, want %d", as, a.Status, method, path, want)
			} else if want == http.StatusForbidden && !strings.Contains(a.body, "<h1>Not allowed</h1>") {
				t.Errorf("%s is not told that %s %s is not allowed", as, method, path)
			}
		}
	}
	if posts < 20 {
		t.Errorf("there are only %d forms", posts)
	}
}

// A viewer sees no form, no link to what is refused, and no secret.
func TestAViewerIsOfferedNothingThatIsRefused(t *testing.T) {
	s := startSite(t)
	recv := newReceiver(t)
	ids := s.fillWithReplay(t, s.Key, recv.URL)
	v := s.visitor(t).enter(s.customerLink(t, s.Key, callbackd.ConsoleViewer))
	seen, next := map[string]bool{}, []string{"/console/", "/console/replays/" + ids["replay"], "/console/events/" + ids["event"], "/console/incidents?state=all"}
	for len(next) > 0 && len(seen) < 150 {
		path := next[0]
		next = next[1:]
		path, _, _ = strings.Cut(path, "#")
		if seen[path] || strings.Contains(path, "/static/") || strings.Contains(path, "/stream") {
			continue
		}
		seen[path] = true
		a := v.get(path)
		if a.StatusCode >= 400 {
			t.Errorf("a page links to %s, which answers %s", path, a.Status)
			continue
		}
		if a.StatusCode >= 300 {
			continue
		}
		for n := range elements(parse(t, a), "form") {
			if strings.EqualFold(attr(n, "method"), "post") && attr(n, "action") != "/console/sign-out" {
				t.Errorf("%s has a form to %q", path, attr(n, "action"))
			}
		}
		for n := range elements(parse(t, a), "a") {
			if to := attr(n, "href"); strings.HasPrefix(to, "/console/") {
				next = append(next, to)
			}
		}
		if strings.Contains(a.body, "whsec_") || strings.Contains(a.body, s.Key.Secret.Reveal()) {
			t.Errorf("%s has a secret", path)
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d pages were found", len(seen))
	}
}

// A link signs in once, to one key, within its time, and ends with the key. What only looks
// at the link does not use it up.
func TestALinkSignsInOnce(t *testing.T) {
	onBothStores(t, func(t *testing.T, s *site) {
		other := s.NewKey("blue", "staging")
		path := s.customerLink(t, s.Key, callbackd.ConsoleDeveloper)
		_, token, _ := strings.Cut(path, "token=")
		scanner := s.visitor(t)
		for _, method := range []string{"HEAD", "GET", "GET"} {
			if a := scanner.do(method, path, nil); a.StatusCode != http.StatusOK || a.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s of the link answers %s", method, a.Status)
			}
		}
		if scanner.in() {
			t.Error("who looked at the link is signed in")
		}
		if a := s.visitor(t).do("POST", "/console/link", url.Values{"token": {s.customerLink(t, s.Key, callbackd.ConsoleViewer)[len(callbackd.EnterPath+"?token="):]}}); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("a link for a customer opens the console of the operator: %s", a.Status)
		}
		_, operators, _ := strings.Cut(s.Link(), "token=")
		if a := s.visitor(t).do("POST", "/console/enter", url.Values{"token": {operators}}); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("a link of the operator is used as one for a customer: %s", a.Status)
		}
		v := s.visitor(t).enter(path)
		for _, used := range []string{token, "", "x"} {
			if a := s.visitor(t).do("POST", "/console/enter", url.Values{"token": {used}}); a.StatusCode != http.StatusUnauthorized || !strings.Contains(words(t, a), "was used already") {
				t.Errorf("the used link answers %s", a.Status)
			}
		}
		if a := v.get("/console/"); !strings.Contains(a.body, "acme") || !strings.Contains(a.body, " key · developer<") {
			t.Error("the page does not say who is signed in, as what")
		}
		callback := s.register(other, client.NewCallback{Event: "SESSION:COMPLETE", URL: "https://a.example/"})
		if a := v.get("/console/callbacks/" + callback); a.StatusCode != http.StatusNotFound {
			t.Errorf("a page of another key answers %s", a.Status)
		}
		if to := v.post("/console/enter", url.Values{"token": {token}}); to != "/console/" {
			t.Errorf("who is signed in by a link presses its button again, and gets to %s", to)
		}
		v.says("/console/audit", "console.link_created", "console.link_used")
		st := s.Store(true)
		defer st.Close()
		own := s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", URL: "https://a.example/"})
		v.post("/console/callbacks/"+own+"/pause", nil)
		page, err := st.ListAudit(context.Background(), store.AuditQuery{Key: s.Key.ID, Action: callbackd.AuditCallbackPaused, Limit: 1})
		if err != nil || len(page.Entries) != 1 || page.Entries[0].Actor.Kind != callbackd.ActorLink || page.Entries[0].Actor.Name != "developer" {
			t.Errorf("the pause is by %+v, %v", page.Entries, err)
		}
		unused := s.customerLink(t, s.Key, callbackd.ConsoleViewer)
		if err := st.ChangeKey(context.Background(), s.Key.APIKey, func(k *callbackd.Key) error { k.Revoke(time.Now()); return nil }); err != nil {
			t.Fatal(err)
		}
		s.Await(func() bool { return !v.in() })
		_, token, _ = strings.Cut(unused, "token=")
		if a := s.visitor(t).do("POST", "/console/enter", url.Values{"token": {token}}); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("a link to a revoked key answers %s", a.Status)
		}
	})
}

// Only pages of who is signed in by a link, and the page of a link, may be in frames, and only
// of the origins that the operator named. Their cookies work there.
func TestFramesAreForLinksOnly(t *testing.T) {
	s := startSite(t)
	ancestors := func(a answer) string {
		_, rest, _ := strings.Cut(a.Header.Get("Content-Security-Policy"), "frame-ancestors ")
		return rest
	}
	v := s.visitor(t).enter(s.customerLink(t, s.Key, callbackd.ConsoleViewer))
	if got := ancestors(v.get("/console/")); got != "'none'" {
		t.Errorf("without the option, the frame ancestors are %q", got)
	}
	s.Stop()
	s.Console.FrameAncestors, s.Console.ReturnOrigins = []string{"https://app.example.com", "http://127.0.0.1:3000"}, []string{"https://app.example.com"}
	s.Start()
	const want = "https://app.example.com http://127.0.0.1:3000"
	a := v.get("/console/")
	if got := ancestors(a); got != want {
		t.Errorf("a page of a link has the frame ancestors %q", got)
	}
	back := slices.Collect(elements(parse(t, a), "a"))
	if i := slices.IndexFunc(back, func(n *html.Node) bool { return attr(n, "href") == "https://app.example.com/settings" }); i < 0 || !strings.Contains(text(back[i]), "Back to app.example.com") || attr(back[i], "target") != "_top" {
		t.Error("the page does not lead back")
	}
	if got := ancestors(v.get("/console/callbacks/new")); got != want { // refused, and still in the frame
		t.Errorf("a page that is refused has the frame ancestors %q", got)
	}
	path := s.customerLink(t, s.Key, callbackd.ConsoleViewer)
	if got := ancestors(s.visitor(t).get(path)); got != want {
		t.Errorf("the page of a link has the frame ancestors %q", got)
	}
	_, token, _ := strings.Cut(path, "token=")
	in := s.visitor(t).do("POST", "/console/enter", url.Values{"token": {token}})
	cookie := in.Header.Get("Set-Cookie")
	for _, flag := range []string{"SameSite=None", "Secure", "Partitioned", "HttpOnly"} {
		if !strings.Contains(cookie, flag) {
			t.Errorf("the cookie of a link is %q, without %s", cookie, flag)
		}
	}
	for name, other := range map[string]*visitor{"a key holder": s.visitor(t).signIn(s.Key), "the operator": s.visitor(t).operator(), "nobody": s.visitor(t)} {
		for _, path := range []string{"/console/", "/console/sign-in", "/console/nothing", "/console/link?token=x"} {
			if got := ancestors(other.get(path)); got != "'none'" {
				t.Errorf("%s: %s has the frame ancestors %q", name, path, got)
			}
		}
	}
	ended := s.visitor(t).do("GET", "/console/callbacks", nil, "Sec-Fetch-Dest", "iframe")
	if ended.StatusCode != http.StatusUnauthorized || ancestors(ended) != want || !strings.Contains(words(t, ended), "your time has ended") {
		t.Errorf("a frame without a login gets %s", ended.Status)
	}
	signedIn := s.visitor(t).do("POST", "/console/sign-in", keyForm(s.Key)).Header.Get("Set-Cookie")
	if !strings.Contains(signedIn, "SameSite=Lax") || strings.Contains(signedIn, "Partitioned") {
		t.Errorf("the cookie of a key holder is %q", signedIn)
	}
	s.Stop()
	s.Console.ReturnOrigins = nil
	s.Start()
	if strings.Contains(v.get("/console/").body, "Back to") {
		t.Error("a page leads to an origin that is no longer allowed")
	}
}

// The management API makes links.
func TestLinksByTheManagementAPI(t *testing.T) {
	s := startSite(t)
	s.Stop()
	s.Console.ReturnOrigins = []string{"https://app.example.com"}
	s.Start()
	st := s.Store(true)
	defer st.Close()
	token, text, err := apikey.NewToken("portal", callbackd.RoleFull, time.Hour, time.Now())
	if err == nil {
		err = st.CreateToken(context.Background(), token)
	}
	if err != nil {
		t.Fatal(err)
	}
	admin := &client.Admin{Base: s.URL, Token: text.Reveal()}
	made, err := admin.CreateLink(context.Background(), s.Key.APIKey, wire.NewConsoleLink{Role: "viewer", ReturnTo: "https://app.example.com/a?b", ExpiresIn: "30m"})
	if err != nil {
		t.Fatal(err)
	}
	if made.ExpiresIn != "30m" || time.Until(made.ExpiresAt) > callbackd.LinkLifetime || !strings.HasPrefix(made.URL, s.URL+"/console/enter?token=") {
		t.Errorf("the link is %+v", made)
	}
	v := s.visitor(t).enter(strings.TrimPrefix(made.URL, s.URL))
	v.says("/console/", "Back to app.example.com")
	for want, in := range map[string]wire.NewConsoleLink{
		"role is missing":       {},
		"is not supported":      {Role: "operator"},
		"has not allowed":       {Role: "viewer", ReturnTo: "https://evil.example/"},
		"is not the address of": {Role: "viewer", ReturnTo: "javascript:alert(1)"},
		"expires_in must be":    {Role: "viewer", ExpiresIn: "30d"},
	} {
		if _, err := admin.CreateLink(context.Background(), s.Key.APIKey, in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", in, err, want)
		}
	}
}

package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"callbackd/internal/store/sqlite"

	"callbackd"
)

const operatorToken = "an-operator-token-for-tests"

// served is a server that is asked as a proxy would ask it.
type served struct {
	t   *testing.T
	app *App
	log logBuffer
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func serve(t *testing.T, change func(*Config)) *served {
	t.Helper()
	s := &served{t: t}
	dir := t.TempDir()
	st, err := sqlite.Open(t.Context(), sqlite.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if _, err := st.CreateKey(t.Context(), callbackd.Key{Account: "a", APIKey: fmt.Sprint("k", i), Secret: "s", CreatedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	c := config(dir)
	c.OperatorToken = operatorToken
	c.Log = slog.New(slog.NewTextHandler(&s.log, nil))
	change(&c)
	if s.app, err = Start(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.app.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// answer is a response with its body.
type answer struct {
	*http.Response
	body string
}

// ask sends a request with headers, given as "Name: value"; form is the body of
// a POST.
func (s *served) ask(method, path string, form url.Values, headers ...string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.app.URL()+path, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
		}
		req.Header.Set(name, value)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	var body []byte
	if res.Header.Get("Content-Type") != "text/event-stream" {
		if body, err = io.ReadAll(res.Body); err != nil {
			s.t.Fatal(err)
		}
	}
	return answer{res, string(body)}
}

var asOperator = url.Values{"as": {"operator"}, "token": {operatorToken}}

// wrongTries signs in with wrong tokens, all at once, and counts the answers by
// status. What one after the other is refused depends on how long they take.
func (s *served) wrongTries(n int, from string) map[int]int {
	s.t.Helper()
	answers := make([]int, n)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			form := url.Values{"as": {"operator"}, "token": {fmt.Sprint("wrong ", i)}}
			answers[i] = s.ask("POST", "/console/sign-in", form, "X-Forwarded-For: "+from).StatusCode
		})
	}
	all.Wait()
	counts := map[int]int{}
	for _, status := range answers {
		counts[status]++
	}
	return counts
}

// Below a path, every link, form, script, redirect and cookie of the console
// leads there, whether the proxy takes the path away or not, and forms from the
// public address are accepted when the proxy names another host.
func TestTheConsoleFollowsThePublicURL(t *testing.T) {
	public, err := url.Parse("https://example.org/base")
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, func(c *Config) {
		c.PublicURL, c.TrustedProxies = public, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	for name, strip := range map[string]string{"path passed on": "", "path taken away": "/base"} {
		t.Run(name, func(t *testing.T) {
			v := &visitor{served: &served{t: t, app: s.app}, strip: strip, headers: []string{"X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https"}}
			v.isLedToSignIn()
			v.signsIn()
			if n := v.follows("/base/console/"); n < 12 {
				t.Errorf("the links lead to %d pages, want 12 or more", n)
			}
		})
	}
	if a := s.ask("GET", "/base/healthz", nil); a.StatusCode != http.StatusOK {
		t.Errorf("the API below the path answers %d, want 200", a.StatusCode)
	}
	s.wantLocation(s.ask("GET", "/base", nil), "/base/")
}

// wantLocation checks where an answer leads.
func (s *served) wantLocation(a answer, want string) {
	s.t.Helper()
	if got := a.Header.Get("Location"); got != want {
		s.t.Errorf("%s leads to %q with %d, want %q", a.Request.URL.Path, got, a.StatusCode, want)
	}
}

// visitor comes through a proxy to https://example.org/base.
type visitor struct {
	*served
	strip   string   // what the proxy takes away from paths
	headers []string // of each request, with the cookie after signing in
}

func (v *visitor) asks(method, path string, form url.Values, more ...string) answer {
	v.t.Helper()
	return v.ask(method, strings.TrimPrefix(path, v.strip), form, slices.Concat(v.headers, more)...)
}

func (v *visitor) isLedToSignIn() {
	v.t.Helper()
	root := v.asks("GET", "/base/", nil, "Accept: text/html")
	if root.StatusCode != http.StatusSeeOther {
		v.t.Errorf("the root answers %d, want 303", root.StatusCode)
	}
	v.wantLocation(root, "console/")
	v.wantLocation(v.asks("GET", "/base/console/", nil), "/base/console/sign-in")
	v.wantLocation(v.asks("GET", "/base/console/logs?status=5xx", nil), "/base/console/sign-in?next=%2Fconsole%2Flogs%3Fstatus%3D5xx")
}

func (v *visitor) signsIn() {
	v.t.Helper()
	form := url.Values{"as": {"operator"}, "token": {operatorToken}, "next": {"/console/logs"}}
	a := v.asks("POST", "/base/console/sign-in", form, "Origin: https://example.org")
	if a.StatusCode != http.StatusSeeOther || len(a.Cookies()) != 1 {
		v.t.Fatalf("signing in answers %d with %d cookies, want 303 with one: %s", a.StatusCode, len(a.Cookies()), a.body)
	}
	v.wantLocation(a, "/base/console/logs")
	cookie := a.Cookies()[0]
	if cookie.Path != "/base/console" {
		v.t.Errorf("the cookie is for %q, want /base/console", cookie.Path)
	}
	if !cookie.Secure || !cookie.HttpOnly {
		v.t.Errorf("the cookie is %+v, want it Secure and HttpOnly", cookie)
	}
	v.headers = append(v.headers, "Cookie: "+cookie.Name+"="+cookie.Value)
}

var links = regexp.MustCompile(` (href|action|src|data-[a-z]+)="([^"]*)"`)

// follows follows the links of pages, and returns how many pages it saw.
func (v *visitor) follows(first string) int {
	v.t.Helper()
	seen, queue := map[string]bool{}, []string{first}
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		if seen[path] || strings.Contains(path, "/stream") {
			continue
		}
		seen[path] = true
		if more := v.linksOf(path); len(seen) < 60 {
			queue = append(queue, more...)
		}
	}
	return len(seen)
}

// linksOf returns the links of a page that can be followed, and checks that all
// lead below the path.
func (v *visitor) linksOf(path string) (out []string) {
	v.t.Helper()
	page := v.asks("GET", path, nil)
	if page.StatusCode != http.StatusOK {
		v.t.Errorf("%s answers %d, want 200", path, page.StatusCode)
	}
	for _, m := range links.FindAllStringSubmatch(page.body, -1) {
		to := strings.ReplaceAll(m[2], "&amp;", "&")
		if strings.HasPrefix(to, "/base/docs") {
			continue
		}
		below := strings.HasPrefix(to, "/base/console/")
		if strings.HasPrefix(to, "/") && !below {
			v.t.Errorf("%s: %s leads to %s, want it below /base/console/", path, m[1], to)
		}
		if below && m[1] != "action" {
			out = append(out, to)
		}
	}
	return out
}

// A form that seems to come from another site is refused with a page that says
// what the proxy must pass on.
func TestARefusedFormSaysWhatTheProxyMustPassOn(t *testing.T) {
	s := serve(t, func(*Config) {})
	a := s.ask("POST", "/console/sign-in", asOperator, "Origin: https://callbacks.example.org", "Host: 127.0.0.1:8080")
	if a.StatusCode != http.StatusForbidden || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
		t.Errorf("%d %s", a.StatusCode, a.Header.Get("Content-Type"))
	}
	for _, want := range []string{"https://callbacks.example.org", "127.0.0.1:8080", "<code>Host</code>", "proxy_set_header Host", "--public-url"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("the page does not say %q:\n%s", want, a.body)
		}
	}
	if len(a.Cookies()) != 0 {
		t.Error("somebody was signed in")
	}
}

// Wrong tries are counted by the visitor's address when the proxy is trusted,
// and by the proxy's when it is not; a right secret always passes; the log has
// a warning.
func TestSignInsAreCountedByVisitor(t *testing.T) {
	status := func(s *served, form url.Values, from string) int {
		return s.ask("POST", "/console/sign-in", form, "X-Forwarded-For: "+from).StatusCode
	}
	for name, trusted := range map[string][]netip.Prefix{"trusted": {netip.MustParsePrefix("127.0.0.1/32")}, "not trusted": nil} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(c *Config) { c.TrustedProxies = trusted })
			first := s.wrongTries(20, "203.0.113.9, 192.0.2.1")
			if n := first[http.StatusUnauthorized]; n < 10 || n == 20 {
				t.Errorf("%d of 20 wrong tries at once are answered, want 10 or a few more: %v", n, first)
			}
			if again := s.wrongTries(20, "203.0.113.8, 192.0.2.1"); again[http.StatusTooManyRequests] == 0 {
				t.Errorf("what the visitor says of himself makes a difference: %v, want refusals", again)
			}
			other := s.wrongTries(9, "192.0.2.2")
			if trusted == nil && other[http.StatusTooManyRequests] == 0 {
				t.Errorf("another visitor behind the same address that is not trusted is answered %v, want refusals", other)
			}
			if trusted != nil && other[http.StatusUnauthorized] != 9 {
				t.Errorf("another visitor is answered %v, want no refusals", other)
			}
			if got := status(s, asOperator, "192.0.2.1"); got != http.StatusSeeOther {
				t.Errorf("the right token is answered %d, want 303", got)
			}
			for range 12 {
				status(s, url.Values{"as": {"key"}, "api_key": {"k0"}, "secret": {"wrong"}}, "192.0.2.3")
			}
			if got := status(s, url.Values{"as": {"key"}, "api_key": {"k0"}, "secret": {"s"}}, "192.0.2.3"); got != http.StatusSeeOther {
				t.Errorf("the right secret is answered %d, want 303", got)
			}
			s.wantWarnings(trusted != nil)
		})
	}
}

// wantWarnings checks that the log warns of refused sign-ins, a few times only, and
// says from where they came.
func (s *served) wantWarnings(byVisitor bool) {
	s.t.Helper()
	log := s.log.String()
	if n := strings.Count(log, "level=WARN msg=\"sign-in to the console refused\""); n < 1 || n > 3 {
		s.t.Errorf("%d warnings, want 1 to 3:\n%s", n, log)
	}
	if byVisitor && !strings.Contains(log, "from=192.0.2.1 ") {
		s.t.Errorf("the log does not say from where:\n%s", log)
	}
}

// The metrics are for this machine, for the operator, and for whoever reaches
// their own address.
func TestMetricsAreNotForEverybody(t *testing.T) {
	bearer := "Authorization: Bearer " + operatorToken
	status := func(s *served, headers ...string) int { return s.ask("GET", "/metrics", nil, headers...).StatusCode }
	s := serve(t, func(*Config) {})
	for _, c := range []struct {
		headers []string
		want    int
	}{{nil, 200}, {[]string{"X-Forwarded-For: 192.0.2.1"}, 401}, {[]string{"Forwarded: for=192.0.2.1"}, 401}, {[]string{"X-Forwarded-For: 192.0.2.1", bearer}, 200},
		{[]string{"X-Forwarded-For: 192.0.2.1", bearer + "x"}, 401}} {
		if got := status(s, c.headers...); got != c.want {
			t.Errorf("%q: %d, want %d", c.headers, got, c.want)
		}
	}
	own := serve(t, func(c *Config) { c.MetricsListen = "127.0.0.1:0" })
	if got := status(own); got != 401 {
		t.Errorf("at the main address, with an address of their own: %d", got)
	}
	if got := status(own, bearer); got != 200 {
		t.Errorf("to the operator: %d", got)
	}
	res, err := http.Get(own.app.MetricsURL())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(body), "callbackd_events_accepted_total") {
		t.Errorf("at their own address: %v\n%.200s", err, body)
	}
	none := serve(t, func(c *Config) { c.OperatorToken = "" })
	if got := status(none, "X-Forwarded-For: 192.0.2.1", "Authorization: Bearer "); got != 401 {
		t.Errorf("an empty token where there is none: %d", got)
	}
}

// A key has some live streams, and no key takes those of others or the
// operator's.
func TestLiveStreamsAreCountedByKeyAndRole(t *testing.T) {
	s := serve(t, func(*Config) {})
	in := func(form url.Values) string {
		c := s.ask("POST", "/console/sign-in", form).Cookies()[0]
		return "Cookie: " + c.Name + "=" + c.Value
	}
	key := func(name string) string { return in(url.Values{"as": {"key"}, "api_key": {name}, "secret": {"s"}}) }
	open := func(cookie string) int {
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.app.URL()+"/console/deliveries/stream", nil)
		if err != nil {
			t.Fatal(err)
		}
		name, value, _ := strings.Cut(cookie, ": ")
		req.Header.Set(name, value)
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res.StatusCode
	}
	first, opened := key("k0"), 0
	for range 64 {
		if open(first) == http.StatusOK {
			opened++
		}
	}
	if opened == 0 || opened > 16 {
		t.Errorf("one key opened %d streams", opened)
	}
	if got := open(key("k1")); got != http.StatusOK {
		t.Errorf("another key: %d", got)
	}
	if got := open(in(asOperator)); got != http.StatusOK {
		t.Errorf("the operator: %d", got)
	}
}

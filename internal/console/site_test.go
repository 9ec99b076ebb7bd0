package console_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/app"
	"callbackd/internal/console/consoletest"
	"callbackd/internal/store/postgres/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	patience      = consoletest.Patience
	operatorToken = consoletest.OperatorToken
)

// site is a running server with the requests that these tests make.
type site struct{ *consoletest.Site }

type receiver = consoletest.Receiver

func startSite(t *testing.T) *site { return &site{consoletest.StartSite(t)} }

func newReceiver(t *testing.T) *receiver { return consoletest.NewReceiver(t) }

// onBothStores runs a test on a server of its own on each store.
func onBothStores(t *testing.T, test func(t *testing.T, s *site)) {
	t.Run("sqlite", func(t *testing.T) { test(t, startSite(t)) })
	t.Run("postgres", func(t *testing.T) {
		at := app.StoreConfig{DatabaseURL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json")}
		test(t, &site{consoletest.StartSiteAt(t, at)})
	})
}

// TestOnBothStores runs the tests that need no server of their own. On each store
// they share one and run at the same time, each with an API key of its own.
func TestOnBothStores(t *testing.T) {
	tests := map[string]func(*testing.T, *site){
		"a key sees nothing of another":       aKeySeesNothingOfAnother,
		"the operator sees all":               theOperatorSeesAll,
		"pages say why nothing arrived":       pagesSayWhyNothingArrived,
		"a search opens what it names":        aSearchOpensWhatItNames,
		"a search shows what it finds":        aSearchShowsWhatItFinds,
		"a test-send ignores a pause":         aTestSendIgnoresAPause,
		"a test-send under way says so":       aTestSendUnderWaySaysSo,
		"test-sends are limited":              testSendsAreLimited,
		"a button replays an event":           aButtonReplaysAnEvent,
		"a person is erased":                  aPersonIsErased,
		"a person is erased in all keys":      aPersonIsErasedInAllKeys,
		"what is pending is canceled":         whatIsPendingIsCanceled,
		"sessions are listed by latest event": sessionsAreListedByLatestEvent,
		"a session shows its own callbacks":   aSessionShowsItsOwnCallbacks,
		"a callback of a session is changed":  aCallbackOfASessionIsChanged,
		"a first run ends with an event":      aFirstRunEndsWithAnEvent,
		"wrong queries are refused":           wrongQueriesAreRefused,
	}
	onBothStores(t, func(t *testing.T, shared *site) {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, shared.withKeyOf(t))
			})
		}
	})
}

// withKeyOf returns the site with a new API key, for one of the tests that share
// it.
func (s *site) withKeyOf(t *testing.T) *site {
	t.Helper()
	own := *s.Site
	own.T = t
	own.Key = own.NewKey("acme", "production")
	return &site{&own}
}

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

// do sends a request. header has names and values in turn.
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

// post sends a form that is answered with a redirect, and returns where it leads.
func (v *visitor) post(path string, form url.Values) string {
	v.t.Helper()
	a := v.do("POST", path, form)
	if a.StatusCode != http.StatusSeeOther {
		v.t.Fatalf("POST %s answers %s, want 303", path, a.Status)
	}
	return a.Header.Get("Location")
}

// keyForm is the sign-in form of a key.
func keyForm(k callbackd.Key) url.Values {
	return url.Values{"as": {"key"}, "api_key": {k.APIKey}, "secret": {k.Secret.Reveal()}}
}

// operatorForm is the sign-in form of the operator with a token.
func operatorForm(token string) url.Values { return url.Values{"as": {"operator"}, "token": {token}} }

func (v *visitor) signIn(k callbackd.Key) *visitor {
	v.t.Helper()
	v.post("/console/sign-in", keyForm(k))
	return v
}

func (v *visitor) operator() *visitor {
	v.t.Helper()
	v.post("/console/sign-in", operatorForm(operatorToken))
	return v
}

// in reports whether the visitor is logged in.
func (v *visitor) in() bool { return v.get("/console/callbacks").StatusCode == http.StatusOK }

// says fails the test when a page lacks some words.
func (v *visitor) says(path string, want ...string) {
	v.t.Helper()
	a := v.get(path)
	got := words(v.t, a)
	for _, w := range want {
		if !strings.Contains(got, w) {
			v.t.Errorf("%s (%s) does not say %q:\n%s", path, a.Status, w, got)
		}
	}
}

// awaitPage waits until a page says some words.
func (v *visitor) awaitPage(path, want string) {
	v.t.Helper()
	v.site.Await(func() bool { return strings.Contains(words(v.t, v.get(path)), want) })
}

// register makes a callback over the API and returns its number.
func (s *site) register(k callbackd.Key, c client.NewCallback) string {
	s.T.Helper()
	ctx, cl := context.Background(), s.Client(k)
	if _, err := cl.CreateCallback(ctx, c); err != nil {
		s.T.Fatal(err)
	}
	var policy struct{ Callback int64 }
	path := "/v1/callbacks/" + c.Event + "/policy"
	if c.Name != "" {
		path += "?name=" + c.Name
	}
	if err := cl.Do(ctx, "GET", path, nil, &policy); err != nil {
		s.T.Fatal(err)
	}
	return fmt.Sprint(policy.Callback)
}

// deliveryPath is the address of the page of an event's delivery to a callback.
func deliveryPath(event, callback string) string {
	return "/console/deliveries/dlv_" + strings.TrimPrefix(event, "evt_") + "-" + callback
}

// fill makes one of everything for a key, and returns what is in the paths of its
// pages, by the names of the routes' wildcards.
func (s *site) fill(k callbackd.Key, receiver string) map[string]string {
	s.T.Helper()
	callback := s.register(k, client.NewCallback{Event: string(callbackd.StatusChange), URL: receiver, Retry: []string{"0s"}})
	session := "OTH-" + k.APIKey[:8]
	event := s.Publish(k, callbackd.StatusChange, session, map[string]any{"status": "STARTED"})
	return map[string]string{
		"callback": callback,
		"id":       strings.TrimPrefix(deliveryPath(event, callback), "/console/deliveries/"),
		"event":    event,
		"session":  session,
		"key":      k.APIKey,
		"token":    "abcdefghijkl",
	}
}

func urlQuery(s string) string { return url.QueryEscape(s) }

func urlPath(s string) string { return url.PathEscape(s) }

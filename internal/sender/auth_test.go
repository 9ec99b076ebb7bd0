package sender_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/egress"
	"callbackd/internal/sender"
)

const clientSecret = "client secret+/=%0123456789"

// provider is a real OAuth 2.0 server. It answers as answer says; by default with a token
// that has a number.
type provider struct {
	url    string
	mu     sync.Mutex
	asked  []http.Header
	forms  []url.Values
	answer func(w http.ResponseWriter, n int)
}

func newProvider(t *testing.T, answer func(w http.ResponseWriter, n int)) *provider {
	if answer == nil {
		answer = func(w http.ResponseWriter, n int) {
			fmt.Fprintf(w, `{"access_token":"access-token-%d","token_type":"Bearer","expires_in":3600}`, n)
		}
	}
	p := &provider{answer: answer}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		form, bad := url.ParseQuery(string(body))
		if err != nil || bad != nil || r.Method != http.MethodPost {
			t.Errorf("%s %q: %v %v", r.Method, body, err, bad)
		}
		p.mu.Lock()
		p.asked, p.forms = append(p.asked, r.Header.Clone()), append(p.forms, form)
		n := len(p.asked)
		p.mu.Unlock()
		p.answer(w, n)
	}))
	t.Cleanup(web.Close)
	p.url = web.URL + "/token"
	return p
}

func (p *provider) times() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.asked)
}

// signedIn is a callback that signs in at the provider.
func (p *provider) signedIn(url string) *callbackd.Callback {
	cb := callbackTo(url)
	cb.Policy.Auth = &callbackd.Auth{OAuth2: &callbackd.OAuth2{TokenURL: p.url, ClientID: "the client", ClientSecret: clientSecret, Scope: "a b", Audience: "https://a.example/?x=1", Style: callbackd.StyleBasic}}
	return cb
}

// strict is a receiver that takes one value of Authorization, and answers 401 to others. It
// returns what it was sent.
func strict(t *testing.T, want func(n int) string) (url string, got func() []string) {
	var mu sync.Mutex
	var all []string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, r.Header.Get("Authorization")+" "+string(body))
		if r.Header.Get("Authorization") != want(len(all)) {
			w.Header().Set("X-Echo", r.Header.Get("Authorization"))
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, "not "+r.Header.Get("Authorization"))
		}
	}))
	t.Cleanup(web.Close)
	return web.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

func always(s string) func(int) string { return func(int) string { return s } }

func TestATokenIsFetchedInBothStyles(t *testing.T) {
	for _, style := range callbackd.AuthStyles {
		p := newProvider(t, nil)
		url, _ := strict(t, always("Bearer access-token-1"))
		cb := p.signedIn(url)
		cb.Policy.Auth.OAuth2.Style = style
		s := newSender(t, egress.Options{})
		for n := range 3 {
			if res := s.Send(t.Context(), cb, event(), n+1); !res.Success() || res.Error != "" {
				t.Fatalf("%s: %+v", style, res)
			}
		}
		// Another callback with the same settings uses the same token.
		other := p.signedIn(url)
		other.ID, other.Policy.Auth.OAuth2.Style = 8, style
		if res := s.Send(t.Context(), other, event(), 1); !res.Success() {
			t.Errorf("%s: another callback: %+v", style, res)
		}
		if p.times() != 1 {
			t.Fatalf("%s: the provider was asked %d times, want once", style, p.times())
		}
		h, form := p.asked[0], p.forms[0]
		if form.Get("grant_type") != "client_credentials" || form.Get("scope") != "a b" || form.Get("audience") != "https://a.example/?x=1" {
			t.Errorf("%s: %v", style, form)
		}
		if h.Get("Content-Type") != "application/x-www-form-urlencoded" || h.Get("User-Agent") != "callbackd/9.9" {
			t.Errorf("%s: %v", style, h)
		}
		id, secret, inHeader := (&http.Request{Header: h}).BasicAuth()
		if style == callbackd.StyleBody {
			id, secret = form.Get("client_id"), form.Get("client_secret")
		} else { // encoded first: RFC 6749, section 2.3.1
			id, secret = unescaped(t, id), unescaped(t, secret)
		}
		if inHeader != (style == callbackd.StyleBasic) || id != "the client" || secret != clientSecret || form.Has("client_secret") == inHeader {
			t.Errorf("%s: %v %v", style, h, form)
		}
	}
}

func unescaped(t *testing.T, s string) string {
	out, err := url.QueryUnescape(s)
	if err != nil {
		t.Error(err)
	}
	return out
}

// A token that the receiver refuses is renewed within the attempt, once, and the same body
// is sent.
func TestARefusedTokenIsRenewedWithinTheAttempt(t *testing.T) {
	p := newProvider(t, nil)
	url, got := strict(t, func(n int) string {
		if n == 1 {
			return "Bearer access-token-1"
		}
		return "Bearer access-token-2"
	})
	s, cb := newSender(t, egress.Options{}), p.signedIn(url)
	for range 2 {
		if res := s.Send(t.Context(), cb, event(), 1); !res.Success() || res.Status != 200 {
			t.Errorf("%+v", res)
		}
	}
	all := got()
	if len(all) != 3 || strings.TrimPrefix(all[1], "Bearer access-token-1") != strings.TrimPrefix(all[2], "Bearer access-token-2") {
		t.Errorf("the receiver got %q", all)
	}
}

// A receiver that takes no token gets two requests in an attempt at most, and one when the
// token was fetched for it. Nothing of the token is kept.
func TestAReceiverThatTakesNoTokenIsNotAskedForEver(t *testing.T) {
	p := newProvider(t, nil)
	url, got := strict(t, always("none"))
	s, cb := newSender(t, egress.Options{}), p.signedIn(url)
	for _, want := range []int{1, 3} {
		res := s.Send(t.Context(), cb, event(), 1)
		if res.Fault != callbackd.FaultStatus || res.Status != 401 || len(got()) != want {
			t.Errorf("%+v after %d requests, want %d", res, len(got()), want)
		}
		if text := fmt.Sprintf("%s %s %s", res.Body, res.Headers, res.Error); strings.Contains(text, "access-token") {
			t.Errorf("the result has the token: %s", text)
		}
	}
}

func TestATokenThatCannotBeHadIsAFaultOfItsOwn(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, n int)
		want   string
	}{
		"invalid_client": {func(w http.ResponseWriter, _ int) {
			w.WriteHeader(401)
			fmt.Fprintf(w, `{"error":"invalid_client","error_description":"the secret %s is wrong"}`, clientSecret)
		}, "the provider answered 401: invalid_client: the secret [redacted] is wrong"},
		"a page":      {func(w http.ResponseWriter, _ int) { w.WriteHeader(502); io.WriteString(w, "Bad\x00 Gateway\n") }, "the provider answered 502: Bad\ufffd Gateway"},
		"nothing":     {func(w http.ResponseWriter, _ int) { w.WriteHeader(500) }, "the provider answered 500"},
		"a long page": {func(w http.ResponseWriter, _ int) { w.WriteHeader(500); io.WriteString(w, repeat("x", 200_000)) }, "the provider answered 500: xxxx"},
		"a redirect":  {func(w http.ResponseWriter, _ int) { w.Header().Set("Location", "http://a.example"); w.WriteHeader(302) }, "the provider answered 302; redirects are not followed, so token_url must be the address that answers"},
		"200 and an error": {func(w http.ResponseWriter, _ int) {
			fmt.Fprintf(w, `{"error":"invalid_client","error_description":"the secret %s is wrong"}`, clientSecret)
		}, "the provider answered 200, but without an access_token: invalid_client: the secret [redacted] is wrong"},
		"a number":     {func(w http.ResponseWriter, _ int) { io.WriteString(w, `{"access_token":17}`) }, "the provider answered 200, but without an access_token"},
		"no JSON":      {func(w http.ResponseWriter, _ int) { io.WriteString(w, "access-token-1") }, "the provider answered 200, but the answer is not the JSON of RFC 6749"},
		"another name": {func(w http.ResponseWriter, _ int) { io.WriteString(w, `{"token":"access-token-1"}`) }, "the provider answered 200, but without an access_token"},
		"another type": {func(w http.ResponseWriter, _ int) {
			io.WriteString(w, `{"access_token":"access-token-1","token_type":"DPoP"}`)
		}, `the provider answered 200, but token_type is "DPoP", and callbackd can use bearer only`},
		"a line break": {func(w http.ResponseWriter, _ int) { io.WriteString(w, `{"access_token":"a\r\nX-A: b"}`) }, "the provider answered 200, but access_token has more than 8 KiB, or characters"},
		"too long":     {func(w http.ResponseWriter, _ int) { io.WriteString(w, `{"x":"`+repeat("x", 100_000)+`"}`) }, "the provider answered 200, but the answer is longer than 64 KiB"},
		"cut":          {func(w http.ResponseWriter, _ int) { w.Header().Set("Content-Length", "100"); io.WriteString(w, "{") }, "the provider answered 200, but the answer is incomplete: the connection was closed"},
		"down":         {func(http.ResponseWriter, int) { panic(http.ErrAbortHandler) }, "the provider closed the connection without an answer"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t, c.answer)
			url, got := strict(t, always(""))
			var logged bytes.Buffer
			tr := egress.NewTransport(egress.Options{Policy: loopback})
			t.Cleanup(tr.CloseIdleConnections)
			s := sender.New(tr, "9.9", slog.New(slog.NewJSONHandler(&logged, nil)))
			res := s.Send(t.Context(), p.signedIn(url), event(), 1)
			if res.Fault != callbackd.FaultAuth || !strings.HasPrefix(res.Error, "no access token: "+c.want) || res.Status != 0 || len(res.Error) > 310 {
				t.Errorf("%q %q, want %q", res.Fault, res.Error, c.want)
			}
			for what, text := range map[string]string{"the error": res.Error, "the log": logged.String()} {
				if strings.Contains(text, clientSecret) || strings.Contains(text, "access-token-1") {
					t.Errorf("%s has a secret: %s", what, text)
				}
			}
			if len(got()) != 0 {
				t.Error("a request went out without a token")
			}
		})
	}
}

// Members that do not decide whether a token can be used may be of other types than RFC 6749
// says, as some providers write them.
func TestATokenIsUsedWhateverIsBesideIt(t *testing.T) {
	for _, c := range []struct{ members, scope string }{
		{`"scope":["a","b"]`, "a b"}, {`"scope":{"a":1}`, ""}, {`"scope":null`, ""}, {`"scope":"a"`, "a"},
		{`"expires_in":1e400`, ""}, {`"expires_in":{}`, ""}, {`"token_type":null`, ""}, {`"token_type":"bEARER"`, ""}, {`"token_type":7`, ""}, {`"error":0`, ""}, {`"error":"","scope":"a"`, "a"},
	} {
		p := newProvider(t, func(w http.ResponseWriter, _ int) {
			fmt.Fprintf(w, `{%s,"access_token":"access-token-1"}`, c.members)
		})
		url, _ := strict(t, always("Bearer access-token-1"))
		s := newSender(t, egress.Options{})
		if res := s.Send(t.Context(), p.signedIn(url), event(), 1); !res.Success() {
			t.Errorf("%s: %q %q", c.members, res.Fault, res.Error)
		}
		if got := s.TestAuth(t.Context(), p.signedIn(url)).Token; got == nil || got.Error != "" || got.Scope != c.scope {
			t.Errorf("%s: the test says %+v", c.members, got)
		}
	}
}

// The provider is behind the same guard as receivers.
func TestAProviderInTheOperatorsNetworkIsRefused(t *testing.T) {
	p := newProvider(t, nil)
	s := newSender(t, egress.Options{Policy: egress.NewPolicy([]netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")})})
	res := s.Send(t.Context(), p.signedIn("http://127.0.0.2:9/"), event(), 1)
	if res.Fault != callbackd.FaultAuth || p.times() != 0 || res.Address != "" {
		t.Errorf("%+v", res)
	}
}

// While old credentials are in force they are tried when the new ones are refused, by the
// receiver or by the provider.
func TestOldCredentialsAreTriedWhileTheyAreInForce(t *testing.T) {
	refuses := newProvider(t, func(w http.ResponseWriter, _ int) {
		w.WriteHeader(400)
		io.WriteString(w, `{"error":"invalid_client"}`)
	})
	refuses200 := newProvider(t, func(w http.ResponseWriter, _ int) { io.WriteString(w, `{"error":"invalid_client"}`) })
	down := newProvider(t, func(w http.ResponseWriter, _ int) { w.WriteHeader(503) })
	old := &callbackd.Auth{Basic: &callbackd.BasicAuth{Username: "me", Password: "old password"}}
	url, got := strict(t, always(old.Basic.Header().Reveal()))
	s := newSender(t, egress.Options{})
	for i, c := range []struct {
		name string
		auth *callbackd.Auth
		ends time.Duration
		want callbackd.Fault
		hits int
	}{
		{"the receiver refuses", &callbackd.Auth{Bearer: &callbackd.BearerAuth{Token: "new-token"}}, time.Hour, callbackd.NoFault, 2},
		{"the provider refuses", refuses.signedIn("").Policy.Auth, time.Hour, callbackd.NoFault, 1},
		{"the provider refuses with 200", refuses200.signedIn("").Policy.Auth, time.Hour, callbackd.NoFault, 1},
		{"the provider is down", down.signedIn("").Policy.Auth, time.Hour, callbackd.FaultAuth, 0},
		{"the old ones ended", &callbackd.Auth{Bearer: &callbackd.BearerAuth{Token: "new-token"}}, -time.Hour, callbackd.FaultStatus, 1},
	} {
		cb := callbackTo(url)
		cb.ID = callbackd.CallbackID(i + 1)
		cb.Policy.Auth, cb.OldAuth = c.auth, callbackd.OldAuth{Auth: old, EndsAt: time.Now().Add(c.ends)}
		before := len(got())
		res := s.Send(t.Context(), cb, event(), 1)
		if res.Fault != c.want || len(got())-before != c.hits {
			t.Errorf("%s: %+v after %d requests, want %q after %d", c.name, res, len(got())-before, c.want, c.hits)
		}
		if res.Success() && !strings.HasPrefix(res.Error, "the new credentials of policy.auth were refused; the old ones, which end at ") {
			t.Errorf("%s: the warning is %q", c.name, res.Error)
		}
	}
	// When both are refused, the result is that of the new ones.
	cb := callbackTo(url)
	cb.Policy.Auth, cb.OldAuth = &callbackd.Auth{Bearer: &callbackd.BearerAuth{Token: "x1"}}, callbackd.OldAuth{Auth: &callbackd.Auth{Bearer: &callbackd.BearerAuth{Token: "x2"}}, EndsAt: time.Now().Add(time.Hour)}
	if res := s.Send(t.Context(), cb, event(), 1); res.Fault != callbackd.FaultStatus || !strings.Contains(string(res.Body), "x1") {
		t.Errorf("both are refused: %+v %s", res, res.Body)
	}
}

// A token is fetched through the operator's proxy, as a delivery is sent, and the proxy is
// only asked for what the rules for addresses allow.
func TestATokenIsFetchedThroughTheProxy(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	proxy := raw(t, func(c net.Conn, r *bufio.Reader) {
		head, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		mu.Lock()
		asked = append(asked, head.Method+" "+head.RequestURI)
		mu.Unlock()
		up, err := net.Dial("tcp", head.RequestURI)
		if err != nil {
			t.Error(err)
			return
		}
		defer up.Close()
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		go io.Copy(up, r)
		io.Copy(c, up)
	})
	via, _ := url.Parse(proxy)
	p := newProvider(t, nil)
	receiver, got := strict(t, always("Bearer access-token-1"))
	host := func(s string) string {
		u, _ := url.Parse(s)
		return "CONNECT " + u.Host
	}
	if res := newSender(t, egress.Options{Proxy: via}).Send(t.Context(), p.signedIn(receiver), event(), 1); !res.Success() || len(got()) != 1 {
		t.Fatalf("%+v", res)
	}
	mu.Lock()
	if want := []string{host(p.url), host(receiver)}; !slices.Equal(asked, want) {
		t.Errorf("the proxy was asked for %q, want %q", asked, want)
	}
	asked = nil
	mu.Unlock()

	guarded := newSender(t, egress.Options{Proxy: via, Policy: egress.NewPolicy([]netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")})})
	res, test := guarded.Send(t.Context(), p.signedIn("http://127.0.0.2:9/"), event(), 1), guarded.TestAuth(t.Context(), p.signedIn("http://127.0.0.2:9/"))
	if res.Fault != callbackd.FaultAuth || test.OK() || p.times() != 1 {
		t.Errorf("%+v; the test: %+v; the provider was asked %d times", res, test.Token, p.times())
	}
	mu.Lock()
	defer mu.Unlock()
	if len(asked) != 0 {
		t.Errorf("the proxy was asked for %q", asked)
	}
}

// The provider's answer is a redirect to a place inside the operator's network, which
// would have a token. It is not followed.
func TestARedirectOfAProviderIsNotFollowed(t *testing.T) {
	inside := newProvider(t, nil)
	p := newProvider(t, func(w http.ResponseWriter, _ int) {
		w.Header().Set("Location", inside.url)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	res := newSender(t, egress.Options{}).Send(t.Context(), p.signedIn("http://127.0.0.2:9/"), event(), 1)
	if res.Fault != callbackd.FaultAuth || inside.times() != 0 || p.times() != 1 {
		t.Errorf("%+v; the target of the redirect was asked %d times", res, inside.times())
	}
}

// A provider that sends its answer byte by byte holds an attempt no longer than its timeout.
func TestAProviderThatTricklesEndsAnAttemptAtItsDeadline(t *testing.T) {
	ended := make(chan struct{})
	tokens := raw(t, func(c net.Conn, r *bufio.Reader) {
		readRequest(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
		<-ended
	})
	defer close(ended)
	p := newProvider(t, nil)
	cb := p.signedIn("http://127.0.0.2:9/")
	cb.Policy.Auth.OAuth2.TokenURL = tokens
	cb.Policy.Timeout = 50 * time.Millisecond
	res := newSender(t, egress.Options{}).Send(t.Context(), cb, event(), 1)
	if res.Fault != callbackd.FaultAuth || !strings.Contains(res.Error, "the provider did not answer within the callback's timeout") {
		t.Errorf("%+v", res)
	}
}

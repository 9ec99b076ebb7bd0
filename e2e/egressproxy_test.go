package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"callbackd/client"
	"callbackd/wire"
)

// tunnel is an egress proxy: it serves CONNECT, to those who know its password, and notes
// where to.
type tunnel struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

func newTunnel(t *testing.T, user, password string) *tunnel {
	p := &tunnel{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		known := &http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
		if u, pw, _ := known.BasicAuth(); u != user || pw != password || r.Method != http.MethodConnect {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		p.mu.Lock()
		p.asked = append(p.asked, r.RequestURI)
		p.mu.Unlock()
		up, err := net.Dial("tcp", r.RequestURI)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer up.Close()
		w.WriteHeader(http.StatusOK)
		down, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer down.Close()
		go func() { io.Copy(up, buffered); up.(*net.TCPConn).CloseWrite() }()
		io.Copy(down, up)
	}))
	t.Cleanup(func() { p.CloseClientConnections(); p.Close() })
	return p
}

// With --egress-proxy a server fetches access tokens through the proxy, as it sends
// callbacks: both for deliveries and for the try of a sign-in.
func TestAccessTokensAreFetchedThroughTheEgressProxy(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	fetched, taken := 0, make(chan string, 8)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		if id, secret, _ := r.BasicAuth(); id != "callbackd" || secret != "its-secret" || r.FormValue("grant_type") != "client_credentials" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mu.Lock()
		fetched++
		n := fetched
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token": "token-%d", "token_type": "Bearer", "expires_in": 3600}`, n)
	})
	provider := httptest.NewServer(mux)
	t.Cleanup(provider.Close)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { taken <- r.Header.Get("Authorization") }))
	t.Cleanup(receiver.Close)
	proxy := newTunnel(t, "us", "proxy-password")

	dir := t.TempDir()
	srv := serve(t, dir, "--egress-proxy", strings.Replace(proxy.URL, "://", "://us:proxy-password@", 1))
	cl := newClient(t, dir)
	cl.Base = srv.url
	_, err := cl.CreateCallback(t.Context(), client.NewCallback{Event: event, URL: receiver.URL, Policy: &client.Policy{
		Auth: &wire.Auth{OAuth2: &wire.OAuth2{TokenURL: provider.URL + "/token", ClientID: "callbackd", ClientSecret: "its-secret"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cl.Publish(t.Context(), client.NewEvent{Event: event, SessionKey: "S"}); err != nil {
		t.Fatal(err)
	}
	if got := <-taken; got != "Bearer token-1" {
		t.Errorf("the receiver got the authorization %q", got)
	}
	host := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }
	asked := func(want ...string) {
		t.Helper()
		proxy.mu.Lock()
		defer proxy.mu.Unlock()
		if !slices.Equal(proxy.asked, want) {
			t.Errorf("the proxy was asked for %q, want %q", proxy.asked, want)
		}
	}
	asked(host(provider), host(receiver))
	tried, err := cl.TestAuth(t.Context(), event)
	if err != nil || tried.Token == nil || tried.Token.Status != http.StatusOK {
		t.Errorf("the try of the sign-in: %+v, %v", tried, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if fetched != 2 {
		t.Errorf("%d tokens were fetched, want 2", fetched)
	}
}

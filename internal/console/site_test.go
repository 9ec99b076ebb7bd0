package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/apikey"
	"callbackd/internal/app"
	"callbackd/internal/console"
	"callbackd/internal/store"
	"callbackd/internal/store/postgres/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m, endChromium) }

const operatorToken = "an-operator-token-for-tests"

// site is a running server with a key, and what a person knows of it.
type site struct {
	t     *testing.T
	place app.StoreConfig
	app   *app.App
	url   string
	key   callbackd.Key
	token callbackd.Secret // the operator's

	proxies []netip.Prefix // that are trusted
}

// startSite starts one on SQLite.
func startSite(t *testing.T) *site {
	t.Helper()
	return startSiteAt(t, app.StoreConfig{Data: t.TempDir()})
}

// onBothStores runs what the store may make different, on each.
func onBothStores(t *testing.T, test func(t *testing.T, s *site)) {
	t.Run("sqlite", func(t *testing.T) { test(t, startSite(t)) })
	t.Run("postgres", func(t *testing.T) {
		test(t, startSiteAt(t, app.StoreConfig{DatabaseURL: pgtest.URL(t), KeysetFile: filepath.Join(t.TempDir(), "keys.json")}))
	})
}

func startSiteAt(t *testing.T, place app.StoreConfig) *site {
	t.Helper()
	s := &site{t: t, place: place, token: operatorToken}
	s.key = s.newKey("acme", "production")
	s.start()
	t.Cleanup(s.stop)
	return s
}

// store opens the site's store: beside the server, or while it is stopped.
func (s *site) store(beside bool) store.Store {
	s.t.Helper()
	st, err := s.place.Open(context.Background(), beside, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

// newKey makes a key beside the server, as `callbackd keys create` does.
func (s *site) newKey(account, name string) callbackd.Key {
	s.t.Helper()
	k, err := apikey.New(account, name, true, time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	st := s.store(true)
	defer st.Close()
	if k, err = st.CreateKey(context.Background(), k); err != nil {
		s.t.Fatal(err)
	}
	return k
}

func (s *site) start() {
	s.t.Helper()
	listen := "127.0.0.1:0"
	if s.url != "" {
		listen = s.url[len("http://"):]
	}
	a, err := app.Start(context.Background(), app.Config{Listen: listen, StoreConfig: s.place, Log: slog.New(slog.NewTextHandler(s.t.Output(), &slog.HandlerOptions{Level: slog.LevelError})), Retention: time.Hour,
		AllowTargets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, OperatorToken: s.token, TrustedProxies: s.proxies})
	if err != nil {
		s.t.Fatal(err)
	}
	s.app, s.url = a, a.URL()
}

func (s *site) stop() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.app.Stop(ctx); err != nil {
		s.t.Error(err)
	}
}

func (s *site) client(k callbackd.Key) *client.Client {
	return &client.Client{Base: s.url, Account: k.Account, APIKey: k.APIKey, APISecret: k.Secret.Reveal()}
}

// publish accepts one event for the key.
func (s *site) publish(k callbackd.Key, t callbackd.EventType, session string, data any) string {
	s.t.Helper()
	got, err := s.client(k).Publish(context.Background(), client.NewEvent{Event: string(t), SessionKey: session, Data: data})
	if err != nil {
		s.t.Fatal(err)
	}
	return got.ID
}

// await asks again and again until it holds.
func (s *site) await(holds func() bool) {
	s.t.Helper()
	end := time.After(patience)
	for !holds() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-end:
			s.t.Fatal("it does not come to hold")
		}
	}
}

// link is a one-time link for the operator, as `callbackd console` makes it.
func (s *site) link() string {
	s.t.Helper()
	link, login := console.NewLink("", time.Now())
	st := s.store(true)
	defer st.Close()
	if err := st.CreateLogin(context.Background(), login); err != nil {
		s.t.Fatal(err)
	}
	return link
}

// receiver answers as it is told, and remembers what it was sent.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	answer func(n int, w http.ResponseWriter, r *http.Request)
	got    []string
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var in struct{ Event string }
		json.NewDecoder(req.Body).Decode(&in)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, fmt.Sprintf("%s %s %s", req.Method, in.Event, req.Header.Get("callback-attempt")))
		if r.answer != nil {
			r.answer(len(r.got), w, req)
			return
		}
		w.Header().Set("X-Receiver", "ready")
		fmt.Fprint(w, `{"received":true}`)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answers(f func(n int, w http.ResponseWriter, r *http.Request)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer, r.got = f, nil
}

func urlQuery(s string) string { return url.QueryEscape(s) }

func urlPath(s string) string { return url.PathEscape(s) }

// Package consoletest starts servers for tests of the console.
package consoletest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/apikey"
	"callbackd/internal/app"
	"callbackd/internal/console"
	"callbackd/internal/store"
	"callbackd/wire"
)

// Patience bounds every wait. Only a test that fails waits so long.
const Patience = 30 * time.Second

// OperatorToken signs the operator in.
const OperatorToken = "an-operator-token-for-tests"

// Site is a running server with a key.
type Site struct {
	T       *testing.T
	Place   app.StoreConfig
	App     *app.App
	URL     string
	Key     callbackd.Key
	Token   callbackd.Secret // the operator's
	Proxies []netip.Prefix   // that are trusted
	Console app.ConsoleConfig
	// EventTypes are the platform's own. Set them while the server is stopped.
	EventTypes []wire.EventKind
}

// StartSite starts a server on SQLite. It stops when the test ends.
func StartSite(t *testing.T) *Site {
	t.Helper()
	return StartSiteAt(t, app.StoreConfig{Data: t.TempDir()})
}

// StartSiteAt starts a server on a store. It stops when the test ends.
func StartSiteAt(t *testing.T, place app.StoreConfig) *Site {
	t.Helper()
	s := &Site{T: t, Place: place, Token: OperatorToken}
	s.Key = s.NewKey("acme", "production")
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// Store opens the site's store: while the server runs (secondary), or while it is
// stopped.
func (s *Site) Store(secondary bool) store.Store {
	s.T.Helper()
	st, err := s.Place.Open(context.Background(), secondary, nil)
	if err != nil {
		s.T.Fatal(err)
	}
	return st
}

// NewKey creates a key while the server runs, as `callbackd keys create` does.
func (s *Site) NewKey(account, name string) callbackd.Key {
	s.T.Helper()
	k, err := apikey.New(account, name, true, time.Now())
	if err != nil {
		s.T.Fatal(err)
	}
	st := s.Store(true)
	defer st.Close()
	if k, err = st.CreateKey(context.Background(), k); err != nil {
		s.T.Fatal(err)
	}
	return k
}

// Start starts the server, again at the address that it had before.
func (s *Site) Start() {
	s.T.Helper()
	listen := "127.0.0.1:0"
	if s.URL != "" {
		listen = s.URL[len("http://"):]
	}
	a, err := app.Start(context.Background(), app.Config{Listen: listen, StoreConfig: s.Place, Log: slog.New(slog.NewTextHandler(s.T.Output(), &slog.HandlerOptions{Level: slog.LevelError})), Retention: time.Hour,
		AllowTargets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, OperatorToken: s.Token, TrustedProxies: s.Proxies, Console: s.Console, EventTypes: s.EventTypes})
	if err != nil {
		s.T.Fatal(err)
	}
	s.App, s.URL = a, a.URL()
}

// Stop stops the server.
func (s *Site) Stop() {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.App.Stop(ctx); err != nil {
		s.T.Error(err)
	}
}

// Client returns a client of the server that signs with a key.
func (s *Site) Client(k callbackd.Key) *client.Client {
	return &client.Client{Base: s.URL, Account: k.Account, APIKey: k.APIKey, APISecret: k.Secret.Reveal()}
}

// Publish publishes one event with a key and returns its ID.
func (s *Site) Publish(k callbackd.Key, t callbackd.EventType, session string, data any) string {
	s.T.Helper()
	got, err := s.Client(k).Publish(context.Background(), client.NewEvent{Event: string(t), SessionKey: session, Data: data})
	if err != nil {
		s.T.Fatal(err)
	}
	return got.ID
}

// Await polls until holds returns true.
func (s *Site) Await(holds func() bool) {
	s.T.Helper()
	end := time.After(Patience)
	for !holds() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-end:
			s.T.Fatal("the condition did not become true")
		}
	}
}

// Link returns a one-time link for the operator, as `callbackd console` makes it.
func (s *Site) Link() string { return s.LinkFrom(time.Now()) }

// LinkFrom returns a one-time link that was made at a time.
func (s *Site) LinkFrom(at time.Time) string {
	s.T.Helper()
	link, login := console.NewLink("", at)
	st := s.Store(true)
	defer st.Close()
	if err := st.CreateLogin(context.Background(), login); err != nil {
		s.T.Fatal(err)
	}
	return link
}

// Receiver is a receiver of callbacks. It answers 200 unless it is told otherwise.
type Receiver struct {
	*httptest.Server
	mu     sync.Mutex
	answer func(n int, w http.ResponseWriter, r *http.Request)
	n      int // requests since answer was set
}

// NewReceiver starts a receiver. It stops when the test ends.
func NewReceiver(t *testing.T) *Receiver {
	t.Helper()
	r := &Receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		io.Copy(io.Discard, req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.n++
		if r.answer != nil {
			r.answer(r.n, w, req)
			return
		}
		w.Header().Set("X-Receiver", "ready")
		fmt.Fprint(w, `{"received":true}`)
	}))
	t.Cleanup(r.Close)
	return r
}

// Answers makes f answer the requests from now on. n counts them from 1.
func (r *Receiver) Answers(f func(n int, w http.ResponseWriter, r *http.Request)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer, r.n = f, 0
}

// Package console is the web pages under /console: a key holder sees what is
// that API key's, the operator sees everything. Pages are made on the server
// and work without JavaScript; the little there is keeps open pages current.
//
// Nothing that a receiver or a client sent is trusted: html/template escapes
// it, [clean] shows what would hide or reorder text, and the content security
// policy lets nothing run or load that is not this package's own.
package console

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/store"
	"callbackd/internal/view"
)

// Store is what the console asks of the store.
type Store interface {
	store.Keys
	store.Callbacks
	store.Events
	store.Sessions
	store.Logins
	store.Stats
	store.Logs
	store.Replays
}

// Options of the console.
type Options struct {
	Store      Store
	Dispatcher callbacks.Dispatcher
	Preview    view.Preview
	Tests      *callbacks.Limiter // of test-sends, shared with the API
	Stream     Feed
	Nodes      Nodes
	Log        *slog.Logger
	Version    string
	// OperatorToken signs the operator in; empty: only one-time links do.
	OperatorToken callbackd.Secret
	RequireHTTPS  bool // live keys may register https only
	// Advise says early that a callback's URL will be refused; nil: nobody does.
	Advise func(ctx context.Context, url string) string
	// Public is where people reach the server; nil: as they ask for it.
	Public *url.URL
}

// Console is an http.Handler for everything under [Root].
type Console struct {
	Options
	handler http.Handler
	pages   map[string]*page
	doors   throttle
	streams streams
	refused refusals
	now     func() time.Time

	closeOnce sync.Once
	closing   chan struct{} // ends the live streams
}

// Root is where the console is.
const Root = "/console"

// New makes the console.
func New(o Options) *Console {
	c := &Console{Options: o, pages: parsePages(), closing: make(chan struct{}), now: time.Now}
	mux := http.NewServeMux()
	for _, r := range c.routes() {
		mux.Handle(r.pattern, r.handler)
	}
	c.handler = c.sameOrigin(mux)
	return c
}

// Close ends the live streams; pages are still served.
func (c *Console) Close() { c.closeOnce.Do(func() { close(c.closing) }) }

// route is one line of the table of everything that is served.
type route struct {
	pattern string
	handler http.Handler
}

func (c *Console) routes() []route {
	return []route{
		{"GET " + Root + "/static/{hash}/{file}", http.HandlerFunc(c.static)},
		{"GET " + Root + "/sign-in", c.open(c.signInPage)},
		{"POST " + Root + "/sign-in", c.open(c.signIn)},
		{"GET " + Root + "/link", c.open(c.linkPage)},
		{"POST " + Root + "/link", c.open(c.link)},
		{"POST " + Root + "/sign-out", c.open(c.signOut)},

		{"GET " + Root, c.open(toRoot)},
		{"GET " + Root + "/{$}", c.signedIn(c.overview)},

		{"GET " + Root + "/webhooks", c.signedIn(c.webhooks)},
		{"GET " + Root + "/webhooks/new", c.signedIn(c.newWebhook)},
		{"POST " + Root + "/webhooks/new", c.signedIn(c.createWebhook)},
		{"GET " + Root + "/webhooks/{no}", c.signedIn(c.webhook)},
		{"GET " + Root + "/webhooks/{no}/edit", c.signedIn(c.editWebhook)},
		{"POST " + Root + "/webhooks/{no}/edit", c.signedIn(c.replaceWebhook)},
		{"GET " + Root + "/webhooks/{no}/delete", c.signedIn(c.deleteWebhookPage)},
		{"POST " + Root + "/webhooks/{no}/delete", c.signedIn(c.deleteWebhook)},
		{"POST " + Root + "/webhooks/{no}/pause", c.signedIn(c.pauseWebhook)},
		{"POST " + Root + "/webhooks/{no}/resume", c.signedIn(c.resumeWebhook)},
		{"GET " + Root + "/webhooks/{no}/test", c.signedIn(c.testPage)},
		{"POST " + Root + "/webhooks/{no}/test", c.signedIn(c.test)},
		{"GET " + Root + "/webhooks/{no}/secret", c.signedIn(c.secretPage)},
		{"POST " + Root + "/webhooks/{no}/secret", c.signedIn(c.rotateSecret)},

		{"GET " + Root + "/deliveries", c.signedIn(c.deliveries)},
		{"GET " + Root + "/deliveries/live", c.signedIn(c.livePage)},
		{"GET " + Root + "/deliveries/stream", c.signedIn(c.stream)},
		{"GET " + Root + "/deliveries/{id}", c.signedIn(c.delivery)},
		{"GET " + Root + "/deliveries/{id}/curl", c.signedIn(c.curlPage)},
		{"POST " + Root + "/deliveries/{id}/retry", c.signedIn(c.retry)},

		{"GET " + Root + "/search", c.signedIn(c.search)},
		{"GET " + Root + "/sessions", c.signedIn(c.sessions)},
		{"GET " + Root + "/sessions/{session}", c.signedIn(c.session)},

		{"GET " + Root + "/events/{event}", c.signedIn(c.event)},
		{"POST " + Root + "/events/{event}/replay", c.signedIn(c.replayEvent)},

		{"GET " + Root + "/logs", c.signedIn(c.logs)},

		{"GET " + Root + "/replays", c.signedIn(c.replays)},
		{"GET " + Root + "/replays/new", c.signedIn(c.newReplay)},
		{"POST " + Root + "/replays/new", c.signedIn(c.createReplay)},
		{"GET " + Root + "/replays/{id}", c.signedIn(c.replay)},
		{"POST " + Root + "/replays/{id}/pause", c.signedIn(c.steerReplay(callbackd.ReplayPaused))},
		{"POST " + Root + "/replays/{id}/resume", c.signedIn(c.steerReplay(callbackd.ReplayRunning))},
		{"POST " + Root + "/replays/{id}/cancel", c.signedIn(c.steerReplay(callbackd.ReplayCanceled))},

		{"GET " + Root + "/nodes", c.operatorOnly(c.nodes)},

		{"GET " + Root + "/keys", c.signedIn(c.keys)},
		{"POST " + Root + "/keys", c.operatorOnly(c.createKey)},
		{"GET " + Root + "/keys/{key}/rotate", c.signedIn(c.rotatePage)},
		{"POST " + Root + "/keys/{key}/rotate", c.signedIn(c.rotateKey)},
		{"GET " + Root + "/keys/{key}/revoke", c.operatorOnly(c.revokePage)},
		{"POST " + Root + "/keys/{key}/revoke", c.operatorOnly(c.revokeKey)},

		{Root + "/", http.HandlerFunc(c.noPage)},
	}
}

var errNoPage = callbackd.Errorf(callbackd.KindNotFound, "There is no such page here, or it is not yours to see.")

// noPage answers for what is not there, with the way to everything else for
// those who are signed in.
func (c *Console) noPage(w http.ResponseWriter, r *http.Request) {
	v, err := c.visitor(r)
	if err == nil {
		err = errNoPage
	}
	c.fail(w, r, v, err)
}

func toRoot(w http.ResponseWriter, r *http.Request) error {
	http.Redirect(w, r, link(), http.StatusSeeOther)
	return nil
}

// policy lets a page load and run what this package serves, and nothing
// else: no inline script or style, no frame around it, no other host.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP serves a page and contains its faults.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			c.Log.Error("page panicked", "method", r.Method, "path", r.URL.Path, "panic", p)
			c.fail(w, r, nil, errors.New("panic"))
		}
	}()
	c.handler.ServeHTTP(w, r)
}

// open serves to anybody.
func (c *Console) open(f func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := outside(w, r)
		if err == nil {
			err = f(w, r)
		}
		if err != nil {
			c.fail(w, r, nil, err)
		}
	})
}

// visit is one request of somebody who is signed in.
type visit struct {
	*http.Request
	key   *callbackd.Key // nil: the operator
	login [32]byte       // the hash of the browser's token
}

func (v *visit) operator() bool { return v.key == nil }

// sees tells whether an object of that key may be shown.
func (v *visit) sees(key callbackd.KeyID) bool { return v.operator() || v.key.ID == key }

// signedIn serves to who is signed in, and sends others to the door.
func (c *Console) signedIn(f func(http.ResponseWriter, *visit) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := c.visitor(r)
		if err != nil {
			c.fail(w, r, nil, err)
			return
		}
		if v == nil {
			c.toDoor(w, r)
			return
		}
		if err = inside(w, v); err == nil {
			err = f(w, v)
		}
		if err != nil {
			c.fail(w, r, v, err)
		}
	})
}

// operatorOnly serves to the operator; for others there is nothing there.
func (c *Console) operatorOnly(f func(http.ResponseWriter, *visit) error) http.Handler {
	return c.signedIn(func(w http.ResponseWriter, v *visit) error {
		if !v.operator() {
			return errNoPage
		}
		return f(w, v)
	})
}

// keyOf is the key with that number, for an object that may be shown.
func (c *Console) keyOf(ctx context.Context, v *visit, no callbackd.KeyID) (*callbackd.Key, error) {
	if !v.sees(no) {
		return nil, errNoPage
	}
	return c.Store.KeyByID(ctx, no)
}

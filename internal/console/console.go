// Package console serves the web pages under /console. A key holder sees what
// belongs to that API key, the operator sees everything. The server renders
// whole pages, which work without JavaScript; the little JavaScript there is
// keeps open pages current.
//
// The console trusts nothing that a receiver or a client sent: html/template
// escapes it, internal/safetext makes characters visible that would hide or reorder text,
// and the content security policy runs and loads this package's files only.
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
	"callbackd/internal/eventtypes"
	"callbackd/internal/front"
	"callbackd/internal/keylimit"
	"callbackd/internal/obs"
	"callbackd/internal/ratelimit"
	"callbackd/internal/store"
	"callbackd/internal/view"
)

// Store holds the methods of the store that the console uses.
type Store interface {
	store.Keys
	store.Callbacks
	store.Events
	store.Sessions
	store.Logins
	store.Tokens
	store.Stats
	store.Logs
	store.Replays
	store.Erases
	store.Audits
	store.Incidents
}

// Options configures the console.
type Options struct {
	Store      Store
	Dispatcher callbacks.Dispatcher
	Preview    view.Preview
	Tests      *callbacks.Limiter // limits test-sends; shared with the API
	Limits     *keylimit.Limiter  // what keys may use, and use; shared with the API
	Stream     Feed
	Nodes      Nodes
	Log        *slog.Logger
	Version    string

	Events *eventtypes.Catalogue // of events; shared with the API

	// OperatorToken signs the operator in. When it is empty, only one-time
	// links do.
	OperatorToken callbackd.Secret

	// RequireHTTPS allows live keys to register https URLs only.
	RequireHTTPS bool

	// Advise returns why nothing can be delivered to a URL, or an empty text.
	// It may be nil.
	Advise func(ctx context.Context, url string) string

	// TestAuth tries how a callback signs in at its receiver.
	TestAuth func(context.Context, *callbackd.Callback) callbackd.AuthTest

	// Brand is how the console looks.
	Brand Brand
	// ReturnOrigins are the origins to which a link for a customer may lead back.
	ReturnOrigins []string
	// FrameAncestors are the origins whose pages may show the console in a frame, to who is
	// signed in by a link for a customer. Without any, nobody's may.
	FrameAncestors []string

	// Public is the URL under which people reach the server. It is nil when
	// that is the address the server listens on.
	Public *url.URL
}

// Console is an http.Handler for everything under [Root].
type Console struct {
	Options
	handler    http.Handler
	pages      map[string]*page
	loginLimit *ratelimit.Limiter[string] // of wrong attempts, by address and by API key
	streams    streamLimiter
	auditCheck auditCheck
	now        func() time.Time

	closeOnce sync.Once
	closing   chan struct{} // closed when the live streams must end
}

// Root is the path of the console.
const Root = "/console"

// New returns a console.
func New(o Options) *Console {
	o.Log = obs.Limit(o.Log, refusalInterval, refusedSignIn)
	c := &Console{
		Options:    o,
		pages:      parsePages(),
		loginLimit: ratelimit.New[string](loginRate, loginBurst),
		closing:    make(chan struct{}),
		now:        time.Now,
	}
	mux := http.NewServeMux()
	for _, r := range c.routes() {
		mux.Handle(r.pattern, r.handler)
	}
	c.handler = c.sameOrigin(mux)
	return c
}

// Close ends the live streams. Pages are still served.
func (c *Console) Close() {
	c.closeOnce.Do(func() { close(c.closing) })
}

// policy is the content security policy of every page, without who may show it in a frame.
// It allows the files of this package and forbids inline scripts and styles, and other hosts.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors "

// ServeHTTP serves a page. A panic becomes an error page.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy+"'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(p)
		}
		c.Log.Error("page panicked", "method", r.Method, "path", r.URL.Path, "panic", p)
		c.fail(w, r, nil, errors.New("panic"))
	}()
	c.handler.ServeHTTP(w, r)
}

// principal is the logged-in user: a key holder or the operator.
type principal struct {
	key *callbackd.Key // nil for the operator
	// customer is the link by which the person signed in; its role is empty for others.
	customer callbackd.ConsoleLink
}

// role returns what the person may do.
func (p principal) role() callbackd.ConsoleRole {
	switch {
	case p.key == nil:
		return callbackd.ConsoleOperator
	case p.customer.Role != "":
		return p.customer.Role
	}
	return callbackd.ConsoleHolder
}

func (p principal) isOperator() bool { return p.key == nil }

// mayRead reports whether the person may see objects of a key.
func (p principal) mayRead(key callbackd.KeyID) bool {
	return p.isOperator() || p.key.ID == key
}

// keyFilter returns the key whose objects the person may see, or
// [store.AllKeys] for the operator.
func (p principal) keyFilter() callbackd.KeyID {
	if p.isOperator() {
		return store.AllKeys
	}
	return p.key.ID
}

// actor returns the person as the one who makes a change with the request r.
func (p principal) actor(r *http.Request) callbackd.Actor {
	a := callbackd.Actor{Kind: callbackd.ActorOperator, Address: front.ClientText(r)}
	switch {
	case p.customer.Role != "":
		a.Kind, a.Name = callbackd.ActorLink, string(p.customer.Role)
	case !p.isOperator():
		a.Kind, a.Name = callbackd.ActorKeyHolder, p.key.APIKey
	}
	return a
}

// userRequest is an HTTP request of a logged-in user.
type userRequest struct {
	*http.Request
	principal
}

// public serves a page to everybody.
func (c *Console) public(f func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := enterAnonymous(w, r)
		if err == nil {
			err = f(w, r)
		}
		if err != nil {
			c.fail(w, r, nil, err)
		}
	})
}

// requireLogin runs f for logged-in users and redirects others to the sign-in
// page.
func (c *Console) requireLogin(f func(http.ResponseWriter, *userRequest) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, err := c.authenticate(r)
		if err != nil {
			c.fail(w, r, nil, err)
			return
		}
		if req == nil {
			c.redirectToSignIn(w, r)
			return
		}
		if req.customer.Role != "" {
			c.allowFrames(w)
		}
		err = enterLoggedIn(w, req)
		if err == nil {
			req.Request = r.WithContext(store.WithActor(r.Context(), req.actor(r)))
			err = f(w, req)
		}
		if err != nil {
			c.fail(w, r, req, err)
		}
	})
}

// requireRole runs f for people whose role includes least. What only the operator may use
// does not exist for others.
func (c *Console) requireRole(least callbackd.ConsoleRole, f func(http.ResponseWriter, *userRequest) error) http.Handler {
	return c.requireLogin(func(w http.ResponseWriter, req *userRequest) error {
		switch {
		case req.role().Includes(least):
			return f(w, req)
		case least == callbackd.ConsoleOperator:
			return errPageNotFound
		}
		return callbackd.Errorf(callbackd.KindForbidden, "This page is for the role %s. You are signed in as %s.", roleName(least), roleName(req.role()))
	})
}

// roleName is a role as people read it.
func roleName(r callbackd.ConsoleRole) string {
	if r == callbackd.ConsoleHolder {
		return "key holder"
	}
	return string(r)
}

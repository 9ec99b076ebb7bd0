// Package api is the HTTP API: PAVE's callbacks to the letter, and ours for
// events and deliveries. It checks who calls, reads strictly, asks the store,
// and answers in JSON. openapi.yaml describes all of it, and every test's
// request and answer is held against it.
package api

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/front"
	"callbackd/internal/request"
	"callbackd/internal/signature"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

//go:embed openapi.yaml
var openAPI []byte

// Options of the API. All but the switches are required.
type Options struct {
	Store      store.Store
	Dispatcher callbacks.Dispatcher
	Preview    view.Preview
	Tests      *callbacks.Limiter // of test-sends; nil: its own
	// Advise says early, and without a lookup, that a callback's URL will be
	// refused; nil: nobody does.
	Advise   func(url string) string
	Log      *slog.Logger
	Ready    func(context.Context) error // beside the store's own readiness
	Metrics  http.Handler
	Accepted func(events int) // counts accepted events
	Calls    Calls            // the log of calls; nil: none

	RequireHTTPS bool // live keys may register https only
	// CaptureURL makes the links of sessions whose key has no template.
	CaptureURL  callbackd.CaptureTemplate
	MaskHeaders bool // callback headers are masked on the way out
}

// API is an http.Handler.
type API struct {
	Options
	mux       *http.ServeMux
	waiting   waiting
	closing   chan struct{}
	closeOnce sync.Once
}

// New makes the API.
func New(o Options) *API {
	if o.Tests == nil {
		o.Tests = callbacks.NewLimiter()
	}
	if o.Calls == nil {
		o.Calls = noCalls{}
	}
	a := &API{Options: o, mux: http.NewServeMux(), closing: make(chan struct{})}
	for _, r := range a.routes() {
		a.mux.Handle(r.pattern, a.handler(r))
	}
	a.mux.HandleFunc("/", a.unrouted)
	return a
}

// Limits of the server's connections. Bodies have their own.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 90 * time.Second // a test-send answers after a whole attempt
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
)

// Server is an http.Server for h with every limit set.
func Server(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: closingChunked(h), ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, DisableGeneralOptionsHandler: true, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// closingChunked closes the connection after a request with a Transfer-Encoding.
// It may have stated a Content-Length too, of which net/http tells nothing; what a
// proxy that saw another end took for the next request of the connection is then
// not answered (RFC 9112, section 6.1). Of HTTP/1.0 net/http reads the length alone
// and hides the other header, so that every request with a body ends the
// connection.
func closingChunked(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1) && r.ContentLength != 0 {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}

// route is one line of the table of everything that is served. It has one
// handler: for calls that prove an API key, for everybody, or one that sees to
// authentication and to its query itself.
type route struct {
	pattern string
	params  []string // that its query may have
	signed  func(http.ResponseWriter, *call) error
	open    http.HandlerFunc
	itself  http.HandlerFunc
}

func (a *API) handler(r route) http.Handler {
	switch {
	case r.signed != nil:
		return a.signed(r.params, r.signed)
	case r.itself != nil:
		return r.itself
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, err := request.Query(req.URL.RawQuery, r.params); err != nil {
			a.fail(w, req, err)
			return
		}
		r.open(w, req)
	})
}

// routes is the table of everything that is served.
func (a *API) routes() []route {
	return append([]route{
		{pattern: "GET /{$}", open: a.home},
		{pattern: "GET /healthz", open: a.healthz},
		{pattern: "GET /readyz", open: a.readyz},
		{pattern: "GET /metrics", open: a.Metrics.ServeHTTP},
		{pattern: "GET /openapi.yaml", open: a.openapi},

		{pattern: "POST /v1/callbacks", signed: a.createCallback},
		{pattern: "GET /v1/callbacks", signed: a.listCallbacks},
		{pattern: "GET /v1/callbacks/{event}", params: nameParams, signed: a.getCallback},
		{pattern: "PUT /v1/callbacks/{event}", params: nameParams, signed: a.replaceCallback},
		{pattern: "DELETE /v1/callbacks/{event}", params: nameParams, signed: a.deleteCallback},
		{pattern: "GET /v1/callbacks/{event}/policy", params: nameParams, signed: a.getPolicy},
		{pattern: "GET /v1/callbacks/{event}/secret", params: nameParams, signed: a.getSecret},
		{pattern: "POST /v1/callbacks/{event}/secret/rotate", params: nameParams, signed: a.rotateSecret},
		{pattern: "POST /v1/callbacks/{event}/pause", params: nameParams, signed: a.pauseCallback},
		{pattern: "POST /v1/callbacks/{event}/resume", params: nameParams, signed: a.resumeCallback},
		{pattern: "POST /v1/callbacks/{event}/test", params: nameParams, signed: a.testCallback},

		{pattern: "POST /v1/events", itself: a.signedPublish},
		{pattern: "GET /v1/events", params: eventsParams(), signed: a.listEvents},
		withQuery("GET /v1/events/stream", a.stream, streamFields),
		{pattern: "GET /v1/events/{id}", signed: a.getEvent},
		{pattern: "GET /v1/events/{id}/explain", params: []string{"callback"}, signed: a.explainEvent},
		withQuery("GET /v1/deliveries", a.listDeliveries, deliveryFields),
		withQuery("GET /v1/deliveries/{id}", a.getDelivery, attemptsFields),
		{pattern: "POST /v1/deliveries/{id}/retry", signed: a.retryDelivery},
		{pattern: "GET /v1/deliveries/{id}/explain", signed: a.explainDelivery},

		{pattern: "POST /v1/replays", signed: a.createReplay},
		withQuery("GET /v1/replays", a.listReplays, replayListFields),
		{pattern: "GET /v1/replays/{id}", signed: a.getReplay},
		{pattern: "DELETE /v1/replays/{id}", signed: a.setReplay(callbackd.ReplayCanceled)},
		{pattern: "POST /v1/replays/{id}/pause", signed: a.setReplay(callbackd.ReplayPaused)},
		{pattern: "POST /v1/replays/{id}/resume", signed: a.setReplay(callbackd.ReplayRunning)},
		withQuery("GET /v1/logs", a.listLogs, logFields),
	}, a.sessionRoutes()...)
}

// ServeHTTP answers everything in JSON, also what no handler answers.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			a.Log.Error("request panicked", "method", r.Method, "path", r.URL.Path, "panic", p)
			answer(w, http.StatusInternalServerError, wire.Message{Message: callbackd.InternalText})
		}
	}()
	if !tidy(r) {
		noPath(w)
		return
	}
	a.mux.ServeHTTP(w, r)
}

func noPath(w http.ResponseWriter) {
	answer(w, http.StatusNotFound, wire.Message{Message: "There is nothing at this path; GET /openapi.yaml describes what is."})
}

// unrouted answers for paths and methods that do not exist.
func (a *API) unrouted(w http.ResponseWriter, r *http.Request) {
	var allow []string
	for _, m := range []string{"GET", "POST", "PUT", "DELETE"} {
		probe := &http.Request{Method: m, URL: r.URL, Host: r.Host}
		if _, pattern := a.mux.Handler(probe); strings.HasPrefix(pattern, m+" ") {
			allow = append(allow, m)
		}
	}
	if len(allow) == 0 {
		noPath(w)
		return
	}
	w.Header().Set("Allow", strings.Join(allow, ", "))
	answer(w, http.StatusMethodNotAllowed, wire.Message{Message: "This path allows " + strings.Join(allow, ", ") + "."})
}

// call is one authenticated request.
type call struct {
	*http.Request
	key      *callbackd.Key
	query    request.Object
	once     *store.Once   // what its Idempotency-Key asks for; nil without one
	sent     *[]byte       // the body, once it was read
	unpacked *request.Body // the body's text, once it was unpacked
}

func (a *API) authenticate(r *http.Request) (*callbackd.Key, error) {
	apiKey, tok, stamp := r.Header.Get(signature.HeaderKey), r.Header.Get(signature.HeaderToken), r.Header.Get(signature.HeaderTimestamp)
	for _, h := range []struct{ name, value string }{{signature.HeaderKey, apiKey}, {signature.HeaderToken, tok}, {signature.HeaderTimestamp, stamp}} {
		if h.value == "" {
			return nil, callbackd.Errorf(callbackd.KindUnauthorized, "The header %s is missing; a call needs %s, %s and %s.", h.name, signature.HeaderKey, signature.HeaderToken, signature.HeaderTimestamp)
		}
	}
	key, err := a.Store.Key(r.Context(), apiKey)
	if err != nil && callbackd.KindOf(err) != callbackd.KindNotFound {
		return nil, err
	}
	if err != nil || key.Revoked() {
		key = &callbackd.Key{} // spends the same time and never passes
	}
	now := time.Now()
	for _, secret := range key.Secrets(now) {
		if err = signature.CheckToken(key.Account, apiKey, secret.Reveal(), stamp, tok, now); !errors.Is(err, signature.ErrToken) {
			break // right, or wrong in a way that another secret does not mend
		}
	}
	if err != nil {
		if key.ID != 0 {
			a.Calls.Refused(key.ID, time.Now(), address(r))
		}
		return nil, callbackd.Errorf(callbackd.KindUnauthorized, "%s", err.Error())
	}
	return key, nil
}

// keyed is an error whose answer carries the API key, as PAVE documents some.
type keyed struct {
	error
	apiKey string
}

func (k keyed) Unwrap() error { return k.error }

// fail is the one place that answers errors, and the one that logs them.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) (message string) {
	kind := callbackd.KindOf(err)
	msg := wire.Message{Message: callbackd.Sentence(err)}
	if k, ok := errors.AsType[keyed](err); ok {
		msg.APIKey = k.apiKey
	}
	switch {
	case errors.Is(r.Context().Err(), context.Canceled): // nobody waits for the answer
		a.Log.Debug("request given up by its caller", "method", r.Method, "path", r.URL.Path, "error", err)
	case kind == callbackd.KindInternal || kind == callbackd.KindUnavailable:
		a.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	default:
		a.Log.Debug("request refused", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	switch kind {
	case callbackd.KindUnavailable, callbackd.KindLimited:
		w.Header().Set("Retry-After", "1")
	case callbackd.KindTooLarge, callbackd.KindSlow: // the rest of the body is not waited for
		w.Header().Set("Connection", "close")
	}
	answer(w, front.Status(err), msg)
	return msg.Message
}

func answer(w http.ResponseWriter, status int, body any) {
	raw, err := marshal(body)
	if err != nil {
		status, raw = http.StatusInternalServerError, []byte(`{"message":"callbackd failed to write its answer"}`)
	}
	answerRaw(w, status, raw)
}

func answerRaw(w http.ResponseWriter, status int, raw []byte) {
	if err := front.HoldBytes(w, len(raw)); err != nil {
		status, raw = front.Status(err), []byte(`{"message":"Too many large answers are on their way; read those that you asked for, and try again."}`)
		w.Header().Set("Retry-After", "1")
	}
	front.EndAnswer(w)
	h := w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	w.WriteHeader(status)
	w.Write(raw)
}

// marshal writes JSON without escaping HTML and keeps raw values as they are.
func marshal(body any) ([]byte, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		return nil, err
	}
	return []byte(b.String()), nil
}

func (a *API) healthz(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, wire.Message{Message: "alive"})
}

func (a *API) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	err := a.Store.Ready(ctx)
	if err == nil {
		err = a.Ready(ctx)
	}
	if err != nil {
		why := "not ready"
		if reason, ok := errors.AsType[*callbackd.Error](err); ok {
			why += ": " + reason.Message
		}
		a.fail(w, r, callbackd.Wrap(callbackd.KindUnavailable, err, why))
		return
	}
	answer(w, http.StatusOK, wire.Message{Message: "ready"})
}

func (a *API) openapi(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	w.Write(openAPI)
}

// eventParam is the event in the path, raw or percent-encoded: the mux has
// decoded it. An event nobody can register gives PAVE's 404.
func (c *call) eventParam() (callbackd.EventType, error) {
	ev := callbackd.EventType(c.PathValue("event"))
	if !ev.Valid() {
		return "", c.noCallback(ev)
	}
	return ev, nil
}

func (c *call) noCallback(ev callbackd.EventType) error {
	return keyed{callbackd.Errorf(callbackd.KindNotFound, "Your API Key does not have callback setting for the event %s.", callbackd.Clip(string(ev), 100)), c.key.APIKey}
}

// nameParam is ?name=, by default the callback PAVE clients make.
func (c *call) nameParam() string {
	name, ok := c.query.Get("name")
	if !ok {
		return callbackd.DefaultName
	}
	text, _ := name.JSON.Text()
	return cmp.Or(text, callbackd.DefaultName)
}

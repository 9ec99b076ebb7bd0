// Package api is the HTTP API: PAVE's endpoints exactly as documented, and our own for
// events and deliveries. It authenticates calls, reads them strictly, calls the store and
// answers in JSON. openapi.yaml describes the whole API, and every request and answer in
// the tests is checked against it.
package api

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/eventtypes"
	"callbackd/internal/front"
	"callbackd/internal/keylimit"
	"callbackd/internal/obs"
	"callbackd/internal/request"
	"callbackd/internal/signature"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

//go:embed openapi.yaml
var openAPI []byte

// Document returns the OpenAPI document, which describes every call. It must not be changed.
func Document() []byte { return openAPI }

// Options holds the options of the API. Those without a default are required, except the
// switches at the end.
type Options struct {
	Store      store.Store
	Dispatcher callbacks.Dispatcher
	Preview    view.Preview
	Tests      *callbacks.Limiter // of test-sends and changes; nil: a new one
	// Advise returns a warning when callbackd will refuse to send to a callback's URL.
	// It makes no DNS lookup. It may be nil.
	Advise func(url string) string
	// TestAuth tries how a callback signs in at its receiver.
	TestAuth func(context.Context, *callbackd.Callback) callbackd.AuthTest
	Log      *slog.Logger
	Ready    func(context.Context) error // checked in addition to the store
	Metrics  http.Handler
	Operator http.Handler     // answers /statusz and /log-level, and checks who calls; nil: nothing does
	Accepted func(events int) // counts accepted events
	// Published is told how long each accepted publish took; it may be nil.
	Published func(took time.Duration)
	Calls     Calls // the log of calls; may be nil
	// Limits holds keys to their limits; nil: to their own only, without defaults of the
	// server. Limited counts calls that were refused because of a limit; it may be nil.
	Limits  *keylimit.Limiter
	Limited func(callbackd.Limit)
	// Events is the catalogue of events; nil: callbackd's own, which checks nothing. Misfit
	// counts published events that do not fit their schema; it may be nil.
	Events *eventtypes.Catalogue
	Misfit func(refused bool)
	// Overload refuses events when the store does not keep up; nil: a new one.
	Overload *front.Overload
	Tracing  Tracing

	RequireHTTPS bool // live keys may register https only
	// CaptureURL makes the links of sessions whose key has no template.
	CaptureURL  callbackd.CaptureTemplate
	MaskHeaders bool // answers mask the values of callbacks' headers

	About About

	// Public is the URL at which people reach the server, for links; nil: that of the call.
	Public *url.URL
	// ReturnOrigins are the origins to which a link for a customer may lead back.
	ReturnOrigins []string
}

// API serves the HTTP API. It is an http.Handler.
type API struct {
	Options
	mux       *http.ServeMux
	tokens    signature.TokenChecker
	waiting   waiting
	operators *operators
	closing   chan struct{}
	closeOnce sync.Once
}

// New returns an API.
func New(o Options) *API {
	if o.Tests == nil {
		o.Tests = callbacks.NewLimiter()
	}
	if o.Operator == nil {
		o.Operator = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { noPath(w) })
	}
	if o.Calls == nil {
		o.Calls = noCalls{}
	}
	if o.Limits == nil {
		o.Limits = keylimit.New(keylimit.Options{Count: o.Store.KeyUse})
	}
	if o.Overload == nil {
		o.Overload = front.NewOverload(nil)
	}
	if o.Limited == nil {
		o.Limited = func(callbackd.Limit) {}
	}
	if o.Published == nil {
		o.Published = func(time.Duration) {}
	}
	if o.Misfit == nil {
		o.Misfit = func(bool) {}
	}
	if o.Events == nil {
		o.Events = builtIn()
	}
	o.Log = obs.Limit(obs.Limit(o.Log, refusedTokenInterval, refusedToken), time.Minute, overloadWarning, misfit)
	a := &API{Options: o, mux: http.NewServeMux(), operators: newOperators(), closing: make(chan struct{})}
	for _, r := range a.routes() {
		a.mux.Handle(r.pattern, a.handler(r))
	}
	a.mux.HandleFunc("/", a.unrouted)
	return a
}

// Limits of the server's connections. Bodies have limits of their own.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 90 * time.Second // a test-send answers after a whole attempt
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
)

// Server returns an http.Server for h with all limits set.
func Server(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: closingChunked(h), ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, DisableGeneralOptionsHandler: true, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// closingChunked closes the connection after a request with a Transfer-Encoding. The
// request may have a Content-Length too, which net/http does not show. A proxy that goes
// by the length sees another end of the request, and may take the rest for the next
// request of the connection; that one must not be answered (RFC 9112, section 6.1). For
// HTTP/1.0 net/http hides the Transfer-Encoding, so every request with a body closes the
// connection.
func closingChunked(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1) && r.ContentLength != 0 {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}

// route is one line of the table of all endpoints. It has one of the handlers.
type route struct {
	pattern string
	params  []string                               // allowed in the query
	signed  func(http.ResponseWriter, *call) error // for signed calls
	open    http.HandlerFunc                       // for everybody
	itself  http.HandlerFunc                       // checks the signature and the query itself
	// operated is for calls with an operator token.
	operated func(http.ResponseWriter, *call) error
}

func (a *API) handler(r route) http.Handler {
	switch {
	case r.signed != nil:
		return a.signed(r.params, r.signed)
	case r.operated != nil:
		return a.operated(r.params, r.operated)
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

// routes returns the table of all endpoints.
func (a *API) routes() []route {
	return append([]route{
		{pattern: "GET /{$}", open: a.home},
		{pattern: "GET /healthz", open: a.healthz},
		{pattern: "GET /readyz", open: a.readyz},
		{pattern: "GET /metrics", open: a.Metrics.ServeHTTP},
		{pattern: "GET /statusz", open: a.Operator.ServeHTTP},
		{pattern: "PUT /log-level", open: a.Operator.ServeHTTP},
		{pattern: "GET /openapi.yaml", open: a.openapi},

		{pattern: "POST /v1/callbacks", signed: a.createCallback},
		withQuery("GET /v1/callbacks", a.listCallbacks, sessionCallbackFields),
		{pattern: "POST /v1/callbacks/filter/test", signed: a.testFilter},
		{pattern: "GET /v1/callbacks/{event}", params: nameParams, signed: a.getCallback},
		{pattern: "PUT /v1/callbacks/{event}", params: nameParams, signed: a.replaceCallback},
		{pattern: "DELETE /v1/callbacks/{event}", params: nameParams, signed: a.deleteCallback},
		{pattern: "GET /v1/callbacks/{event}/policy", params: nameParams, signed: a.getPolicy},
		{pattern: "GET /v1/callbacks/{event}/stats", params: nameParams, signed: a.getStats},
		{pattern: "GET /v1/callbacks/{event}/secret", params: nameParams, signed: a.getSecret},
		{pattern: "POST /v1/callbacks/{event}/secret/rotate", params: nameParams, signed: a.rotateSecret},
		{pattern: "POST /v1/callbacks/{event}/auth/rotate", params: nameParams, signed: a.rotateAuth},
		{pattern: "POST /v1/callbacks/{event}/auth/test", params: nameParams, signed: a.testAuth},
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
		{pattern: "POST /v1/deliveries/cancel", signed: a.cancelDeliveries},
		{pattern: "POST /v1/deliveries/{id}/retry", signed: a.retryDelivery},
		{pattern: "GET /v1/deliveries/{id}/explain", signed: a.explainDelivery},

		{pattern: "GET /v1/event-types", signed: a.listEventTypes},
		{pattern: "GET /v1/event-types/{type}", signed: a.getEventType},
		{pattern: "GET /v1/limits", signed: a.getLimits},
		{pattern: "POST /v1/replays", signed: a.createReplay},
		withQuery("GET /v1/replays", a.listReplays, replayListFields),
		{pattern: "GET /v1/replays/{id}", signed: a.getReplay},
		{pattern: "DELETE /v1/replays/{id}", signed: a.setReplay(callbackd.ReplayCanceled)},
		{pattern: "POST /v1/replays/{id}/pause", signed: a.setReplay(callbackd.ReplayPaused)},
		{pattern: "POST /v1/replays/{id}/resume", signed: a.setReplay(callbackd.ReplayRunning)},
		withQuery("GET /v1/logs", a.listLogs, logFields),
		withQuery("GET /v1/audit", a.listAudit, auditFields),
		withQuery("GET /v1/incidents", a.listIncidents, incidentListFields),
		{pattern: "GET /v1/incidents/{id}", signed: a.getIncident},
		{pattern: "POST /v1/incidents/{id}/acknowledge", signed: a.acknowledgeIncident},
		{pattern: "POST /v1/incidents/{id}/mute", signed: a.muteIncident},
	}, slices.Concat(a.sessionRoutes(), a.eraseRoutes(), a.adminRoutes())...)
}

// ServeHTTP answers every request in JSON, also those without a handler.
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
	answer(w, http.StatusNotFound, wire.Message{Message: "There is nothing at this path; GET /openapi.yaml describes all paths."})
}

// unrouted answers requests for paths and methods that do not exist.
func (a *API) unrouted(w http.ResponseWriter, r *http.Request) {
	var allow []string
	for _, m := range []string{"GET", "HEAD", "POST", "PUT", "DELETE"} {
		probe := &http.Request{Method: m, URL: r.URL, Host: r.Host}
		if _, pattern := a.mux.Handler(probe); pattern != "/" && pattern != "" {
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

// call is one authenticated request: one that an API key has signed, or one with an
// operator token.
type call struct {
	*http.Request
	key      *callbackd.Key           // that the call is about; nil for all, with an operator token
	token    *callbackd.OperatorToken // nil for a signed call
	query    request.Object
	once     *store.Once   // of its Idempotency-Key; nil without one
	sent     *[]byte       // the body; nil until it is read
	unpacked *request.Body // the body's text; nil until it is unpacked

	span        Span               // nil when nobody collects traces
	makesEvents bool               // the call has come to where it makes events
	made        []*callbackd.Event // as far as they are known
}

// The headers of authentication in the spelling of http.Header, which is looked up without
// making another one.
var (
	headerKey       = http.CanonicalHeaderKey(signature.HeaderKey)
	headerToken     = http.CanonicalHeaderKey(signature.HeaderToken)
	headerTimestamp = http.CanonicalHeaderKey(signature.HeaderTimestamp)
)

func (a *API) authenticate(r *http.Request) (*callbackd.Key, error) {
	apiKey, tok, stamp := r.Header.Get(headerKey), r.Header.Get(headerToken), r.Header.Get(headerTimestamp)
	for _, h := range []struct{ name, value string }{{signature.HeaderKey, apiKey}, {signature.HeaderToken, tok}, {signature.HeaderTimestamp, stamp}} {
		if h.value == "" {
			return nil, callbackd.Errorf(callbackd.KindUnauthorized, "The header %s is missing; a call needs %s, %s and %s.", h.name, signature.HeaderKey, signature.HeaderToken, signature.HeaderTimestamp)
		}
	}
	key, err := a.Store.Key(r.Context(), apiKey)
	if err != nil && callbackd.KindOf(err) != callbackd.KindNotFound {
		return nil, err
	}
	now := time.Now()
	if err != nil || !key.InForce(now) {
		key = &callbackd.Key{} // the check takes the same time and fails
	}
	for _, secret := range key.Secrets(now) {
		if err = a.tokens.Check(key.Account, apiKey, secret.Reveal(), stamp, tok, now); !errors.Is(err, signature.ErrToken) {
			break // valid, or invalid with any other secret too
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

// keyed is an error whose answer has the API key, as PAVE documents for some.
type keyed struct {
	error
	apiKey string
}

func (k keyed) Unwrap() error { return k.error }

// fail answers with an error and logs it. It returns the message.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) (message string) {
	kind := callbackd.KindOf(err)
	msg := wire.Message{Message: callbackd.Sentence(err)}
	if k, ok := errors.AsType[keyed](err); ok {
		msg.APIKey = k.apiKey
	}
	switch {
	case overloaded(err):
		a.Log.Warn(overloadWarning)
	case errors.Is(r.Context().Err(), context.Canceled): // nobody waits for the answer
		a.Log.Debug("request given up by its caller", "method", r.Method, "path", r.URL.Path, "error", err)
	case kind == callbackd.KindInternal || kind == callbackd.KindUnavailable:
		a.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	default:
		a.Log.Debug("request refused", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	switch kind {
	case callbackd.KindUnavailable, callbackd.KindLimited:
		limit, seconds := callbackd.LimitOf(err)
		w.Header().Set("Retry-After", strconv.FormatInt(seconds, 10))
		if limit != "" {
			a.Limited(limit)
		}
	case callbackd.KindTooLarge, callbackd.KindSlow: // so that the server does not wait for the rest of the body
		w.Header().Set("Connection", "close")
	}
	answer(w, front.Status(err), msg)
	return msg.Message
}

// shownAll returns the elements of a page as the API shows each of them.
func shownAll[T, W any](c *call, page []T, show func(*call, *T) (W, error)) ([]W, error) {
	out := make([]W, len(page))
	for i := range page {
		var err error
		if out[i], err = show(c, &page[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// nextCursor returns the cursor of the next page; nil at the end.
func nextCursor[ID interface {
	~int64
	String() string
}](next ID) *string {
	if next == 0 {
		return nil
	}
	return new(next.String())
}

func answer(w http.ResponseWriter, status int, body any) {
	raw, err := marshal(body)
	if err != nil {
		status, raw = http.StatusInternalServerError, []byte(`{"message":"callbackd failed to write its answer"}`)
	}
	answerRaw(w, status, raw)
}

// contentType and contentTypeOptions are the values of headers that every answer has.
var contentType, contentTypeOptions = []string{"application/json"}, []string{"nosniff"}

func answerRaw(w http.ResponseWriter, status int, raw []byte) {
	if err := front.HoldBytes(w, len(raw)); err != nil {
		status, raw = front.Status(err), []byte(`{"message":"Too many large answers are being sent; read those that you asked for, and try again."}`)
		w.Header().Set("Retry-After", "1")
	}
	front.EndAnswer(w)
	h := w.Header()
	h["Content-Type"], h["X-Content-Type-Options"] = contentType, contentTypeOptions
	w.WriteHeader(status)
	w.Write(raw)
}

// marshal writes JSON without escaping HTML. It does not change raw values.
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

// callbackParam returns the event and the name of the callback that the path names, as the
// store finds it. The path has its event, or its ID when it is for one session. An unknown
// event gets PAVE's 404.
func (c *call) callbackParam() (ev callbackd.EventType, name string, err error) {
	text := c.PathValue("event")
	if digits(text) {
		return "", text, nil
	}
	if ev = callbackd.EventType(text); !ev.Valid() {
		return "", "", c.noCallback(ev)
	}
	return ev, c.nameParam(), nil
}

func (c *call) noCallback(ev callbackd.EventType) error {
	if ev == "" {
		return keyed{callbackd.Errorf(callbackd.KindNotFound, "Your API Key does not have a callback %s that is for one session. Other callbacks are named by their event, as in /v1/callbacks/SESSION:COMPLETE.", callbackd.Clip(c.PathValue("event"), 20)), c.key.APIKey}
	}
	return keyed{callbackd.Errorf(callbackd.KindNotFound, "Your API Key does not have callback setting for the event %s.", callbackd.Clip(string(ev), 100)), c.key.APIKey}
}

// nameParam returns ?name=, or else the name of the callbacks that PAVE's clients make.
func (c *call) nameParam() string {
	name, ok := c.query.Get("name")
	if !ok {
		return callbackd.DefaultName
	}
	text, _ := name.JSON.Text()
	return cmp.Or(text, callbackd.DefaultName)
}

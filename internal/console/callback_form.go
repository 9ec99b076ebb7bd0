package console

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/front"
	"callbackd/internal/request"
	"callbackd/internal/safetext"
	"callbackd/internal/signature"
)

// policyFields are the fields of the form of a callback that say how to deliver.
var policyFields = []string{"timeout", "order", "concurrency", "rate", "retry", "signing", "ttl", "expect", "order_group", "filter", "fields", "format", "one_request", "no_response"}

// callbackFields are all fields of that form, except the events of a callback for one session.
// All but one_request and no_response are members of the API's setting.
var callbackFields = slices.Concat([]string{"event", "name", "url", "method", "headers", "payload", "secret"}, policyFields, callbacks.AuthFormFields)

// fillCallback returns the fields of a form for the setting of the callback. It masks the
// values of headers and the secrets of the sign-in.
func fillCallback(cb *callbackd.Callback) typed {
	t := typed{"event": string(cb.Event), "name": cb.Name, "url": cb.URL, "method": cb.Method, "events": strings.Join(cb.EventNames(), " ")}
	if payload := string(cb.Payload); payload != "{}" {
		t["payload"] = safetext.Escape(payload)
	}
	for _, h := range cb.Headers {
		t["headers"] += h.Name + ": " + callbackd.Mask + "\n"
	}
	p := cb.Policy
	if p.Timeout != 0 {
		t["timeout"] = callbackd.FormatDuration(p.Timeout)
	}
	switch p.OrderWait {
	case 0:
	case callbackd.NoOrderWait:
		t["order"] = "0s"
	default:
		t["order"] = callbackd.FormatDuration(p.OrderWait)
	}
	if p.Concurrency != 0 {
		t["concurrency"] = strconv.Itoa(p.Concurrency)
	}
	if p.Rate != 0 {
		t["rate"] = strconv.FormatFloat(p.Rate, 'g', -1, 64)
	}
	var retry []string
	for _, delay := range p.Retry {
		retry = append(retry, callbackd.FormatDuration(delay))
	}
	if len(retry) > 0 {
		t["retry"] = strings.Join(retry, ", ")
	}
	for _, scheme := range p.Signing {
		t["signing"] = strings.TrimSpace(t["signing"] + " " + string(scheme))
	}
	t["filter"], t["fields"] = safetext.Escape(p.Filter.String()), safetext.Escape(p.Fields.String())
	t["order_group"], t["format"] = p.OrderGroup, string(p.Format)
	if p.Expect != 0 {
		t["expect"] = callbackd.FormatDuration(p.Expect)
	}
	if p.TTL != 0 {
		t["ttl"] = callbackd.FormatDuration(p.TTL)
	}
	if p.NoKeepAlive {
		t["one_request"] = "yes"
	}
	if p.NoResponse {
		t["no_response"] = "yes"
	}
	t.fillAuth(p.Auth)
	return t
}

// fillAuth fills in how the callback signs in, with its secrets masked.
func (t typed) fillAuth(a *callbackd.Auth) {
	if a == nil {
		return
	}
	if o := a.OAuth2; o != nil {
		t["oauth2_token_url"], t["oauth2_client_id"], t["oauth2_scope"] = o.TokenURL, o.ClientID, o.Scope
		t["oauth2_audience"], t["oauth2_style"] = o.Audience, string(o.Style)
	}
	if b := a.Basic; b != nil {
		t["basic_username"] = b.Username
	}
	if c := a.TLS; c != nil {
		t["tls_cert"], t["tls_ca"], t["tls_server_name"] = c.Cert, c.CA, c.ServerName
	}
	for _, secret := range a.Secrets() {
		t[strings.ReplaceAll(secret.Name, ".", "_")] = callbackd.Mask
	}
}

// readReplacement reads the form that edits a callback. It shows the whole setting, so that what is
// empty has the server's default, and not the one of the key, which may be another one since.
func (t typed) readReplacement(errs formErrors, old *callbackd.Callback) callbackd.Callback {
	if !old.OfSession() {
		return t.readCallback(errs, nil)
	}
	cb := t.with("event", string(old.SampleType())).readCallback(errs, nil)
	if t["events"] == "" {
		errs.invalid("events", "Choose at least one event.")
	}
	types := old.Types
	errs.addAll(request.Values(t.values()).Split("events").ReadAll(callbacks.TypesField("events", &types)))
	cb.Event, cb.Session, cb.Types = "", old.Session, types
	return cb
}

// readCallback reads the form of a callback by the rules of the API and notes
// its errors. What the form leaves out comes from the key, which may be nil.
func (t typed) readCallback(errs formErrors, key *callbackd.Key) callbackd.Callback {
	if t["url"] == "" {
		errs.invalid("url", "Enter the URL to send to.")
	}
	cb, problems := callbacks.ReadAll(request.Values(t.values()).Split("retry").Split("signing"), key)
	errs.addAll(problems)
	cb.Policy.NoKeepAlive = t["one_request"] != ""
	cb.Policy.NoResponse = t["no_response"] != ""
	return cb
}

type callbackFormPage struct {
	base
	scope
	New        bool
	CallbackID callbackd.CallbackID
	Session    string // of a callback for one session
	F          typed
	Methods    []string
	Trial      *filterTrial // nil when no filter was tried
	Samples    []eventSample
}

// SignsIn reports whether the form says how to sign in.
func (p *callbackFormPage) SignsIn() bool {
	return slices.ContainsFunc(callbacks.AuthFormFields, func(name string) bool { return p.F[name] != "" || p.Errors[name] != "" })
}

// Advanced reports whether the form says how to deliver.
func (p *callbackFormPage) Advanced() bool {
	return slices.ContainsFunc(policyFields, func(name string) bool { return p.F[name] != "" })
}

// Types returns the events that a callback for one session can get, and those that it gets.
func (p *callbackFormPage) Types() []callbackd.EventType {
	types := slices.Clone(callbackd.SessionEvents)
	for _, t := range p.EventTypes {
		if t.IsOwn() {
			types = append(types, t)
		}
	}
	for name := range strings.FieldsSeq(p.F["events"]) {
		if t := callbackd.EventType(name); t.IsOwn() && !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	return types
}

// Gets reports whether an event is chosen for a callback for one session.
func (p *callbackFormPage) Gets(t callbackd.EventType) bool {
	return slices.Contains(strings.Fields(p.F["events"]), string(t))
}

// newCallbackPage returns the page that creates a callback.
func (c *Console) newCallbackPage(req *userRequest) (*callbackFormPage, error) {
	s, err := c.scope(req)
	if err != nil {
		return nil, err
	}
	s.Required = true
	return &callbackFormPage{base: c.base(req, "callbacks", "New callback"), scope: s, New: true, Methods: callbacks.Methods}, nil
}

// editCallbackPage returns the page that edits a callback.
func (c *Console) editCallbackPage(req *userRequest, cb *callbackd.Callback) *callbackFormPage {
	return &callbackFormPage{
		base:       c.base(req, "callbacks", "Edit callback"),
		scope:      scope{Errors: formErrors{}},
		CallbackID: cb.ID,
		Session:    cb.Session,
		Methods:    callbacks.Methods,
	}
}

func (c *Console) newCallback(w http.ResponseWriter, req *userRequest) error {
	p, err := c.newCallbackPage(req)
	if err != nil {
		return err
	}
	p.F = typed{"event": req.URL.Query().Get("event"), "method": http.MethodPost}
	return c.renderForm(w, http.StatusOK, p)
}

func (c *Console) createCallback(w http.ResponseWriter, req *userRequest) error {
	p, err := c.newCallbackPage(req)
	if err != nil {
		return err
	}
	if p.F, err = readForm(req.Request, callbackFields...); err != nil {
		return err
	}
	key := p.key(req)
	if onlyTries(req) {
		return c.tryFilter(w, req, p, key)
	}
	cb := p.F.readCallback(p.Errors, key)
	if key == nil {
		p.Errors.add("key", errChooseKey)
	}
	p.Errors.add("headers", callbacks.RefuseMasks(cb.Headers))
	return c.saveCallback(w, req, p, key, cb, func(cb callbackd.Callback) (*callbackd.Callback, error) {
		stored, created, err := c.Store.CreateCallback(req.Context(), cb, c.now())
		if err == nil && !created {
			err = callbackd.Errorf(callbackd.KindConflict, "There is already a callback for %s with this name. Edit it, or give this one another name.", cb.Event)
		}
		return stored, err
	})
}

func (c *Console) editCallback(w http.ResponseWriter, req *userRequest) error {
	cb, _, err := c.activeCallback(req)
	if err != nil {
		return err
	}
	p := c.editCallbackPage(req, cb)
	p.F = fillCallback(cb)
	return c.renderForm(w, http.StatusOK, p)
}

func (c *Console) replaceCallback(w http.ResponseWriter, req *userRequest) error {
	old, key, err := c.activeCallback(req)
	if err != nil {
		return err
	}
	p := c.editCallbackPage(req, old)
	if p.F, err = readForm(req.Request, callbackFields...); err != nil {
		return err
	}
	p.F["event"], p.F["name"], p.F["secret"] = string(old.Event), old.Name, ""
	p.F["events"] = formField(strings.Join(req.PostForm["events"], " "))
	if onlyTries(req) {
		return c.tryFilter(w, req, p, key)
	}
	cb := p.F.readReplacement(p.Errors, old)
	p.Errors.add("headers", callbacks.Unmask(old, &cb))
	p.Errors.add("", callbacks.UnmaskAuth(old, &cb))
	return c.saveCallback(w, req, p, key, cb, func(cb callbackd.Callback) (*callbackd.Callback, error) {
		now := c.now()
		return c.Store.ChangeCallback(req.Context(), cb.Key, cb.Event, cb.Name, func(stored *callbackd.Callback) error {
			stored.Replace(&cb, now)
			return callbacks.Check(stored)
		})
	})
}

// onlyTries reports whether a form of a callback was sent to try its filter, and not to
// save it. The form was read before.
func onlyTries(req *userRequest) bool { return req.PostForm.Get("try") != "" }

// saveCallback saves the callback of a form and redirects to its page, or shows
// the form with its errors. The callback gets a new signing secret, unless the form has
// one; an edited one uses the new one only when its URL names another receiver.
func (c *Console) saveCallback(w http.ResponseWriter, req *userRequest, p *callbackFormPage, key *callbackd.Key, cb callbackd.Callback,
	save func(callbackd.Callback) (*callbackd.Callback, error)) error {
	if key != nil && p.Errors["url"] == "" {
		p.Errors.add("url", callbacks.Admit(key, &cb, c.RequireHTTPS))
	}
	if len(cb.Secrets) == 0 {
		cb.Secrets = []callbackd.SigningSecret{{Value: callbackd.Secret(signature.NewSecret())}}
	}
	if p.Errors["signing"] == "" {
		p.Errors.add("signing", callbacks.CheckSigning(&cb))
	}
	if len(p.Errors) == 0 {
		p.Errors.add("", callbacks.CheckAuth(&cb))
	}
	if len(p.Errors) > 0 {
		return c.renderForm(w, http.StatusBadRequest, p)
	}
	cb.Key = key.ID
	err := c.allowChange(req, cb.Key)
	stored := &cb
	if err == nil {
		stored, err = save(cb)
	}
	if err != nil {
		return c.renderRefusal(w, p, err)
	}
	c.Dispatcher.CallbackChanged(stored.ID)
	if stored.OfSession() && stored.Secrets[0] == cb.Secrets[0] {
		return c.showSecret(w, req, stored, "The callback was saved. Its URL names another receiver, so there is a new signing secret.")
	}
	done := "saved"
	if p.New {
		done = "created"
	}
	return c.redirectSaved(w, req, stored, done)
}

// renderRefusal shows a valid form that cannot be saved now, with the reason.
// The name of a callback can be in conflict with what is stored or, when it is for one session,
// its URL.
func (c *Console) renderRefusal(w http.ResponseWriter, p *callbackFormPage, err error) error {
	field := ""
	if callbackd.KindOf(err) == callbackd.KindConflict {
		field = "name"
		if p.Session != "" {
			field = "url"
		}
	}
	if internal := p.Errors.add(field, err); internal != nil {
		return internal
	}
	return c.renderForm(w, front.Status(err), p)
}

// redirectSaved shows a callback that was created or changed, with a warning when nothing
// can be delivered to its URL. Looking that up counts as a test-send, so that it cannot
// be used to explore a network.
func (c *Console) redirectSaved(w http.ResponseWriter, req *userRequest, cb *callbackd.Callback, done string) error {
	if c.Advise != nil && c.Tests.AllowTest(cb.Key, c.now()) == nil && c.Advise(req.Context(), cb.URL) != "" {
		done += refusedSuffix
	}
	return redirect(w, req, link("callbacks", cb.ID), done)
}

package console

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/signature"
)

// callbackForm is the setting of a callback as a person writes it.
type callbackForm struct {
	Event, Name, URL, Method, Headers, Payload string
	Timeout, Order, Concurrency, Rate, Retry   string
	OneRequest                                 bool // a connection serves one request
}

// Advanced tells whether the form says how to deliver.
func (f callbackForm) Advanced() bool {
	return f.Timeout+f.Order+f.Concurrency+f.Rate+f.Retry != "" || f.OneRequest
}

func readCallbackForm(r *http.Request) callbackForm {
	field := func(name string) string { return formField(r.PostFormValue(name)) }
	return callbackForm{
		Event:       field("event"),
		Name:        field("name"),
		URL:         field("url"),
		Method:      field("method"),
		Headers:     clean(strings.ReplaceAll(r.PostFormValue("headers"), "\r\n", "\n")),
		Payload:     field("payload"),
		Timeout:     field("timeout"),
		Order:       field("order"),
		Concurrency: field("concurrency"),
		Rate:        field("rate"),
		Retry:       field("retry"),
		OneRequest:  field("one_request") != "",
	}
}

// callbackFormOf returns the form that would make the callback. It masks the
// values of headers.
func callbackFormOf(cb *callbackd.Callback) callbackForm {
	f := callbackForm{
		Event:      string(cb.Event),
		Name:       cb.Name,
		URL:        cb.URL,
		Method:     cb.Method,
		Payload:    clean(string(cb.Payload)),
		OneRequest: cb.Policy.NoKeepAlive,
	}
	for _, h := range cb.Headers {
		f.Headers += h.Name + ": " + callbackd.Mask + "\n"
	}
	if f.Payload == "{}" {
		f.Payload = ""
	}
	p := cb.Policy
	if p.Timeout != 0 {
		f.Timeout = callbackd.FormatDuration(p.Timeout)
	}
	switch p.OrderWait {
	case 0:
	case callbackd.NoOrderWait:
		f.Order = "0s"
	default:
		f.Order = callbackd.FormatDuration(p.OrderWait)
	}
	if p.Concurrency != 0 {
		f.Concurrency = strconv.Itoa(p.Concurrency)
	}
	if p.Rate != 0 {
		f.Rate = strconv.FormatFloat(p.Rate, 'g', -1, 64)
	}
	var retry []string
	for _, delay := range p.Retry {
		retry = append(retry, callbackd.FormatDuration(delay))
	}
	f.Retry = strings.Join(retry, ", ")
	return f
}

// member is a field of the form as a member of the API's setting.
type member struct {
	name  string
	value any
}

// members returns the form without event and URL, as members of the API's
// setting. Fields that are not filled in have the API's defaults.
func (f callbackForm) members(errs formErrors) []member {
	out := []member{
		{"name", f.Name},
		{"method", f.Method},
		{"headers", f.Headers},
		{"payload", f.Payload},
		{"policy", map[string]any{"keep_alive": !f.OneRequest}},
	}
	for _, m := range []struct{ name, text string }{{"timeout", f.Timeout}, {"order", f.Order}} {
		if m.text != "" {
			out = append(out, member{m.name, m.text})
		}
	}
	for _, m := range []struct{ name, text string }{{"concurrency", f.Concurrency}, {"rate", f.Rate}} {
		if m.text == "" {
			continue
		}
		n, err := strconv.ParseFloat(m.text, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			errs.invalid(m.name, "%s must be a number, not %q.", m.name, clip(m.text, 40))
			continue
		}
		out = append(out, member{m.name, n})
	}
	if f.Retry != "" {
		delays := strings.FieldsFunc(f.Retry, func(r rune) bool { return r == ',' || r == ' ' })
		out = append(out, member{"retry", delays})
	}
	return out
}

// parseSetting reads members by the rules of the API.
func parseSetting(members ...member) (callbackd.Callback, error) {
	all := map[string]any{}
	for _, m := range members {
		all[m.name] = m.value
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return callbackd.Callback{}, callbackd.Wrap(callbackd.KindInvalid, err, "The form cannot be read")
	}
	return callbacks.Parse(raw, true)
}

// setting reads the form by the rules of the API, and notes all errors. It reads
// each field alone first, in a setting that is valid otherwise, so that every
// error is shown at its field and none hides another.
func (f callbackForm) setting(errs formErrors) callbackd.Callback {
	event, address := member{"event", f.Event}, member{"url", f.URL}
	validEvent, validURL := member{"event", string(callbackd.Complete)}, member{"url", "https://example.com/"}
	if f.URL == "" {
		errs.invalid("url", "Enter the URL to send to.")
	}
	_, err := parseSetting(event, validURL)
	errs.add("event", err)
	_, err = parseSetting(validEvent, address)
	errs.add("url", err)
	members := f.members(errs)
	for _, m := range members {
		_, err := parseSetting(validEvent, validURL, m)
		errs.add(m.name, err)
	}
	cb, err := parseSetting(append(members, event, address)...)
	if len(errs) == 0 {
		errs.add("", err)
	}
	return cb
}

type callbackFormPage struct {
	base
	scope
	New        bool
	CallbackID callbackd.CallbackID
	F          callbackForm
	Methods    []string
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
func (c *Console) editCallbackPage(req *userRequest, id callbackd.CallbackID) *callbackFormPage {
	return &callbackFormPage{
		base:       c.base(req, "callbacks", "Edit callback"),
		scope:      scope{Errors: formErrors{}},
		CallbackID: id,
		Methods:    callbacks.Methods,
	}
}

// renderCallbackForm shows the form with its errors.
func (c *Console) renderCallbackForm(w http.ResponseWriter, p *callbackFormPage) error {
	return c.render(w, p.status(), "callback-form", p)
}

// renderRefusal shows a valid form that cannot be saved now, with the reason.
func (c *Console) renderRefusal(w http.ResponseWriter, p *callbackFormPage, err error) error {
	if internal := p.Errors.add("", err); internal != nil {
		return internal
	}
	return c.render(w, statuses[callbackd.KindOf(err)], "callback-form", p)
}

func (c *Console) newCallback(w http.ResponseWriter, req *userRequest) error {
	p, err := c.newCallbackPage(req)
	if err != nil {
		return err
	}
	p.F = callbackForm{Event: req.URL.Query().Get("event"), Method: http.MethodPost}
	return c.renderCallbackForm(w, p)
}

func (c *Console) createCallback(w http.ResponseWriter, req *userRequest) error {
	p, err := c.newCallbackPage(req)
	if err != nil {
		return err
	}
	p.F = readCallbackForm(req.Request)
	cb := p.F.setting(p.Errors)
	key := p.key(req)
	if key == nil {
		p.Errors.add("key", errChooseKey)
	} else if p.Errors["url"] == "" {
		p.Errors.add("url", callbacks.Admit(key, &cb, c.RequireHTTPS))
	}
	p.Errors.add("headers", callbacks.RefuseMasks(cb.Headers))
	if len(p.Errors) > 0 {
		return c.renderCallbackForm(w, p)
	}
	cb.Key = key.ID
	cb.Secrets = []callbackd.SigningSecret{{Value: callbackd.Secret(signature.NewSecret())}}
	if err := c.allowChange(req, cb.Key); err != nil {
		return c.renderRefusal(w, p, err)
	}
	stored, created, err := c.Store.CreateCallback(req.Context(), cb, c.now())
	if err == nil && !created {
		err = callbackd.Errorf(callbackd.KindConflict, "There is already a callback for %s with this name. Edit it, or give this one another name.", cb.Event)
	}
	if err = p.Errors.add("name", err); err != nil {
		return err
	}
	if len(p.Errors) > 0 {
		return c.renderCallbackForm(w, p)
	}
	c.Dispatcher.CallbackChanged(stored.ID)
	return c.redirectSaved(w, req, stored, "created")
}

func (c *Console) editCallback(w http.ResponseWriter, req *userRequest) error {
	cb, _, err := c.activeCallback(req)
	if err != nil {
		return err
	}
	p := c.editCallbackPage(req, cb.ID)
	p.F = callbackFormOf(cb)
	return c.renderCallbackForm(w, p)
}

func (c *Console) replaceCallback(w http.ResponseWriter, req *userRequest) error {
	old, key, err := c.activeCallback(req)
	if err != nil {
		return err
	}
	p := c.editCallbackPage(req, old.ID)
	p.F = readCallbackForm(req.Request)
	p.F.Event, p.F.Name = string(old.Event), old.Name
	cb := p.F.setting(p.Errors)
	if p.Errors["url"] == "" {
		p.Errors.add("url", callbacks.Admit(key, &cb, c.RequireHTTPS))
	}
	p.Errors.add("headers", callbacks.Unmask(old, &cb))
	if len(p.Errors) > 0 {
		return c.renderCallbackForm(w, p)
	}
	cb.Key = key.ID
	cb.Secrets = []callbackd.SigningSecret{{Value: callbackd.Secret(signature.NewSecret())}}
	if err := c.allowChange(req, cb.Key); err != nil {
		return c.renderRefusal(w, p, err)
	}
	now := c.now()
	stored, err := c.Store.ChangeCallback(req.Context(), cb.Key, cb.Event, cb.Name, func(stored *callbackd.Callback) error {
		stored.Replace(&cb, now)
		return nil
	})
	if err = p.Errors.add("", err); err != nil {
		return err
	}
	if len(p.Errors) > 0 {
		return c.renderCallbackForm(w, p)
	}
	c.Dispatcher.CallbackChanged(stored.ID)
	return c.redirectSaved(w, req, stored, "saved")
}

// redirectSaved shows a callback that was created or changed, with a warning
// when nothing can be delivered to its URL. Looking that up counts as a
// test-send, so that nobody can use it to explore a network.
func (c *Console) redirectSaved(w http.ResponseWriter, req *userRequest, cb *callbackd.Callback, done string) error {
	if c.Advise != nil && c.Tests.AllowTest(cb.Key, c.now()) == nil && c.Advise(req.Context(), cb.URL) != "" {
		done += refusedSuffix
	}
	return redirect(w, req, link("callbacks", cb.ID), done)
}

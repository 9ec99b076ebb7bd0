package console

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/signature"
)

// webhookForm is the setting as a person writes it.
type webhookForm struct {
	Event, Name, URL, Method, Headers, Payload string
	Timeout, Order, Concurrency, Rate, Retry   string
	OneRequest                                 bool // a connection serves one request
}

// Advanced tells whether the form says how to deliver.
func (f webhookForm) Advanced() bool {
	return f.Timeout+f.Order+f.Concurrency+f.Rate+f.Retry != "" || f.OneRequest
}

func readForm(r *http.Request) webhookForm {
	get := func(name string) string { return field(r.PostFormValue(name)) }
	return webhookForm{Event: get("event"), Name: get("name"), URL: get("url"), Method: get("method"), Headers: clean(strings.ReplaceAll(r.PostFormValue("headers"), "\r\n", "\n")), Payload: get("payload"),
		Timeout: get("timeout"), Order: get("order"), Concurrency: get("concurrency"), Rate: get("rate"), Retry: get("retry"), OneRequest: get("one_request") != ""}
}

// formOf is the form that would make the callback. Values of headers are
// masked.
func formOf(cb *callbackd.Callback) webhookForm {
	f := webhookForm{Event: string(cb.Event), Name: cb.Name, URL: cb.URL, Method: cb.Method, Payload: clean(string(cb.Payload))}
	for _, h := range cb.Headers {
		f.Headers += h.Name + ": " + callbackd.Mask + "\n"
	}
	if f.Payload == "{}" {
		f.Payload = ""
	}
	if p := cb.Policy; p.Timeout != 0 {
		f.Timeout = p.Timeout.String()
	}
	switch p := cb.Policy; {
	case p.OrderWait == callbackd.NoOrderWait:
		f.Order = "0s"
	case p.OrderWait != 0:
		f.Order = p.OrderWait.String()
	}
	if n := cb.Policy.Concurrency; n != 0 {
		f.Concurrency = strconv.Itoa(n)
	}
	if r := cb.Policy.Rate; r != 0 {
		f.Rate = strconv.FormatFloat(r, 'g', -1, 64)
	}
	var retry []string
	for _, d := range cb.Policy.Retry {
		retry = append(retry, d.String())
	}
	f.Retry = strings.Join(retry, ", ")
	f.OneRequest = cb.Policy.NoKeepAlive
	return f
}

// member is one field of the form as a member of the API's setting.
type member struct {
	name  string
	value any
}

// members is what the form says beside event and URL. A field that cannot be
// read as a member is noted.
func (f webhookForm) members(w wrong) []member {
	out := []member{{"name", f.Name}, {"method", f.Method}, {"headers", f.Headers}, {"payload", f.Payload}}
	for _, m := range []member{{"timeout", f.Timeout}, {"order", f.Order}} {
		if m.value != "" {
			out = append(out, m)
		}
	}
	for _, m := range []member{{"concurrency", f.Concurrency}, {"rate", f.Rate}} {
		if m.value == "" {
			continue
		}
		n, err := strconv.ParseFloat(m.value.(string), 64)
		if err != nil || n != n || n-n != 0 {
			w.add(m.name, callbackd.Errorf(callbackd.KindInvalid, "%s must be a number.", m.name))
			continue
		}
		out = append(out, member{m.name, n})
	}
	if f.Retry != "" {
		out = append(out, member{"retry", strings.FieldsFunc(f.Retry, func(r rune) bool { return r == ',' || r == ' ' })})
	}
	return append(out, member{"policy", map[string]any{"keep_alive": !f.OneRequest}})
}

// setting reads the form by the rules of the API, and notes all that is wrong.
// Each field is first read alone, in a setting that is well otherwise, so that
// every fault shows at its field and none hides another.
func (f webhookForm) setting(w wrong) callbackd.Callback {
	read := func(ms ...member) (callbackd.Callback, error) {
		all := map[string]any{}
		for _, m := range ms {
			all[m.name] = m.value
		}
		raw, err := json.Marshal(all)
		if err != nil {
			return callbackd.Callback{}, callbackd.Wrap(callbackd.KindInvalid, err, "The form cannot be read")
		}
		return callbacks.Parse(raw, true)
	}
	event, address := member{"event", f.Event}, member{"url", f.URL}
	goodEvent, goodURL := member{"event", string(callbackd.Complete)}, member{"url", "https://example.com/"}
	if f.URL == "" {
		w.add("url", callbackd.Errorf(callbackd.KindInvalid, "Write the URL to send to."))
	}
	_, err := read(event, goodURL)
	w.add("event", err)
	_, err = read(goodEvent, address)
	w.add("url", err)
	members := f.members(w)
	for _, m := range members {
		_, err := read(goodEvent, goodURL, m)
		w.add(m.name, err)
	}
	cb, err := read(append(members, event, address)...)
	if len(w) == 0 {
		w.add("", err)
	}
	return cb
}

type formPage struct {
	base
	scope
	New     bool
	No      callbackd.CallbackID
	F       webhookForm
	Methods []string
}

func (c *Console) formPage(v *visit, title string, s scope) *formPage {
	s.Wrong = wrong{}
	return &formPage{base: c.base(v, "webhooks", title), scope: s, Methods: callbacks.Methods}
}

// again shows the form with everything that is wrong in it.
func (c *Console) again(w http.ResponseWriter, p *formPage) error {
	return c.render(w, p.status(), "webhook-form", p)
}

// refuse shows the form with why it is not taken now, however well it is filled in.
func (c *Console) refuse(w http.ResponseWriter, p *formPage, err error) error {
	if other := p.Wrong.add("", err); other != nil {
		return other
	}
	return c.render(w, statuses[callbackd.KindOf(err)], "webhook-form", p)
}

func (c *Console) newWebhook(w http.ResponseWriter, v *visit) error {
	s, err := c.scope(v)
	if err != nil {
		return err
	}
	s.MustChoose = true
	p := c.formPage(v, "New callback", s)
	p.New, p.F.Event, p.F.Method = true, v.URL.Query().Get("event"), "POST"
	return c.render(w, http.StatusOK, "webhook-form", p)
}

func (c *Console) createWebhook(w http.ResponseWriter, v *visit) error {
	s, err := c.scope(v)
	if err != nil {
		return err
	}
	s.MustChoose = true
	p := c.formPage(v, "New callback", s)
	p.New, p.F = true, readForm(v.Request)
	cb := p.F.setting(p.Wrong)
	key := s.key(v)
	if key == nil {
		p.Wrong.add("key", errChooseKey)
	} else if p.Wrong["url"] == "" {
		p.Wrong.add("url", callbacks.Admit(key, &cb, c.RequireHTTPS))
	}
	p.Wrong.add("headers", callbacks.RefuseMasks(cb.Headers))
	if len(p.Wrong) > 0 {
		return c.again(w, p)
	}
	cb.Key = key.ID
	cb.Secrets = []callbackd.SigningSecret{{Value: callbackd.Secret(signature.NewSecret())}}
	if err := c.allowChange(v, cb.Key); err != nil {
		return c.refuse(w, p, err)
	}
	made, created, err := c.Store.CreateCallback(v.Context(), cb, c.now())
	if err == nil && !created {
		err = callbackd.Errorf(callbackd.KindConflict, "There is a callback for %s with this name already; edit that one, or give this one another name.", cb.Event)
	}
	if err = p.Wrong.add("name", err); err != nil {
		return err
	}
	if len(p.Wrong) > 0 {
		return c.again(w, p)
	}
	c.Dispatcher.CallbackChanged(made.ID)
	return c.saved(w, v, made, "created")
}

// saved shows the callback that was made or changed, with an advice when its
// target will be refused. Lookups share the limit of test-sends, so that
// nobody looks for names with them.
func (c *Console) saved(w http.ResponseWriter, v *visit, cb *callbackd.Callback, done string) error {
	to := link("webhooks", cb.ID)
	if c.Advise != nil && c.Tests.Allow(cb.Key, c.now()) == nil && c.Advise(v.Context(), cb.URL) != "" {
		done += "-refused"
	}
	return see(w, v, to, done)
}

func (c *Console) editWebhook(w http.ResponseWriter, v *visit) error {
	cb, _, err := c.inForce(v)
	if err != nil {
		return err
	}
	p := c.formPage(v, "Edit callback", scope{})
	p.No, p.F = cb.ID, formOf(cb)
	return c.render(w, http.StatusOK, "webhook-form", p)
}

func (c *Console) replaceWebhook(w http.ResponseWriter, v *visit) error {
	old, key, err := c.inForce(v)
	if err != nil {
		return err
	}
	p := c.formPage(v, "Edit callback", scope{})
	p.No, p.F = old.ID, readForm(v.Request)
	p.F.Event, p.F.Name = string(old.Event), old.Name
	cb := p.F.setting(p.Wrong)
	if p.Wrong["url"] == "" {
		p.Wrong.add("url", callbacks.Admit(key, &cb, c.RequireHTTPS))
	}
	p.Wrong.add("headers", callbacks.Unmask(old, &cb))
	if len(p.Wrong) > 0 {
		return c.again(w, p)
	}
	cb.Key = key.ID
	cb.Secrets = []callbackd.SigningSecret{{Value: callbackd.Secret(signature.NewSecret())}}
	if err := c.allowChange(v, cb.Key); err != nil {
		return c.refuse(w, p, err)
	}
	made, err := c.Store.ReplaceCallback(v.Context(), cb, c.now())
	if err = p.Wrong.add("", err); err != nil {
		return err
	}
	if len(p.Wrong) > 0 {
		return c.again(w, p)
	}
	c.Dispatcher.CallbackChanged(made.ID)
	return c.saved(w, v, made, "saved")
}

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

// setting reads the form by the rules of the API.
func (f webhookForm) setting() (callbackd.Callback, error) {
	m := map[string]any{"event": f.Event, "name": f.Name, "url": f.URL, "method": f.Method, "payload": f.Payload, "headers": f.Headers}
	for name, v := range map[string]string{"timeout": f.Timeout, "order": f.Order} {
		if v != "" {
			m[name] = v
		}
	}
	for name, v := range map[string]string{"concurrency": f.Concurrency, "rate": f.Rate} {
		if v == "" {
			continue
		}
		n, err := strconv.ParseFloat(v, 64)
		if err != nil || n != n || n-n != 0 {
			return callbackd.Callback{}, callbackd.Errorf(callbackd.KindInvalid, "%s must be a number.", name)
		}
		m[name] = n
	}
	if f.Retry != "" {
		steps := strings.FieldsFunc(f.Retry, func(r rune) bool { return r == ',' || r == ' ' })
		m["retry"] = steps
	}
	m["policy"] = map[string]any{"keep_alive": !f.OneRequest}
	raw, err := json.Marshal(m)
	if err != nil {
		return callbackd.Callback{}, callbackd.Wrap(callbackd.KindInvalid, err, "The form cannot be read")
	}
	return callbacks.Parse(raw, true)
}

type formPage struct {
	base
	scope
	New     bool
	No      callbackd.CallbackNo
	F       webhookForm
	Methods []string
	Fault   string
}

func (c *Console) formPage(v *visit, title string) *formPage {
	return &formPage{base: c.base(v, "webhooks", title), Methods: callbacks.Methods}
}

// again shows the form with what was wrong in it.
func (c *Console) again(w http.ResponseWriter, p *formPage, err error) error {
	status, ok := statuses[callbackd.KindOf(err)]
	if !ok || status == http.StatusServiceUnavailable {
		return err
	}
	p.Fault = sentence(err)
	return c.render(w, status, "webhook-form", p)
}

func (c *Console) newWebhook(w http.ResponseWriter, v *visit) error {
	s, err := c.scope(v)
	if err != nil {
		return err
	}
	p := c.formPage(v, "New webhook")
	p.New, p.scope, p.F.Event, p.F.Method = true, s, v.URL.Query().Get("event"), "POST"
	p.MustChoose = true
	return c.render(w, http.StatusOK, "webhook-form", p)
}

func (c *Console) createWebhook(w http.ResponseWriter, v *visit) error {
	s, err := c.scope(v)
	if err != nil {
		return err
	}
	p := c.formPage(v, "New webhook")
	p.New, p.scope, p.F = true, s, readForm(v.Request)
	p.MustChoose = true
	key := s.key(v)
	if key == nil {
		return c.again(w, p, callbackd.Errorf(callbackd.KindInvalid, "Choose the API key it belongs to."))
	}
	cb, err := p.F.setting()
	if err == nil {
		err = callbacks.Admit(key, &cb, c.RequireHTTPS)
	}
	if err == nil {
		err = callbacks.RefuseMasks(cb.Headers)
	}
	if err != nil {
		return c.again(w, p, err)
	}
	cb.Key = key.No
	cb.Secrets = []callbackd.SigningSecret{{Value: callbackd.Secret(signature.NewSecret())}}
	if err := c.allowChange(v, cb.Key); err != nil {
		return c.again(w, p, err)
	}
	made, created, err := c.Store.CreateCallback(v.Context(), cb, c.now())
	if err == nil && !created {
		err = callbackd.Errorf(callbackd.KindConflict, "There is a webhook for %s with this name already; edit that one, or give this one another name.", cb.Event)
	}
	if err != nil {
		return c.again(w, p, err)
	}
	c.Dispatcher.CallbackChanged(made.No)
	return see(w, v, link("webhooks", made.No), "created")
}

func (c *Console) editWebhook(w http.ResponseWriter, v *visit) error {
	cb, _, err := c.inForce(v)
	if err != nil {
		return err
	}
	p := c.formPage(v, "Edit webhook")
	p.No, p.F = cb.No, formOf(cb)
	return c.render(w, http.StatusOK, "webhook-form", p)
}

func (c *Console) replaceWebhook(w http.ResponseWriter, v *visit) error {
	old, key, err := c.inForce(v)
	if err != nil {
		return err
	}
	p := c.formPage(v, "Edit webhook")
	p.No, p.F = old.No, readForm(v.Request)
	p.F.Event, p.F.Name = string(old.Event), old.Name
	cb, err := p.F.setting()
	if err == nil {
		err = callbacks.Admit(key, &cb, c.RequireHTTPS)
	}
	if err == nil {
		err = callbacks.Unmask(old, &cb)
	}
	if err != nil {
		return c.again(w, p, err)
	}
	cb.Key = key.No
	cb.Secrets = []callbackd.SigningSecret{{Value: callbackd.Secret(signature.NewSecret())}}
	if err := c.allowChange(v, cb.Key); err != nil {
		return c.again(w, p, err)
	}
	made, err := c.Store.ReplaceCallback(v.Context(), cb, c.now())
	if err != nil {
		return c.again(w, p, err)
	}
	c.Dispatcher.CallbackChanged(made.No)
	return see(w, v, link("webhooks", made.No), "saved")
}

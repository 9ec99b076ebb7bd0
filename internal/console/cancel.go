package console

import (
	"net/http"
	"net/url"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/request"
)

// cancelFields are the fields of a cancellation of pending deliveries.
var cancelFields = []string{"event", "callback", "session", "since", "until", "rate", "reason"}

type cancelPage struct {
	base
	scope
	F         typed
	Callbacks []*callbackd.Callback
	Counted   bool // Count is the size of the cancellation
	Count     int64
	Takes     string // at its rate; empty without one
}

func (c *Console) newCancelPage(req *userRequest, q url.Values) (*cancelPage, error) {
	s, err := c.scope(req)
	if err != nil {
		return nil, err
	}
	s.Required = true
	p := &cancelPage{base: c.base(req, "deliveries", "Cancel pending deliveries"), scope: s, F: readTyped(q, cancelFields...)}
	if err := c.chooseKeyOfCallback(req, &p.scope, p.F["callback"]); err != nil {
		return nil, err
	}
	p.Callbacks, err = c.callbackChoices(req, p.KeyID, p.F)
	return p, err
}

// chooseKeyOfCallback chooses the key that owns the chosen callback, when the operator
// chose none.
func (c *Console) chooseKeyOfCallback(req *userRequest, s *scope, chosen string) error {
	id, ok := parseCallbackID(chosen)
	if !ok || !req.isOperator() || s.APIKey != "" {
		return nil
	}
	cb, err := c.readableCallback(req, id)
	if err == errPageNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if k := s.keyByID(cb.Key); k != nil {
		s.APIKey, s.KeyID = k.APIKey, k.ID
	}
	return nil
}

// cancelForm shows the form, and how many deliveries it chooses when the form asks for it.
func (c *Console) cancelForm(w http.ResponseWriter, req *userRequest) error {
	q := req.URL.Query()
	p, err := c.newCancelPage(req, q)
	if err != nil {
		return err
	}
	unasked := p.KeyID == 0 && !q.Has("key") // a link of the operator's list, which is of all keys
	if q.Get("counted") == "" || unasked {
		return c.render(w, http.StatusOK, "cancel", p)
	}
	r := p.read()
	if p.Count, err = c.countReplay(req, &p.scope, r.Filter); err != nil {
		return err
	}
	p.Counted = len(p.Errors) == 0
	if p.Counted && r.Rate > 0 {
		p.Takes = duration(atRate(p.Count, r.Rate))
	}
	return c.render(w, p.status(), "cancel", p)
}

// read reads the form as a cancellation, and notes its errors.
func (p *cancelPage) read() (r callbackd.Replay) {
	if p.KeyID == 0 {
		p.Errors.add("key", errChooseKey)
	}
	f := &r.Filter
	r.Cancel = &callbackd.Cancellation{}
	p.F.read(p.Errors,
		request.EventType("event", &f.Type),
		request.CallbackID("callback", &f.Callback),
		sessionKey(&f.Session),
		request.Time("since", &f.Since),
		request.Time("until", &f.Until),
		request.Rate("rate", &r.Rate, callbackd.MaxReplayRate, "deliveries"),
		callbacks.Reason(&r.Cancel.Reason),
	)
	r.Filter = callbackd.CancelFilter(r.Filter)
	return r
}

// cancelPending starts a cancellation.
func (c *Console) cancelPending(w http.ResponseWriter, req *userRequest) error {
	if err := req.ParseForm(); err != nil {
		return errFormCut
	}
	p, err := c.newCancelPage(req, req.PostForm)
	if err != nil {
		return err
	}
	r := p.read()
	r.Cancel.By = callbackd.ByOperator
	if !req.isOperator() {
		r.Cancel.By = callbackd.ByKey(req.key.ID)
	}
	return c.startReplay(w, req, &p.scope, r, func() error {
		return c.render(w, p.status(), "cancel", p)
	})
}

// cancelLink returns where what is pending of a list of deliveries can be canceled; empty
// when the list has a filter that a cancellation does not know.
func cancelLink(f typed) string {
	state := callbackd.State(f["state"])
	if state != "" && state != callbackd.Pending || f["status"] != "" || f["fault"] != "" {
		return ""
	}
	q := f.with("state", "").values()
	q.Set("counted", "1")
	return withValues(link("deliveries", "cancel"), q)
}

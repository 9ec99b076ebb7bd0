package console

import (
	"net/http"
	"net/url"
	"slices"

	"callbackd"
	"callbackd/internal/request"
)

// replayFields are the fields of a new replay, except its states.
var replayFields = []string{"event", "callback", "session", "since", "until", "rate", "target", "missing"}

// replayStates are the states of deliveries that can be replayed.
var replayStates = []callbackd.State{callbackd.Failed, callbackd.Delivered, callbackd.Canceled, callbackd.Expired}

type newReplayPage struct {
	base
	scope
	F         typed
	Chosen    []string // states
	Callbacks []*callbackd.Callback
	States    []callbackd.State
	Counted   bool // Count is the size of the replay
	Count     int64
	Takes     string // how long it takes at least
}

// Has reports whether a state is chosen.
func (p *newReplayPage) Has(state callbackd.State) bool {
	return slices.Contains(p.Chosen, string(state))
}

func (c *Console) newReplayPage(req *userRequest, q url.Values) (*newReplayPage, error) {
	s, err := c.scope(req)
	if err != nil {
		return nil, err
	}
	s.Required = true
	p := &newReplayPage{
		base:   c.base(req, "replays", "New replay"),
		scope:  s,
		F:      readTyped(q, replayFields...),
		Chosen: q["state"],
		States: replayStates,
	}
	isNew := len(q) == 0 || len(q) == 1 && q.Has("key")
	if isNew {
		p.Chosen = []string{string(callbackd.Failed)}
	}
	if err := c.chooseKeyOfCallback(req, &p.scope, p.F["callback"]); err != nil {
		return nil, err
	}
	p.Callbacks, err = c.callbackChoices(req, p.KeyID, p.F)
	return p, err
}

// newReplay shows the form, and the size of the replay when the form asks for
// it.
func (c *Console) newReplay(w http.ResponseWriter, req *userRequest) error {
	q := req.URL.Query()
	p, err := c.newReplayPage(req, q)
	if err != nil {
		return err
	}
	if q.Get("counted") == "" {
		return c.render(w, http.StatusOK, "replay-new", p)
	}
	filter, rate := p.read()
	if p.Count, err = c.countReplay(req, &p.scope, filter); err != nil {
		return err
	}
	p.Counted = len(p.Errors) == 0
	if p.Counted && rate > 0 {
		p.Takes = duration(atRate(p.Count, rate))
	}
	return c.render(w, p.status(), "replay-new", p)
}

// read reads the form and notes its errors.
func (p *newReplayPage) read() (f callbackd.ReplayFilter, rate float64) {
	if p.KeyID == 0 {
		p.Errors.add("key", errChooseKey)
	}
	p.F.read(p.Errors,
		request.EventType("event", &f.Type),
		request.CallbackID("callback", &f.Callback),
		sessionKey(&f.Session),
		request.Time("since", &f.Since),
		request.Time("until", &f.Until),
		request.Rate("rate", &rate, callbackd.MaxReplayRate, "deliveries"),
		request.CallbackID("target", &f.Target),
		request.Flag("missing", &f.Missing),
	)
	for _, text := range p.Chosen {
		var state callbackd.State
		p.Errors.add("state", request.Choice("state", &state, replayStates).Set(text))
		f.States = append(f.States, state)
	}
	return f, rate
}

// status is the status of a page whose form may have errors.
func (s scope) status() int {
	if len(s.Errors) > 0 {
		return http.StatusBadRequest
	}
	return http.StatusOK
}

var errChooseKey = callbackd.Errorf(callbackd.KindInvalid, "Choose an API key.")

func (c *Console) createReplay(w http.ResponseWriter, req *userRequest) error {
	if err := req.ParseForm(); err != nil {
		return errFormCut
	}
	p, err := c.newReplayPage(req, req.PostForm)
	if err != nil {
		return err
	}
	filter, rate := p.read()
	return c.startReplay(w, req, &p.scope, callbackd.Replay{Filter: filter, Rate: rate}, func() error {
		return c.render(w, p.status(), "replay-new", p)
	})
}

// countReplay counts what the filter of a form chooses, unless the form has errors. A
// refusal of the store becomes one of them.
func (c *Console) countReplay(req *userRequest, s *scope, f callbackd.ReplayFilter) (int64, error) {
	if len(s.Errors) > 0 {
		return 0, nil
	}
	n, err := c.Store.CountReplay(req.Context(), s.KeyID, f)
	return n, s.Errors.add("", err)
}

// startReplay starts the replay of a form and shows it. When the form has errors, or the
// store refuses the replay, it calls again, which shows the form.
func (c *Console) startReplay(w http.ResponseWriter, req *userRequest, s *scope, r callbackd.Replay, again func() error) error {
	if len(s.Errors) > 0 {
		return again()
	}
	r.Key, r.CreatedAt = s.KeyID, c.now()
	made, err := c.Store.CreateReplay(req.Context(), r)
	if err = s.Errors.add("", err); err != nil {
		return err
	}
	if len(s.Errors) > 0 {
		return again()
	}
	c.Dispatcher.ReplaysChanged()
	return redirect(w, req, link("replays", made.ID), "")
}

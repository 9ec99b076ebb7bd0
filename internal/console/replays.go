package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"callbackd"
)

type replayRow struct {
	callbackd.Replay
	Owner string
}

// Finished is how many of the set have ended, in per mille of it.
func (r replayRow) Finished() int64 { return finished(&r.Replay) }

func finished(r *callbackd.Replay) int64 {
	if r.Total == 0 {
		return 1000
	}
	return 1000 * (r.Skipped + r.Delivered + r.Failed + r.Canceled) / r.Total
}

type replaysPage struct {
	base
	scope
	Rows []replayRow
}

func (c *Console) replays(w http.ResponseWriter, v *visit) error {
	s, err := c.scope(v)
	if err != nil {
		return err
	}
	p := &replaysPage{base: c.base(v, "replays", "Replays"), scope: s}
	p.Refresh = 2
	for _, key := range s.all() {
		rs, _, err := c.Store.ListReplays(v.Context(), key, 0, pageRows)
		if err != nil {
			return err
		}
		for _, r := range rs {
			p.Rows = append(p.Rows, replayRow{r, s.owner(key)})
		}
	}
	slices.SortStableFunc(p.Rows, func(a, b replayRow) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return c.render(w, http.StatusOK, "replays", p)
}

// replayForm is what to replay, as a person chooses it.
type replayForm struct {
	States                                                        []string
	Event, Callback, Session, Since, Until, Rate, Target, Counted string
}

// Has tells whether a state is chosen.
func (f replayForm) Has(state string) bool { return slices.Contains(f.States, state) }

func readReplayForm(q url.Values) replayForm {
	get := func(name string) string { return field(q.Get(name)) }
	f := replayForm{States: q["state"], Event: get("event"), Callback: get("callback"), Session: get("session"), Since: get("since"), Until: get("until"), Rate: get("rate"), Target: get("target"), Counted: get("counted")}
	if len(q) == 0 || len(q) == 1 && q.Has("key") {
		f.States = []string{string(callbackd.Failed)}
	}
	return f
}

// filter reads the form, and notes all that is wrong in it.
func (f replayForm) filter(w wrong) (out callbackd.ReplayFilter, rate float64) {
	list := deliveryFilter{Event: f.Event, Callback: f.Callback, Session: f.Session, Since: f.Since, Until: f.Until}
	q := list.query(0, w)
	out = callbackd.ReplayFilter{Type: q.Type, Callback: q.Callback, Session: q.Session, Since: q.Since, Until: q.Until}
	for _, s := range f.States {
		if !callbackd.State(s).Terminal() {
			w.add("state", callbackd.Errorf(callbackd.KindInvalid, "What can be sent again is delivered, failed or canceled."))
		}
		out.States = append(out.States, callbackd.State(s))
	}
	out.Target = readCallback(f.Target, "target", w)
	if f.Rate != "" {
		var err error
		if rate, err = strconv.ParseFloat(f.Rate, 64); err != nil || !(rate >= 0 && rate <= callbackd.MaxReplayRate) {
			w.add("rate", callbackd.Errorf(callbackd.KindInvalid, "A rate is a number of deliveries a second, up to %s.", num(callbackd.MaxReplayRate)))
		}
	}
	return out, rate
}

type newReplayPage struct {
	base
	scope
	F         replayForm
	Callbacks []*callbackd.Callback
	States    []callbackd.State
	Counted   bool
	Count     int64
	Takes     string
}

func (c *Console) newReplayPage(v *visit, q url.Values) (*newReplayPage, error) {
	s, err := c.scope(v)
	if err != nil {
		return nil, err
	}
	s.MustChoose, s.Wrong = true, wrong{}
	p := &newReplayPage{base: c.base(v, "replays", "New replay"), scope: s, F: readReplayForm(q), States: []callbackd.State{callbackd.Failed, callbackd.Delivered, callbackd.Canceled}}
	p.Callbacks, err = c.choices(v, s)
	return p, err
}

// newReplay shows the form, and the size of the set once it was asked for.
func (c *Console) newReplay(w http.ResponseWriter, v *visit) error {
	p, err := c.newReplayPage(v, v.URL.Query())
	if err != nil {
		return err
	}
	if p.F.Counted != "" {
		filter, rate := p.read()
		if len(p.Wrong) == 0 {
			p.Count, err = c.Store.CountReplay(v.Context(), p.No, filter)
			if err = p.Wrong.add("", err); err != nil {
				return err
			}
		}
		if p.Counted = len(p.Wrong) == 0; p.Counted && rate > 0 {
			p.Takes = span(time.Duration(float64(p.Count) / rate * float64(time.Second)))
		}
	}
	return c.render(w, p.status(), "replay-new", p)
}

// read reads the form of a page that is sent, with the key it must name.
func (p *newReplayPage) read() (callbackd.ReplayFilter, float64) {
	if p.No == 0 {
		p.Wrong.add("key", errChooseKey)
	}
	return p.F.filter(p.Wrong)
}

// status is the answer to a form that may have something wrong in it.
func (s scope) status() int {
	if len(s.Wrong) > 0 {
		return http.StatusBadRequest
	}
	return http.StatusOK
}

var errChooseKey = callbackd.Errorf(callbackd.KindInvalid, "Choose the API key it belongs to.")

func (c *Console) createReplay(w http.ResponseWriter, v *visit) error {
	if err := v.ParseForm(); err != nil {
		return callbackd.Errorf(callbackd.KindInvalid, "The form did not arrive whole.")
	}
	p, err := c.newReplayPage(v, v.PostForm)
	if err != nil {
		return err
	}
	filter, rate := p.read()
	var r *callbackd.Replay
	if len(p.Wrong) == 0 {
		r, err = c.Store.CreateReplay(v.Context(), callbackd.Replay{Key: p.No, Filter: filter, Rate: rate, CreatedAt: c.now()})
		if err = p.Wrong.add("", err); err != nil {
			return err
		}
	}
	if len(p.Wrong) > 0 {
		return c.render(w, p.status(), "replay-new", p)
	}
	c.Dispatcher.ReplaysChanged()
	return see(w, v, link("replays", r.ID), "")
}

type replayPage struct {
	base
	R        *callbackd.Replay
	Finished int64
	Percent  string
	What     []string
	Bars     []bar
	Left     string
}

// replayOf finds the replay that the path names among those that may be seen.
func (c *Console) replayOf(v *visit) (*callbackd.Replay, error) {
	id, ok := callbackd.ParseReplayID(v.PathValue("id"))
	if !ok {
		return nil, errNoPage
	}
	s := scope{}
	if v.operator() {
		var err error
		if s.Keys, err = c.Store.ListKeys(v.Context()); err != nil {
			return nil, err
		}
	} else {
		s.No = v.key.ID
	}
	for _, key := range s.every() {
		r, err := c.Store.Replay(v.Context(), key, id)
		if callbackd.KindOf(err) == callbackd.KindNotFound {
			continue
		}
		return r, err
	}
	return nil, errNoPage
}

func (c *Console) replay(w http.ResponseWriter, v *visit) error {
	r, err := c.replayOf(v)
	if err != nil {
		return err
	}
	p := &replayPage{base: c.base(v, "replays", "Replay"), R: r, Finished: finished(r)}
	p.Percent = rate(r.Skipped+r.Delivered+r.Failed+r.Canceled, r.Total)
	if !r.State.Ended() || r.Pending() > 0 {
		p.Refresh = 1
	}
	if p.What, err = c.replayWhat(v, r); err != nil {
		return err
	}
	x := 0.0
	for _, part := range []struct {
		n     int64
		class string
	}{{r.Delivered, "f-ok"}, {r.Failed, "f-bad"}, {r.Canceled + r.Skipped, "f-idle"}, {r.Pending(), "f-accent"}} {
		if part.n > 0 && r.Total > 0 {
			width := 1000 * float64(part.n) / float64(r.Total)
			p.Bars = append(p.Bars, bar{X: round(x), W: round(width), H: 10, Class: part.class})
			x += width
		}
	}
	if rest := r.Total - r.Due; rest > 0 && r.Rate > 0 && r.State == callbackd.ReplayRunning {
		p.Left = span(time.Duration(float64(rest)/r.Rate*float64(time.Second)).Round(time.Second)) + " left at this rate"
	}
	return c.render(w, http.StatusOK, "replay", p)
}

// replayWhat says what was chosen.
func (c *Console) replayWhat(v *visit, r *callbackd.Replay) (out []string, err error) {
	f := r.Filter
	var states []string
	for _, s := range f.States {
		states = append(states, string(s))
	}
	if len(states) == 0 {
		states = []string{"any that ended"}
	}
	out = append(out, strings.Join(states, ", "))
	if f.Type != "" {
		out = append(out, "event "+string(f.Type))
	}
	name := func(no callbackd.CallbackID) (string, error) {
		cb, err := c.Store.CallbackByID(v.Context(), no)
		if callbackd.KindOf(err) == callbackd.KindNotFound {
			return fmt.Sprintf("%d, which was deleted", no), nil
		}
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s at %s", strings.TrimPrefix(string(cb.Event), "SESSION:"), host(cb.URL)), nil
	}
	if f.Callback != 0 {
		s, err := name(f.Callback)
		if err != nil {
			return nil, err
		}
		out = append(out, "of the callback "+s)
	}
	if f.Session != "" {
		out = append(out, "session "+f.Session)
	}
	if !f.Since.IsZero() {
		out = append(out, "from "+stamp(f.Since).Long)
	}
	if !f.Until.IsZero() {
		out = append(out, "until "+stamp(f.Until).Long)
	}
	if f.Target != 0 {
		s, err := name(f.Target)
		if err != nil {
			return nil, err
		}
		out = append(out, "sent to "+s)
	}
	return out, nil
}

// steerReplay sets a replay's state.
func (c *Console) steerReplay(state callbackd.ReplayState) func(http.ResponseWriter, *visit) error {
	return func(w http.ResponseWriter, v *visit) error {
		r, err := c.replayOf(v)
		if err == nil {
			r, err = c.Store.SetReplayState(v.Context(), r.Key, r.ID, state, c.now())
		}
		if err != nil {
			return err
		}
		c.Dispatcher.ReplaysChanged()
		return see(w, v, link("replays", r.ID), "")
	}
}

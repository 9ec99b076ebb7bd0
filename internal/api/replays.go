package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/request"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

// newReplay is the body of POST /v1/replays.
type newReplay struct {
	callbackd.Replay
	dryRun           bool
	callback, target request.Value
}

// fields describes the body. The body is strict, because a replay with a misspelled
// filter would send everything again.
func (r *newReplay) fields() []request.Field {
	own := []request.Field{
		statesField(&r.Filter.States),
		keepValue("target", &r.target),
		request.Flag("missing", &r.Filter.Missing),
	}
	return append(own, r.commonFields()...)
}

// commonFields describes what replays and cancellations have in common.
func (r *newReplay) commonFields() []request.Field {
	f := &r.Filter
	return []request.Field{
		request.EventType("event", &f.Type),
		keepValue("callback", &r.callback),
		sessionKeyField(&f.Session),
		request.Time("since", &f.Since),
		request.Time("until", &f.Until),
		request.Rate("rate", &r.Rate, callbackd.MaxReplayRate, "deliveries"),
		request.Flag("dry_run", &r.dryRun),
	}
}

// keepValue stores a value that is read later, when the event is known.
func keepValue(name string, to *request.Value) request.Field {
	return request.Field{Name: name, Read: func(v request.Value) error {
		*to = v
		return nil
	}}
}

// statesField reads a set of states.
func statesField(to *[]callbackd.State) request.Field {
	state := func(name string, to *callbackd.State) request.Field {
		return request.Choice(name, to, callbackd.States)
	}
	what := "an array of " + request.List(callbackd.States, "or")
	return request.Array("states", to, 1, maxStates, what, state).Check(func(string) error {
		slices.Sort(*to)
		*to = slices.Compact(*to)
		return nil
	})
}

// maxStates is the longest array of states. A state may be in it more than once.
const maxStates = 1000

// callbackOf finds the callback of the key that a value names: by its ID,
// or by its name together with the event. An absent value names none.
func (a *API) callbackOf(c *call, v request.Value, ev callbackd.EventType) (callbackd.CallbackID, error) {
	if v.JSON == nil {
		return 0, nil
	}
	text, isText := v.JSON.Text()
	if isText && !digits(text) {
		return a.callbackByName(c, v.Name, text, ev)
	}
	if !isText {
		text = string(v.JSON)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, callbackd.Invalid("%s must be the number or the name of a callback. GET /v1/callbacks/:event/policy shows the number.", v.Name)
	}
	cb, err := a.Store.CallbackByID(c.Context(), callbackd.CallbackID(n))
	if err != nil && callbackd.KindOf(err) != callbackd.KindNotFound {
		return 0, err
	}
	if err != nil || cb.Key != c.keyID() {
		return 0, callbackd.Invalid("%s %d is not a callback of this API key. GET /v1/callbacks/:event/policy shows the number.", v.Name, n)
	}
	return cb.ID, nil
}

func (a *API) callbackByName(c *call, member, name string, ev callbackd.EventType) (callbackd.CallbackID, error) {
	if ev == "" {
		return 0, callbackd.Invalid("%s is a name, which needs the member event as well. Or give the callback's ID, which GET /v1/callbacks/:event/policy shows.", member)
	}
	cb, err := store.CallbackNamed(c.Context(), a.Store, c.keyID(), ev, name)
	if err != nil && callbackd.KindOf(err) == callbackd.KindNotFound {
		return 0, callbackd.Invalid("%s %q is not a callback of this API key for %s.", member, callbackd.Clip(name, callbackd.MaxName), ev)
	}
	if err != nil {
		return 0, err
	}
	return cb.ID, nil
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func (a *API) createReplay(w http.ResponseWriter, c *call) error {
	var r newReplay
	if err := a.readReplay(w, c, &r, "A replay", r.fields()); err != nil {
		return err
	}
	f := &r.Filter
	if f.Target == 0 && len(f.States) == 0 && !f.Missing {
		f.States = []callbackd.State{callbackd.Failed}
	}
	return a.startReplay(w, c, &r)
}

// cancelDeliveries starts a replay that cancels what is pending.
func (a *API) cancelDeliveries(w http.ResponseWriter, c *call) error {
	by := callbackd.Cancellation{By: callbackd.ByKey(c.keyID())}
	if c.token != nil {
		by.By = callbackd.ByOperator
	}
	var r newReplay
	if err := a.readReplay(w, c, &r, "A cancellation", append(r.commonFields(), callbacks.Reason(&by.Reason))); err != nil {
		return err
	}
	r.Filter, r.Cancel = callbackd.CancelFilter(r.Filter), &by
	return a.startReplay(w, c, &r)
}

// readReplay reads the body of a call that starts a replay.
func (a *API) readReplay(w http.ResponseWriter, c *call, r *newReplay, what string, fields []request.Field) error {
	text, body, err := c.object(w)
	if err != nil {
		return err
	}
	if text == nil { // an empty body must not send or cancel everything
		return errNoBody
	}
	if err := body.Strict(what).Read(fields...); err != nil {
		return err
	}
	f := &r.Filter
	if f.Callback, err = a.callbackOf(c, r.callback, f.Type); err != nil {
		return err
	}
	f.Target, err = a.callbackOf(c, r.target, f.Type)
	return err
}

// startReplay answers with a new replay or, for a dry run, with the size of its set.
func (a *API) startReplay(w http.ResponseWriter, c *call, r *newReplay) error {
	if r.dryRun {
		n, err := a.Store.CountReplay(c.Context(), c.keyID(), r.Filter)
		if err != nil {
			return err
		}
		answer(w, http.StatusOK, wire.ReplayCount{Total: n})
		return nil
	}
	r.Key, r.CreatedAt = c.keyID(), time.Now()
	show := func(r *callbackd.Replay) ([]byte, error) { return a.marshalReplay(c, r) }
	made, err := a.Store.CreateReplay(once(c, http.StatusAccepted, show), r.Replay)
	if err != nil {
		return err
	}
	a.Dispatcher.ReplaysChanged()
	return a.answerReplay(w, c, http.StatusAccepted, made)
}

// replayList is the query of GET /v1/replays.
type replayList struct {
	after callbackd.ReplayID
	limit int
}

func replayListFields(q *replayList) []request.Field {
	return []request.Field{limitField(&q.limit), request.Cursor("cursor", &q.after, callbackd.ParseReplayID)}
}

func (a *API) listReplays(w http.ResponseWriter, c *call, q *replayList) error {
	page, err := a.Store.ListReplays(c.Context(), store.ReplayQuery{Key: c.keyID(), After: q.after, Limit: q.limit})
	if err != nil {
		return err
	}
	data, err := shownAll(c, page.Replays, a.shownReplay)
	if err == nil {
		answer(w, http.StatusOK, wire.ReplayList{Data: data, Next: nextCursor(page.Next)})
	}
	return err
}

func replayID(c *call) (callbackd.ReplayID, error) {
	id, ok := callbackd.ParseReplayID(c.PathValue("id"))
	if !ok {
		return 0, callbackd.Errorf(callbackd.KindNotFound, "There is no replay %s.", callbackd.Clip(c.PathValue("id"), 60))
	}
	return id, nil
}

func (a *API) getReplay(w http.ResponseWriter, c *call) error {
	id, err := replayID(c)
	if err != nil {
		return err
	}
	r, err := a.Store.Replay(c.Context(), c.keyID(), id)
	if err != nil {
		return err
	}
	return a.answerReplay(w, c, http.StatusOK, r)
}

// setReplay returns a handler that sets the state of a replay.
func (a *API) setReplay(s callbackd.ReplayState) func(http.ResponseWriter, *call) error {
	return func(w http.ResponseWriter, c *call) error {
		id, err := replayID(c)
		if err != nil {
			return err
		}
		show := func(r *callbackd.Replay) ([]byte, error) { return a.marshalReplay(c, r) }
		r, err := a.Store.SetReplayState(once(c, http.StatusOK, show), c.keyID(), id, s, time.Now())
		if err != nil {
			return err
		}
		a.Dispatcher.ReplaysChanged()
		return a.answerReplay(w, c, http.StatusOK, r)
	}
}

// shownReplay returns a replay, with its API key for an operator token.
func (a *API) shownReplay(c *call, r *callbackd.Replay) (out wire.Replay, err error) {
	out = view.Replay(r)
	out.APIKey, err = a.owner(c, r.Key)
	return out, err
}

// marshalReplay runs in a transaction: the call is about one API key, so that the store is
// not asked for it.
func (a *API) marshalReplay(c *call, r *callbackd.Replay) ([]byte, error) {
	out, err := a.shownReplay(c, r)
	if err != nil {
		return nil, err
	}
	return marshal(out)
}

func (a *API) answerReplay(w http.ResponseWriter, c *call, status int, r *callbackd.Replay) error {
	out, err := a.shownReplay(c, r)
	if err != nil {
		return err
	}
	answer(w, status, out)
	return nil
}

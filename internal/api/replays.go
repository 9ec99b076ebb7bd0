package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/callbacks"
	"callbackd/internal/signature"
	"callbackd/internal/strictjson"
	"callbackd/wire"
)

// replayMembers is what the body of POST /v1/replays may have: a filter with
// a typing error would send everything again.
var replayMembers = []string{"states", "event", "callback", "session_key", "since", "until", "target", "rate", "dry_run"}

// newReplay is that body.
type newReplay struct {
	callbackd.Replay
	dryRun           bool
	callback, target strictjson.Value
}

func readReplay(members []strictjson.Member) (r newReplay, err error) {
	for _, m := range members {
		if m.Value.IsNull() {
			continue
		}
		f := &r.Filter
		text, isText := m.Value.Text()
		ok := isText
		switch m.Name {
		case "states":
			if f.States, err = readStates(m.Value); err != nil {
				return r, err
			}
			ok = true
		case "event":
			if f.Type = callbackd.EventType(text); ok && !f.Type.Valid() {
				return r, invalid("event %q is not supported; the supported events are %s.", clip(text, 100), callbacks.Types())
			}
		case "session_key":
			if f.Session = text; ok && !validSession(text) {
				return r, invalid("session_key must be 1 to %d visible ASCII characters without spaces.", callbackd.MaxSessionKey)
			}
		case "since", "until":
			at, err := signature.ParseTimestamp(text)
			if err != nil || at.Before(time.Unix(0, 0)) {
				return r, invalid("%s must be a time such as 2026-01-02T15:04:05Z, or Unix seconds as text.", m.Name)
			}
			if m.Name == "since" {
				f.Since = at
			} else {
				f.Until = at
			}
		case "callback":
			r.callback, ok = m.Value, true
		case "target":
			r.target, ok = m.Value, true
		case "rate":
			if r.Rate, ok = m.Value.Float(); !ok || r.Rate < 0 || r.Rate > callbackd.MaxReplayRate || r.Rate > 0 && r.Rate < 0.001 {
				return r, invalid("rate must be a number of deliveries a second from 0.001 to %d, or 0 for no limit.", callbackd.MaxReplayRate)
			}
		case "dry_run":
			if r.dryRun, ok = m.Value.Kind() == 't', m.Value.Kind() == 't' || m.Value.Kind() == 'f'; !ok {
				return r, invalid("dry_run must be true or false.")
			}
		default:
			return r, invalid("%q is not a member of a replay; it has %s.", clip(m.Name, 60), strings.Join(replayMembers, ", "))
		}
		if !ok {
			return r, invalid("%s must be a string.", m.Name)
		}
	}
	return r, nil
}

func readStates(v strictjson.Value) (states []callbackd.State, err error) {
	const must = "states must be an array of pending, delivered, failed or canceled."
	items, err := strictjson.Array(v)
	if err != nil || len(items) == 0 {
		return nil, invalid(must)
	}
	for _, item := range items {
		text, ok := item.Text()
		state := callbackd.State(text)
		if !ok || !state.Valid() {
			return nil, invalid(must)
		}
		if !slices.Contains(states, state) {
			states = append(states, state)
		}
	}
	slices.Sort(states)
	return states, nil
}

// callbackOf finds the callback of the key that a member names: by number, or
// by name together with the event.
func (a *API) callbackOf(c *call, member string, v strictjson.Value, ev callbackd.EventType) (callbackd.CallbackID, error) {
	if v == nil {
		return 0, nil
	}
	text, isText := v.Text()
	if isText && !digits(text) {
		if ev == "" {
			return 0, invalid("%s is a name, which needs an event beside it; or give the callback's number, which GET /v1/callbacks/:event/policy shows.", member)
		}
		cb, err := a.Store.Callback(c.Context(), c.key.ID, ev, text)
		if callbackd.KindOf(err) == callbackd.KindNotFound && err != nil {
			return 0, invalid("%s %q is not a callback of this API key for %s.", member, clip(text, callbackd.MaxName), ev)
		}
		if err != nil {
			return 0, err
		}
		return cb.ID, nil
	}
	if !isText {
		text = string(v)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, invalid("%s must be a callback's number or name; GET /v1/callbacks/:event/policy shows the number.", member)
	}
	cb, err := a.Store.CallbackByID(c.Context(), callbackd.CallbackID(n))
	if err != nil && callbackd.KindOf(err) != callbackd.KindNotFound {
		return 0, err
	}
	if err != nil || cb.Key != c.key.ID {
		return 0, invalid("%s %d is not a callback of this API key; GET /v1/callbacks/:event/policy shows the number.", member, n)
	}
	return cb.ID, nil
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func (a *API) createReplay(w http.ResponseWriter, c *call) error {
	text, members, err := c.object(w)
	if err != nil {
		return err
	}
	if text == nil { // must not send everything again
		return invalid("The body is empty; it must be a JSON object.")
	}
	r, err := readReplay(members)
	if err != nil {
		return err
	}
	f := &r.Filter
	if f.Callback, err = a.callbackOf(c, "callback", r.callback, f.Type); err != nil {
		return err
	}
	if f.Target, err = a.callbackOf(c, "target", r.target, f.Type); err != nil {
		return err
	}
	if f.Target == 0 && len(f.States) == 0 {
		f.States = []callbackd.State{callbackd.Failed}
	}
	if r.dryRun {
		n, err := a.Store.CountReplay(c.Context(), c.key.ID, *f)
		if err != nil {
			return err
		}
		answer(w, http.StatusOK, wire.ReplayCount{Total: n})
		return nil
	}
	r.Key, r.CreatedAt = c.key.ID, time.Now()
	show := func(r *callbackd.Replay) ([]byte, error) { return marshal(showReplay(r)) }
	made, err := a.Store.CreateReplay(once(c, http.StatusAccepted, show), r.Replay)
	if err != nil {
		return err
	}
	a.Dispatcher.ReplaysChanged()
	answer(w, http.StatusAccepted, showReplay(made))
	return nil
}

func showReplay(r *callbackd.Replay) wire.Replay {
	out := wire.Replay{ID: r.ID.String(), State: string(r.State), States: []string{}, Event: string(r.Filter.Type), Callback: int64(r.Filter.Callback), SessionKey: r.Filter.Session,
		Since: timeOrNull(r.Filter.Since), Until: timeOrNull(r.Filter.Until), Target: int64(r.Filter.Target), Rate: r.Rate, CreatedAt: r.CreatedAt, EndedAt: timeOrNull(r.EndedAt),
		Total: r.Total, Due: r.Due, Skipped: r.Skipped, Created: r.Created, Pending: r.Pending(), Delivered: r.Delivered, Failed: r.Failed, Canceled: r.Canceled}
	for _, s := range r.Filter.States {
		out.States = append(out.States, string(s))
	}
	return out
}

func (a *API) listReplays(w http.ResponseWriter, c *call) error {
	f, err := readFilter(c.query)
	if err != nil {
		return err
	}
	after := callbackd.ReplayID(0)
	if f.cursor != "" {
		var ok bool
		if after, ok = callbackd.ParseReplayID(f.cursor); !ok {
			return errCursor
		}
	}
	rs, next, err := a.Store.ListReplays(c.Context(), c.key.ID, after, f.limit)
	if err != nil {
		return err
	}
	out := wire.ReplayList{Data: []wire.Replay{}}
	for i := range rs {
		out.Data = append(out.Data, showReplay(&rs[i]))
	}
	if next != 0 {
		s := next.String()
		out.Next = &s
	}
	answer(w, http.StatusOK, out)
	return nil
}

func replayID(c *call) (callbackd.ReplayID, error) {
	id, ok := callbackd.ParseReplayID(c.PathValue("id"))
	if !ok {
		return 0, callbackd.Errorf(callbackd.KindNotFound, "There is no replay %s.", clip(c.PathValue("id"), 60))
	}
	return id, nil
}

func (a *API) getReplay(w http.ResponseWriter, c *call) error {
	id, err := replayID(c)
	if err != nil {
		return err
	}
	r, err := a.Store.Replay(c.Context(), c.key.ID, id)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, showReplay(r))
	return nil
}

// setReplay makes the handler that gives a replay a state.
func (a *API) setReplay(s callbackd.ReplayState) func(http.ResponseWriter, *call) error {
	return func(w http.ResponseWriter, c *call) error {
		id, err := replayID(c)
		if err != nil {
			return err
		}
		show := func(r *callbackd.Replay) ([]byte, error) { return marshal(showReplay(r)) }
		r, err := a.Store.SetReplayState(once(c, http.StatusOK, show), c.key.ID, id, s, time.Now())
		if err != nil {
			return err
		}
		a.Dispatcher.ReplaysChanged()
		answer(w, http.StatusOK, showReplay(r))
		return nil
	}
}

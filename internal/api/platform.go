package api

import (
	"net/http"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/session"
	"callbackd/internal/store"
	"callbackd/internal/strictjson"
)

// The platform's side of a session: what the capture pages do. Each call is
// one change with the events it fires.

// change applies a rule to the session of the path and answers with what it
// fired. The answer is written by hand: this is as hot as POST /v1/events.
func (a *API) change(w http.ResponseWriter, c *call, rule func(*callbackd.Session, time.Time) ([]callbackd.Fired, error)) error {
	key, err := c.session()
	if err != nil {
		return err
	}
	now := session.Now()
	s, events, err := session.Change(once(c, http.StatusOK, showChange), a.Store, c.key.ID, key, now, func(s *callbackd.Session) ([]callbackd.Fired, error) { return rule(s, now) })
	if err != nil {
		return err
	}
	a.Accepted(len(events))
	out, err := showChange(store.Changed{Session: s, Events: events})
	if err != nil {
		return err
	}
	answerRaw(w, http.StatusOK, out)
	return nil
}

func showChange(made store.Changed) ([]byte, error) {
	out := append(make([]byte, 0, 100+160*len(made.Events)), `{"session_key":"`...)
	out = append(append(out, made.Session.SessionKey...), `","status":"`...)
	out = append(append(out, made.Session.Status...), `","events":[`...)
	for i, ev := range made.Events {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendAccepted(out, ev)
	}
	return append(out, "]}\n"...), nil
}

func (a *API) startSession(w http.ResponseWriter, c *call) error {
	return a.change(w, c, (*callbackd.Session).Start)
}

func (a *API) addPhoto(w http.ResponseWriter, c *call) error {
	f, err := c.fields(w)
	if err != nil {
		return err
	}
	p, err := f.photo()
	if err != nil {
		return err
	}
	return a.change(w, c, func(s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) { return s.AddPhoto(p, now) })
}

func (a *API) addNote(w http.ResponseWriter, c *call) error {
	f, err := c.fields(w)
	if err != nil {
		return err
	}
	n, err := f.note()
	if err != nil {
		return err
	}
	return a.change(w, c, func(s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) { return s.AddNote(n, now) })
}

func (a *API) reportSMS(w http.ResponseWriter, c *call) error {
	f, err := c.fields(w)
	if err != nil {
		return err
	}
	r, err := f.sms()
	if err != nil {
		return err
	}
	return a.change(w, c, func(s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) { return s.ReportSMS(r, now) })
}

// putResults keeps the body as it is. What it says of the vehicle becomes
// the session's; members that are not understood there are kept in the
// results alone.
func (a *API) putResults(w http.ResponseWriter, c *call) error {
	body, members, err := c.object(w)
	if err != nil {
		return err
	}
	if body == nil {
		return invalid("The body is empty; it must be a JSON object.")
	}
	if len(body) > callbackd.MaxResults {
		return callbackd.Errorf(callbackd.KindTooLarge, "The results are larger than %d bytes.", callbackd.MaxResults)
	}
	vehicle, err := resultsVehicle(members)
	if err != nil {
		return err
	}
	return a.change(w, c, func(s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) {
		return s.PutResults(body, vehicle, now)
	})
}

// resultsVehicle reads what results say of the vehicle, in the member vehicle
// or in that of the member session; nil when they say nothing.
func resultsVehicle(members []strictjson.Member) (*callbackd.Vehicle, error) {
	session, err := resultsObject(members, "session")
	if err != nil {
		return nil, err
	}
	f := &fields{}
	for _, where := range [][]strictjson.Member{session, members} { // of two that differ the last counts
		vehicle, err := resultsObject(where, "vehicle")
		if err != nil {
			return nil, err
		}
		f.add("vehicle", vehicle) // has no containers: cannot fail
	}
	if len(f.members) == 0 {
		return nil, nil
	}
	vehicle := f.resultsVehicle()
	return &vehicle, f.err
}

// resultsObject is the members of an object in the results; there may be none.
func resultsObject(members []strictjson.Member, name string) ([]strictjson.Member, error) {
	i := slices.IndexFunc(members, func(m strictjson.Member) bool { return m.Name == name })
	if i < 0 {
		return nil, nil
	}
	_, inner, err := strictjson.LenientObject(members[i].Value)
	if err != nil {
		return nil, invalid("%s %v.", name, err)
	}
	return inner, nil
}

func (a *API) completeSession(w http.ResponseWriter, c *call) error {
	return a.change(w, c, (*callbackd.Session).Complete)
}

func (a *API) invalidateSession(w http.ResponseWriter, c *call) error {
	f, err := c.fields(w)
	if err != nil {
		return err
	}
	reason := f.need("reason", callbackd.MaxPhotoMessage)
	if f.err != nil {
		return f.err
	}
	return a.change(w, c, func(s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) { return s.Invalidate(reason, now) })
}

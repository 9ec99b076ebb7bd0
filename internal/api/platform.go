package api

import (
	"net/http"
	"time"

	"callbackd"
	"callbackd/internal/humanize"
	"callbackd/internal/request"
	"callbackd/internal/session"
	"callbackd/internal/store"
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
	body, err := c.sessionBody(w)
	if err != nil {
		return err
	}
	p, err := readPhoto(body)
	if err != nil {
		return err
	}
	return a.change(w, c, func(s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) { return s.AddPhoto(p, now) })
}

func (a *API) addNote(w http.ResponseWriter, c *call) error {
	body, err := c.sessionBody(w)
	if err != nil {
		return err
	}
	n, err := readNote(body)
	if err != nil {
		return err
	}
	return a.change(w, c, func(s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) { return s.AddNote(n, now) })
}

func (a *API) reportSMS(w http.ResponseWriter, c *call) error {
	body, err := c.sessionBody(w)
	if err != nil {
		return err
	}
	r, err := readSMSReport(body)
	if err != nil {
		return err
	}
	return a.change(w, c, func(s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) { return s.ReportSMS(r, now) })
}

// putResults keeps the body as it is. What it says of the vehicle becomes
// the session's; members that are not understood there are kept in the
// results alone.
func (a *API) putResults(w http.ResponseWriter, c *call) error {
	text, body, err := c.object(w)
	if err != nil {
		return err
	}
	if text == nil {
		return errNoBody
	}
	if len(text) > callbackd.MaxResults {
		return callbackd.Errorf(callbackd.KindTooLarge, "The results are larger than %s bytes.", humanize.Number(callbackd.MaxResults))
	}
	vehicle, err := resultsVehicle(body)
	if err != nil {
		return err
	}
	return a.change(w, c, func(s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) {
		return s.PutResults(text, vehicle, now)
	})
}

// resultsVehicle reads what results say of the vehicle, in the member vehicle
// or in that of the member session. It returns nil when they say nothing.
func resultsVehicle(results request.Object) (*callbackd.Vehicle, error) {
	session, err := results.Nested("session")
	if err != nil {
		return nil, err
	}
	inner, err := session.Nested("vehicle")
	if err != nil {
		return nil, err
	}
	outer, err := results.Nested("vehicle")
	if err != nil {
		return nil, err
	}
	both := inner.Append(outer).Lenient() // of two that differ the last counts
	if both.Len() == 0 {
		return nil, nil
	}
	var v callbackd.Vehicle
	err = both.Read(resultsVehicleFields(&v)...)
	return &v, err
}

func (a *API) completeSession(w http.ResponseWriter, c *call) error {
	return a.change(w, c, (*callbackd.Session).Complete)
}

func (a *API) invalidateSession(w http.ResponseWriter, c *call) error {
	body, err := c.sessionBody(w)
	if err != nil {
		return err
	}
	reason := ""
	if err := body.Read(request.Text("reason", &reason, callbackd.MaxPhotoMessage).Required()); err != nil {
		return err
	}
	return a.change(w, c, func(s *callbackd.Session, now time.Time) ([]callbackd.Fired, error) { return s.Invalidate(reason, now) })
}

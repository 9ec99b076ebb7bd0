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

// The endpoints below are for the platform, that is, for the capture pages. Each call
// makes one change of a session and fires its events.

// change applies a rule to the session in the path and answers with the events that it
// fired. It writes the answer by hand, because it is as hot as POST /v1/events.
func (a *API) change(w http.ResponseWriter, c *call, rule func(*callbackd.Session, time.Time) ([]callbackd.Fired, error)) error {
	key, err := c.session()
	if err != nil {
		return err
	}
	now := session.Now()
	var s *callbackd.Session
	var events []*callbackd.Event
	err = a.withinLimits(c, func() (_ []*callbackd.Event, err error) {
		s, events, err = session.Change(onceIn(c.Context(), c, http.StatusOK, showChange), a.Store, c.key.ID, key, now, func(s *callbackd.Session) ([]callbackd.Fired, error) { return rule(s, now) })
		return events, err
	})
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
		var err error
		if out, err = appendAccepted(out, ev, nil, ""); err != nil {
			return nil, err
		}
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

// putResults stores the body unchanged as the session's results. Known members of its
// vehicle also become the session's vehicle.
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

// resultsVehicle reads the vehicle of the results, from the member vehicle and from that
// of the member session. It returns nil when there is none.
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
	both := inner.Append(outer).Lenient() // when both have a member, that of outer counts
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

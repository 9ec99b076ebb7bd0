package api

import (
	"net/http"
	"time"

	"callbackd"
	"callbackd/internal/request"
	"callbackd/internal/store"
	"callbackd/internal/view"
	"callbackd/wire"
)

// incidentList is the query of GET /v1/incidents.
type incidentList struct {
	state string
	after callbackd.IncidentID
	limit int
}

// stateOpen chooses the incidents that are open.
const stateOpen = "open"

func incidentListFields(q *incidentList) []request.Field {
	return []request.Field{
		request.Choice("state", &q.state, []string{stateOpen}),
		limitField(&q.limit),
		request.Cursor("cursor", &q.after, callbackd.ParseIncidentID),
	}
}

func (a *API) listIncidents(w http.ResponseWriter, c *call, q *incidentList) error {
	page, err := a.Store.ListIncidents(c.Context(), store.IncidentQuery{Key: c.keyID(), Open: q.state == stateOpen, After: q.after, Limit: q.limit})
	if err != nil {
		return err
	}
	data, err := shownAll(c, page.Incidents, a.shownIncident)
	if err == nil {
		answer(w, http.StatusOK, wire.IncidentList{Data: data, Next: nextCursor(page.Next)})
	}
	return err
}

func incidentID(c *call) (callbackd.IncidentID, error) {
	id, ok := callbackd.ParseIncidentID(c.PathValue("id"))
	if !ok {
		return 0, callbackd.Errorf(callbackd.KindNotFound, "There is no incident %s.", callbackd.Clip(c.PathValue("id"), 60))
	}
	return id, nil
}

func (a *API) getIncident(w http.ResponseWriter, c *call) error {
	id, err := incidentID(c)
	if err != nil {
		return err
	}
	i, err := a.Store.Incident(c.Context(), c.keyID(), id)
	if err != nil {
		return err
	}
	return a.answerIncident(w, c, i)
}

// shownIncident returns an incident, with its API key for an operator token.
func (a *API) shownIncident(c *call, i *callbackd.Incident) (out wire.Incident, err error) {
	out = view.Incident(i)
	if c.token == nil || i.Key == 0 {
		return out, nil
	}
	k, err := a.Store.KeyByID(c.Context(), i.Key)
	if err != nil {
		return out, err
	}
	out.APIKey, out.Account, out.KeyName = k.APIKey, k.Account, k.Name
	return out, nil
}

func (a *API) answerIncident(w http.ResponseWriter, c *call, i *callbackd.Incident) error {
	out, err := a.shownIncident(c, i)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, out)
	return nil
}

// acknowledgeIncident notes that a person knows of an incident.
func (a *API) acknowledgeIncident(w http.ResponseWriter, c *call) error {
	now, by := time.Now(), callbackd.ByOperator
	if c.token == nil {
		by = callbackd.ByKey(c.key.ID)
	}
	return a.changeIncident(w, c, func(i *callbackd.Incident) { i.Acknowledge(by, now) })
}

// muteIncident has no notices of an incident sent for a while.
func (a *API) muteIncident(w http.ResponseWriter, c *call) error {
	_, body, err := c.object(w)
	if err != nil {
		return err
	}
	var wait time.Duration
	if err := body.Strict("A mute").Read(request.Duration("for", &wait, 0, callbackd.MaxMute).Required()); err != nil {
		return err
	}
	now := time.Now()
	return a.changeIncident(w, c, func(i *callbackd.Incident) { i.Mute(now.Add(wait), now) })
}

// changeIncident changes the incident that the path names.
func (a *API) changeIncident(w http.ResponseWriter, c *call, change func(*callbackd.Incident)) error {
	id, err := incidentID(c)
	if err != nil {
		return err
	}
	show := func(i *callbackd.Incident) ([]byte, error) {
		out, err := a.shownIncident(c, i)
		if err != nil {
			return nil, err
		}
		return marshal(out)
	}
	i, err := a.Store.ChangeIncident(once(c, http.StatusOK, show), c.keyID(), id, func(i *callbackd.Incident) error {
		change(i)
		return nil
	})
	if err != nil {
		return err
	}
	return a.answerIncident(w, c, i)
}

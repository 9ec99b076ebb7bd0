package console

import (
	"net/http"
	"net/url"
	"time"

	"callbackd"
	"callbackd/internal/request"
	"callbackd/internal/store"
)

// incidentRow is an incident in the list.
type incidentRow struct {
	callbackd.Incident
	Owner string
	Muted bool // now
}

// Acked reports whether somebody acknowledged the incident.
func (r incidentRow) Acked() bool { return !r.AckedAt.IsZero() }

// State is "open" or "closed" as the list shows it.
func (r incidentRow) State() string {
	if r.Closed() {
		return "closed"
	}
	return "open"
}

type incidentsPage struct {
	base
	scope
	list
	Open  bool // only those that are open
	Rows  []incidentRow
	Mutes []keepChoice
}

// muteChoices are the times for which an incident can be muted.
var muteChoices = []keepChoice{{"1h", "1 hour"}, {"8h", "8 hours"}, {"1d", "1 day"}, {"7d", "7 days"}}

func (c *Console) incidents(w http.ResponseWriter, req *userRequest) error {
	s, err := c.scope(req)
	if err != nil {
		return err
	}
	open := req.URL.Query().Get("state") != "all"
	filter := s.query()
	if !open {
		filter.Set("state", "all")
	}
	p := &incidentsPage{base: c.base(req, "incidents", "Incidents"), scope: s, list: newList(link("incidents"), filter), Open: open, Mutes: muteChoices}
	var after callbackd.IncidentID
	if err := readCursor(&p.list, req.URL.Query(), &after, callbackd.ParseIncidentID); err != nil {
		return err
	}
	p.refreshFirst(&p.list, 5)
	page, err := c.Store.ListIncidents(req.Context(), store.IncidentQuery{Key: s.KeyID, Open: open, After: after, Limit: pageRows})
	if err != nil {
		return err
	}
	for _, i := range page.Incidents {
		p.Rows = append(p.Rows, incidentRow{i, s.owner(i.Key), i.Muted(c.now())})
	}
	if page.Next != 0 {
		p.setNext(page.Next.String())
	}
	return c.render(w, http.StatusOK, "incidents", p)
}

// maxCounted is where the navigation stops counting incidents.
const maxCounted = 99

// openIncidents counts the open incidents that nobody acknowledged or muted. The page is
// shown without the number when it cannot be read.
func (c *Console) openIncidents(req *userRequest) int {
	page, err := c.Store.ListIncidents(req.Context(), store.IncidentQuery{Key: req.keyFilter(), Open: true, Limit: maxCounted})
	if err != nil {
		return 0
	}
	n := 0
	for i := range page.Incidents {
		if in := &page.Incidents[i]; in.AckedAt.IsZero() && !in.Muted(c.now()) {
			n++
		}
	}
	return n
}

func (c *Console) acknowledgeIncident(w http.ResponseWriter, req *userRequest) error {
	by := callbackd.ByOperator
	if !req.isOperator() {
		by = callbackd.ByKey(req.key.ID)
	}
	return c.changeIncident(w, req, "acknowledged", func(i *callbackd.Incident) error {
		i.Acknowledge(by, c.now())
		return nil
	})
}

func (c *Console) muteIncident(w http.ResponseWriter, req *userRequest) error {
	var wait time.Duration
	err := request.Values(url.Values{"for": {req.FormValue("for")}}).Read(request.Duration("for", &wait, 0, callbackd.MaxMute).Required())
	done := "muted"
	if wait == 0 {
		done = "unmuted"
	}
	now := c.now()
	return c.changeIncident(w, req, done, func(i *callbackd.Incident) error {
		i.Mute(now.Add(wait), now)
		return err
	})
}

// changeIncident changes the incident that the path names.
func (c *Console) changeIncident(w http.ResponseWriter, req *userRequest, done string, change func(*callbackd.Incident) error) error {
	id, ok := callbackd.ParseIncidentID(req.PathValue("incident"))
	if !ok {
		return errPageNotFound
	}
	_, err := c.Store.ChangeIncident(req.Context(), req.keyFilter(), id, change)
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return errPageNotFound
	}
	if err != nil {
		return err
	}
	return redirect(w, req, link("incidents"), done)
}

package console

import (
	"net/http"
	"slices"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// sessionRow is a session in the list. It may be stored here, or known by its
// events only.
type sessionRow struct {
	Session string
	Status  string
	VIN     string
	Owner   string
	Href    string
	Latest  *callbackd.Event // nil when it has no event
	At      time.Time        // of its last change
	Ticks   []bar            // its latest events, oldest first
}

type sessionsPage struct {
	base
	scope
	list
	Text string
	Rows []sessionRow
	More bool // there may be more matches
}

const (
	// recentEvents is how many events one page of the list is made from.
	recentEvents = store.MaxPage
	// ticksShown is how many events of a session the list shows.
	ticksShown = 20
)

func (c *Console) sessions(w http.ResponseWriter, req *userRequest) error {
	s, err := c.scope(req)
	if err != nil {
		return err
	}
	params := req.URL.Query()
	p := &sessionsPage{
		base:  c.base(req, "sessions", "Sessions"),
		scope: s,
		list:  newList(link("sessions"), s.query()),
		Text:  formField(params.Get("q")),
	}
	p.SearchText = p.Text
	var after callbackd.EventID
	if err := readCursor(&p.list, params, &after, callbackd.ParseEventID); err != nil {
		return err
	}
	if p.Text != "" {
		err = c.findSessions(req, p)
	} else {
		p.refreshFirst(&p.list, 5)
		err = c.recentSessions(req, p, after)
	}
	if err != nil {
		return err
	}
	slices.SortStableFunc(p.Rows, func(a, b sessionRow) int { return b.At.Compare(a.At) })
	return c.render(w, http.StatusOK, "sessions", p)
}

// sessionRows makes the rows of sessions, with their latest events. stored has
// the sessions that were read already.
func (c *Console) sessionRows(req *userRequest, s scope, ids []store.SessionID, stored map[store.SessionID]*callbackd.Session) ([]sessionRow, error) {
	events, err := c.Store.LatestEvents(req.Context(), ids, ticksShown)
	if err != nil {
		return nil, err
	}
	rows := make([]sessionRow, 0, len(ids))
	for _, id := range ids {
		session := stored[id]
		if session == nil {
			session, err = c.Store.Session(req.Context(), id.Key, id.SessionKey)
			if err != nil && callbackd.KindOf(err) != callbackd.KindNotFound {
				return nil, err
			}
		}
		row := newSessionRow(id, session, events[id])
		row.Owner, row.Href = s.owner(id.Key), s.sessionHref(id.Key, id.SessionKey)
		rows = append(rows, row)
	}
	return rows, nil
}

// newSessionRow makes the row of a session; session is nil when it is not stored
// here. The events are newest first.
func newSessionRow(id store.SessionID, session *callbackd.Session, events []*callbackd.Event) sessionRow {
	row := sessionRow{Session: id.SessionKey}
	if session != nil {
		row.Status, row.VIN, row.At = string(session.Status), session.Vehicle.VIN, session.UpdatedAt
	}
	if len(events) > 0 {
		row.Latest = events[0]
		if at := events[0].Accepted(); at.After(row.At) {
			row.At = at
		}
	}
	for i, ev := range slices.Backward(events) {
		x := float64(len(events)-1-i) * 12
		row.Ticks = append(row.Ticks, bar{X: x, W: 9, H: 16, Class: eventClass[ev.Type]})
	}
	return row
}

// findSessions finds stored sessions by a part of their key, VIN or reference,
// and all sessions by their whole key or VIN.
func (c *Console) findSessions(req *userRequest, p *sessionsPage) error {
	ids, err := c.sessionsNamed(req, p.KeyID, p.Text)
	if err != nil {
		return err
	}
	page, err := c.Store.ListSessions(req.Context(), store.SessionQuery{Key: p.KeyID, Text: p.Text, Limit: pageRows})
	if err != nil {
		return err
	}
	p.More = page.Next != (store.SessionCursor{})
	p.Rows, err = c.sessionRows(req, p.scope, appendSessionIDs(ids, page.Sessions), byID(page.Sessions))
	return err
}

func byID(sessions []*callbackd.Session) map[store.SessionID]*callbackd.Session {
	out := map[store.SessionID]*callbackd.Session{}
	for _, session := range sessions {
		out[store.SessionID{Key: session.Key, SessionKey: session.SessionKey}] = session
	}
	return out
}

// recentSessions lists the sessions of the latest events. Each session is on
// the page of its newest event. The first page also has new sessions that have
// no event yet.
func (c *Console) recentSessions(req *userRequest, p *sessionsPage, after callbackd.EventID) error {
	page, err := c.Store.ListEvents(req.Context(), store.EventQuery{Key: p.KeyID, After: after, Limit: recentEvents})
	if err != nil {
		return err
	}
	ids, seen := []store.SessionID{}, map[store.SessionID]bool{}
	for _, ev := range page.Events {
		id := store.SessionID{Key: ev.Key, SessionKey: ev.Session}
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	p.Rows, err = c.sessionRows(req, p.scope, ids, nil)
	if err != nil {
		return err
	}
	if after != 0 {
		p.Rows = slices.DeleteFunc(p.Rows, func(r sessionRow) bool { return r.Latest.ID >= after })
	} else if err := c.addNewSessions(req, p, seen); err != nil {
		return err
	}
	if page.Next != 0 {
		p.setNext(page.Next.String())
	}
	return nil
}

// addNewSessions adds the sessions that were created lately and have no event.
func (c *Console) addNewSessions(req *userRequest, p *sessionsPage, seen map[store.SessionID]bool) error {
	page, err := c.Store.ListSessions(req.Context(), store.SessionQuery{Key: p.KeyID, Limit: pageRows})
	if err != nil {
		return err
	}
	stored := byID(page.Sessions)
	ids := slices.DeleteFunc(appendSessionIDs(nil, page.Sessions), func(id store.SessionID) bool { return seen[id] })
	rows, err := c.sessionRows(req, p.scope, ids, stored)
	for _, row := range rows {
		if row.Latest == nil {
			p.Rows = append(p.Rows, row)
		}
	}
	return err
}

// eventClass is the colour of an event in the list of sessions.
var eventClass = map[callbackd.EventType]string{
	callbackd.SMSProcess:   "connect",
	callbackd.SMSRequested: "connect",
	callbackd.StageChange:  "wait",
	callbackd.StatusChange: "dns",
	callbackd.Complete:     "f-ok",
	callbackd.NoteInsert:   "body",
}

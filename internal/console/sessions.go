package console

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// sessionRow is one session in the list: kept here, or known by its events.
type sessionRow struct {
	Session string
	Status  string
	VIN     string
	Owner   string
	Href    string
	Last    callbackd.EventType
	At      time.Time
	Events  int
	marks   []bar
}

// Marks are the session's latest events as ticks, oldest first.
func (r sessionRow) Marks() []bar { return r.marks }

type sessionsPage struct {
	base
	scope
	Text        string
	Rows        []sessionRow
	First, Next string
}

// recentEvents is how many events the list without a search looks at.
const recentEvents = store.MaxPage

func (c *Console) sessions(w http.ResponseWriter, v *visit) error {
	s, err := c.scope(v)
	if err != nil {
		return err
	}
	p := &sessionsPage{base: c.base(v, "sessions", "Sessions Events"), scope: s, Text: field(v.URL.Query().Get("q"))}
	var after callbackd.EventID
	if cursor := v.URL.Query().Get("after"); cursor != "" {
		var ok bool
		if after, ok = callbackd.ParseEventID(cursor); !ok {
			return callbackd.Errorf(callbackd.KindInvalid, "This is not a place in the list; begin at its top.")
		}
		p.First = withValues(link("sessions"), s.query())
	} else if p.Text == "" {
		p.Refresh = 5
	}
	if p.Text != "" {
		err = c.findSessions(v, p)
	} else {
		err = c.recentSessions(v, p, after)
	}
	if err != nil {
		return err
	}
	slices.SortStableFunc(p.Rows, func(a, b sessionRow) int { return b.At.Compare(a.At) })
	return c.render(w, http.StatusOK, "sessions", p)
}

// query is the scope as a query.
func (s scope) query() url.Values {
	q := url.Values{}
	if s.Chosen != "" {
		q.Set("key", s.Chosen)
	}
	return q
}

// sessionHref is a session's page. A session key may be in use by several API
// keys: the operator's link says whose it is.
func (s scope) sessionHref(key callbackd.KeyNo, session string) string {
	q := url.Values{}
	for _, k := range s.Keys {
		if k.No == key {
			q.Set("key", k.APIKey)
		}
	}
	return withValues(link("sessions", session), q)
}

func (s scope) row(key callbackd.KeyNo, session string) sessionRow {
	return sessionRow{Session: session, Owner: s.owner(key), Href: s.sessionHref(key, session)}
}

// findSessions looks for sessions that are kept here, and for one known by
// its events whose key was given whole.
func (c *Console) findSessions(v *visit, p *sessionsPage) error {
	for _, key := range p.all() {
		page, err := c.Store.ListSessions(v.Context(), store.SessionQuery{Key: key, Text: p.Text, Limit: pageRows})
		if err != nil {
			return err
		}
		for _, s := range page.Sessions {
			r := p.row(key, s.SessionKey)
			r.Status, r.VIN, r.At = string(s.Status), s.Vehicle.VIN, s.UpdatedAt
			p.Rows = append(p.Rows, r)
		}
		named := slices.ContainsFunc(page.Sessions, func(s *callbackd.Session) bool { return s.SessionKey == p.Text })
		evs, err := c.Store.ListEvents(v.Context(), store.EventQuery{Key: key, Session: p.Text, Limit: 1})
		if err != nil {
			return err
		}
		if !named && len(evs.Events) > 0 {
			r := p.row(key, p.Text)
			r.Last, r.At = evs.Events[0].Type, evs.Events[0].ID.Time()
			p.Rows = append(p.Rows, r)
		}
	}
	return nil
}

// recentSessions is the sessions of the latest events, and those that were
// created and have none yet.
func (c *Console) recentSessions(v *visit, p *sessionsPage, after callbackd.EventID) error {
	for _, key := range p.all() {
		page, err := c.Store.ListEvents(v.Context(), store.EventQuery{Key: key, After: after, Limit: recentEvents})
		if err != nil {
			return err
		}
		rows := map[string]*sessionRow{}
		var order []string
		for _, ev := range page.Events {
			r := rows[ev.Session]
			if r == nil {
				row := p.row(key, ev.Session)
				row.Last, row.At = ev.Type, ev.ID.Time()
				r = &row
				rows[ev.Session] = r
				order = append(order, ev.Session)
			}
			r.Events++
			if len(r.marks) < 20 {
				r.marks = append(r.marks, bar{Class: eventClass[ev.Type]})
			}
		}
		if after == 0 {
			young, err := c.Store.ListSessions(v.Context(), store.SessionQuery{Key: key, Limit: pageRows})
			if err != nil {
				return err
			}
			for _, s := range young.Sessions {
				if rows[s.SessionKey] == nil {
					row := p.row(key, s.SessionKey)
					row.Status, row.VIN, row.At = string(s.Status), s.Vehicle.VIN, s.UpdatedAt
					p.Rows = append(p.Rows, row)
				}
			}
		}
		for _, name := range order {
			r := rows[name]
			slices.Reverse(r.marks)
			for i := range r.marks {
				r.marks[i].X, r.marks[i].W, r.marks[i].H = float64(i)*12, 9, 16
			}
			s, err := c.Store.Session(v.Context(), key, name)
			switch {
			case err == nil:
				r.Status, r.VIN = string(s.Status), s.Vehicle.VIN
			case callbackd.KindOf(err) != callbackd.KindNotFound:
				return err
			}
			p.Rows = append(p.Rows, *r)
		}
		if page.Next != 0 && (p.Next == "" || len(p.all()) == 1) {
			q := p.query()
			q.Set("after", page.Next.String())
			p.Next = withValues(link("sessions"), q)
		}
	}
	return nil
}

// eventClass is the colour of an event in small pictures.
var eventClass = map[callbackd.EventType]string{
	callbackd.SMSProcess: "connect", callbackd.StageChange: "wait", callbackd.StatusChange: "dns", callbackd.Complete: "f-ok", callbackd.NoteInsert: "body",
	callbackd.SMSRequested: "connect",
}

// chapter is one event of a session's story, or a gap in it.
type chapter struct {
	Sequence   int64
	Gap        string // what is missing before; the rest is empty then
	Event      *callbackd.Event
	Says       string
	Tone, Mark string
	Owed       []owed
	After      string // how long after the one before, when that was long
}

// owed is one delivery under an event.
type owed struct {
	store.DeliveryView
	Receiver string
	Repeat   bool
}

type stage struct{ Name, Class string }

type sessionPage struct {
	base
	Session  string
	Kept     *callbackd.Session
	Stages   []stage
	Trail    []dot
	TrailEnd string
	Chapters []chapter
	Receiver map[callbackd.CallbackNo]string
	Next     string
}

func (c *Console) session(w http.ResponseWriter, v *visit) error {
	s, err := c.scope(v)
	if err != nil {
		return err
	}
	name := v.PathValue("session")
	var after int64
	if from := v.URL.Query().Get("from"); from != "" {
		if _, err := fmt.Sscanf(from, "%d", &after); err != nil || after < 0 {
			return errNoPage
		}
	}
	for _, key := range s.all() {
		kept, err := c.Store.Session(v.Context(), key, name)
		if err != nil && callbackd.KindOf(err) != callbackd.KindNotFound {
			return err
		}
		evs, err := c.Store.SessionEvents(v.Context(), store.SessionEventQuery{Key: key, Session: name, After: after, Limit: store.MaxPage})
		if err != nil {
			return err
		}
		if kept == nil && len(evs) == 0 {
			continue
		}
		p := &sessionPage{base: c.base(v, "sessions", "Session "+clip(clean(name), 40)), Session: name, Kept: kept}
		p.Refresh = 3
		p.Chapters, err = c.chapters(v, key, evs, after)
		if err != nil {
			return err
		}
		p.Stages = stages(kept, evs)
		p.Trail, p.TrailEnd = sessionTrail(p.Chapters)
		if n := len(evs); store.StoryFull(evs, store.MaxPage) {
			q := s.query()
			q.Set("from", fmt.Sprint(evs[n-1].Sequence))
			p.Next = withValues(link("sessions", name), q)
		}
		return c.render(w, http.StatusOK, "session", p)
	}
	return errNoPage
}

// longPause between two events is said.
const longPause = 10 * time.Minute

func (c *Console) chapters(v *visit, key callbackd.KeyNo, evs []store.SessionEvent, last int64) ([]chapter, error) {
	receivers := map[callbackd.CallbackNo]string{}
	var out []chapter
	var before time.Time
	for _, ev := range evs {
		if ev.Sequence > last+1 {
			gap := fmt.Sprintf("#%d is", last+1)
			if ev.Sequence > last+2 {
				gap = fmt.Sprintf("#%d to #%d are", last+1, ev.Sequence-1)
			}
			out = append(out, chapter{Gap: gap + " no longer kept", Tone: "idle", Mark: "canceled"})
		}
		last = ev.Sequence
		ch := chapter{Sequence: ev.Sequence, Event: ev.Event, Says: says(ev.Event), Tone: "idle", Mark: "canceled"}
		if at := ev.ID.Time(); !before.IsZero() && at.Sub(before) >= longPause {
			ch.After = span(at.Sub(before))
		}
		before = ev.ID.Time()
		for _, d := range ev.Deliveries {
			no := d.ID.Callback
			if _, ok := receivers[no]; !ok {
				cb, err := c.Store.CallbackByNo(v.Context(), no)
				if err != nil {
					return nil, err
				}
				receivers[no] = host(cb.URL)
			}
			ch.Owed = append(ch.Owed, owed{d, receivers[no], d.Manual})
		}
		ch.Tone, ch.Mark = worst(ch.Owed)
		out = append(out, ch)
	}
	return out, nil
}

// worst is how an event stands: as its worst delivery does.
func worst(ds []owed) (tone, mark string) {
	tone, mark = "idle", "canceled"
	rank := map[callbackd.State]int{callbackd.Canceled: 0, callbackd.Delivered: 1, callbackd.Pending: 2, callbackd.Failed: 3}
	tones := []string{"idle", "ok", "busy", "bad"}
	most := -1
	for _, d := range ds {
		if n := rank[d.State]; n > most {
			most, tone, mark = n, tones[n], string(d.State)
		}
	}
	return tone, mark
}

// says is an event's data in a sentence; what it does not know, it leaves to
// the delivery's page.
func says(ev *callbackd.Event) string {
	var d struct {
		Status      string `json:"status"`
		Previous    string `json:"previous_status"`
		Phone       string `json:"phone"`
		PhotoLabel  string `json:"photo_label"`
		PhotoStatus string `json:"photo_status"`
		Note        struct {
			Title       string `json:"title"`
			Description string `json:"description"`
		} `json:"note"`
	}
	if json.Unmarshal(ev.Data, &d) != nil {
		return ""
	}
	var s string
	switch ev.Type {
	case callbackd.StatusChange:
		s = d.Status
		if d.Previous != "" {
			s = d.Previous + " → " + d.Status
		}
	case callbackd.SMSProcess:
		s = strings.TrimSpace("SMS " + d.Status + " " + d.Phone)
	case callbackd.SMSRequested:
		s = strings.TrimSpace("SMS to be sent to " + d.Phone)
	case callbackd.Complete:
		s = saysComplete(ev.Data)
	case callbackd.StageChange:
		s = strings.TrimSpace(d.PhotoLabel + " " + d.PhotoStatus)
	case callbackd.NoteInsert:
		s = strings.Trim(d.Note.Title+": "+d.Note.Description, ": ")
	}
	return clip(clean(s), 160)
}

// saysComplete is what stands beside the session in COMPLETE, in a few words.
func saysComplete(data []byte) string {
	var d struct {
		Photos  []json.RawMessage `json:"photos"`
		Vehicle struct {
			VIN   string          `json:"vin"`
			Year  json.RawMessage `json:"year"`
			Make  string          `json:"make"`
			Model string          `json:"model"`
		} `json:"vehicle"`
		Report string `json:"condition_report"`
	}
	if json.Unmarshal(data, &d) != nil {
		return ""
	}
	var parts []string
	year := strings.Trim(strings.TrimPrefix(string(d.Vehicle.Year), "null"), `"`)
	if vehicle := strings.Join(strings.Fields(year+" "+d.Vehicle.Make+" "+d.Vehicle.Model+" "+d.Vehicle.VIN), " "); vehicle != "" {
		parts = append(parts, vehicle)
	}
	if n := len(d.Photos); n > 0 {
		parts = append(parts, fmt.Sprintf("%d photos", n))
	}
	if d.Report != "" {
		parts = append(parts, "a condition report")
	}
	return strings.Join(parts, ", ")
}

// stages draws the way of an inspection and how far it is.
func stages(kept *callbackd.Session, evs []store.SessionEvent) []stage {
	status := callbackd.SessionStatus("")
	if kept != nil {
		status = kept.Status
	}
	for i := len(evs) - 1; i >= 0 && status == ""; i-- {
		if evs[i].Type == callbackd.StatusChange {
			var d struct {
				Status callbackd.SessionStatus `json:"status"`
			}
			if json.Unmarshal(evs[i].Data, &d) == nil && d.Status.Valid() {
				status = d.Status
			}
		}
	}
	if status == "" {
		return nil
	}
	way := callbackd.SessionStatuses[:6]
	at := slices.Index(way, status)
	out := make([]stage, 0, len(way))
	for i, st := range way {
		class := "todo"
		switch {
		case i < at, i == at && status == callbackd.StatusComplete:
			class = "past"
		case i == at:
			class = "here"
		}
		out = append(out, stage{string(st), class})
	}
	if at < 0 {
		out = append(out[:cmp.Or(min(len(evs), 3), 1)], stage{string(status), "end"})
		for i := range out[:len(out)-1] {
			out[i].Class = "past"
		}
	}
	return out
}

// sessionTrail is the events over time as dots.
func sessionTrail(cs []chapter) (dots []dot, end string) {
	var first, last time.Time
	for _, ch := range cs {
		if ch.Event == nil {
			continue
		}
		if first.IsZero() {
			first = ch.Event.ID.Time()
		}
		last = ch.Event.ID.Time()
	}
	whole := last.Sub(first)
	if whole <= 0 {
		return nil, ""
	}
	class := map[string]string{"ok": "s-ok", "bad": "s-bad", "busy": "s-accent", "idle": "s-idle"}
	for _, ch := range cs {
		if ch.Event != nil {
			dots = append(dots, dot{8 + 984*float64(ch.Event.ID.Time().Sub(first))/float64(whole), class[ch.Tone]})
		}
	}
	return dots, span(whole) + " later"
}

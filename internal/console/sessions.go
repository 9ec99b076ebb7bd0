package console

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
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
	Latest  *callbackd.Event // nil: it has none
	At      time.Time
	Marks   []bar // the latest events as ticks, oldest first
}

type sessionsPage struct {
	base
	scope
	Text        string
	Rows        []sessionRow
	More        bool // there is more than was looked at
	First, Next string
}

// Bounds of the list: how many events of all sessions it begins with, and how
// many of each it shows as ticks.
const (
	recentEvents = store.MaxPage
	marksShown   = 20
)

func (c *Console) sessions(w http.ResponseWriter, v *visit) error {
	s, err := c.scope(v)
	if err != nil {
		return err
	}
	p := &sessionsPage{base: c.base(v, "sessions", "Sessions"), scope: s, Text: field(v.URL.Query().Get("q"))}
	p.Find = p.Text
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

// sessionRows makes a row of each named session of a key, with its latest
// events, however many others came since.
func (c *Console) sessionRows(v *visit, s scope, key callbackd.KeyID, names []string, kept map[string]*callbackd.Session) ([]sessionRow, error) {
	ids := make([]store.SessionID, len(names))
	for i, name := range names {
		ids[i] = store.SessionID{Key: key, SessionKey: name}
	}
	latest, err := c.Store.LatestEvents(v.Context(), ids, marksShown)
	if err != nil {
		return nil, err
	}
	rows := make([]sessionRow, 0, len(names))
	for _, name := range names {
		r := sessionRow{Session: name, Owner: s.owner(key), Href: s.sessionHref(key, name)}
		x := kept[name]
		if x == nil {
			if x, err = c.Store.Session(v.Context(), key, name); err != nil && callbackd.KindOf(err) != callbackd.KindNotFound {
				return nil, err
			}
		}
		if x != nil {
			r.Status, r.VIN, r.At = string(x.Status), x.Vehicle.VIN, x.UpdatedAt
		}
		evs := latest[store.SessionID{Key: key, SessionKey: name}]
		if len(evs) > 0 {
			r.Latest = evs[0]
			if at := evs[0].Accepted(); at.After(r.At) {
				r.At = at
			}
		}
		for i, ev := range slices.Backward(evs) {
			r.Marks = append(r.Marks, bar{X: float64(len(evs)-1-i) * 12, W: 9, H: 16, Class: eventClass[ev.Type]})
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// findSessions looks for sessions that are kept here by a part of their key,
// VIN or reference, and for those whose key or VIN was given whole.
func (c *Console) findSessions(v *visit, p *sessionsPage) error {
	exact, err := c.sessionsNamed(v, p.scope, p.Text)
	if err != nil {
		return err
	}
	named := map[callbackd.KeyID][]string{}
	for _, id := range exact {
		named[id.Key] = append(named[id.Key], id.SessionKey)
	}
	keys := p.all() // a part of a text is looked for in as many keys as a list shows
	for _, id := range exact {
		if !slices.Contains(keys, id.Key) {
			keys = append(keys, id.Key)
		}
	}
	for _, key := range keys {
		names, kept := named[key], map[string]*callbackd.Session{}
		page, err := c.Store.ListSessions(v.Context(), store.SessionQuery{Key: key, Text: p.Text, Limit: pageRows})
		if err != nil {
			return err
		}
		p.More = p.More || page.Next.SessionKey != ""
		for _, x := range page.Sessions {
			kept[x.SessionKey] = x
			if !slices.Contains(names, x.SessionKey) {
				names = append(names, x.SessionKey)
			}
		}
		rows, err := c.sessionRows(v, p.scope, key, names, kept)
		if err != nil {
			return err
		}
		p.Rows = append(p.Rows, rows...)
	}
	return nil
}

// recentSessions is the sessions of the latest events, and those that were
// created and have none yet. A session is on the page of its newest event.
func (c *Console) recentSessions(v *visit, p *sessionsPage, after callbackd.EventID) error {
	var floor callbackd.EventID // below it a key may have more than it gave
	for _, key := range p.all() {
		page, err := c.Store.ListEvents(v.Context(), store.EventQuery{Key: key, After: after, Limit: recentEvents})
		if err != nil {
			return err
		}
		floor = max(floor, page.Next)
		var names []string
		for _, ev := range page.Events {
			if !slices.Contains(names, ev.Session) {
				names = append(names, ev.Session)
			}
		}
		rows, err := c.sessionRows(v, p.scope, key, names, nil)
		if err != nil {
			return err
		}
		p.Rows = append(p.Rows, rows...)
		if after == 0 {
			if err := c.newSessions(v, p, key, names); err != nil {
				return err
			}
		}
	}
	p.Rows = slices.DeleteFunc(p.Rows, func(r sessionRow) bool {
		return r.Latest != nil && (r.Latest.ID < floor || after != 0 && r.Latest.ID >= after)
	})
	if floor != 0 {
		q := p.query()
		q.Set("after", floor.String())
		p.Next = withValues(link("sessions"), q)
	}
	return nil
}

// newSessions adds the sessions that were created lately and have no event.
func (c *Console) newSessions(v *visit, p *sessionsPage, key callbackd.KeyID, known []string) error {
	page, err := c.Store.ListSessions(v.Context(), store.SessionQuery{Key: key, Limit: pageRows})
	if err != nil {
		return err
	}
	var names []string
	kept := map[string]*callbackd.Session{}
	for _, x := range page.Sessions {
		if !slices.Contains(known, x.SessionKey) {
			names, kept[x.SessionKey] = append(names, x.SessionKey), x
		}
	}
	rows, err := c.sessionRows(v, p.scope, key, names, kept)
	for _, r := range rows {
		if r.Latest == nil {
			p.Rows = append(p.Rows, r)
		}
	}
	return err
}

// eventClass is the colour of an event in small pictures.
var eventClass = map[callbackd.EventType]string{
	callbackd.SMSProcess: "connect", callbackd.StageChange: "wait", callbackd.StatusChange: "dns", callbackd.Complete: "f-ok", callbackd.NoteInsert: "body",
	callbackd.SMSRequested: "connect",
}

// chapter is one event of a session's story, or a gap in it.
type chapter struct {
	Sequence   int64
	Gap        string // what is missing there; the rest is empty then
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
	Why      string    // what it waits for, or how it failed
	Next     time.Time // its next attempt; zero: none is planned
}

type stage struct{ Name, Class string }

type sessionPage struct {
	base
	Session     string
	Kept        *callbackd.Session
	Summary     []owed
	More        string // where to see what the summary leaves out
	Stages      []stage
	Trail       []dot
	TrailEnd    string
	Chapters    []chapter
	First, Next string
}

func (c *Console) session(w http.ResponseWriter, v *visit) error {
	s, err := c.scope(v)
	if err != nil {
		return err
	}
	name := v.PathValue("session")
	var before int64
	if from := v.URL.Query().Get("before"); from != "" {
		if before, err = strconv.ParseInt(from, 10, 64); err != nil || before < 1 {
			return errNoPage
		}
	}
	var keys []callbackd.KeyID
	for _, key := range s.every() {
		known, err := c.sessionKnown(v, key, name)
		if err != nil {
			return err
		}
		if known {
			keys = append(keys, key)
		}
	}
	switch len(keys) {
	case 0:
		return errNoPage
	case 1:
		return c.oneSession(w, v, s, keys[0], name, before)
	}
	return see(w, v, withQuery(link("sessions"), "q", name), "") // several API keys use it: one is chosen
}

func (c *Console) oneSession(w http.ResponseWriter, v *visit, s scope, key callbackd.KeyID, name string, before int64) error {
	kept, err := c.Store.Session(v.Context(), key, name)
	if err != nil && callbackd.KindOf(err) != callbackd.KindNotFound {
		return err
	}
	evs, err := c.Store.SessionEvents(v.Context(), store.SessionEventQuery{Key: key, Session: name, Before: before, Newest: true, Limit: store.MaxPage})
	if err != nil {
		return err
	}
	p := &sessionPage{base: c.base(v, "sessions", "Session "+clip(clean(name), 40)), Session: name, Kept: kept}
	p.Refresh = 3
	why := c.newWhy(v)
	if p.Chapters, err = chapters(why, evs, before); err != nil {
		return err
	}
	if before == 0 {
		if err := c.summarize(v, p, why, key); err != nil {
			return err
		}
		p.Stages = stages(kept, evs)
	} else {
		p.First = s.sessionHref(key, name)
	}
	p.Trail, p.TrailEnd = sessionTrail(p.Chapters)
	if n := len(evs); store.StoryFull(evs, store.MaxPage) && evs[n-1].Sequence > 1 {
		q := s.query()
		q.Set("before", strconv.FormatInt(evs[n-1].Sequence, 10))
		p.Next = withValues(link("sessions", name), q)
	}
	return c.render(w, http.StatusOK, "session", p)
}

// summaryLines bounds the summary of a session.
const summaryLines = 8

// summarize fills in what of a session was not delivered, and why.
func (c *Console) summarize(v *visit, p *sessionPage, why *why, key callbackd.KeyID) error {
	for _, state := range []callbackd.State{callbackd.Pending, callbackd.Failed} {
		page, err := c.Store.ListDeliveries(v.Context(), store.DeliveryQuery{Key: key, Session: p.Session, State: state, Limit: summaryLines})
		if err != nil {
			return err
		}
		if page.Next != (callbackd.DeliveryID{}) || len(p.Summary)+len(page.Deliveries) > summaryLines {
			p.More = withQuery(link("deliveries"), "session", p.Session, "state", state)
		}
		for _, d := range page.Deliveries[:min(len(page.Deliveries), summaryLines-len(p.Summary))] {
			one, err := why.owed(d)
			if err != nil {
				return err
			}
			p.Summary = append(p.Summary, one)
		}
	}
	return nil
}

// longPause between two events is said.
const longPause = 10 * time.Minute

// chapters tells the events, newest first, and what is missing between them;
// before is the number of the event above the first, 0 at the top.
func chapters(why *why, evs []store.SessionEvent, before int64) (out []chapter, err error) {
	gap := func(above, below int64) {
		if above == 0 || above <= below+1 {
			return
		}
		s := fmt.Sprintf("#%d is", below+1)
		if above > below+2 {
			s = fmt.Sprintf("#%d to #%d are", below+1, above-1)
		}
		out = append(out, chapter{Gap: s + " no longer kept", Tone: "idle", Mark: "canceled"})
	}
	for i, ev := range evs {
		gap(before, ev.Sequence)
		before = ev.Sequence
		ch := chapter{Sequence: ev.Sequence, Event: ev.Event, Says: says(ev.Event)}
		if i+1 < len(evs) {
			if pause := ev.Accepted().Sub(evs[i+1].Accepted()); pause >= longPause {
				ch.After = span(pause)
			}
		}
		for _, d := range ev.Deliveries {
			one, err := why.owed(d)
			if err != nil {
				return nil, err
			}
			ch.Owed = append(ch.Owed, one)
		}
		ch.Tone, ch.Mark = worst(ch.Owed)
		out = append(out, ch)
	}
	if len(evs) > 0 && !store.StoryFull(evs, store.MaxPage) {
		gap(before, 0)
	}
	return out, nil
}

// worst is how an event stands: as its worst delivery does.
func worst(ds []owed) (tone, mark string) {
	tone, mark = "idle", "canceled"
	rank := map[string]int{string(callbackd.Canceled): 0, string(callbackd.Delivered): 1, string(callbackd.Pending): 2, retrying: 3, string(callbackd.Failed): 4}
	tones := []string{"idle", "ok", "busy", "warn", "bad"}
	most := -1
	for _, d := range ds {
		word := stateWord(d.DeliveryView)
		if n := rank[word]; n > most {
			most, tone, mark = n, tones[n], word
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
	switch n := len(d.Photos); n {
	case 0:
	case 1:
		parts = append(parts, "1 photo")
	default:
		parts = append(parts, fmt.Sprintf("%d photos", n))
	}
	if d.Report != "" {
		parts = append(parts, "a condition report")
	}
	return strings.Join(parts, ", ")
}

// stages draws the way of an inspection and how far it is. The events are
// newest first.
func stages(kept *callbackd.Session, evs []store.SessionEvent) []stage {
	status := callbackd.SessionStatus("")
	if kept != nil {
		status = kept.Status
	}
	for i := 0; i < len(evs) && status == ""; i++ {
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

// sessionTrail is the events over time as dots; they come newest first.
func sessionTrail(cs []chapter) (dots []dot, end string) {
	var first, last time.Time
	for _, ch := range cs {
		if ch.Event == nil {
			continue
		}
		if last.IsZero() {
			last = ch.Event.Accepted()
		}
		first = ch.Event.Accepted()
	}
	whole := last.Sub(first)
	if whole <= 0 {
		return nil, ""
	}
	class := map[string]string{"ok": "s-ok", "bad": "s-bad", "busy": "s-accent", "warn": "s-warn", "idle": "s-idle"}
	for _, ch := range slices.Backward(cs) {
		if ch.Event != nil {
			dots = append(dots, dot{8 + 984*float64(ch.Event.Accepted().Sub(first))/float64(whole), class[ch.Tone]})
		}
	}
	return dots, span(whole) + " later"
}

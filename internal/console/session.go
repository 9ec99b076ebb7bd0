package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"callbackd"
	"callbackd/internal/safetext"
	"callbackd/internal/store"
)

// timelineEntry is an event of a session, or a gap where events are missing.
type timelineEntry struct {
	Gap        string // which events are missing; everything else is empty then
	Sequence   int64
	Event      *callbackd.Event
	Text       string // its data in a few words
	Tone, Mark string
	Deliveries []deliveryRow
	Pause      string // since the event before; empty when it was short
}

// stage is a step of the inspection.
type stage struct{ Name, Class string }

type sessionPage struct {
	base
	Session     string
	EraseHref   string             // the form that begins to erase it
	Stored      *callbackd.Session // nil when it is known by its events only
	Summary     []deliveryRow
	Callbacks   []*callbackd.Callback // that are for this session only
	More        string                // where to see what the summary leaves out
	Stages      []stage
	Dots        []dot
	DotsEnd     string
	Timeline    []timelineEntry
	First, Next string
}

func (c *Console) session(w http.ResponseWriter, req *userRequest) error {
	s, err := c.scope(req)
	if err != nil {
		return err
	}
	name := req.PathValue("session")
	var before int64
	if text := req.URL.Query().Get("before"); text != "" {
		before, err = strconv.ParseInt(text, 10, 64)
		if err != nil || before < 1 {
			return errPageNotFound
		}
	}
	ids, err := c.sessionsWithKey(req.Context(), s.KeyID, name)
	if err != nil {
		return err
	}
	switch len(ids) {
	case 0:
		return errPageNotFound
	case 1:
		return c.sessionPage(w, req, s, ids[0], before)
	}
	// Several API keys use the session key: the operator chooses one.
	return redirect(w, req, withQuery(link("sessions"), "q", name), "")
}

// sessionPage shows the events of a session before the one with that number, or
// the newest when before is 0.
func (c *Console) sessionPage(w http.ResponseWriter, req *userRequest, s scope, id store.SessionID, before int64) error {
	stored, err := c.Store.Session(req.Context(), id.Key, id.SessionKey)
	if err != nil && callbackd.KindOf(err) != callbackd.KindNotFound {
		return err
	}
	events, err := c.Store.SessionEvents(req.Context(), store.SessionEventQuery{
		Key:     id.Key,
		Session: id.SessionKey,
		Before:  before,
		Newest:  true,
		Limit:   store.MaxPage,
	})
	if err != nil {
		return err
	}
	p := &sessionPage{
		base:    c.base(req, "sessions", "Session "+safetext.Clip(safetext.Escape(id.SessionKey), 40)),
		Session: id.SessionKey,
		Stored:  stored,
	}
	p.EraseHref = c.eraseHref(s, id)
	p.Refresh = 3
	rows := c.newRowBuilder(req)
	p.Timeline, err = timeline(rows, events, before)
	if err != nil {
		return err
	}
	if before == 0 {
		p.Stages = stages(stored, events)
		if err := c.fillSummary(req, p, rows, id.Key); err != nil {
			return err
		}
		own, err := c.Store.ListCallbacks(req.Context(), store.CallbackQuery{Key: id.Key, Session: id.SessionKey})
		if err != nil {
			return err
		}
		p.Callbacks = own.Callbacks
	} else {
		p.First = s.sessionHref(id.Key, id.SessionKey)
	}
	p.Dots, p.DotsEnd = eventDots(p.Timeline)
	if n := len(events); store.SessionEventsFull(events, store.MaxPage) && events[n-1].Sequence > 1 {
		q := s.query()
		q.Set("before", strconv.FormatInt(events[n-1].Sequence, 10))
		p.Next = withValues(link("sessions", id.SessionKey), q)
	}
	return c.render(w, http.StatusOK, "session", p)
}

// summaryRows bounds the summary of a session.
const summaryRows = 8

// fillSummary fills in the deliveries of a session that are not delivered.
func (c *Console) fillSummary(req *userRequest, p *sessionPage, rows *rowBuilder, key callbackd.KeyID) error {
	for _, state := range []callbackd.State{callbackd.Pending, callbackd.Failed} {
		page, err := c.Store.ListDeliveries(req.Context(), store.DeliveryQuery{Key: key, Session: p.Session, State: state, Limit: summaryRows})
		if err != nil {
			return err
		}
		room := summaryRows - len(p.Summary)
		if page.Next != (callbackd.DeliveryID{}) || len(page.Deliveries) > room {
			p.More = withQuery(link("deliveries"), "session", p.Session, "state", state)
		}
		more, err := rows.rows(page.Deliveries[:min(len(page.Deliveries), room)])
		if err != nil {
			return err
		}
		p.Summary = append(p.Summary, more...)
	}
	return nil
}

// longPause is from when on the time between two events is shown.
const longPause = 10 * time.Minute

// timeline makes an entry of each event, newest first, and of each gap between
// them. before is the number of the event above the first, or 0 at the top.
func timeline(rows *rowBuilder, events []store.SessionEvent, before int64) (entries []timelineEntry, err error) {
	addGap := func(above, below int64) {
		if above > below+1 {
			entries = append(entries, timelineEntry{Gap: gapText(below+1, above-1), Tone: "idle", Mark: "canceled"})
		}
	}
	for i, ev := range events {
		addGap(before, ev.Sequence)
		before = ev.Sequence
		entry := timelineEntry{Sequence: ev.Sequence, Event: ev.Event, Text: eventText(ev.Event)}
		if i+1 < len(events) {
			pause := ev.Accepted().Sub(events[i+1].Accepted())
			if pause >= longPause {
				entry.Pause = duration(pause)
			}
		}
		entry.Deliveries, err = rows.rows(ev.Deliveries)
		if err != nil {
			return nil, err
		}
		entry.Tone, entry.Mark = worstState(entry.Deliveries)
		entries = append(entries, entry)
	}
	if len(events) > 0 && !store.SessionEventsFull(events, store.MaxPage) {
		addGap(before, 0)
	}
	return entries, nil
}

// gapText says which events are missing.
func gapText(first, last int64) string {
	if first == last {
		return fmt.Sprintf("#%d is no longer stored", first)
	}
	return fmt.Sprintf("#%d to #%d are no longer stored", first, last)
}

// stateTones are the colours of the states of a delivery, from best to worst.
var stateTones = []struct{ state, tone string }{
	{string(callbackd.Canceled), "idle"},
	{string(callbackd.Delivered), "ok"},
	{string(callbackd.Pending), "busy"},
	{retrying, "warn"},
	{string(callbackd.Expired), "warn"},
	{string(callbackd.Failed), "bad"},
}

// worstState returns the colour and the mark of an event: those of its worst
// delivery.
func worstState(rows []deliveryRow) (tone, mark string) {
	worst := 0
	for _, row := range rows {
		for rank, s := range stateTones {
			if s.state == stateText(row.DeliveryView) {
				worst = max(worst, rank)
			}
		}
	}
	return stateTones[worst].tone, stateTones[worst].state
}

// stages draws the steps of an inspection and how far it is. The events are
// newest first.
func stages(stored *callbackd.Session, events []store.SessionEvent) []stage {
	status := sessionStatus(stored, events)
	if status == "" {
		return nil
	}
	steps := callbackd.SessionStatuses[:6]
	current := slices.Index(steps, status)
	if current < 0 {
		return endedStages(steps, status, len(events))
	}
	var out []stage
	for i, step := range steps {
		class := "todo"
		switch {
		case i < current, i == current && status == callbackd.StatusComplete:
			class = "past"
		case i == current:
			class = "here"
		}
		out = append(out, stage{string(step), class})
	}
	return out
}

// endedStages draws an inspection that ended before its last step. How far it came is not
// known, so it shows as many steps as there are events, up to three.
func endedStages(steps []callbackd.SessionStatus, status callbackd.SessionStatus, events int) (out []stage) {
	for _, step := range steps[:max(1, min(events, 3))] {
		out = append(out, stage{string(step), "past"})
	}
	return append(out, stage{string(status), "end"})
}

// sessionStatus returns the status of a stored session, or the one that the
// latest event told; empty when none did.
func sessionStatus(stored *callbackd.Session, events []store.SessionEvent) callbackd.SessionStatus {
	if stored != nil {
		return stored.Status
	}
	for _, ev := range events {
		if ev.Type != callbackd.StatusChange {
			continue
		}
		var d struct {
			Status callbackd.SessionStatus `json:"status"`
		}
		if json.Unmarshal(ev.Data, &d) == nil && d.Status.Valid() {
			return d.Status
		}
	}
	return ""
}

// eventDots draws the events on a line of time. The entries are newest first.
func eventDots(entries []timelineEntry) (dots []dot, end string) {
	entries = slices.DeleteFunc(slices.Clone(entries), func(e timelineEntry) bool { return e.Event == nil })
	if len(entries) == 0 {
		return nil, ""
	}
	first := entries[len(entries)-1].Event.Accepted()
	whole := entries[0].Event.Accepted().Sub(first)
	if whole <= 0 {
		return nil, ""
	}
	class := map[string]string{"ok": "s-ok", "bad": "s-bad", "busy": "s-accent", "warn": "s-warn", "idle": "s-idle"}
	for _, e := range slices.Backward(entries) {
		share := float64(e.Event.Accepted().Sub(first)) / float64(whole)
		dots = append(dots, dotAt(share, class[e.Tone]))
	}
	return dots, duration(whole) + " later"
}

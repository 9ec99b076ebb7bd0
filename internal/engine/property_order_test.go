package engine_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"callbackd"
)

// orderGroups has what happened to the order groups of a world.
type orderGroups struct {
	mu     sync.Mutex
	group  map[callbackd.CallbackID]string    // the last one
	since  map[callbackd.CallbackID]time.Time // when it got that one
	paused map[callbackd.CallbackID]time.Time // when it was paused first
}

// noteGroup notes a setting that may have changed the order group of its callback.
func (g *orderGroups) noteGroup(cb *callbackd.Callback) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.group == nil {
		g.group, g.since = map[callbackd.CallbackID]string{}, map[callbackd.CallbackID]time.Time{}
	}
	if before, ok := g.group[cb.ID]; !ok || before != cb.OrderGroup() {
		g.group[cb.ID], g.since[cb.ID] = cb.OrderGroup(), time.Now()
	}
}

func (g *orderGroups) notePause(callback callbackd.CallbackID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.paused == nil {
		g.paused = map[callbackd.CallbackID]time.Time{}
	}
	if g.paused[callback].IsZero() {
		g.paused[callback] = time.Now().Truncate(time.Millisecond) // as the times of attempts are stored
	}
}

// isTarget reports whether an event has the callback as a target.
func (w *world) isTarget(id callbackd.DeliveryID) bool {
	w.Helper()
	return slices.Contains(w.event(id.Event).Targets, id.Callback)
}

// event returns an event of the world. An accepted event does not change.
func (w *world) event(id callbackd.EventID) *callbackd.Event {
	w.Helper()
	if ev := w.events[id]; ev != nil {
		return ev
	}
	ev, err := w.s.Event(context.Background(), w.key.ID, id)
	if err != nil {
		w.Fatal(err)
	}
	w.events[id] = ev
	return ev
}

// hold is a delivery and until when, at least, it holds later ones of its session to other
// callbacks of the group.
type hold struct {
	id       callbackd.DeliveryID
	sequence int64
	until    time.Time
}

// verifyGroups checks that a delivery began only when each earlier one of its session to
// the same order group had ended, or held it no longer.
func (w *world) verifyGroups() {
	holds := map[string][]hold{} // by session
	for _, id := range w.ids {
		var of []hold // this event
		session := ""
		for _, callback := range w.cbs {
			d := callbackd.DeliveryID{Event: id, Callback: callback}
			if !w.isTarget(d) {
				continue
			}
			v := w.view(id, callback)
			session = v.Event.Session
			if len(v.History) == 0 {
				continue // it was canceled or expired before its first attempt
			}
			began := v.History[0].StartedAt
			for _, h := range holds[session] {
				if began.Before(h.until) && w.counts(h.id.Callback, callback, session, began) {
					w.problem("%s of %s #%d began %v before the end of %s #%d", d, session, v.Event.Sequence, h.until.Sub(began), h.id, h.sequence)
				}
			}
			if !w.times[id].deliverAt.IsZero() {
				continue // later ones may have gone first
			}
			of = append(of, hold{d, v.Event.Sequence, w.heldUntil(d)})
		}
		holds[session] = append(holds[session], of...)
	}
}

// heldUntil returns until when, at least, a delivery held later ones. An attempt's time is
// its beginning, so this is sooner than the engine may have let them go.
func (w *world) heldUntil(id callbackd.DeliveryID) time.Time {
	v := w.view(id.Event, id.Callback)
	wait := callbackd.Policy{OrderWait: w.wait[id.Callback]}.WithDefaults().OrderWait
	until := w.heldUntilInLane(v)
	if !w.calm { // the breaker may have been open, or the receiver may have asked to wait
		if sinceAccepted := v.Event.Accepted().Add(wait); sinceAccepted.Before(until) {
			until = sinceAccepted
		}
	}
	return until
}

// counts reports whether a callback had to wait for another one then: both had been in one
// group for a minute, in which the engine reads their settings, nobody had paused the
// other one or resent anything of the session.
func (w *world) counts(earlier, later callbackd.CallbackID, session string, at time.Time) bool {
	g := &w.groups
	if earlier == later || g.group[later] == "" || g.group[earlier] != g.group[later] || w.resent(earlier, session) || w.resent(later, session) {
		return false
	}
	known := at.Add(-time.Minute)
	paused := g.paused[earlier]
	return g.since[earlier].Before(known) && g.since[later].Before(known) && (paused.IsZero() || at.Before(paused))
}

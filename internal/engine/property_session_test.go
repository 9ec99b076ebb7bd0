package engine_test

import (
	"context"
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// sessionCallbacks has what happened to the callbacks of a world that are for one session,
// and which callbacks were deleted.
type sessionCallbacks struct {
	ids     []callbackd.CallbackID
	deleted map[callbackd.CallbackID]bool
}

// alive returns one of the callbacks that were not deleted; false when there is none.
func (w *world) alive(n int) (callbackd.CallbackID, bool) {
	var all []callbackd.CallbackID
	for _, id := range w.cbs {
		if !w.sessions.deleted[id] {
			all = append(all, id)
		}
	}
	if len(all) == 0 {
		return 0, false
	}
	return all[n%len(all)], true
}

// drawnCallback returns a callback for one session. How long one with its URL blocks a
// session never changes, so that the order can be checked; its order group does.
func drawnCallback(n int) *callbackd.Callback {
	p := []callbackd.Policy{{}, {Concurrency: 1, OrderWait: time.Minute}, {OrderWait: callbackd.NoOrderWait, Retry: []time.Duration{0, time.Millisecond, time.Second, time.Minute}}}[n%3]
	p.OrderGroup = []string{"", "g", "h", callbackd.GroupByOrigin}[n/9%4]
	return &callbackd.Callback{
		URL: []string{"https://example.com/0", "https://example.com/1", "https://session.example.com/"}[n%3], Method: "POST", Payload: []byte("{}"),
		Types: [][]callbackd.EventType{{ev1}, {ev1, callbackd.Complete}, {callbackd.Complete}}[n/3%3], Policy: p,
	}
}

// giveCallbacks publishes an event of each session with a callback for it. A session that
// has as many as it may gets the event alone.
func (w *world) giveCallbacks(s step) {
	for i, n := range s.Sessions[:min(len(s.Sessions), 8)] {
		given := drawnCallback(s.Event + i/2)
		ev := store.NewEvent{Type: given.Types[0], Session: fmt.Sprint("S", n), Data: []byte("{}"), Callback: given}
		if s.Event%7 == 0 {
			ev.DeliverAt = time.Now().Add(time.Duration(1+i) * time.Second).Truncate(time.Millisecond)
		}
		w.give(ev)
	}
}

// give accepts an event that gives its session a callback, and tells the engine of the
// callback as the API does.
func (w *world) give(ev store.NewEvent) {
	accept := func() ([]*callbackd.Event, error) {
		return w.s.Accept(context.Background(), store.Batch{Key: w.key.ID, At: time.Now(), Events: []store.NewEvent{ev}})
	}
	evs, err := accept()
	if callbackd.KindOf(err) == callbackd.KindInvalid { // it has as many as it may
		ev.Callback = nil
		evs, err = accept()
	}
	if err != nil {
		w.Fatal(err)
	}
	w.ids = append(w.ids, evs[0].ID)
	if !ev.DeliverAt.IsZero() {
		w.times[evs[0].ID] = times{deliverAt: ev.DeliverAt}
	}
	if ev.Callback == nil {
		return
	}
	for _, cb := range w.callbacksOf(ev.Session) {
		if cb.URL != ev.Callback.URL || fmt.Sprint(cb.Types) != fmt.Sprint(ev.Callback.Types) {
			continue
		}
		w.e.CallbackChanged(cb.ID)
		if _, known := w.wait[cb.ID]; !known {
			w.cbs, w.sessions.ids = append(w.cbs, cb.ID), append(w.sessions.ids, cb.ID)
			w.wait[cb.ID] = cb.Policy.OrderWait
		}
		w.groups.noteGroup(cb)
	}
}

// callbacksOf returns the callbacks in force of a session.
func (w *world) callbacksOf(session string) []*callbackd.Callback {
	w.Helper()
	page, err := w.s.ListCallbacks(context.Background(), store.CallbackQuery{Key: w.key.ID, Session: session})
	if err != nil {
		w.Fatal(err)
	}
	return page.Callbacks
}

// deleteCallback deletes a callback. What waits for it ends as canceled, and holds nothing
// any more.
func (w *world) deleteCallback(id callbackd.CallbackID) {
	w.end(id, false)
	w.sessions.deleted[id] = true
	w.groups.notePause(id)
}

// sweepCallbacks is the job that ends the callbacks of sessions of which nothing is stored
// any more. It returns how many it removed.
func (w *world) sweepCallbacks() (removed int) {
	w.Helper()
	now := time.Now()
	for after, done := callbackd.CallbackID(0), false; !done; {
		next, n, last, err := w.s.SweepSessionCallbacks(context.Background(), now, now, after, 3)
		if err != nil {
			w.Fatal(err)
		}
		removed, after, done = removed+n, next, last
	}
	return removed
}

// verifySessions checks that a callback for one session is in force as long as nobody has
// deleted it and events of its session are stored.
func (w *world) verifySessions() {
	if n := w.sweepCallbacks(); n > 0 {
		w.problem("%d callbacks of stored sessions were removed", n)
	}
	for _, id := range w.sessions.ids {
		if deleted := w.setting(id).Deleted(); deleted != w.sessions.deleted[id] {
			w.problem("callback %d: deleted %t, want %t", id, deleted, w.sessions.deleted[id])
		}
	}
}

// endSessions lets retention remove all sessions, and checks that their callbacks end with
// them. Some of the sessions then begin again, with other callbacks, which get what is new.
func (w *world) endSessions() {
	ctx := context.Background()
	for removed := 1; removed > 0; {
		swept, err := w.s.Sweep(ctx, store.Sweep{Before: time.Now(), Limit: 10_000})
		if err != nil {
			w.Fatal(err)
		}
		removed = swept.Removed
	}
	w.sweepCallbacks()
	old := w.sessions.ids
	w.ids, w.sessions.ids = nil, nil // the numbers of events begin again, too
	w.set(ok)
	w.mu.Lock()
	w.calls = nil
	w.mu.Unlock()
	const again = 4
	for n := range 7 {
		session := fmt.Sprint("S", n)
		if left := w.callbacksOf(session); len(left) > 0 {
			w.problem("session %s has %d callbacks after its end", session, len(left))
		}
		if n < again {
			w.give(store.NewEvent{Type: ev1, Session: session, Data: []byte("{}"), Callback: drawnCallback(n % 3)})
		}
	}
	pass(2 * time.Hour)
	w.sweepCallbacks()
	for _, id := range old {
		cb, err := w.s.CallbackByID(ctx, id)
		stored := err == nil && cb.Deleted() && cb.Session < fmt.Sprint("S", again)
		if !stored && callbackd.KindOf(err) != callbackd.KindNotFound {
			w.problem("callback %d after the end of its session: %+v, %v", id, cb, err)
		}
		if n := len(w.of(id)); n > 0 {
			w.problem("callback %d got %d requests after the end of its session", id, n)
		}
	}
	for _, id := range w.sessions.ids {
		if n := len(w.of(id)); n != 1 {
			w.problem("callback %d got %d requests in its session, which began again, want 1", id, n)
		}
	}
	if report, err := w.s.Check(ctx); err != nil || report.FaultN > 0 || len(w.sessions.ids) != again {
		w.problem("after the sessions: %d callbacks, error %v, report %+v", len(w.sessions.ids), err, report)
	}
}

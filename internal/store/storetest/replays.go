package storetest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// catchUp: from cursor to cursor a reader gets every event of its key once,
// in order, whatever is filtered.
func (s *suite) catchUp() {
	other := s.newKey("k2")
	changed, stop := s.Watch(s.key.ID)
	defer stop()
	read := func(q store.EventQuery) (ids []callbackd.EventID, at callbackd.EventID) {
		s.Helper()
		q.Key = s.key.ID
		for {
			page, err := s.EventsAfter(s.ctx(), q)
			s.must(err)
			for _, ev := range page.Events {
				if len(ev.Data) == 0 || ev.ID <= q.After {
					s.Fatalf("%+v after %s", ev, q.After)
				}
				ids = append(ids, ev.ID)
				q.After = ev.ID
			}
			if page.Next < q.After {
				s.Fatalf("the cursor went back from %s to %s", q.After, page.Next)
			}
			if len(page.Events) == 0 && page.Next == q.After {
				return ids, q.After
			}
			q.After = page.Next
		}
	}
	var want []callbackd.EventID
	add := func(evs []*callbackd.Event) {
		for _, ev := range evs {
			want = append(want, ev.ID)
		}
	}
	add(s.publish(s.key, ev1, "A", "B", "A"))
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		s.Fatal("a commit was not told")
	}
	s.publish(other, ev1, "A")
	add(s.publish(s.key, ev2, "A"))
	got, at := read(store.EventQuery{Limit: 2})
	if !slices.Equal(got, want) {
		s.Errorf("%v, want %v", got, want)
	}
	if got, _ := read(store.EventQuery{Limit: 200, Session: "A", Type: ev1}); !slices.Equal(got, []callbackd.EventID{want[0], want[2]}) {
		s.Errorf("of session A: %v of %v", got, want)
	}
	// Who is told of nothing gets on all the same.
	if got, after := read(store.EventQuery{Session: "none", Limit: 10}); len(got) != 0 || after != at {
		s.Errorf("%v at %s, want %s", got, after, at)
	}
	// A cursor tells nothing of other keys.
	s.publish(other, ev1, "A")
	if page, err := s.EventsAfter(s.ctx(), store.EventQuery{Key: s.key.ID, Limit: 10, After: at}); err != nil || page.Next != at {
		s.Errorf("after another key's event the cursor is %s, was %s: %v", page.Next, at, err)
	}
	if page, err := s.EventsAfter(s.ctx(), store.EventQuery{Key: s.newKey("silent").ID, Limit: 10}); err != nil || page.Next != 0 {
		s.Errorf("the cursor of a key without events is %s: %v", page.Next, err)
	}
	s.reopen()
	if got, after := read(store.EventQuery{After: at, Limit: 10}); len(got) != 0 || after != at {
		s.Errorf("%v at %s after %s: nothing has happened", got, after, at)
	}
	late := s.publish(s.key, ev1, "C")
	if got, _ := read(store.EventQuery{After: at, Limit: 10}); !slices.Equal(got, []callbackd.EventID{late[0].ID}) {
		s.Errorf("%v, want %v", got, late[0].ID)
	}
}

func (s *suite) replay(f callbackd.ReplayFilter, rate float64) *callbackd.Replay {
	s.Helper()
	n, err := s.CountReplay(s.ctx(), s.key.ID, f)
	s.must(err)
	r, err := s.CreateReplay(s.ctx(), callbackd.Replay{Key: s.key.ID, Filter: f, Rate: rate, CreatedAt: s.at})
	s.must(err)
	if r.Total != n || r.State != callbackd.ReplayRunning || r.Rate != rate {
		s.Errorf("counted %d, got %+v", n, r)
	}
	return r
}

func (s *suite) step(r *callbackd.Replay, at time.Time) store.ReplayStep {
	s.Helper()
	step, err := s.StepReplay(s.ctx(), r.ID, at)
	s.must(err)
	return step
}

func (s *suite) reread(r *callbackd.Replay) *callbackd.Replay {
	s.Helper()
	out, err := s.Replay(s.ctx(), r.Key, r.ID)
	s.must(err)
	return out
}

// test delivers a test of a callback.
func (s *suite) test(cb *callbackd.Callback) {
	s.Helper()
	evs, err := s.Accept(s.ctx(), store.Batch{Key: cb.Key, At: s.at, Events: []store.NewEvent{{Type: cb.Event, Session: "T", Data: []byte("{}"), OnlyTo: cb.ID}}})
	s.must(err)
	s.outcome(callbackd.Delivery{ID: callbackd.DeliveryID{Event: evs[0].ID, Callback: cb.ID}, Session: "T", Sequence: 1, Test: true}, callbackd.Delivered, time.Time{}, time.Time{})
}

// replays: the set is chosen once, each of it is made due once, outcomes are
// counted.
func (s *suite) replays() {
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev1, "b")
	evs := s.publish(s.key, ev1, "S1", "S2", "S3", "S1")
	gone := s.newCallback(s.key, ev1, "gone")
	s.test(a) // tests are in no set
	s.publish(s.key, ev1, "S4")
	for _, d := range s.fresh(gone.ID) {
		s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
	}
	_, err := s.DeleteCallback(s.ctx(), s.key.ID, ev1, "gone", s.at)
	s.must(err) // and nothing that has no callback any more
	for i, d := range s.fresh(a.ID)[:4] {
		s.outcome(d, []callbackd.State{callbackd.Delivered, callbackd.Failed}[i%2], time.Time{}, time.Time{})
	}
	for _, d := range s.fresh(b.ID)[:3] {
		s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
	}
	for want, f := range map[int64]callbackd.ReplayFilter{
		7: {}, 2: {States: []callbackd.State{callbackd.Failed}}, 5: {States: []callbackd.State{callbackd.Delivered}},
		4: {Callback: a.ID}, 3: {Session: "S1"}, 1: {Session: "S1", Callback: b.ID}, 0: {Type: ev2},
	} {
		if n, err := s.CountReplay(s.ctx(), s.key.ID, f); err != nil || n != want {
			s.Errorf("%+v chooses %d, want %d: %v", f, n, want, err)
		}
	}
	r := s.replay(callbackd.ReplayFilter{Callback: a.ID}, 0)
	s.must(func() error { // one of the set is repeated by a person before its turn
		_, err := s.Resend(s.ctx(), s.key.ID, callbackd.DeliveryID{Event: evs[3].ID, Callback: a.ID}, s.at)
		return err
	}())
	step := s.step(r, s.at)
	var due []callbackd.EventID
	for _, d := range step.Due {
		if d.Replay != r.ID || !d.Manual || d.Attempts != 1 || d.Session == "" || d.Due.Before(s.at) {
			s.Errorf("%+v", d)
		}
		due = append(due, d.ID.Event)
	}
	if want := []callbackd.EventID{evs[0].ID, evs[1].ID, evs[2].ID}; !slices.Equal(due, want) {
		s.Errorf("made due %v, want %v", due, want)
	}
	s.reopen()
	if again := s.step(r, s.at); len(again.Due) != 0 || again.State != callbackd.ReplayRunning {
		s.Errorf("%+v", again)
	}
	ds, _, err := s.Due(s.ctx(), callbackd.DueReplays, a.ID, s.at.Add(time.Hour), 10)
	s.must(err)
	if len(ds) != 3 || ds[0].Replay != r.ID {
		s.Fatalf("%+v", ds)
	}
	if ds, _, err := s.Due(s.ctx(), callbackd.DueRetries, a.ID, s.at.Add(time.Hour), 10); err != nil || len(ds) != 1 {
		s.Errorf("retries: %+v, %v", ds, err)
	}
	s.outcome(ds[0], callbackd.Delivered, time.Time{}, time.Time{})
	s.outcome(ds[1], callbackd.Pending, s.at.Add(time.Second), time.Time{})
	s.outcome(ds[2], callbackd.Failed, time.Time{}, time.Time{})
	if got := s.reread(r); got.Due != 4 || got.Skipped != 1 || got.Delivered != 1 || got.Failed != 1 || got.Pending() != 1 {
		s.Errorf("%+v", got)
	}
	ds, _, err = s.Due(s.ctx(), callbackd.DueReplays, a.ID, s.at.Add(time.Hour), 10)
	s.must(err)
	s.outcome(ds[0], callbackd.Delivered, time.Time{}, time.Time{})
	if got := s.step(r, s.at.Add(time.Minute)); got.State != callbackd.ReplayDone || s.reread(r).EndedAt.IsZero() {
		s.Errorf("%+v", got)
	}
	_, err = s.SetReplayState(s.ctx(), s.key.ID, r.ID, callbackd.ReplayPaused, s.at)
	s.kind(err, callbackd.KindConflict)
	s.otherKeysReplay(r, a.ID)
}

func (s *suite) otherKeysReplay(r *callbackd.Replay, target callbackd.CallbackID) {
	s.Helper()
	other := s.newKey("k2")
	_, err := s.Replay(s.ctx(), other.ID, r.ID)
	s.kind(err, callbackd.KindNotFound)
	_, err = s.SetReplayState(s.ctx(), other.ID, r.ID, callbackd.ReplayCanceled, s.at)
	s.kind(err, callbackd.KindNotFound)
	_, err = s.CreateReplay(s.ctx(), callbackd.Replay{Key: other.ID, Filter: callbackd.ReplayFilter{Target: target}, CreatedAt: s.at})
	s.kind(err, callbackd.KindInvalid)
	if n, err := s.CountReplay(s.ctx(), other.ID, callbackd.ReplayFilter{Callback: target}); err != nil || n != 0 {
		s.Errorf("another key's replay chooses %d: %v", n, err)
	}
	if rs, _, err := s.ListReplays(s.ctx(), other.ID, 0, 10); err != nil || len(rs) != 0 {
		s.Errorf("another key sees %+v, %v", rs, err)
	}
}

// replayTo: events go to a callback that was made later; the deliveries are
// owed from then on, and counted.
func (s *suite) replayTo() {
	old := s.newCallback(s.key, ev1, "old")
	evs := s.publish(s.key, ev1, "S1", "S2", "S3")
	s.publish(s.key, ev2, "S1")
	s.outcome(s.fresh(old.ID)[0], callbackd.Failed, time.Time{}, time.Time{})
	late := s.newCallback(s.key, ev1, "late")
	for want, f := range map[int64]callbackd.ReplayFilter{
		3: {Target: late.ID}, 1: {Target: late.ID, States: []callbackd.State{callbackd.Failed}}, 2: {Target: late.ID, States: []callbackd.State{callbackd.Pending}},
		0: {Target: late.ID, Session: "none"},
	} {
		if n, err := s.CountReplay(s.ctx(), s.key.ID, f); err != nil || n != want {
			s.Errorf("%+v chooses %d, want %d: %v", f, n, want, err)
		}
	}
	_, err := s.CountReplay(s.ctx(), s.key.ID, callbackd.ReplayFilter{Target: late.ID, Type: ev2})
	s.kind(err, callbackd.KindInvalid)
	_, err = s.CountReplay(s.ctx(), s.key.ID, callbackd.ReplayFilter{States: []callbackd.State{callbackd.Canceled}})
	s.kind(err, callbackd.KindInvalid)

	r := s.replay(callbackd.ReplayFilter{Target: late.ID}, 0)
	if got := len(s.step(r, s.at).Due); got != 3 {
		s.Fatalf("%d made due", got)
	}
	id := callbackd.DeliveryID{Event: evs[0].ID, Callback: late.ID}
	s.reopen()
	// The first event's own delivery has ended, but not this one.
	if _, removed, _, err := s.Sweep(s.ctx(), s.at.Add(time.Hour), 0, 100); err != nil || removed != 1 {
		s.Errorf("%d removed, %v", removed, err)
	}
	view, err := s.Delivery(s.ctx(), s.key.ID, id, 0)
	s.must(err)
	if view.State != callbackd.Pending || !view.Manual || view.Attempts != 0 {
		s.Errorf("%+v", view)
	}
	ev, err := s.Event(s.ctx(), s.key.ID, evs[0].ID)
	s.must(err)
	if !slices.Equal(ev.Targets, []callbackd.CallbackID{old.ID, late.ID}) {
		s.Errorf("owed to %v", ev.Targets)
	}
	story, err := s.SessionEvents(s.ctx(), store.SessionEventQuery{Key: s.key.ID, Session: "S1", Limit: 10})
	s.must(err)
	if len(story) == 0 || len(story[0].Deliveries) != 2 {
		s.Errorf("the session's page lacks what its event came to be owed: %+v", story)
	}
	ds, _, err := s.Due(s.ctx(), callbackd.DueReplays, late.ID, s.at.Add(time.Hour), 10)
	s.must(err)
	for _, d := range ds {
		s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
	}
	for state, want := range map[callbackd.State]int{"": 6, callbackd.Delivered: 3} {
		page, err := s.ListDeliveries(s.ctx(), store.DeliveryQuery{Key: s.key.ID, State: state, Limit: 200})
		s.must(err)
		if len(page.Deliveries) != want {
			s.Errorf("%d deliveries %q, want %d", len(page.Deliveries), state, want)
		}
	}
	report, err := s.Check(s.ctx())
	s.must(err)
	if b := report.Callbacks[1]; b.Accepted != 3 || b.Delivered != 3 {
		s.Errorf("%+v", b)
	}
	if got := s.reread(r); got.Created != 3 || got.Delivered != 3 {
		s.Errorf("%+v", got)
	}
	// A second one repeats what the first created.
	again := s.replay(callbackd.ReplayFilter{Target: late.ID}, 0)
	if step := s.step(again, s.at); len(step.Due) != 3 || s.reread(again).Created != 0 {
		s.Errorf("%+v", step)
	}
	_, err = s.DeleteCallback(s.ctx(), s.key.ID, ev1, "late", s.at)
	s.must(err)
	_, err = s.FinalizeCanceled(s.ctx(), s.at, 10)
	s.must(err)
	if got := s.reread(again); got.Canceled != 3 || got.Pending() != 0 {
		s.Errorf("%+v", got)
	}
	slots, err := s.ListStats(s.ctx(), store.StatsQuery{Callback: late.ID, Interval: store.Hour, Since: s.at.Add(-time.Hour), Until: s.at.Add(time.Hour)})
	s.must(err)
	if len(slots) != 1 || slots[0].Canceled != 3 {
		s.Errorf("what was canceled is counted as %+v", slots)
	}
	s.mustSweep(old.ID)
}

// mustSweep ends what is left and removes everything.
func (s *suite) mustSweep(cb callbackd.CallbackID) {
	s.Helper()
	for _, d := range s.fresh(cb) {
		s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{})
	}
	_, removed, _, err := s.Sweep(s.ctx(), s.at.Add(time.Hour), 0, 100)
	s.must(err)
	if removed != 3 {
		s.Errorf("%d removed", removed)
	}
}

// replayWindow: no more than a window is made due before it is tried, by the
// rate, and not for one that is paused or canceled.
func (s *suite) replayWindow() {
	cb := s.newCallback(s.key, ev1, "a")
	for i := range 2 {
		b := store.Batch{Key: s.key.ID, At: s.at}
		for j := range 400 {
			b.Events = append(b.Events, store.NewEvent{Type: ev1, Session: fmt.Sprint("S", i, j), Data: []byte("{}")})
		}
		_, err := s.Accept(s.ctx(), b)
		s.must(err)
	}
	s.deliverAll(s.fresh(cb.ID))
	r := s.replay(callbackd.ReplayFilter{}, 0)
	due := 0
	for range 5 {
		due += len(s.step(r, s.at).Due)
	}
	if due > callbackd.ReplayWindow || due < callbackd.ReplayWindow/2 {
		s.Errorf("%d made due and none tried", due)
	}
	_, err := s.SetReplayState(s.ctx(), s.key.ID, r.ID, callbackd.ReplayCanceled, s.at)
	s.must(err)
	ds, _, err := s.Due(s.ctx(), callbackd.DueReplays, cb.ID, s.at.Add(time.Hour), 1000)
	s.must(err)
	s.deliverAll(ds)
	if step := s.step(r, s.at); len(step.Due) != 0 || step.State != callbackd.ReplayCanceled {
		s.Errorf("a canceled replay made %d due", len(step.Due))
	}

	slow := s.replay(callbackd.ReplayFilter{}, 10)
	first := s.step(slow, s.at)
	if len(first.Due) != 10 || first.Next.Sub(s.at) < 900*time.Millisecond || first.Due[9].Due.Sub(first.Due[0].Due) < 800*time.Millisecond {
		s.Errorf("at 10 a second: %d due, next %v", len(first.Due), first.Next.Sub(s.at))
	}
	if early := s.step(slow, s.at.Add(500*time.Millisecond)); len(early.Due) != 0 || early.Next.IsZero() {
		s.Errorf("%d due before their time", len(early.Due))
	}
	if ids, err := s.RunningReplays(s.ctx()); err != nil || !slices.Equal(ids, []callbackd.ReplayID{slow.ID}) {
		s.Errorf("running: %v, %v", ids, err)
	}
	if rs, next, err := s.ListReplays(s.ctx(), s.key.ID, 0, 1); err != nil || len(rs) != 1 || rs[0].ID != slow.ID || next != slow.ID {
		s.Errorf("%+v, %v, %v", rs, next, err)
	}
	for range callbackd.MaxReplays - 1 {
		s.replay(callbackd.ReplayFilter{Type: ev2}, 0)
	}
	_, err = s.CreateReplay(s.ctx(), callbackd.Replay{Key: s.key.ID, CreatedAt: s.at})
	s.kind(err, callbackd.KindLimited)
	s.prune(r)
}

// deliverAll records successes side by side, so that they share commits.
func (s *suite) deliverAll(ds []callbackd.Delivery) {
	var wg sync.WaitGroup
	for _, d := range ds {
		wg.Go(func() { s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{}) })
	}
	wg.Wait()
}

// prune removes replays that ended before, with nothing of them pending.
func (s *suite) prune(gone *callbackd.Replay) {
	s.Helper()
	_, err := s.Prune(s.ctx(), store.Prune{Replays: s.at.Add(time.Hour)}, 100)
	s.must(err)
	_, err = s.Replay(s.ctx(), s.key.ID, gone.ID)
	s.kind(err, callbackd.KindNotFound)
}

// notEarly: what waits does not come back before its time.
func (s *suite) notEarly() {
	cb := s.newCallback(s.key, ev1, "a")
	s.publish(s.key, ev1, "S")
	d := s.fresh(cb.ID)[0]
	for range 2 { // as a new row, and as one that is there
		due, holds := s.at.Add(time.Second+55*time.Microsecond), s.at.Add(time.Minute+time.Nanosecond)
		s.outcome(d, callbackd.Pending, due, holds)
		ds, _, err := s.Due(s.ctx(), callbackd.DueRetries, cb.ID, s.at.Add(time.Hour), 1)
		s.must(err)
		d = ds[0]
		for was, got := range map[time.Time]time.Time{due: d.Due, holds: d.HoldsUntil} {
			if got.Before(was) || got.Sub(was) > time.Millisecond {
				s.Errorf("%v came back as %v", was, got)
			}
		}
		if _, next, err := s.Due(s.ctx(), callbackd.DueRetries, cb.ID, due, 1); err != nil || next.Before(due) {
			s.Errorf("at its time less than a millisecond: %v, %v", next, err)
		}
	}
}

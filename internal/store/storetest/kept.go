package storetest

import (
	"fmt"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// keptTests are about what outlasts attempts: what is kept with a callback,
// and outcomes that come after its end.
var keptTests = map[string]func(*suite){
	"PauseAndHealth": (*suite).pauseAndHealth, "ChangesOfAnOlderVersion": (*suite).olderVersion, "APauseIsToldOnce": (*suite).pausedOnce,
	"ClosedUntil": (*suite).closedUntil, "Proven": (*suite).proven, "MakeDue": (*suite).makeDue, "MakeDueBeginsAnew": (*suite).makeDueAnew,
	"OutcomesAfterTheEnd": (*suite).afterTheEnd, "OutcomesOfReplaysAfterTheEnd": (*suite).replayAfterTheEnd, "RetryOfWhatWasNeverTried": (*suite).retryUntried,
	"ReplayOfWhatIsPending": (*suite).replayPending,
}

// change records a failed attempt of d that changes its callback.
func (s *suite) change(d callbackd.Delivery, c callbackd.CallbackChange) callbackd.Recorded {
	s.Helper()
	o := result(d, callbackd.Pending, s.at, s.at.Add(time.Minute), time.Time{})
	o.Change = c
	got, err := s.Record(s.ctx(), o)
	s.must(err)
	return got
}

func (s *suite) callback(no callbackd.CallbackID) *callbackd.Callback {
	s.Helper()
	cb, err := s.CallbackByID(s.ctx(), no)
	s.must(err)
	return cb
}

// replace gives the callback another URL.
func (s *suite) replace(cb *callbackd.Callback, url string) *callbackd.Callback {
	s.Helper()
	next := *cb
	next.URL = url
	got, err := s.ReplaceCallback(s.ctx(), next, s.at)
	s.must(err)
	return got
}

func (s *suite) resume(cb *callbackd.Callback) *callbackd.Callback {
	s.Helper()
	got, err := s.PauseCallback(s.ctx(), cb.Key, cb.Event, cb.Name, callbackd.Pause{At: s.at})
	s.must(err)
	return got
}

func (s *suite) pauseAndHealth() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "S", "S2")
	s.change(s.fresh(cb.ID)[0], callbackd.CallbackChange{Version: 1, HealthTurned: true, FailingSince: s.at, Pause: callbackd.PausedGone})
	for range 2 {
		got := s.callback(cb.ID)
		if !got.FailingSince.Equal(s.at) || got.Pause.Reason != callbackd.PausedGone || got.Pause.At.IsZero() {
			s.Errorf("%+v", got)
		}
		s.reopen()
	}
	if got := s.resume(cb); got.Paused() || !got.FailingSince.IsZero() {
		s.Errorf("%+v", got)
	}
	for n := range 2 { // the same pause again is the first one
		_, err := s.PauseCallback(s.ctx(), s.key.ID, ev1, "default", callbackd.Pause{Reason: callbackd.PausedByUser, At: s.at.Add(time.Duration(n) * time.Hour)})
		s.must(err)
		if got := s.callback(cb.ID); !got.Paused() || !got.Pause.At.Equal(s.at) {
			s.Errorf("%+v", got)
		}
	}
}

// olderVersion: what an attempt says about the receiver of an older version
// is not taken for the present one.
func (s *suite) olderVersion() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "S")
	d := s.fresh(cb.ID)[0]
	s.replace(cb, "https://b.example/h")
	got := s.change(d, callbackd.CallbackChange{Version: 1, HealthTurned: true, FailingSince: s.at, Pause: callbackd.PausedGone, ClosedUntil: s.at.Add(time.Hour), Proven: true})
	if got.Paused || got.State != callbackd.Pending {
		s.Errorf("%+v", got)
	}
	if cb := s.callback(cb.ID); cb.Paused() || !cb.FailingSince.IsZero() || !cb.ClosedUntil.IsZero() || cb.Proven {
		s.Errorf("version 2 is %+v", cb)
	}
}

// pausedOnce: one pause is one outcome's, however many ask for it, and a
// pause by a person stays one.
func (s *suite) pausedOnce() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "A", "B", "C")
	told := 0
	for _, d := range s.fresh(cb.ID) {
		if s.change(d, callbackd.CallbackChange{Version: 1, Pause: callbackd.PausedGone}).Paused {
			told++
		}
	}
	if told != 1 {
		s.Errorf("told %d times", told)
	}
	s.resume(cb)
	_, err := s.PauseCallback(s.ctx(), cb.Key, cb.Event, cb.Name, callbackd.Pause{Reason: callbackd.PausedByUser, At: s.at})
	s.must(err)
	s.publish(s.key, ev1, "D")
	got := s.change(s.fresh(cb.ID)[0], callbackd.CallbackChange{Version: 1, Pause: callbackd.PausedNoAnswer})
	if now := s.callback(cb.ID); got.Paused || now.Pause.Reason != callbackd.PausedByUser {
		s.Errorf("%+v, %+v", got, now.Pause)
	}
}

// closedUntil: of several times the latest is kept, over restarts, until
// another origin or a resume.
func (s *suite) closedUntil() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "A", "B", "C")
	ds := s.fresh(cb.ID)
	late := s.at.Add(time.Hour)
	for i, until := range []time.Time{s.at.Add(time.Minute), late, s.at.Add(time.Second)} {
		s.change(ds[i], callbackd.CallbackChange{Version: 1, ClosedUntil: until})
	}
	s.reopen()
	if got := s.callback(cb.ID); !got.ClosedUntil.Equal(late) {
		s.Errorf("closed until %v, want %v", got.ClosedUntil, late)
	}
	if got := s.replace(cb, "https://a.example/elsewhere"); !got.ClosedUntil.Equal(late) {
		s.Errorf("at the same origin it is closed until %v, want %v", got.ClosedUntil, late)
	}
	if got := s.replace(cb, "https://b.example/h"); !got.ClosedUntil.IsZero() {
		s.Errorf("another origin is closed until %v", got.ClosedUntil)
	}
	s.change(ds[0], callbackd.CallbackChange{Version: 3, ClosedUntil: late})
	s.resume(cb)
	if got := s.callback(cb.ID); !got.ClosedUntil.IsZero() {
		s.Errorf("after a resume it is closed until %v", got.ClosedUntil)
	}
}

func (s *suite) proven() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "A")
	if s.callback(cb.ID).Proven {
		s.Error("a new callback is proven")
	}
	s.change(s.fresh(cb.ID)[0], callbackd.CallbackChange{Version: 1, Proven: true})
	s.reopen()
	if !s.callback(cb.ID).Proven || !s.replace(cb, "https://a.example/elsewhere").Proven {
		s.Error("it does not stay proven at its origin")
	}
	if s.replace(cb, "https://b.example/h").Proven {
		s.Error("it is proven at another origin")
	}
}

// due is when the callback's scheduled deliveries are due.
func (s *suite) due(no callbackd.CallbackID) map[callbackd.EventID]time.Time {
	s.Helper()
	ds, _, err := s.Due(s.ctx(), callbackd.DueRetries, no, s.at.Add(1000*time.Hour), 1000)
	s.must(err)
	again, _, err := s.Due(s.ctx(), callbackd.DueReplays, no, s.at.Add(1000*time.Hour), 1000)
	s.must(err)
	out := map[callbackd.EventID]time.Time{}
	for _, d := range append(ds, again...) {
		out[d.ID.Event] = d.Due
	}
	return out
}

// makeDue: a resume and another URL make due what waits, step by step, over
// restarts; what was never tried, what is due and what a replay's rate spaces
// stays as it is, and so do others' deliveries.
func (s *suite) makeDue() {
	cb, other := s.newCallback(s.key, ev1, "default"), s.newCallback(s.key, ev1, "other")
	var sessions []string
	for i := range 30 {
		sessions = append(sessions, fmt.Sprint("S", i))
	}
	s.publish(s.key, ev1, sessions...)
	hour := s.at.Add(time.Hour)
	for i, d := range s.fresh(cb.ID) {
		switch i % 3 {
		case 0:
			s.outcome(d, callbackd.Pending, hour.Add(time.Duration(i)*time.Minute), hour)
		case 1:
			s.outcome(d, callbackd.Pending, s.at.Add(-time.Minute), time.Time{})
		}
	}
	s.outcome(s.fresh(other.ID)[0], callbackd.Pending, hour, time.Time{})
	if moved, done, err := s.Store.MakeDue(s.ctx(), cb.ID, s.at, 10); err != nil || moved != 0 || !done {
		s.Errorf("%d moved, done %v, %v: nobody asked for it", moved, done, err)
	}
	if got := s.replace(cb, "https://a.example/h2"); !got.Releasing || !got.ReleasedAt.Equal(s.at) {
		s.Errorf("%+v", got)
	}
	total := 0
	for step := 1; ; step++ {
		moved, done, err := s.Store.MakeDue(s.ctx(), cb.ID, s.at, 10)
		s.must(err)
		if total += moved; done {
			break
		}
		if step > 3 || moved > 10 {
			s.Fatalf("%d moved in step %d", moved, step)
		}
		s.reopen()
	}
	for ev, due := range s.due(cb.ID) {
		if due.After(s.at) {
			s.Errorf("%s is due in %v", ev, due.Sub(s.at))
		}
	}
	if total != 10 || len(s.due(cb.ID)) != 20 || len(s.fresh(cb.ID)) != 10 {
		s.Errorf("%d moved, %d wait, %d are fresh", total, len(s.due(cb.ID)), len(s.fresh(cb.ID)))
	}
	if got := s.callback(cb.ID); got.Releasing || !got.ReleasedAt.Equal(s.at) {
		s.Errorf("it is not done: %+v", got)
	}
	for _, due := range s.due(other.ID) {
		if !due.Equal(hour) {
			s.Errorf("another callback's is due in %v", due.Sub(s.at))
		}
	}
}

// makeDueAnew: what failed again is not moved by the same release, and is by
// the next one. What a replay spaces by its rate waits for it.
func (s *suite) makeDueAnew() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "A", "B", "C")
	ds := s.fresh(cb.ID)
	hour := s.at.Add(time.Hour)
	s.outcome(ds[0], callbackd.Pending, hour, time.Time{})
	s.outcome(ds[1], callbackd.Delivered, time.Time{}, time.Time{})
	s.outcome(ds[2], callbackd.Delivered, time.Time{}, time.Time{})
	s.step(s.replay(callbackd.ReplayFilter{}, 2), hour) // both are due within the hour after next
	s.resume(cb)
	all := func() (moved int) {
		s.Helper()
		for {
			n, done, err := s.Store.MakeDue(s.ctx(), cb.ID, s.at, 1)
			s.must(err)
			if moved += n; done {
				return moved
			}
		}
	}
	if moved, done, err := s.Store.MakeDue(s.ctx(), cb.ID, s.at, 1); err != nil || moved != 1 || done {
		s.Fatalf("%d moved, done %v, %v", moved, done, err)
	}
	s.outcome(ds[0], callbackd.Pending, hour, time.Time{})
	if moved := all(); moved != 0 {
		s.Errorf("%d moved of what failed again or waits for a rate", moved)
	}
	s.resume(cb)
	if moved := all(); moved != 1 {
		s.Errorf("the next release moved %d", moved)
	}
}

// canceled is the sum of what was counted as canceled.
func (s *suite) canceled(no callbackd.CallbackID) (n int64) {
	s.Helper()
	slots, err := s.ListStats(s.ctx(), store.StatsQuery{Callback: no, Interval: store.Hour, Since: s.at.Add(-2 * time.Hour), Until: s.at.Add(2 * time.Hour)})
	s.must(err)
	for _, slot := range slots {
		n += slot.Canceled
	}
	return n
}

// afterTheEnd: an attempt that outlasts its callback or key is recorded as it
// was, before and after its delivery was canceled.
func (s *suite) afterTheEnd() {
	for i, settledFirst := range []bool{false, true} {
		for j, revoked := range []bool{false, true} {
			key := s.newKey(fmt.Sprint("ends", i, j))
			cb := s.newCallback(key, ev1, "default")
			s.publish(key, ev1, "A", "B", "C", "D", "E")
			ds := s.fresh(cb.ID)
			s.outcome(ds[3], callbackd.Pending, s.at, time.Time{}) // and flies again
			ds[3].Attempts = 1
			if revoked {
				s.must(s.RevokeKey(s.ctx(), key.APIKey, s.at))
			} else {
				s.must(second(s.DeleteCallback(s.ctx(), key.ID, ev1, "default", s.at)))
			}
			if settledFirst {
				if n, err := s.FinalizeCanceled(s.ctx(), s.at, 100); err != nil || n != 5 || s.canceled(cb.ID) != 5 {
					s.Errorf("settled %d, %v, and counted %d", n, err, s.canceled(cb.ID))
				}
			}
			want := []callbackd.State{callbackd.Delivered, callbackd.Failed, callbackd.Canceled, callbackd.Delivered}
			for n, state := range []callbackd.State{callbackd.Delivered, callbackd.Failed, callbackd.Pending, callbackd.Delivered} {
				if got := s.outcome(ds[n], state, s.at.Add(time.Hour), time.Time{}); got != want[n] {
					s.Errorf("settled first %v: %s is recorded as %s", settledFirst, state, got)
				}
				v, err := s.Delivery(s.ctx(), key.ID, ds[n].ID, 0)
				s.must(err)
				attempts := 1 + n/3
				if v.State != want[n] || v.Attempts != attempts || len(v.History) != attempts || v.History[attempts-1].Number != attempts || v.History[attempts-1].State != want[n] || !v.Due.IsZero() {
					s.Errorf("settled first %v: %+v", settledFirst, v)
				}
				_, err = s.Record(s.ctx(), result(ds[n], state, s.at, s.at, s.at))
				s.kind(err, callbackd.KindConflict) // it was taken
			}
			s.reopen()
			s.must(second(s.FinalizeCanceled(s.ctx(), s.at, 100)))
			// What has outcomes is counted with them, by whoever counts attempts.
			if n := s.canceled(cb.ID); n != 1 {
				s.Errorf("settled first %v: %d are counted as canceled without an attempt", settledFirst, n)
			}
			s.balanced()
			s.counts(cb.ID, 2, 1, 2)
		}
	}
}

// counts checks what the check says of a callback.
func (s *suite) counts(no callbackd.CallbackID, delivered, failed, canceled int64) {
	s.Helper()
	r, err := s.Check(s.ctx())
	s.must(err)
	for _, b := range r.Callbacks {
		if b.Callback.ID == no && (b.Delivered != delivered || b.Failed != failed || b.Canceled != canceled || b.Pending != 0) {
			s.Errorf("%+v", b)
		}
	}
}

// replayAfterTheEnd: the counts of a replay follow.
func (s *suite) replayAfterTheEnd() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "A", "B", "C")
	for _, d := range s.fresh(cb.ID) {
		s.outcome(d, callbackd.Failed, time.Time{}, time.Time{})
	}
	r := s.replay(callbackd.ReplayFilter{}, 0)
	due := s.step(r, s.at).Due
	s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, ev1, "default", s.at)))
	s.must(second(s.FinalizeCanceled(s.ctx(), s.at, 100)))
	s.outcome(due[0], callbackd.Delivered, time.Time{}, time.Time{})
	s.outcome(due[1], callbackd.Pending, s.at.Add(time.Hour), time.Time{})
	if got := s.reread(r); got.Delivered != 1 || got.Canceled != 2 || got.Failed != 0 || got.Pending() != 0 {
		s.Errorf("%+v", got)
	}
}

// retryUntried: what was never tried takes its turn, with or without a row.
func (s *suite) retryUntried() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "S", "S", "S")
	for range 2 {
		for _, d := range s.fresh(cb.ID) {
			got, err := s.Resend(s.ctx(), s.key.ID, d.ID, s.at)
			s.must(err)
			if got.ID != d.ID || got.Manual || !got.Due.IsZero() || got.Attempts != 0 || got.Session != "S" || got.Sequence != d.Sequence {
				s.Errorf("%+v", got)
			}
		}
		if n, due := len(s.fresh(cb.ID)), len(s.due(cb.ID)); n != 3 || due != 0 {
			s.Errorf("%d in their turn, %d out of it", n, due)
		}
		s.reopen() // the second time every one has a row
	}
}

// replayPending: a replay of what is pending makes due what waits for a later
// time, from the start of its schedule, and leaves alone what does not.
func (s *suite) replayPending() {
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "A", "B", "C", "D", "E", "F")
	ds := s.fresh(cb.ID)
	hour := s.at.Add(time.Hour)
	s.outcome(ds[0], callbackd.Pending, hour, hour)
	s.outcome(ds[1], callbackd.Pending, s.at.Add(-time.Minute), time.Time{})
	s.outcome(ds[2], callbackd.Delivered, time.Time{}, time.Time{})
	s.outcome(ds[3], callbackd.Failed, time.Time{}, time.Time{})
	s.outcome(ds[4], callbackd.Pending, hour, time.Time{}) // ds[5] is fresh
	if step := s.step(s.replay(callbackd.ReplayFilter{Target: cb.ID, States: []callbackd.State{callbackd.Pending}}, 0), s.at); len(step.Due) != 0 {
		s.Errorf("to a target it makes due what waits there: %+v", step.Due)
	}
	r := s.replay(callbackd.ReplayFilter{States: []callbackd.State{callbackd.Pending}}, 0)
	due := s.step(r, s.at).Due
	if got := s.reread(r); got.Total != 4 || got.Due != 4 || got.Skipped != 2 || len(due) != 2 {
		s.Fatalf("%+v, %d due", got, len(due))
	}
	for i, d := range due {
		if d.ID != ds[4*i].ID || !d.Due.Equal(s.at) || !d.Manual || d.Step != 0 || d.Attempts != 1 || d.Replay != r.ID || d.Session != ds[4*i].Session {
			s.Errorf("%+v", d)
		}
	}
	stored, _, err := s.Due(s.ctx(), callbackd.DueReplays, cb.ID, s.at, 10)
	s.must(err)
	if len(stored) != 2 || stored[0] != due[0] || stored[1] != due[1] {
		s.Errorf("%+v, want %+v", stored, due)
	}
	s.outcome(due[0], callbackd.Delivered, time.Time{}, time.Time{})
	s.outcome(due[1], callbackd.Failed, time.Time{}, time.Time{})
	if step := s.step(r, s.at); step.State != callbackd.ReplayDone {
		s.Errorf("%+v", step)
	}
	if got := s.reread(r); got.Delivered != 1 || got.Failed != 1 {
		s.Errorf("%+v", got)
	}
}

package storetest

import (
	"fmt"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var replayTests = map[string]func(*suite){
	"ReplaysChooseEndedDeliveries":   (*suite).replaySets,
	"ReplayStepsMakeDueOnce":         (*suite).replaySteps,
	"ReplaysLeaveOutWhatWasResent":   (*suite).replayOfResent,
	"ReplaysCountTheirOutcomes":      (*suite).replayOutcomes,
	"ReplaysEnd":                     (*suite).replayEnd,
	"ReplaysOfOtherKeys":             (*suite).otherKeysReplay,
	"ReplayOfWhatIsPending":          (*suite).replayPending,
	"ReplayOfWhatIsPendingEnds":      (*suite).replayPendingEnds,
	"ReplayToATargetOfWhatIsPending": (*suite).replayPendingToTarget,
	"ReplayWindow":                   (*suite).replayWindow,
	"CanceledReplaysMakeNothingDue":  (*suite).replayCanceled,
	"ReplayRate":                     (*suite).replayRate,
	"ReplaysAreListed":               (*suite).replaysListed,
	"RunningReplaysAreListed":        (*suite).runningReplaysListed,
	"ReplaysAreLimited":              (*suite).replaysLimited,
	"ReplaysArePruned":               (*suite).replaysPruned,
}

// replay creates a replay of the suite's key and checks that its set has the
// size that was counted.
func (s *suite) replay(f callbackd.ReplayFilter, rate float64) *callbackd.Replay {
	s.Helper()
	n, err := s.CountReplay(s.ctx(), s.key.ID, f)
	s.must(err)
	r, err := s.CreateReplay(s.ctx(), callbackd.Replay{Key: s.key.ID, Filter: f, Rate: rate, CreatedAt: s.at})
	s.must(err)
	s.equal("the size of the replay's set, which was counted before", r.Total, n)
	s.equal("the state of the new replay", r.State, callbackd.ReplayRunning)
	s.equal("the rate of the new replay", r.Rate, rate)
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

// replayCounts are the counts of a replay.
type replayCounts struct {
	Total, Due, Skipped, Created, Delivered, Failed, Canceled, Pending int64
}

// counted compares the counts of a stored replay.
func (s *suite) counted(r *callbackd.Replay, want replayCounts) {
	s.Helper()
	got := s.reread(r)
	s.equal("the counts of the replay", replayCounts{
		Total: got.Total, Due: got.Due, Skipped: got.Skipped, Created: got.Created,
		Delivered: got.Delivered, Failed: got.Failed, Canceled: got.Canceled, Pending: got.Pending(),
	}, want)
}

// chooses checks how many deliveries a replay with the filter would send.
func (s *suite) chooses(f callbackd.ReplayFilter, want int64) {
	s.Helper()
	n, err := s.CountReplay(s.ctx(), s.key.ID, f)
	s.must(err)
	s.equal(fmt.Sprintf("deliveries that %+v chooses", f), n, want)
}

// dueOf returns the deliveries of a callback that are due within a thousand hours.
func (s *suite) dueOf(source callbackd.Source, cb callbackd.CallbackID) []callbackd.Delivery {
	s.Helper()
	ds, _, err := s.Pending(s.ctx(), callbackd.PendingRead{Callback: cb, Source: source, At: s.at.Add(1000 * time.Hour), Limit: 1000})
	s.must(err)
	return ds
}

func (s *suite) setReplayState(r *callbackd.Replay, state callbackd.ReplayState) {
	s.Helper()
	s.must(second(s.SetReplayState(s.ctx(), r.Key, r.ID, state, s.at)))
}

// deliverAll records successes at once.
func (s *suite) deliverAll(ds []callbackd.Delivery) {
	s.atOnce(ds, func(_ int, d callbackd.Delivery) { s.outcome(d, callbackd.Delivered, time.Time{}, time.Time{}) })
}

// atOnce calls f for all deliveries at once, so that their outcomes share commits.
func (s *suite) atOnce(ds []callbackd.Delivery, f func(i int, d callbackd.Delivery)) {
	var calls sync.WaitGroup
	for i, d := range ds {
		calls.Go(func() { f(i, d) })
	}
	calls.Wait()
}

// test delivers a test of a callback.
func (s *suite) test(cb *callbackd.Callback) {
	s.Helper()
	evs, err := s.Accept(s.ctx(), store.Batch{Key: cb.Key, At: s.at, Events: []store.NewEvent{{Type: cb.Event, Session: "T", Data: []byte("{}"), OnlyTo: cb.ID}}})
	s.must(err)
	s.outcome(callbackd.Delivery{ID: callbackd.DeliveryID{Event: evs[0].ID, Callback: cb.ID}, Session: "T", Sequence: 1, Test: true}, callbackd.Delivered, time.Time{}, time.Time{})
}

// replayable publishes four events to callbacks a and b. Two of a are delivered
// and two failed; three of b are delivered and one is pending. A delivered test
// and the deliveries of a deleted callback are in no replay.
func (s *suite) replayable() (a, b *callbackd.Callback, evs []*callbackd.Event) {
	s.Helper()
	a, b = s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev1, "b")
	evs = s.publish(s.key, ev1, "S1", "S2", "S3", "S1")
	s.test(a)
	deleted := s.newCallback(s.key, ev1, "deleted")
	s.publish(s.key, ev1, "S4")
	s.deliverAll(s.fresh(deleted.ID))
	s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, ev1, "deleted", s.at)))
	for i, d := range s.fresh(a.ID)[:4] {
		s.outcome(d, []callbackd.State{callbackd.Delivered, callbackd.Failed}[i%2], time.Time{}, time.Time{})
	}
	s.deliverAll(s.fresh(b.ID)[:3])
	return a, b, evs
}

func (s *suite) replaySets() {
	a, b, _ := s.replayable()
	s.chooses(callbackd.ReplayFilter{}, 7)
	s.chooses(callbackd.ReplayFilter{States: []callbackd.State{callbackd.Failed}}, 2)
	s.chooses(callbackd.ReplayFilter{States: []callbackd.State{callbackd.Delivered}}, 5)
	s.chooses(callbackd.ReplayFilter{Callback: a.ID}, 4)
	s.chooses(callbackd.ReplayFilter{Session: "S1"}, 3)
	s.chooses(callbackd.ReplayFilter{Session: "S1", Callback: b.ID}, 1)
	s.chooses(callbackd.ReplayFilter{Type: ev2}, 0)
}

func (s *suite) replaySteps() {
	a, _, evs := s.replayable()
	r := s.replay(callbackd.ReplayFilter{Callback: a.ID}, 0)
	step := s.step(r, s.at)
	var want []callbackd.Delivery
	for i, ev := range evs {
		want = append(want, callbackd.Delivery{ID: callbackd.DeliveryID{Event: ev.ID, Callback: a.ID}, Key: s.key.ID, Session: ev.Session, Sequence: ev.Sequence, Attempts: 1, Manual: true, Replay: r.ID, Due: step.Due[i].Due})
	}
	s.equal("deliveries that the step made due", step.Due, want)
	for _, d := range step.Due {
		if d.Due.Before(s.at) {
			s.Errorf("delivery %s is due at %v; want %v or later", d.ID, d.Due, s.at)
		}
	}
	s.reopen()
	again := s.step(r, s.at)
	s.equal("deliveries that the next step made due", again.Due, []callbackd.Delivery(nil))
	s.equal("the state while they are pending", again.State, callbackd.ReplayRunning)
	s.equal("stored deliveries of the replay", deliveryIDs(s.dueOf(callbackd.Replays, a.ID)), deliveryIDs(want))
}

func (s *suite) replayOfResent() {
	a, _, evs := s.replayable()
	r := s.replay(callbackd.ReplayFilter{Callback: a.ID}, 0)
	resent := callbackd.DeliveryID{Event: evs[3].ID, Callback: a.ID}
	s.must(second(s.Resend(s.ctx(), s.key.ID, resent, s.at)))
	s.step(r, s.at)
	s.counted(r, replayCounts{Total: 4, Due: 4, Skipped: 1, Pending: 3})
	s.equal("deliveries that were resent by hand", deliveryIDs(s.dueOf(callbackd.Retries, a.ID)), []callbackd.DeliveryID{resent})
}

// replayedTo steps a replay of callback a and records a success, a failed attempt
// that will be retried, and two failures.
func (s *suite) replayedTo(a *callbackd.Callback) *callbackd.Replay {
	s.Helper()
	r := s.replay(callbackd.ReplayFilter{Callback: a.ID}, 0)
	s.step(r, s.at)
	ds := s.dueOf(callbackd.Replays, a.ID)
	s.outcome(ds[0], callbackd.Delivered, time.Time{}, time.Time{})
	s.outcome(ds[1], callbackd.Pending, s.at.Add(time.Second), time.Time{})
	s.outcome(ds[2], callbackd.Failed, time.Time{}, time.Time{})
	s.outcome(ds[3], callbackd.Failed, time.Time{}, time.Time{})
	return r
}

func (s *suite) replayOutcomes() {
	a, _, _ := s.replayable()
	r := s.replayedTo(a)
	s.counted(r, replayCounts{Total: 4, Due: 4, Delivered: 1, Failed: 2, Pending: 1})
	retry := s.dueOf(callbackd.Replays, a.ID)
	s.equal("deliveries of the replay that wait for a retry", len(retry), 1)
	s.equal("the replay of the retry", retry[0].Replay, r.ID)
}

func (s *suite) replayEnd() {
	a, _, _ := s.replayable()
	r := s.replayedTo(a)
	s.deliverAll(s.dueOf(callbackd.Replays, a.ID))
	s.equal("the state when all have ended", s.step(r, s.at.Add(time.Minute)).State, callbackd.ReplayDone)
	s.equal("whether the time of its end is zero", s.reread(r).EndedAt.IsZero(), false)
	s.kind(second(s.SetReplayState(s.ctx(), s.key.ID, r.ID, callbackd.ReplayPaused, s.at)), callbackd.KindConflict)
}

func (s *suite) otherKeysReplay() {
	a, _, _ := s.replayable()
	r := s.replay(callbackd.ReplayFilter{Callback: a.ID}, 0)
	other := s.newKey("k2")
	s.kind(second(s.Replay(s.ctx(), other.ID, r.ID)), callbackd.KindNotFound)
	s.kind(second(s.SetReplayState(s.ctx(), other.ID, r.ID, callbackd.ReplayCanceled, s.at)), callbackd.KindNotFound)
	s.kind(second(s.CreateReplay(s.ctx(), callbackd.Replay{Key: other.ID, Filter: callbackd.ReplayFilter{Target: a.ID}, CreatedAt: s.at})), callbackd.KindInvalid)
	n, err := s.CountReplay(s.ctx(), other.ID, callbackd.ReplayFilter{Callback: a.ID})
	s.must(err)
	s.equal("deliveries that the other key's replay chooses", n, int64(0))
	page, err := s.ListReplays(s.ctx(), store.ReplayQuery{Key: other.ID, Limit: 10})
	s.must(err)
	s.equal("replays of the other key", page, store.ReplayPage{})
}

// waiting publishes six events to a callback. One delivery waits for a retry and blocks
// its lane, one is due, one is delivered, one failed, one waits for a retry, and the last
// was not tried.
func (s *suite) waiting() (cb *callbackd.Callback, ds []callbackd.Delivery) {
	s.Helper()
	cb = s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, "A", "B", "C", "D", "E", "F")
	ds = s.fresh(cb.ID)
	hour := s.at.Add(time.Hour)
	s.outcome(ds[0], callbackd.Pending, hour, hour)
	s.outcome(ds[1], callbackd.Pending, s.at.Add(-time.Minute), time.Time{})
	s.outcome(ds[2], callbackd.Delivered, time.Time{}, time.Time{})
	s.outcome(ds[3], callbackd.Failed, time.Time{}, time.Time{})
	s.outcome(ds[4], callbackd.Pending, hour, time.Time{})
	return cb, ds
}

var pendingOnly = callbackd.ReplayFilter{States: []callbackd.State{callbackd.Pending}}

// replayPending shows that a replay of pending deliveries makes those due that wait for a
// later time, at the start of their schedule, and changes no others.
func (s *suite) replayPending() {
	cb, ds := s.waiting()
	r := s.replay(pendingOnly, 0)
	due := s.step(r, s.at).Due
	s.counted(r, replayCounts{Total: 4, Due: 4, Skipped: 2, Pending: 2})
	var want []callbackd.Delivery
	for _, d := range []callbackd.Delivery{ds[0], ds[4]} {
		want = append(want, callbackd.Delivery{ID: d.ID, Key: s.key.ID, Session: d.Session, Sequence: d.Sequence, Attempts: 1, Manual: true, Replay: r.ID, Due: s.at})
	}
	s.equal("deliveries that were made due", due, want)
	stored, _, err := s.Pending(s.ctx(), callbackd.PendingRead{Callback: cb.ID, Source: callbackd.Replays, At: s.at, Limit: 10})
	s.must(err)
	for i := range due {
		due[i].Key = 0 // deliveries that are read from the queue have none
	}
	s.equal("stored deliveries that are due", stored, due)
}

func (s *suite) replayPendingEnds() {
	s.waiting()
	r := s.replay(pendingOnly, 0)
	due := s.step(r, s.at).Due
	s.outcome(due[0], callbackd.Delivered, time.Time{}, time.Time{})
	s.outcome(due[1], callbackd.Failed, time.Time{}, time.Time{})
	s.equal("the state when both have ended", s.step(r, s.at).State, callbackd.ReplayDone)
	s.counted(r, replayCounts{Total: 4, Due: 4, Skipped: 2, Delivered: 1, Failed: 1})
}

func (s *suite) replayPendingToTarget() {
	cb, _ := s.waiting()
	r := s.replay(callbackd.ReplayFilter{Target: cb.ID, States: pendingOnly.States}, 0)
	s.equal("deliveries that were made due of those that wait at the target", s.step(r, s.at).Due, []callbackd.Delivery(nil))
}

// delivered publishes n events to a callback, and records their deliveries as delivered.
func (s *suite) delivered(n int) *callbackd.Callback {
	s.Helper()
	cb := s.newCallback(s.key, ev1, "default")
	b := store.Batch{Key: s.key.ID, At: s.at}
	for i := range n {
		b.Events = append(b.Events, store.NewEvent{Type: ev1, Session: fmt.Sprint("S", i), Data: []byte("{}")})
		if len(b.Events) == callbackd.MaxBatch || i == n-1 {
			s.must(second(s.Accept(s.ctx(), b)))
			b.Events = nil
		}
	}
	s.deliverAll(s.fresh(cb.ID))
	return cb
}

// replayWindow shows that no more than a window is made due before it is tried.
func (s *suite) replayWindow() {
	s.delivered(callbackd.ReplayWindow + 200)
	r := s.replay(callbackd.ReplayFilter{}, 0)
	due := 0
	for range 5 {
		due += len(s.step(r, s.at).Due)
	}
	if due > callbackd.ReplayWindow || due < callbackd.ReplayWindow/2 {
		s.Errorf("%d deliveries were made due before any was tried; want %d to %d", due, callbackd.ReplayWindow/2, callbackd.ReplayWindow)
	}
}

func (s *suite) replayCanceled() {
	cb := s.delivered(2)
	r := s.replay(callbackd.ReplayFilter{}, 0)
	s.setReplayState(r, callbackd.ReplayCanceled)
	step := s.step(r, s.at)
	s.equal("the state after a step", step.State, callbackd.ReplayCanceled)
	s.equal("deliveries that were made due", step.Due, []callbackd.Delivery(nil))
	s.equal("stored deliveries that are due", s.dueOf(callbackd.Replays, cb.ID), []callbackd.Delivery(nil))
}

func (s *suite) replayRate() {
	s.delivered(30)
	r := s.replay(callbackd.ReplayFilter{}, 10)
	first := s.step(r, s.at)
	s.equal("deliveries that the first second made due", len(first.Due), 10)
	if next := first.Next.Sub(s.at); next < 900*time.Millisecond {
		s.Errorf("the next step is possible after %v; want 900 ms or more", next)
	}
	if spread := first.Due[9].Due.Sub(first.Due[0].Due); spread < 800*time.Millisecond {
		s.Errorf("ten deliveries are due within %v; want 800 ms or more", spread)
	}
	early := s.step(r, s.at.Add(500*time.Millisecond))
	s.equal("deliveries that were made due before their time", early.Due, []callbackd.Delivery(nil))
	s.equal("whether there is no next step", early.Next.IsZero(), false)
}

func (s *suite) replaysListed() {
	canceled, running := s.replay(callbackd.ReplayFilter{}, 0), s.replay(callbackd.ReplayFilter{}, 10)
	s.setReplayState(canceled, callbackd.ReplayCanceled)
	page, err := s.ListReplays(s.ctx(), store.ReplayQuery{Key: s.key.ID, Limit: 1})
	s.must(err)
	s.equal("the first page, newest first", page, store.ReplayPage{Replays: []callbackd.Replay{*running}, Next: running.ID})
	page, err = s.ListReplays(s.ctx(), store.ReplayQuery{Key: s.key.ID, After: page.Next, Limit: 1})
	s.must(err)
	s.equal("the second page", page, store.ReplayPage{Replays: []callbackd.Replay{*s.reread(canceled)}})
}

// runningReplaysListed shows that the running replays of one key or of all keys can
// be listed, page by page.
func (s *suite) runningReplaysListed() {
	other := s.newKey("other")
	first, paused, second := s.replay(callbackd.ReplayFilter{}, 0), s.replay(callbackd.ReplayFilter{}, 0), s.replay(callbackd.ReplayFilter{}, 0)
	s.setReplayState(paused, callbackd.ReplayPaused)
	others, err := s.CreateReplay(s.ctx(), callbackd.Replay{Key: other.ID, CreatedAt: s.at})
	s.must(err)
	s.equal("the running replays", s.running(s.key.ID, 10), []callbackd.ReplayID{second.ID, first.ID})
	s.equal("the running replays, a page for each", s.running(s.key.ID, 1), []callbackd.ReplayID{second.ID, first.ID})
	s.equal("those of another key", s.running(other.ID, 10), []callbackd.ReplayID{others.ID})
	s.equal("those of all keys, a page for each", s.running(store.AllKeys, 1), []callbackd.ReplayID{others.ID, second.ID, first.ID})
}

// running returns the running replays, newest first.
func (s *suite) running(key callbackd.KeyID, limit int) (ids []callbackd.ReplayID) {
	s.Helper()
	q := store.ReplayQuery{Key: key, Running: true, Limit: limit}
	for {
		page, err := s.ListReplays(s.ctx(), q)
		s.must(err)
		for _, r := range page.Replays {
			s.equal("the state of a running replay", r.State, callbackd.ReplayRunning)
			ids = append(ids, r.ID)
		}
		if q.After = page.Next; page.Next == 0 {
			return ids
		}
	}
}

func (s *suite) replaysLimited() {
	for range callbackd.MaxReplays {
		s.replay(callbackd.ReplayFilter{}, 0)
	}
	s.kind(second(s.CreateReplay(s.ctx(), callbackd.Replay{Key: s.key.ID, CreatedAt: s.at})), callbackd.KindLimited)
}

// replaysPruned shows that Prune removes a replay that has ended without pending
// deliveries, and does not remove a running one.
func (s *suite) replaysPruned() {
	s.delivered(1)
	ended, running := s.replay(callbackd.ReplayFilter{}, 0), s.replay(callbackd.ReplayFilter{}, 0)
	s.setReplayState(ended, callbackd.ReplayCanceled)
	s.must(second(s.Prune(s.ctx(), store.Prune{Replays: s.at.Add(time.Hour)}, 100)))
	s.kind(second(s.Replay(s.ctx(), s.key.ID, ended.ID)), callbackd.KindNotFound)
	s.must(second(s.Replay(s.ctx(), s.key.ID, running.ID)))
}

package storetest

import (
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// replayTargetTests are about replays to a callback that was created later than
// the events.
var replayTargetTests = map[string]func(*suite){
	"ReplayToATargetChooses":            (*suite).replayToChooses,
	"ReplayToATargetCreatesDeliveries":  (*suite).replayToCreates,
	"ReplayToATargetOutlivesTheFirst":   (*suite).replayToSweep,
	"ReplayToATargetIsListed":           (*suite).replayToListed,
	"ReplayToATargetAgain":              (*suite).replayToAgain,
	"ReplayToATargetThatIsDeleted":      (*suite).replayToDeleted,
	"ReplayToATargetIsSweptWithTheRest": (*suite).replayToSweptWhole,
	"ReplayOfMissingChooses":            (*suite).replayMissingChooses,
	"ReplayOfMissingSendsOnce":          (*suite).replayMissingOnce,
	"ReplayOfMissingSkipsDelivered":     (*suite).replayMissingSkips,
}

// lateTarget publishes three events to a callback, and one of another type. The
// first delivery failed, and then the callback late is created.
func (s *suite) lateTarget() (first, late *callbackd.Callback, evs []*callbackd.Event) {
	s.Helper()
	first = s.newCallback(s.key, ev1, "first")
	evs = s.publish(s.key, ev1, "S1", "S2", "S3")
	s.publish(s.key, ev2, "S1")
	s.outcome(s.fresh(first.ID)[0], callbackd.Failed, time.Time{}, time.Time{})
	return first, s.newCallback(s.key, ev1, "late"), evs
}

// replayTo sends all events to late and leaves the deliveries pending.
func (s *suite) replayTo(late *callbackd.Callback) *callbackd.Replay {
	s.Helper()
	r := s.replay(callbackd.ReplayFilter{Target: late.ID}, 0)
	if n := len(s.step(r, s.at).Due); n != 3 {
		s.Fatalf("the replay made %d deliveries due, want 3", n)
	}
	return r
}

func (s *suite) replayToChooses() {
	_, late, _ := s.lateTarget()
	s.chooses(callbackd.ReplayFilter{Target: late.ID}, 3)
	s.chooses(callbackd.ReplayFilter{Target: late.ID, States: []callbackd.State{callbackd.Failed}}, 1)
	s.chooses(callbackd.ReplayFilter{Target: late.ID, States: []callbackd.State{callbackd.Pending}}, 2)
	s.chooses(callbackd.ReplayFilter{Target: late.ID, Session: "none"}, 0)
	s.kind(second(s.CountReplay(s.ctx(), s.key.ID, callbackd.ReplayFilter{Target: late.ID, Type: ev2})), callbackd.KindInvalid)
	s.chooses(callbackd.ReplayFilter{States: []callbackd.State{callbackd.Canceled}}, 0)
}

func (s *suite) replayToCreates() {
	first, late, evs := s.lateTarget()
	r := s.replayTo(late)
	s.counted(r, replayCounts{Total: 3, Due: 3, Created: 3, Pending: 3})
	s.reopen()
	d, err := s.Delivery(s.ctx(), s.key.ID, callbackd.DeliveryID{Event: evs[0].ID, Callback: late.ID}, 0)
	s.must(err)
	s.equal("the state of a new delivery", d.State, callbackd.Pending)
	s.equal("whether it was resent by hand", d.Manual, true)
	s.equal("its attempts", d.Attempts, 0)
	ev, err := s.Event(s.ctx(), s.key.ID, evs[0].ID)
	s.must(err)
	s.equal("the targets of its event", ev.Targets, []callbackd.CallbackID{first.ID, late.ID})
	page, err := s.SessionEvents(s.ctx(), store.SessionEventQuery{Key: s.key.ID, Session: "S1", Limit: 10})
	s.must(err)
	s.equal("deliveries of the event in its session", len(page[0].Deliveries), 2)
}

// replayToSweep shows that an event is not removed while its new delivery is
// pending. The event of another type has no deliveries, but is the newest of its session.
func (s *suite) replayToSweep() {
	_, late, evs := s.lateTarget()
	s.replayTo(late)
	s.equal("events that were removed", s.sweepAll(s.at.Add(time.Hour)), 0)
	s.must(second(s.Event(s.ctx(), s.key.ID, evs[0].ID)))
}

// replayMissingChooses shows which events are missing: for first, the one whose delivery
// failed and not the two pending ones; for late, all three, because they were accepted
// before it was created.
func (s *suite) replayMissingChooses() {
	first, late, _ := s.lateTarget()
	s.chooses(callbackd.ReplayFilter{Missing: true}, 4)
	s.chooses(callbackd.ReplayFilter{Missing: true, Callback: first.ID}, 1)
	s.chooses(callbackd.ReplayFilter{Missing: true, Callback: late.ID, Session: "S2"}, 1)
	s.chooses(callbackd.ReplayFilter{Missing: true, Type: ev2}, 0)
	s.chooses(callbackd.ReplayFilter{Missing: true, Target: first.ID}, 1)
	s.chooses(callbackd.ReplayFilter{Missing: true, Target: late.ID, States: []callbackd.State{callbackd.Pending}}, 2)
	s.test(late)
	s.chooses(callbackd.ReplayFilter{Missing: true, Callback: late.ID}, 3)
	s.kind(second(s.CountReplay(s.ctx(), s.key.ID, callbackd.ReplayFilter{Missing: true, States: []callbackd.State{callbackd.Failed}})), callbackd.KindInvalid)
	s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, ev1, "late", s.at)))
	s.chooses(callbackd.ReplayFilter{Missing: true}, 1)
}

// replayMissingOnce shows that nothing is missing after a replay of the missing events.
func (s *suite) replayMissingOnce() {
	first, late, _ := s.lateTarget()
	s.deliverAll(s.fresh(first.ID))
	r := s.replay(callbackd.ReplayFilter{Missing: true}, 0)
	due := s.step(r, s.at).Due
	s.counted(r, replayCounts{Total: 4, Due: 4, Created: 3, Pending: 4})
	s.chooses(callbackd.ReplayFilter{Missing: true}, 0)
	s.deliverAll(due)
	s.chooses(callbackd.ReplayFilter{Missing: true}, 0)
	s.chooses(callbackd.ReplayFilter{Missing: true, Target: late.ID}, 0)
	s.counted(r, replayCounts{Total: 4, Due: 4, Created: 3, Delivered: 4})
}

// replayMissingSkips shows that an event is not sent when it was delivered after the
// replay was created.
func (s *suite) replayMissingSkips() {
	_, late, _ := s.lateTarget()
	missing := s.replay(callbackd.ReplayFilter{Missing: true, Target: late.ID}, 0)
	other := s.replay(callbackd.ReplayFilter{Target: late.ID, Session: "S1"}, 0)
	s.deliverAll(s.step(other, s.at).Due)
	s.equal("deliveries that the step made due", len(s.step(missing, s.at).Due), 2)
	s.counted(missing, replayCounts{Total: 3, Due: 3, Skipped: 1, Created: 2, Pending: 2})
}

func (s *suite) replayToListed() {
	_, late, _ := s.lateTarget()
	r := s.replayTo(late)
	s.deliverAll(s.dueOf(callbackd.Replays, late.ID))
	s.counted(r, replayCounts{Total: 3, Due: 3, Created: 3, Delivered: 3})
	s.equal("all deliveries", len(s.allDeliveries(store.DeliveryQuery{Key: s.key.ID, Limit: 200})), 6)
	delivered := s.allDeliveries(store.DeliveryQuery{Key: s.key.ID, State: callbackd.Delivered, Limit: 200})
	s.equal("delivered ones", len(delivered), 3)
	s.ended(late.ID, ends{Accepted: 3, Delivered: 3})
}

// replayToAgain shows that a second replay to the target sends again what the
// first one created.
func (s *suite) replayToAgain() {
	_, late, _ := s.lateTarget()
	s.replayTo(late)
	s.deliverAll(s.dueOf(callbackd.Replays, late.ID))
	again := s.replayTo(late)
	s.counted(again, replayCounts{Total: 3, Due: 3, Pending: 3})
}

func (s *suite) replayToDeleted() {
	_, late, _ := s.lateTarget()
	r := s.replayTo(late)
	s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, ev1, "late", s.at)))
	s.must(second(s.FinalizeCanceled(s.ctx(), s.at, 10)))
	s.counted(r, replayCounts{Total: 3, Due: 3, Created: 3, Canceled: 3})
	s.equal("deliveries that are counted as canceled", s.canceled(late.ID), int64(3))
}

func (s *suite) replayToSweptWhole() {
	first, late, _ := s.lateTarget()
	s.replayTo(late)
	s.deliverAll(s.dueOf(callbackd.Replays, late.ID))
	s.deliverAll(s.fresh(first.ID))
	s.equal("events that were removed", s.sweepAll(s.at.Add(time.Hour)), 4)
}

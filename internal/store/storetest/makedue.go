package storetest

import (
	"fmt"
	"slices"
	"time"

	"callbackd"
)

// makeDueTests are about changes of a callback that release deliveries that wait for a
// later time.
var makeDueTests = map[string]func(*suite){
	"NothingIsMadeDueUnasked":         (*suite).makeDueUnasked,
	"AnotherURLMakesDueWhatWaits":     (*suite).makeDue,
	"MakeDueIsOfOneCallback":          (*suite).makeDueOfOne,
	"MakeDueMovesADeliveryOnce":       (*suite).makeDueOnce,
	"MakeDueLeavesTheRateOfAReplay":   (*suite).makeDueOfReplay,
	"MakeDueEndsWithTheLastOfTheList": (*suite).makeDueEnd,
}

// dueTimes returns the due times of the callback's deliveries that wait for one.
func (s *suite) dueTimes(cb callbackd.CallbackID) (times []time.Time) {
	s.Helper()
	for _, d := range slices.Concat(s.dueOf(callbackd.Retries, cb), s.dueOf(callbackd.Replays, cb)) {
		times = append(times, d.Due)
	}
	return times
}

// released makes due the deliveries that a change released, in steps of limit deliveries
// with a restart after each. It returns how many became due.
func (s *suite) released(cb callbackd.CallbackID, limit int) (moved int) {
	s.Helper()
	for range 100 {
		n, done, err := s.Store.MakeDue(s.ctx(), cb, s.at, limit)
		s.must(err)
		if n > limit {
			s.Errorf("a step made %d due, want %d or fewer", n, limit)
		}
		if moved += n; done {
			return moved
		}
		s.reopen()
	}
	s.Fatal("after 100 steps MakeDue is not done")
	return 0
}

// thirtyRetries publishes 30 events to a callback: ten wait for an hour and
// more, ten are due since a minute ago, ten were not tried.
func (s *suite) thirtyRetries() *callbackd.Callback {
	s.Helper()
	cb := s.newCallback(s.key, ev1, "default")
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
	return cb
}

func (s *suite) makeDueUnasked() {
	cb := s.thirtyRetries()
	moved, done, err := s.Store.MakeDue(s.ctx(), cb.ID, s.at, 10)
	s.must(err)
	s.equal("deliveries that became due", moved, 0)
	s.equal("whether it is done", done, true)
}

func (s *suite) makeDue() {
	cb := s.thirtyRetries()
	s.replace(cb, "https://a.example/h2")
	s.equal("deliveries that became due", s.released(cb.ID, 10), 10)
	want := slices.Concat(slices.Repeat([]time.Time{s.at.Add(-time.Minute)}, 10), slices.Repeat([]time.Time{s.at}, 10))
	s.equal("due times of deliveries that were tried", s.dueTimes(cb.ID), want)
	s.equal("first attempts that wait", len(s.fresh(cb.ID)), 10)
}

func (s *suite) makeDueEnd() {
	cb := s.thirtyRetries()
	got := s.replace(cb, "https://a.example/h2")
	s.equal("whether the callback is releasing", got.Releasing, true)
	s.equal("when it was released", got.ReleasedAt, s.at)
	s.released(cb.ID, 10)
	got = s.callback(cb.ID)
	s.equal("whether the callback is releasing at the end", got.Releasing, false)
	s.equal("when it was released, at the end", got.ReleasedAt, s.at)
}

func (s *suite) makeDueOfOne() {
	cb, other := s.newCallback(s.key, ev1, "default"), s.newCallback(s.key, ev1, "other")
	s.publish(s.key, ev1, "S")
	hour := s.at.Add(time.Hour)
	for _, each := range []*callbackd.Callback{cb, other} {
		s.outcome(s.fresh(each.ID)[0], callbackd.Pending, hour, time.Time{})
	}
	s.resume(cb)
	s.replace(cb, "https://a.example/h2")
	s.equal("deliveries that became due", s.released(cb.ID, 10), 1)
	s.equal("when the other callback's delivery is due", s.dueTimes(other.ID), []time.Time{hour})
}

// makeDueOnce shows that the same release does not move a delivery that fails again, but
// the next release does.
func (s *suite) makeDueOnce() {
	cb, ds := s.pending("A", "B", "C")
	hour := s.at.Add(time.Hour)
	s.outcome(ds[0], callbackd.Pending, hour, time.Time{})
	s.resume(cb)
	moved, done, err := s.Store.MakeDue(s.ctx(), cb.ID, s.at, 1)
	s.must(err)
	s.equal("deliveries that the first step moved", moved, 1)
	s.equal("whether that was the last step", done, false)
	s.outcome(ds[0], callbackd.Pending, hour, time.Time{})
	s.equal("deliveries that the other steps moved", s.released(cb.ID, 1), 0)
	s.resume(cb)
	s.equal("deliveries that the next release moved", s.released(cb.ID, 1), 1)
}

func (s *suite) makeDueOfReplay() {
	cb, ds := s.pending("A", "B", "C")
	s.deliverAll(ds[1:])
	hour := s.at.Add(time.Hour)
	s.outcome(ds[0], callbackd.Pending, hour, time.Time{})
	s.step(s.replay(callbackd.ReplayFilter{}, 2), hour)
	before := s.dueOf(callbackd.Replays, cb.ID)
	s.equal("deliveries of the replay", len(before), 2)
	s.resume(cb)
	s.equal("deliveries that became due", s.released(cb.ID, 1), 1)
	s.equal("deliveries of the replay afterwards", s.dueOf(callbackd.Replays, cb.ID), before)
}

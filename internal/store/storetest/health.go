package storetest

import (
	"time"

	"callbackd"
)

// healthTests are about what attempts change of their callback: its pause, since
// when it has been failing, until when it is closed, and whether it is proven.
var healthTests = map[string]func(*suite){
	"AttemptsChangeTheirCallback":           (*suite).attemptChanges,
	"AttemptsOfAnOlderVersionChangeNothing": (*suite).olderVersion,
	"AResumeEndsAPause":                     (*suite).resumed,
	"ASecondPauseChangesNothing":            (*suite).pausedAgain,
	"OneAttemptPausesACallback":             (*suite).pausedByOne,
	"AnAttemptDoesNotReplaceAUsersPause":    (*suite).pausedByUser,
	"ACallbackIsClosedUntilTheLatestTime":   (*suite).closedUntil,
	"AResumeOpensAClosedCallback":           (*suite).closedAndResumed,
	"ACallbackIsProvenAtOneOrigin":          (*suite).proven,
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

func (s *suite) callback(id callbackd.CallbackID) *callbackd.Callback {
	s.Helper()
	cb, err := s.CallbackByID(s.ctx(), id)
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

// pause sets a user's pause.
func (s *suite) pause(cb *callbackd.Callback, at time.Time) {
	s.Helper()
	s.must(second(s.PauseCallback(s.ctx(), cb.Key, cb.Event, cb.Name, callbackd.Pause{Reason: callbackd.PausedByUser, At: at})))
}

func (s *suite) resume(cb *callbackd.Callback) *callbackd.Callback {
	s.Helper()
	got, err := s.PauseCallback(s.ctx(), cb.Key, cb.Event, cb.Name, callbackd.Pause{At: s.at})
	s.must(err)
	return got
}

// pending creates a callback with a pending delivery in each session.
func (s *suite) pending(sessions ...string) (*callbackd.Callback, []callbackd.Delivery) {
	s.Helper()
	cb := s.newCallback(s.key, ev1, "default")
	s.publish(s.key, ev1, sessions...)
	return cb, s.fresh(cb.ID)
}

// health is what attempts change of a callback.
type health struct {
	Pause        callbackd.Pause
	FailingSince time.Time
	ClosedUntil  time.Time
	Proven       bool
}

// healthy compares the health of a stored callback.
func (s *suite) healthy(what string, cb *callbackd.Callback, want health) {
	s.Helper()
	got := s.callback(cb.ID)
	s.equal(what, health{got.Pause, got.FailingSince, got.ClosedUntil, got.Proven}, want)
}

func (s *suite) attemptChanges() {
	cb, ds := s.pending("S")
	until := s.at.Add(time.Hour)
	s.change(ds[0], callbackd.CallbackChange{Version: 1, HealthTurned: true, FailingSince: s.at, Pause: callbackd.PausedGone, ClosedUntil: until, Proven: true})
	started := s.callback(cb.ID).Pause.At
	s.equal("whether the time of the pause is zero", started.IsZero(), false)
	want := health{callbackd.Pause{Reason: callbackd.PausedGone, At: started}, s.at, until, true}
	s.healthy("after the attempt", cb, want)
	s.reopen()
	s.healthy("after a restart", cb, want)
}

func (s *suite) olderVersion() {
	cb, ds := s.pending("S")
	s.replace(cb, "https://b.example/h")
	got := s.change(ds[0], callbackd.CallbackChange{Version: 1, HealthTurned: true, FailingSince: s.at, Pause: callbackd.PausedGone, ClosedUntil: s.at.Add(time.Hour), Proven: true})
	s.equal("the result of the record", got, callbackd.Recorded{State: callbackd.Pending})
	s.healthy("version 2", cb, health{})
}

func (s *suite) resumed() {
	cb, ds := s.pending("S")
	s.change(ds[0], callbackd.CallbackChange{Version: 1, HealthTurned: true, FailingSince: s.at, Pause: callbackd.PausedGone})
	s.resume(cb)
	s.healthy("after the resume", cb, health{})
}

func (s *suite) pausedAgain() {
	cb := s.newCallback(s.key, ev1, "default")
	s.pause(cb, s.at)
	s.pause(cb, s.at.Add(time.Hour))
	s.healthy("after the second pause", cb, health{Pause: callbackd.Pause{Reason: callbackd.PausedByUser, At: s.at}})
}

func (s *suite) pausedByOne() {
	_, ds := s.pending("A", "B", "C")
	paused := 0
	for _, d := range ds {
		if s.change(d, callbackd.CallbackChange{Version: 1, Pause: callbackd.PausedGone}).Paused {
			paused++
		}
	}
	s.equal("attempts of three that paused the callback", paused, 1)
}

func (s *suite) pausedByUser() {
	cb, ds := s.pending("S")
	s.pause(cb, s.at)
	got := s.change(ds[0], callbackd.CallbackChange{Version: 1, Pause: callbackd.PausedNoAnswer})
	s.equal("the result of the record", got, callbackd.Recorded{State: callbackd.Pending})
	s.healthy("after the attempt", cb, health{Pause: callbackd.Pause{Reason: callbackd.PausedByUser, At: s.at}})
}

// closedUntil shows that the latest of several times stays, over a restart and
// with another URL of the origin, and that another origin is open.
func (s *suite) closedUntil() {
	cb, ds := s.pending("A", "B", "C")
	late := s.at.Add(time.Hour)
	for i, until := range []time.Time{s.at.Add(time.Minute), late, s.at.Add(time.Second)} {
		s.change(ds[i], callbackd.CallbackChange{Version: 1, ClosedUntil: until})
	}
	s.reopen()
	s.healthy("after three times", cb, health{ClosedUntil: late})
	s.replace(cb, "https://a.example/elsewhere")
	s.healthy("at the same origin", cb, health{ClosedUntil: late})
	s.replace(cb, "https://b.example/h")
	s.healthy("at another origin", cb, health{})
}

func (s *suite) closedAndResumed() {
	cb, ds := s.pending("S")
	s.change(ds[0], callbackd.CallbackChange{Version: 1, ClosedUntil: s.at.Add(time.Hour)})
	s.resume(cb)
	s.healthy("after the resume", cb, health{})
}

func (s *suite) proven() {
	cb, ds := s.pending("S")
	s.healthy("a new callback", cb, health{})
	s.change(ds[0], callbackd.CallbackChange{Version: 1, Proven: true})
	s.reopen()
	s.healthy("after a success", cb, health{Proven: true})
	s.replace(cb, "https://a.example/elsewhere")
	s.healthy("at the same origin", cb, health{Proven: true})
	s.replace(cb, "https://b.example/h")
	s.healthy("at another origin", cb, health{})
}

package app

import (
	"context"
	"time"

	"callbackd"
)

const (
	// clockCheck is how often the wall clock is compared with the time that
	// has passed.
	clockCheck = time.Second
	// clockSlack is how far the two may be apart. NTP slews a clock by far
	// less in a second.
	clockSlack = 500 * time.Millisecond
)

// stopwatch compares a wall clock with the monotonic one, which nobody sets and
// which stands still while the machine sleeps. Go's timers follow the second.
type stopwatch struct {
	now        func() time.Time
	wall, mono time.Time
}

func newStopwatch(now func() time.Time) *stopwatch {
	return &stopwatch{now, now().Round(0), time.Now()}
}

// set returns how far the wall clock was set, or ran on during a sleep, since
// the last call; 0 when it was not.
func (s *stopwatch) set() time.Duration {
	wall, mono := s.now().Round(0), time.Now()
	by := wall.Sub(s.wall) - mono.Sub(s.mono)
	s.wall, s.mono = wall, mono
	if by.Abs() <= clockSlack {
		return 0
	}
	return by
}

// watchClock calls set soon after the wall clock was set, or the machine slept,
// until ctx ends.
func watchClock(ctx context.Context, now func() time.Time, set func(by time.Duration)) {
	s := newStopwatch(now)
	for sleep(ctx, clockCheck) {
		if by := s.set(); by != 0 {
			set(by)
		}
	}
}

// pause waits for d, or until the wall clock was set: what is due by it must
// then be looked at again. It returns false when ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	s := newStopwatch(time.Now)
	for d > clockCheck {
		if !sleep(ctx, clockCheck) {
			return false
		}
		if s.set() != 0 {
			return true
		}
		d -= clockCheck
	}
	return sleep(ctx, d)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// tellClock says when the newest event is from the future: either the clock was
// wrong when it was accepted, or it is wrong now.
func (a *App) tellClock(now time.Time) {
	s, ok := a.store.(interface{ Newest() time.Time })
	if !ok || s.Newest().Sub(now) <= callbackd.MaxSkew {
		return
	}
	a.log.Warn("the clock is behind the newest event, which was accepted with a wrong clock unless this one is wrong: check the time of this machine. Events go on with the time that the clock says",
		"clock", now.UTC().Format(time.RFC3339), "newest_event", s.Newest().Format(time.RFC3339))
}

// clockSet makes what is due by the wall clock be looked at again.
func (a *App) clockSet(by time.Duration) {
	a.log.Warn("the clock was set, or the machine slept: what became due is done now", "by", by.Round(time.Millisecond).String())
	a.engine.ClockSet()
}

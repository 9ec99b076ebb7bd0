package app

import (
	"context"
	"time"

	"callbackd"
	"callbackd/internal/clock"
)

const (
	// clockCheck is how often the wall clock is compared with the time that
	// has passed.
	clockCheck = time.Second
	// clockSlack is how far the two may be apart. NTP slews a clock by far
	// less in a second.
	clockSlack = 500 * time.Millisecond
)

// stopwatch compares the wall clock with the monotonic clock, which nobody can
// set and which stands still while the machine sleeps. Go's timers follow the
// monotonic clock.
type stopwatch struct {
	now        func() time.Time
	wall, mono time.Time
}

func newStopwatch(now func() time.Time) *stopwatch {
	return &stopwatch{now: now, wall: now().Round(0), mono: time.Now()}
}

// jump returns how far the wall clock was set, or ran on while the machine
// slept, since the last call; 0 when it did neither.
func (s *stopwatch) jump() time.Duration {
	wall, mono := s.now().Round(0), time.Now()
	by := wall.Sub(s.wall) - mono.Sub(s.mono)
	s.wall, s.mono = wall, mono
	if by.Abs() <= clockSlack {
		return 0
	}
	return by
}

// pause waits for d, or until the wall clock was set: the caller must then look again
// at what is due. It reports whether it did; it does not when ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	s := newStopwatch(time.Now)
	for d > clockCheck {
		if !clock.Sleep(ctx, clockCheck) {
			return false
		}
		if s.jump() != 0 {
			return true
		}
		d -= clockCheck
	}
	return clock.Sleep(ctx, d)
}

// checkNewest warns when the newest event is from the future: the clock was
// wrong when the event was accepted, or it is wrong now.
func (a *App) checkNewest(now time.Time) {
	s, ok := a.store.(interface{ Newest() time.Time })
	if !ok || s.Newest().Sub(now) <= callbackd.MaxSkew {
		return
	}
	a.log.Warn("the newest event is from the future: this machine's clock is wrong now, or was wrong when the event was accepted. Check the time of this machine; new events get the time that the clock shows",
		"clock", now.UTC().Format(time.RFC3339), "newest_event", s.Newest().Format(time.RFC3339))
}

// compareClocks returns the step that notices when the wall clock was set or
// the machine slept, and then has the engine look again at what is due.
func (a *App) compareClocks(clock *stopwatch) func(context.Context) (time.Duration, error) {
	return func(context.Context) (time.Duration, error) {
		if by := clock.jump(); by != 0 {
			a.log.Warn("the clock was set, or the machine slept: everything that became due is done now", "by", by.Round(time.Millisecond).String())
			a.engine.ClockSet()
		}
		return 0, nil
	}
}

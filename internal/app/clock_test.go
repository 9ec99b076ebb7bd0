package app

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A clock that is set either way, or that ran on while the machine slept, is
// noticed within two seconds, and one that runs as it should never is.
func TestAClockThatIsSetIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64
		clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		var seen []time.Duration
		ctx, cancel := context.WithCancel(t.Context())
		go watchClock(ctx, clock, func(by time.Duration) { seen = append(seen, by) })
		expect := func(what string, want ...time.Duration) {
			t.Helper()
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if len(seen) != len(want) || len(want) == 1 && seen[0] != want[0] {
				t.Errorf("%s: noticed %v, want %v", what, seen, want)
			}
			seen = nil
		}
		time.Sleep(time.Hour)
		expect("nothing was set")
		ahead.Store(int64(2 * time.Hour))
		expect("ahead", 2*time.Hour)
		ahead.Store(int64(-time.Hour))
		expect("back", -3*time.Hour)
		ahead.Add(int64(clockSlack / 2))
		expect("a slew")
		cancel()
	})
}

package callbackd_test

import (
	"testing"
	"time"

	"callbackd"
)

func TestWhatHoldsASessionInItsOrderGroup(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	accepted := now.Add(-time.Minute)
	untried := callbackd.Delivery{Event: &callbackd.Event{ClockTime: accepted}}
	failed := callbackd.Delivery{Due: now.Add(time.Hour), HoldsUntil: now.Add(time.Second)}
	overtaken := callbackd.Delivery{Due: now.Add(time.Hour), HoldsUntil: now}
	later := now.Add(time.Hour)
	for name, c := range map[string]struct {
		gate  callbackd.Gate
		d     callbackd.Delivery
		order time.Duration
		until time.Time
		holds bool
	}{
		"untried":             {callbackd.Gate{}, untried, time.Second, time.Time{}, true},
		"paused":              {callbackd.Gate{Paused: true}, untried, time.Hour, time.Time{}, false},
		"closed, new":         {callbackd.Gate{ClosedUntil: later}, untried, 2 * time.Minute, now.Add(time.Minute), true},
		"closed, old":         {callbackd.Gate{ClosedUntil: later}, untried, time.Minute, now, false},
		"breaker, old":        {callbackd.Gate{OpenUntil: later}, untried, time.Minute, now, false},
		"origin breaker, old": {callbackd.Gate{OriginOpenUntil: later}, untried, time.Minute, now, false},
		"failed":              {callbackd.Gate{OpenUntil: later}, failed, 0, failed.HoldsUntil, true},
		"overtaken":           {callbackd.Gate{}, overtaken, time.Hour, now, false},
	} {
		until, holds := c.gate.HoldsSession(&c.d, c.order, now)
		if holds != c.holds || !until.Equal(c.until) {
			t.Errorf("%s: holds %v until %v, want %v until %v", name, holds, until, c.holds, c.until)
		}
	}
}

func TestALaneIsReadWhileAnotherNodeMayHaveAcceptedEarlierEvents(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	id := func(after time.Duration) callbackd.EventID { return callbackd.FirstEventID(start.Add(after)) }
	var g callbackd.GivenOut
	for i, c := range []struct {
		sequence int64
		after    time.Duration
		readLane bool
	}{
		{1, 0, false}, {2, time.Second, false},
		{4, 2 * time.Second, true}, {5, 3 * time.Second, true}, // another node accepted the third
		{6, callbackd.OtherNodesDelay + 2*time.Second, false},
	} {
		next, readLane := g.Next(id(c.after), c.sequence)
		if readLane != c.readLane {
			t.Errorf("event %d: the lane is read: %v, want %v", i, readLane, c.readLane)
		}
		g = next
	}
}

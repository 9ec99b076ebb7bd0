package callbackd_test

import (
	"testing"
	"time"

	"callbackd"

	"github.com/google/go-cmp/cmp"
)

func TestGate(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000).UTC()
	later := now.Add(time.Minute)
	all := callbackd.Gate{
		Paused: true, OpenUntil: later, ClosedUntil: later,
		Probation: true, OriginInFlight: 4, OriginLimit: 4, BeginsAt: later, OriginOpenUntil: later,
		InFlight: 8, ReplaysInFlight: 4, Limit: 8, RateUntil: later, Full: true,
	}
	past := callbackd.Gate{
		Running: true, OpenUntil: now, ClosedUntil: now, Probation: true, OriginInFlight: 3, OriginLimit: 4,
		BeginsAt: now, OriginOpenUntil: now, InFlight: 7, ReplaysInFlight: 3, Limit: 8, RateUntil: now,
	}
	type wait = callbackd.Wait
	for _, c := range []struct {
		name     string
		gate     callbackd.Gate
		replay   bool
		want     []wait
		receiver wait
	}{
		{"nothing holds", past, true, nil, wait{}},
		{"nothing is in flight, as far as is known", callbackd.Gate{Running: true}, true, nil, wait{}},
		{"all", all, true, []wait{
			{callbackd.WaitForStart, time.Time{}}, {callbackd.WaitForResume, time.Time{}},
			{callbackd.WaitForProbe, later}, {callbackd.WaitForReceiver, later},
			{callbackd.WaitForOriginProbe, later}, {callbackd.WaitToBegin, later}, {callbackd.WaitForOrigin, time.Time{}},
			{callbackd.WaitForAttempt, time.Time{}}, {callbackd.WaitForReplay, time.Time{}},
			{callbackd.WaitForRate, later}, {callbackd.WaitForSlot, time.Time{}},
		}, wait{callbackd.WaitForResume, time.Time{}}},
		{"the breaker is open", callbackd.Gate{Running: true, OpenUntil: later, InFlight: 1}, false,
			[]wait{{callbackd.WaitForProbe, later}, {callbackd.WaitForAttempt, time.Time{}}}, wait{callbackd.WaitForProbe, later}},
		{"the receiver asked to wait", callbackd.Gate{Running: true, ClosedUntil: later}, false,
			[]wait{{callbackd.WaitForReceiver, later}}, wait{callbackd.WaitForReceiver, later}},
		{"at the limit", callbackd.Gate{Running: true, InFlight: 4, Limit: 4}, false,
			[]wait{{callbackd.WaitForAttempt, time.Time{}}}, wait{}},
		{"replays use their half", callbackd.Gate{Running: true, InFlight: 2, ReplaysInFlight: 2, Limit: 4}, true,
			[]wait{{callbackd.WaitForReplay, time.Time{}}}, wait{}},
		{"replays use their half, and a first attempt waits", callbackd.Gate{Running: true, InFlight: 2, ReplaysInFlight: 2, Limit: 4}, false,
			nil, wait{}},
		{"one replay of one attempt", callbackd.Gate{Running: true, Limit: 1}, true, nil, wait{}},
	} {
		got := c.gate.Waits(c.replay, now)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: reasons (-want +got):\n%s", c.name, diff)
		}
		first := wait{}
		if len(c.want) > 0 {
			first = c.want[0]
		}
		if got := c.gate.First(c.replay, now); got != first {
			t.Errorf("%s: the first reason is %+v, want %+v", c.name, got, first)
		}
		if got := c.gate.Receiver(now); got != c.receiver {
			t.Errorf("%s: of the receiver: %+v, want %+v", c.name, got, c.receiver)
		}
	}
}

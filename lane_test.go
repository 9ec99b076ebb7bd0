package callbackd_test

import (
	"testing"

	"callbackd"
)

func TestLaneState(t *testing.T) {
	const (
		idle      = callbackd.LaneIdle
		ready     = callbackd.LaneReady
		inFlight  = callbackd.LaneInFlight
		recording = callbackd.LaneRecording
		blocked   = callbackd.LaneBlocked
		never     = callbackd.LaneState(99)
	)
	events := []callbackd.LaneEvent{callbackd.LaneFilled, callbackd.LaneHeld, callbackd.LaneEmptied,
		callbackd.LaneStarted, callbackd.LaneAnswered, callbackd.LaneRecorded}
	for state, want := range map[callbackd.LaneState][]callbackd.LaneState{
		//         filled, held, emptied, started, answered, recorded
		idle:      {ready, blocked, idle, never, never, never},
		ready:     {ready, blocked, idle, inFlight, never, never},
		inFlight:  {inFlight, inFlight, inFlight, never, recording, never},
		recording: {recording, recording, recording, never, never, idle},
		blocked:   {ready, blocked, idle, never, never, never},
	} {
		for i, event := range events {
			got, ok := state.After(event)
			if ok != (want[i] != never) {
				t.Errorf("a lane that is %s may be %s: %v, want %v", state, event, ok, !ok)
			}
			if ok && got != want[i] {
				t.Errorf("a lane that is %s and is %s becomes %s, want %s", state, event, got, want[i])
			}
		}
		if got, want := state.UnderWay(), state == inFlight || state == recording; got != want {
			t.Errorf("an attempt of a lane that is %s is under way: %v, want %v", state, got, want)
		}
	}
}

package callbackd_test

import (
	"testing"
	"time"

	"callbackd"
)

func TestParseControl(t *testing.T) {
	stop, pause := callbackd.Control{Stop: true}, callbackd.Control{Pause: true}
	for header, want := range map[string]callbackd.Control{
		"": {}, "stop": stop, " Stop ": stop, "PAUSE": pause, "stop, pause": {Stop: true, Pause: true},
		"later,stop": stop, "stopped": {}, "stop;now": {}, ",,": {},
	} {
		if got := callbackd.ParseControl(header); got != want {
			t.Errorf("ParseControl(%q) = %+v, want %+v", header, got, want)
		}
	}
}

// A success counts whatever it says, and so does a stop for a failure that would be tried
// again. A fault of ours has no answer.
func TestDecideByControl(t *testing.T) {
	stop := callbackd.Control{Stop: true}
	for name, c := range map[string]struct {
		r    callbackd.Result
		want callbackd.State
	}{
		"a success":             {callbackd.Result{Status: 200, Control: stop}, callbackd.Delivered},
		"a failure":             {callbackd.Result{Status: 500, Fault: callbackd.FaultStatus, Control: stop}, callbackd.Failed},
		"a failure that pauses": {callbackd.Result{Status: 500, Fault: callbackd.FaultStatus, Control: callbackd.Control{Pause: true}}, callbackd.Pending},
	} {
		if got := callbackd.Decide(callbackd.Delivery{}, &c.r, callbackd.Policy{}, time.Unix(0, 0), 0.5).State; got != c.want {
			t.Errorf("%s ends as %s, want %s", name, got, c.want)
		}
	}
}

func TestAnAnswerPausesWhateverItsStatusIs(t *testing.T) {
	for _, r := range []callbackd.Result{{Status: 200}, {Status: 500, Fault: callbackd.FaultStatus}, {Status: 410, Fault: callbackd.FaultStatus}} {
		r.Control.Pause = true
		if got := (callbackd.Health{}).ShouldPause(&r, time.Unix(0, 0)); got != callbackd.PausedByReceiver {
			t.Errorf("an answer %d with the control pause pauses with the reason %q, want %q", r.Status, got, callbackd.PausedByReceiver)
		}
	}
}

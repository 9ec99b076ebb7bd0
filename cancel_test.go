package callbackd_test

import (
	"testing"

	"callbackd"

	"github.com/google/go-cmp/cmp"
)

func TestCancellationWhy(t *testing.T) {
	for want, c := range map[string]callbackd.Cancellation{
		"canceled by API key 3":                       {By: callbackd.ByKey(3)},
		"canceled by the operator: wrong test data":   {By: callbackd.ByOperator, Reason: "wrong test data"},
		"canceled by API key 12: canceled by mistake": {By: callbackd.ByKey(12), Reason: "canceled by mistake"},
	} {
		if got := c.Why(); got != want {
			t.Errorf("%+v: %q, want %q", c, got, want)
		}
	}
}

func TestDecisionAfterUnsent(t *testing.T) {
	delivered := callbackd.Decision{State: callbackd.Delivered, Step: 1}
	if got := delivered.AfterUnsent(callbackd.Canceled, "canceled by API key 3"); got != delivered {
		t.Errorf("a delivery that the receiver accepted: %+v, want %+v", got, delivered)
	}
	again := callbackd.Decision{State: callbackd.Pending, Step: 2, Due: t0, HoldsUntil: t0, Why: "step 2 of 3"}
	want := callbackd.Decision{State: callbackd.Canceled, Step: 2, Why: "during the attempt: canceled by API key 3"}
	if got := again.AfterUnsent(callbackd.Canceled, "canceled by API key 3"); got != want {
		t.Errorf("a delivery that would be tried again: %+v, want %+v", got, want)
	}
}

func TestCancelFilter(t *testing.T) {
	f := callbackd.CancelFilter(callbackd.ReplayFilter{Session: "S", States: []callbackd.State{callbackd.Failed}})
	if diff := cmp.Diff(callbackd.ReplayFilter{Session: "S", States: []callbackd.State{callbackd.Pending}}, f); diff != "" {
		t.Errorf("the filter (-want +got):\n%s", diff)
	}
	for _, s := range callbackd.States {
		if got := f.Matches(s, false); got != (s == callbackd.Pending) {
			t.Errorf("it chooses a delivery that is %s: %v", s, got)
		}
	}
	if f.Matches(callbackd.Pending, true) {
		t.Error("it chooses a delivery whose callback has ended")
	}
}

func TestReplayThatCancelsAdvances(t *testing.T) {
	r := callbackd.Replay{State: callbackd.ReplayRunning, Total: 5, Cancel: &callbackd.Cancellation{By: callbackd.ByKey(3)}}
	r.Advance(callbackd.ReplayProgress{Taken: 3, Canceled: 2, Skipped: 1}, t0)
	if r.State != callbackd.ReplayRunning {
		t.Errorf("after a part of its set: the state is %s, want running", r.State)
	}
	if r.Pending() != 0 || r.Canceled != 2 {
		t.Errorf("after a part of its set: %d pending and %d canceled, want 0 and 2", r.Pending(), r.Canceled)
	}
	r.Advance(callbackd.ReplayProgress{Taken: 2, Canceled: 2}, t0)
	if r.State != callbackd.ReplayDone || r.Canceled != 4 {
		t.Errorf("after the whole of its set: it is %s with %d canceled, want done with 4", r.State, r.Canceled)
	}
	if !r.EndedAt.Equal(t0) {
		t.Errorf("after the whole of its set: it ended at %v, want %v", r.EndedAt, t0)
	}
}

package callbackd_test

import (
	"testing"
	"time"

	"callbackd"
)

func TestSameOriginIsSchemeHostAndPort(t *testing.T) {
	const a = "https://Hooks.example.com/a?b"
	for _, b := range []string{"https://hooks.example.com", "https://hooks.example.com:443/x"} {
		if !callbackd.SameOrigin(a, b) {
			t.Errorf("%s and %s differ", a, b)
		}
	}
	for _, b := range []string{"http://hooks.example.com/a?b", "https://hooks.example.com:8443/a?b", "https://example.com/a?b", "https://hooks.example.com.evil.test/", "/a", ""} {
		if callbackd.SameOrigin(a, b) {
			t.Errorf("%s and %s are the same", a, b)
		}
	}
	if !callbackd.SameOrigin("http://[2001:DB8::1]/", "http://[2001:db8::1]:80/") {
		t.Error("an IPv6 address differs from itself")
	}
	if callbackd.SameOrigin("", "") {
		t.Error("what is no URL has an origin")
	}
}

func TestProbationBeginsWithAFewCallbacksAndThenOneAtATime(t *testing.T) {
	var p callbackd.Probation
	for i := range callbackd.ProbationBurst {
		if !p.MayBegin(t0) || !p.NextBegin(&callbackd.Callback{}, t0).IsZero() {
			t.Fatalf("only %d callbacks begin at once", i)
		}
		p.Begin(&callbackd.Callback{}, t0)
	}
	now := t0
	for range 5 {
		next := p.NextBegin(&callbackd.Callback{}, now)
		if p.MayBegin(now) || next.Sub(now) != callbackd.ProbationEvery {
			t.Fatalf("the next one begins after %v, want %v", next.Sub(now), callbackd.ProbationEvery)
		}
		if p.MayBegin(next.Add(-time.Millisecond)) || !p.MayBegin(next) {
			t.Fatal("the next one does not begin at its time")
		}
		now = next
		p.Begin(&callbackd.Callback{}, now)
	}
	if later := now.Add(callbackd.ProbationBurst * callbackd.ProbationEvery); p.Idle(later.Add(-time.Millisecond)) || !p.Idle(later) {
		t.Error("it is not forgotten when its burst is whole again")
	}
}

func TestProbationHasOneAllowanceAndOneBreaker(t *testing.T) {
	var p callbackd.Probation
	if got := p.Limit(&callbackd.Callback{}, t0); got != callbackd.RampStart {
		t.Errorf("%d attempts in flight, want %d", got, callbackd.RampStart)
	}
	for range callbackd.BreakerThreshold {
		p.After(status(500), t0, 0.5)
	}
	if p.Limit(&callbackd.Callback{}, t0) != 0 || p.Idle(t0.Add(time.Hour)) {
		t.Errorf("failures of any of them do not open its breaker: %+v", p)
	}
}

// What one callback's receiver asks for with Retry-After holds that callback;
// the others at the origin share its failure, and not its wait.
func TestRetryAfterClosesNoOtherCallbackOfTheOrigin(t *testing.T) {
	var p callbackd.Probation
	busy := status(503)
	busy.RetryAfter = "600"
	p.After(busy, t0, 0.5)
	if p.Health.Held(t0) {
		t.Error("other callbacks at the origin wait because of the Retry-After of one")
	}
	if p.Limit(&callbackd.Callback{}, t0) == 0 {
		t.Error("no attempt may start at the origin, want that some may")
	}
	if n := p.Health.Consecutive; n != 1 {
		t.Errorf("%d failures in a row at the origin, want 1", n)
	}
}

// A provider of access tokens that fails says nothing about the host, which got no request.
func TestAFaultOfAProviderIsNotTheHosts(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	var p callbackd.Probation
	for range 2 * callbackd.BreakerThreshold {
		p.After(&callbackd.Result{Fault: callbackd.FaultAuth}, now, 0.5)
	}
	if p.Health != (callbackd.Health{}) {
		t.Errorf("the shared health is %+v, want that of a new host", p.Health)
	}
	h := callbackd.Health{}
	for range callbackd.BreakerThreshold {
		h = h.After(&callbackd.Result{Fault: callbackd.FaultAuth}, now, 0.5)
	}
	if !h.Open(now) {
		t.Error("the callback's own breaker is closed, so its deliveries use up their schedules")
	}
}

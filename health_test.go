package callbackd_test

import (
	"testing"
	"time"

	"callbackd"
)

func TestHealthOpensAfterConsecutiveFailuresAlone(t *testing.T) {
	var h callbackd.Health
	for i := range callbackd.BreakerThreshold - 1 {
		h = h.After(status(500), t0, 0.5)
		if h.Open(t0) {
			t.Fatalf("open after %d failures", i+1)
		}
	}
	well := h.After(status(200), t0, 0.5)
	if well.Consecutive != 0 || !well.FailingSince.IsZero() {
		t.Errorf("a success leaves %+v", well)
	}
	h = h.After(status(500), t0, 0.5)
	if !h.Open(t0) || h.Limit(callbackd.Policy{}, t0) != 0 {
		t.Errorf("not open after %d failures: %+v", callbackd.BreakerThreshold, h)
	}
	if !h.FailingSince.Equal(t0) {
		t.Errorf("failing since %v, want %v", h.FailingSince, t0)
	}
}

func TestHealthProbesAloneAndWaitsLongerEachTime(t *testing.T) {
	var h callbackd.Health
	now := t0
	for range callbackd.BreakerThreshold {
		h = h.After(status(500), now, 0.5)
	}
	wait := callbackd.BreakerFirstWait
	for range 8 {
		if got := h.OpenUntil.Sub(now); got != wait {
			t.Fatalf("open for %v, want %v", got, wait)
		}
		now = h.OpenUntil
		if h.Open(now) {
			t.Fatalf("the breaker is open at %v, want that it lets a probe through", now.Sub(t0))
		}
		wantProbe(t, &h, now)
		h = h.After(status(500), now, 0.5)
		wait = min(2*wait, callbackd.BreakerMaxWait)
	}
	h = h.After(status(200), h.OpenUntil, 0.5)
	p := callbackd.Policy{Concurrency: 5}
	for _, want := range []int{2, 3, 4, 5, 5} {
		if got := h.Limit(p, now); got != want {
			t.Errorf("ramp allows %d, want %d", got, want)
		}
		h = h.After(status(200), now, 0.5)
	}
}

func TestHealthLateFailuresDoNotProlongTheWait(t *testing.T) {
	var h callbackd.Health
	for range callbackd.BreakerThreshold {
		h = h.After(status(500), t0, 0.5)
	}
	until := h.OpenUntil
	if h = h.After(status(500), t0.Add(time.Second), 0.5); !h.OpenUntil.Equal(until) {
		t.Errorf("an attempt in flight when it opened moved the probe by %v", h.OpenUntil.Sub(until))
	}
}

func TestHealthIgnoresFaultsOfOurs(t *testing.T) {
	h := callbackd.Health{Consecutive: 9, Allowance: 3}
	for _, f := range []callbackd.Fault{callbackd.FaultLocal, callbackd.FaultProxy, callbackd.FaultShutdown} {
		if got := h.After(&callbackd.Result{Fault: f}, t0, 0.5); got != h {
			t.Errorf("%s changed %+v to %+v", f, h, got)
		}
	}
}

func TestHealthShouldPause(t *testing.T) {
	old := callbackd.Health{FailingSince: t0.Add(-callbackd.AutoPauseAfter)}
	young := callbackd.Health{FailingSince: t0.Add(-callbackd.AutoPauseAfter + time.Second)}
	tests := []struct {
		h    callbackd.Health
		r    *callbackd.Result
		want callbackd.PauseReason
	}{
		{callbackd.Health{}, status(410), callbackd.PausedGone},
		{callbackd.Health{}, status(500), callbackd.NotPaused},
		{young, status(500), callbackd.NotPaused},
		{old, status(500), callbackd.PausedNoAnswer},
		{old, &callbackd.Result{Fault: callbackd.FaultDNS}, callbackd.PausedNoAnswer},
		{old, status(200), callbackd.NotPaused},
		{old, &callbackd.Result{Fault: callbackd.FaultLocal}, callbackd.NotPaused},
	}
	for _, tt := range tests {
		if got := tt.h.ShouldPause(tt.r, t0); got != tt.want {
			t.Errorf("failing since %v, fault %q status %d: %q, want %q", tt.h.FailingSince, tt.r.Fault, tt.r.Status, got, tt.want)
		}
	}
}

func TestHealthIsClosedUntilTheReceiverSaid(t *testing.T) {
	busy := func(after string) *callbackd.Result {
		return &callbackd.Result{Status: 503, Fault: callbackd.FaultStatus, RetryAfter: after}
	}
	var h callbackd.Health
	h = h.After(busy("60"), t0, 0.5)
	h = h.After(busy("20"), t0, 0.5) // of several the longest counts
	h = h.After(status(200), t0.Add(time.Second), 0.5)
	end := t0.Add(time.Minute)
	last := end.Add(-time.Millisecond)
	if !h.Held(last) {
		t.Error("nothing waits a millisecond before the end of Retry-After")
	}
	if h.Open(last) {
		t.Error("Retry-After opened the breaker")
	}
	if n := h.Limit(callbackd.Policy{}, last); n != 0 {
		t.Errorf("%d attempts may start a millisecond before the end of Retry-After, want 0", n)
	}
	if h.Held(end) || h.Limit(callbackd.Policy{}, end) == 0 {
		t.Errorf("still closed at the end: %+v", h)
	}
}

func TestHealthOpensForTheLongerOfBreakerAndRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		after string
		want  time.Duration
	}{{"3", callbackd.BreakerFirstWait}, {"600", 10 * time.Minute}} {
		var h callbackd.Health
		for range callbackd.BreakerThreshold {
			h = h.After(&callbackd.Result{Status: 503, Fault: callbackd.FaultStatus, RetryAfter: tt.after}, t0, 0.5)
		}
		if got := h.HeldUntil().Sub(t0); got != tt.want {
			t.Errorf("Retry-After %s: held for %v, want %v", tt.after, got, tt.want)
		}
		if last := h.HeldUntil().Add(-time.Millisecond); h.Probing(last) || h.Limit(callbackd.Policy{}, last) != 0 {
			t.Errorf("Retry-After %s: a probe before the end", tt.after)
		}
		if at := h.HeldUntil(); !h.Probing(at) || h.Limit(callbackd.Policy{}, at) != 1 {
			t.Errorf("Retry-After %s: no lone probe at the end", tt.after)
		}
	}
}

func TestRestoreHealthOfAFailingCallbackBeginsWithAProbe(t *testing.T) {
	h := callbackd.RestoreHealth(t0.Add(-time.Hour), time.Time{}, t0)
	wantProbe(t, &h, t0)
	if want := t0.Add(-time.Hour); !h.FailingSince.Equal(want) {
		t.Fatalf("failing since %v, want %v", h.FailingSince, want)
	}
	failed := h.After(status(500), t0, 0.5)
	if got := failed.OpenUntil.Sub(t0); got != callbackd.BreakerFirstWait {
		t.Errorf("after a failed probe it is open for %v, want %v", got, callbackd.BreakerFirstWait)
	}
	well := h.After(status(200), t0, 0.5)
	if n := well.Limit(callbackd.Policy{}, t0); n != 2 {
		t.Errorf("the ramp begins with %d attempts at a time, want 2", n)
	}
	if !well.FailingSince.IsZero() {
		t.Errorf("after a success it is failing since %v, want that it is not", well.FailingSince)
	}
	closed := callbackd.RestoreHealth(t0.Add(-time.Hour), t0.Add(time.Minute), t0)
	if !closed.Held(t0) {
		t.Error("nothing waits while the callback is closed")
	}
	if closed.Probing(t0) {
		t.Error("a probe may start while the callback is closed")
	}
	if !closed.Probing(t0.Add(time.Minute)) {
		t.Error("no probe may start at the end of Retry-After")
	}
	if h := callbackd.RestoreHealth(time.Time{}, time.Time{}, t0); h != (callbackd.Health{}) {
		t.Errorf("a well one begins with %+v", h)
	}
}

func TestAClockThatWasSetBackProlongsNoWait(t *testing.T) {
	ahead := t0.Add(365 * 24 * time.Hour)
	var h callbackd.Health
	for range callbackd.BreakerThreshold {
		h = h.After(&callbackd.Result{Status: 503, Fault: callbackd.FaultStatus, RetryAfter: "600"}, ahead, 0.5)
	}
	plausible := h.Plausible(t0)
	wantProbe(t, &plausible, t0)
	if plausible.Consecutive != h.Consecutive {
		t.Errorf("%d failures in a row after the clock was set back, want %d as before", plausible.Consecutive, h.Consecutive)
	}
	if got := h.Plausible(ahead); got != h {
		t.Errorf("with the clock that it was made by: %+v, want %+v", got, h)
	}
	longest := callbackd.Health{OpenUntil: t0.Add(callbackd.BreakerMaxWait * 11 / 10), ClosedUntil: t0.Add(callbackd.MaxRetryAfter)}
	if got := longest.Plausible(t0.Add(-time.Minute)); got != longest {
		t.Errorf("with a clock that is a minute behind: %+v, want %+v", got, longest)
	}
	if got := callbackd.RestoreHealth(time.Time{}, h.ClosedUntil, t0); got.Held(t0) {
		t.Errorf("after a restart it is held until %v", got.HeldUntil())
	}
	cb := callbackd.Callback{ClosedUntil: h.ClosedUntil}
	if got := cb.StillClosed(t0); !got.IsZero() {
		t.Errorf("the callback is said to be closed until %v", got)
	}
	if got := cb.StillClosed(ahead); !got.Equal(h.ClosedUntil) {
		t.Errorf("closed until %v, want %v", got, h.ClosedUntil)
	}
	if got := cb.StillClosed(h.ClosedUntil); !got.IsZero() {
		t.Errorf("at its end it is said to be closed until %v", got)
	}
}

func TestAReleaseLetsOneProbeThroughAnOpenBreaker(t *testing.T) {
	var h callbackd.Health
	for range callbackd.BreakerThreshold {
		h = h.After(&callbackd.Result{Status: 503, Fault: callbackd.FaultStatus, RetryAfter: "600"}, t0, 0.5)
	}
	if h = h.Released(t0); h.Held(t0) || h.Limit(callbackd.Policy{}, t0) != 1 {
		t.Errorf("no lone probe: %+v", h)
	}
	if failed := h.After(status(500), t0, 0.5); failed.OpenUntil.Sub(t0) != 2*callbackd.BreakerFirstWait {
		t.Errorf("after a failed probe it is open until %v", failed.OpenUntil)
	}
	if well := (callbackd.Health{Allowance: 7}); well.Released(t0) != well {
		t.Errorf("a well one becomes %+v", well.Released(t0))
	}
}

// wantProbe fails the test unless one attempt may start at now, as a probe.
func wantProbe(t *testing.T, h *callbackd.Health, now time.Time) {
	t.Helper()
	if !h.Probing(now) {
		t.Fatalf("no probe may start at %v", now.Sub(t0))
	}
	if n := h.Limit(callbackd.Policy{}, now); n != 1 {
		t.Fatalf("%d attempts may start at %v, want one probe", n, now.Sub(t0))
	}
}

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
		if h.Open(now) || !h.Probing(now) || h.Limit(callbackd.Policy{}, now) != 1 {
			t.Fatalf("no lone probe at %v: %+v", now.Sub(t0), h)
		}
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

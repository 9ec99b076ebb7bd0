package ratelimit_test

import (
	"testing"
	"time"

	"callbackd/internal/ratelimit"
)

func TestBucket(t *testing.T) {
	at := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	var b ratelimit.Bucket
	for i, step := range []struct {
		after time.Duration
		n     float64
		wait  time.Duration
	}{
		{0, 10, 0},                      // all at once
		{0, 1, 100 * time.Millisecond},  // nothing left: 10 a second
		{100 * time.Millisecond, 1, 0},  // one more
		{time.Hour, 25, 0},              // more than it holds, when full
		{0, 1, 1600 * time.Millisecond}, // it owes 15
		{1500 * time.Millisecond, 1, 100 * time.Millisecond},
		{-time.Hour, 1, 100 * time.Millisecond}, // a clock that goes back adds nothing
		{2 * time.Hour, 5, 0},
		{0, 6, 100 * time.Millisecond}, // all of an array, or nothing
		{0, 5, 0},
	} {
		at = at.Add(step.after)
		if wait := b.Take(step.n, 10, 10, at).Round(time.Microsecond); wait != step.wait {
			t.Errorf("step %d: %g tokens have to wait %v, want %v", i+1, step.n, wait, step.wait)
		}
	}
	if left, full := b.Left(10, 10, at); left != 0 || full.Round(time.Microsecond) != time.Second {
		t.Errorf("%g are left and %v until full, want 0 and 1s", left, full)
	}
	if left, _ := b.Left(100, 10, at.Add(50*time.Millisecond)); left < 4.99 || left > 5.01 {
		t.Errorf("%g are left at ten times the rate, want 5", left)
	}
}

package ratelimit

import (
	"testing"
	"time"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestEachKeyHasABurstAndThenARate(t *testing.T) {
	l := New[string](2, 3)
	for i := range 3 {
		if !l.Allow("a", start) {
			t.Errorf("number %d of the burst is not allowed", i+1)
		}
	}
	if l.Allow("a", start) {
		t.Error("more than the burst is allowed")
	}
	if !l.Allow("b", start) {
		t.Error("another key is not allowed")
	}
	if !l.Allow("a", start.Add(500*time.Millisecond)) {
		t.Error("half a second later one is not allowed, at 2 a second")
	}
	if l.Allow("a", start.Add(500*time.Millisecond)) {
		t.Error("half a second later a second one is allowed, at 2 a second")
	}
}

func TestTakeTakesFromEveryKeyOrFromNone(t *testing.T) {
	l := New[string](0.1, 1)
	if wait := l.Take(start, "a", "b"); wait != 0 {
		t.Errorf("the first call waits %v", wait)
	}
	if wait := l.Take(start, "a", "c"); wait != 11*time.Second {
		t.Errorf("a call with a used key waits %v, want 11s", wait)
	}
	if wait := l.Take(start, "c"); wait != 0 {
		t.Errorf("the call that had to wait took from c: it waits %v", wait)
	}
	if wait := l.Take(start.Add(9500*time.Millisecond), "a"); wait != time.Second {
		t.Errorf("half a second before its time a waits %v, want 1s", wait)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	l := New[int](1, 1)
	for i := range 3 * maxKeys {
		l.Allow(i, start)
	}
	if n := len(l.buckets); n > maxKeys {
		t.Errorf("%d keys are remembered, want at most %d", n, maxKeys)
	}
}

func TestKeysThatWaitAreRememberedBeforeOthers(t *testing.T) {
	l := New[int](1, 1)
	for i := range maxKeys - 1 {
		l.Allow(i, start)
	}
	later := start.Add(time.Minute) // all are full again
	l.Allow(-1, later)
	l.Allow(-2, later) // the limiter forgets
	if l.Allow(-1, later) {
		t.Error("a key without tokens was forgotten while there were full ones")
	}
}

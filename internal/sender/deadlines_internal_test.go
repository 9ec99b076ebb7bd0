package sender

import (
	"testing"
	"time"
)

// Attempts that begin together time out one after the other, none early and none more than
// a tenth of its timeout late. Alone, an attempt has exactly its timeout.
func TestDeadlinesAreApart(t *testing.T) {
	var d deadlines
	begin := time.Now()
	const timeout = 15 * time.Second
	taken := map[time.Time]int{}
	var slots []int
	take := func() time.Time {
		at, slot := d.take(begin, timeout)
		taken[at]++
		slots = append(slots, slot)
		if late := at.Sub(begin.Add(timeout)); late < 0 || late > timeout/10 {
			t.Fatalf("a deadline is %v after the timeout, want 0 to %v", late, timeout/10)
		}
		return at
	}
	const fit = perMilli * (1500 + 1)
	for range fit {
		take()
	}
	for at, n := range taken {
		if n > perMilli {
			t.Errorf("%d deadlines are at %v, want at most %d", n, at, perMilli)
		}
	}
	for range fit {
		take()
	}
	for at, n := range taken {
		if n > 2*perMilli {
			t.Errorf("with twice as many as fit, %d deadlines are at %v; want at most %d", n, at, 2*perMilli)
		}
	}
	for _, slot := range slots {
		d.free(slot)
	}
	begin = begin.Add(time.Hour)
	if at := take(); at != begin.Add(timeout) {
		t.Errorf("an attempt alone has %v, want %v", at.Sub(begin), timeout)
	}
}

// Attempts that were answered in time delay no other.
func TestEndedAttemptsDelayNone(t *testing.T) {
	var d deadlines
	begin := time.Now()
	for range 10_000 {
		at, slot := d.take(begin, time.Second)
		if at != begin.Add(time.Second) {
			t.Fatalf("the deadline is after %v, want 1s", at.Sub(begin))
		}
		d.free(slot)
	}
}

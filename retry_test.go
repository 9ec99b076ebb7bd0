package callbackd_test

import (
	"strconv"
	"testing"
	"time"

	"callbackd"

	"pgregory.net/rapid"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func status(code int) *callbackd.Result {
	r := &callbackd.Result{Status: code}
	if code < 200 || code > 299 {
		r.Fault = callbackd.FaultStatus
	}
	return r
}

func TestDecide(t *testing.T) {
	const mid = 0.5 // no jitter
	wait := callbackd.DefaultOrderWait
	failed := t0.Add(-2 * time.Minute)
	tests := []struct {
		name string
		d    callbackd.Delivery
		r    *callbackd.Result
		p    callbackd.Policy
		want callbackd.Decision
	}{
		{name: "200 delivers", r: status(200), want: callbackd.Decision{State: callbackd.Delivered}},
		{name: "299 delivers", r: status(299), want: callbackd.Decision{State: callbackd.Delivered}},
		{name: "199 does not", r: status(199), want: callbackd.Decision{State: callbackd.Pending, Step: 1, Due: t0.Add(5 * time.Second), HoldsUntil: t0.Add(wait)}},
		{name: "302 does not", r: status(302), want: callbackd.Decision{State: callbackd.Pending, Step: 1, Due: t0.Add(5 * time.Second), HoldsUntil: t0.Add(wait)}},
		{name: "an answer with a fault does not", r: &callbackd.Result{Status: 200, Fault: callbackd.FaultTimeout}, want: callbackd.Decision{State: callbackd.Pending, Step: 1, Due: t0.Add(5 * time.Second), HoldsUntil: t0.Add(wait)}},
		{name: "second step", d: callbackd.Delivery{Step: 1, FirstFailedAt: failed}, r: status(500), want: callbackd.Decision{State: callbackd.Pending, Step: 2, Due: t0.Add(5 * time.Minute), HoldsUntil: failed.Add(wait)}},
		{name: "order wait over", d: callbackd.Delivery{Step: 2, FirstFailedAt: t0.Add(-wait)}, r: status(500), want: callbackd.Decision{State: callbackd.Pending, Step: 3, Due: t0.Add(30 * time.Minute)}},
		{name: "schedule used up", d: callbackd.Delivery{Step: 9, FirstFailedAt: failed}, r: status(500), want: callbackd.Decision{State: callbackd.Failed, Step: 10}},
		{name: "own schedule", d: callbackd.Delivery{Step: 1}, r: status(500), p: callbackd.Policy{Retry: []time.Duration{0, time.Second}}, want: callbackd.Decision{State: callbackd.Failed, Step: 2}},
		{name: "no order wanted", r: status(500), p: callbackd.Policy{OrderWait: callbackd.NoOrderWait}, want: callbackd.Decision{State: callbackd.Pending, Step: 1, Due: t0.Add(5 * time.Second)}},
		{name: "manual holds nothing", d: callbackd.Delivery{Manual: true}, r: status(500), want: callbackd.Decision{State: callbackd.Pending, Step: 1, Due: t0.Add(5 * time.Second)}},
		{name: "a test is sent once", d: callbackd.Delivery{Test: true}, r: status(500), want: callbackd.Decision{State: callbackd.Failed, Step: 1}},
		{name: "the 4th fault of ours waits longer", d: callbackd.Delivery{Step: 2, Attempts: 5}, r: &callbackd.Result{Fault: callbackd.FaultLocal}, want: callbackd.Decision{State: callbackd.Pending, Step: 2, Due: t0.Add(40 * time.Second), HoldsUntil: t0.Add(wait)}},
		{name: "faults of ours wait 5 minutes at most", d: callbackd.Delivery{Attempts: 999}, r: &callbackd.Result{Fault: callbackd.FaultProxy}, want: callbackd.Decision{State: callbackd.Pending, Due: t0.Add(callbackd.MaxOursDelay), HoldsUntil: t0.Add(wait)}},
		{name: "faults of ours end", d: callbackd.Delivery{Step: 1, Attempts: 2001}, r: &callbackd.Result{Fault: callbackd.FaultLocal}, want: callbackd.Decision{State: callbackd.Failed, Step: 1}},
		{name: "local fault burns nothing", d: callbackd.Delivery{Step: 9}, r: &callbackd.Result{Fault: callbackd.FaultLocal}, want: callbackd.Decision{State: callbackd.Pending, Step: 9, Due: t0.Add(callbackd.OursDelay), HoldsUntil: t0.Add(wait)}},
		{name: "proxy fault burns nothing", d: callbackd.Delivery{Step: 9}, r: &callbackd.Result{Fault: callbackd.FaultProxy}, want: callbackd.Decision{State: callbackd.Pending, Step: 9, Due: t0.Add(callbackd.OursDelay), HoldsUntil: t0.Add(wait)}},
		{name: "shutdown repeats at once", d: callbackd.Delivery{Step: 3}, r: &callbackd.Result{Fault: callbackd.FaultShutdown}, want: callbackd.Decision{State: callbackd.Pending, Step: 3, Due: t0, HoldsUntil: t0.Add(wait)}},
		{name: "Retry-After is a floor", r: &callbackd.Result{Status: 429, Fault: callbackd.FaultStatus, RetryAfter: "120"}, want: callbackd.Decision{State: callbackd.Pending, Step: 1, Due: t0.Add(126 * time.Second), HoldsUntil: t0.Add(wait)}},
		{name: "Retry-After sooner than the schedule changes nothing", d: callbackd.Delivery{Step: 3}, r: &callbackd.Result{Status: 503, Fault: callbackd.FaultStatus, RetryAfter: "1"}, want: callbackd.Decision{State: callbackd.Pending, Step: 4, Due: t0.Add(2 * time.Hour), HoldsUntil: t0.Add(wait)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := callbackd.Decide(tt.d, tt.r, tt.p, t0, mid)
			if got.Why == "" {
				t.Error("no reason given")
			}
			got.Why = ""
			if got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// Row 11 of the peers' defects: a receiver that asks for 120 s at the 5 s
// step was called again after 12 s.
func TestPeers11RetryAfterIsAFloorWhateverTheJitter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secs := rapid.IntRange(0, 200_000).Draw(t, "seconds")
		d := callbackd.Delivery{Step: rapid.IntRange(0, 8).Draw(t, "step")}
		r := &callbackd.Result{Status: 429, Fault: callbackd.FaultStatus}
		asked := time.Duration(secs) * time.Second
		if rapid.Bool().Draw(t, "as date") {
			r.RetryAfter = t0.Add(asked).Format("Mon, 02 Jan 2006 15:04:05 GMT")
		} else {
			r.RetryAfter = strconv.Itoa(secs)
		}
		jitter := rapid.Float64Range(0, 0.999999).Draw(t, "jitter")
		dec := callbackd.Decide(d, r, callbackd.Policy{}, t0, jitter)
		floor := t0.Add(min(asked, callbackd.MaxRetryAfter))
		if dec.State != callbackd.Pending || dec.Due.Before(floor) {
			t.Fatalf("asked %v, due after %v", asked, dec.Due.Sub(t0))
		}
		if most := 24*time.Hour + 24*time.Hour/10; dec.Due.Sub(t0) > most {
			t.Fatalf("due after %v, more than the cap", dec.Due.Sub(t0))
		}
	})
}

func TestDefaultScheduleIsTheOneOfStandardWebhooks(t *testing.T) {
	var sum time.Duration
	for _, d := range callbackd.DefaultSchedule {
		sum += d
	}
	if want := 75*time.Hour + 35*time.Minute + 5*time.Second; sum != want || len(callbackd.DefaultSchedule) != 10 {
		t.Errorf("%d steps, %v in all; want 10 and %v", len(callbackd.DefaultSchedule), sum, want)
	}
}

func TestParseRetryAfter(t *testing.T) {
	day := callbackd.MaxRetryAfter
	tests := []struct {
		text string
		want time.Duration
		ok   bool
	}{
		{"", 0, false}, {"soon", 0, false}, {"-5", 0, false}, {"1.5", 0, false}, {"+5", 0, false},
		{"0", 0, true}, {"120", 2 * time.Minute, true}, {" 7 ", 7 * time.Second, true},
		{"86400", day, true}, {"86401", day, true}, {"99999999999999999999", day, true},
		{"Fri, 02 Jan 2026 03:05:05 GMT", time.Minute, true},
		{"Fri, 02 Jan 2026 03:03:05 GMT", 0, true},
		{"Fri, 02 Jan 2099 03:03:05 GMT", day, true},
		{"Friday, 02-Jan-26 03:05:05 GMT", time.Minute, true},
	}
	for _, tt := range tests {
		got, ok := callbackd.ParseRetryAfter(tt.text, t0)
		if ok != tt.ok || ok && got.Sub(t0) != tt.want {
			t.Errorf("%q: %v, %v; want %v, %v", tt.text, got.Sub(t0), ok, tt.want, tt.ok)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "120", "Fri, 02 Jan 2026 03:05:05 GMT", "99999999999999999999", "-1", "١٢"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, ok := callbackd.ParseRetryAfter(s, t0)
		if !ok {
			return
		}
		if at.Before(t0) || at.Sub(t0) > callbackd.MaxRetryAfter {
			t.Errorf("%q: %v from now", s, at.Sub(t0))
		}
	})
}

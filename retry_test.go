package callbackd_test

import (
	"strconv"
	"strings"
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

// With policy.store_response false, no text has anything of the answer, and it decides all
// the same.
func TestDecideWithoutTheResponse(t *testing.T) {
	for _, asked := range []string{"120", "999999", "a text of a person"} {
		r := &callbackd.Result{Status: 429, Fault: callbackd.FaultStatus, RetryAfter: asked}
		with := callbackd.Decide(callbackd.Delivery{}, r, callbackd.Policy{}, t0, 0.5)
		got := callbackd.Decide(callbackd.Delivery{}, r, callbackd.Policy{NoResponse: true}, t0, 0.5)
		if strings.Contains(got.Why, asked) || !strings.Contains(got.Why, "Retry-After") {
			t.Errorf("Retry-After %q: the reason is %q", asked, got.Why)
		}
		if with.Why = got.Why; with != got {
			t.Errorf("Retry-After %q: %+v, want %+v", asked, got, with)
		}
	}
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
		{name: "faults of ours wait 5 minutes at most", d: callbackd.Delivery{Attempts: 999}, r: &callbackd.Result{Fault: callbackd.FaultProxy}, want: callbackd.Decision{State: callbackd.Pending, Due: t0.Add(callbackd.MaxInternalDelay), HoldsUntil: t0.Add(wait)}},
		{name: "faults of ours end", d: callbackd.Delivery{Step: 1, Attempts: 2001}, r: &callbackd.Result{Fault: callbackd.FaultLocal}, want: callbackd.Decision{State: callbackd.Failed, Step: 1}},
		{name: "local fault burns nothing", d: callbackd.Delivery{Step: 9}, r: &callbackd.Result{Fault: callbackd.FaultLocal}, want: callbackd.Decision{State: callbackd.Pending, Step: 9, Due: t0.Add(callbackd.InternalDelay), HoldsUntil: t0.Add(wait)}},
		{name: "proxy fault burns nothing", d: callbackd.Delivery{Step: 9}, r: &callbackd.Result{Fault: callbackd.FaultProxy}, want: callbackd.Decision{State: callbackd.Pending, Step: 9, Due: t0.Add(callbackd.InternalDelay), HoldsUntil: t0.Add(wait)}},
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

// A receiver that asks for 120 s at a step of 5 s is not called again before that.
func TestRetryAfterIsAFloorWhateverTheJitter(t *testing.T) {
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
		{"", 0, false}, {"soon", 0, false}, {"-5", 0, false}, {"1e5", 0, false}, {"120 apples", 0, false}, {"inf", 0, false}, {".", 0, false}, {",", 0, false},
		{"Fri, 02 Jan 2026 03:05:05 EST", 0, false}, {"Fri, 02 Jan 2026 06:05:05 GMT+3", 0, false}, // may be anywhere
		{"0", 0, true}, {"120", 2 * time.Minute, true}, {" 7 ", 7 * time.Second, true},
		{"86400", day, true}, {"86401", day, true}, {"99999999999999999999", day, true},
		{"Fri, 02 Jan 2026 03:05:05 GMT", time.Minute, true},
		{"Fri, 02 Jan 2026 03:03:05 GMT", 0, true},
		{"Fri, 02 Jan 2099 03:03:05 GMT", day, true},
		{"Friday, 02-Jan-26 03:05:05 GMT", time.Minute, true},
		{"1.5", 1500 * time.Millisecond, true}, {"+5", 5 * time.Second, true}, {`"120"`, 2 * time.Minute, true},
		{"120 s", 2 * time.Minute, true}, {"120s", 2 * time.Minute, true}, {"90 Seconds", 90 * time.Second, true}, {"2 minutes", 2 * time.Minute, true}, {"1h", time.Hour, true},
		{"Fri, 02 Jan 2026 03:05:05", time.Minute, true}, {"Fri, 2 Jan 2026 03:05:05 UTC", time.Minute, true},
		{"Fri, 02 Jan 2026 05:05:05 +0200", time.Minute, true}, {"Thu, 01 Jan 2026 22:05:05 -0500", time.Minute, true},
		{"2026-01-02T03:05:05Z", time.Minute, true}, {"2026-01-02T05:05:05.000+02:00", time.Minute, true}, {"2026-01-02 03:05:05", time.Minute, true}, {"2026-01-02 03:05:05 UTC", time.Minute, true},
		{strconv.FormatInt(t0.Unix()+60, 10), time.Minute, true}, {strconv.FormatInt(t0.UnixMilli()+60_000, 10), time.Minute, true}, {"1700000000", 0, true},
		{"30, 120", 2 * time.Minute, true}, {"120, soon", 2 * time.Minute, true},
		{"30, Fri, 02 Jan 2026 03:05:05 GMT, 20", time.Minute, true}, {"Fri, 02 Jan 2026 03:03:05 GMT, 90", 90 * time.Second, true},
	}
	for _, tt := range tests {
		got, ok := callbackd.ParseRetryAfter(tt.text, t0)
		if ok != tt.ok || ok && got.Sub(t0) != tt.want {
			t.Errorf("%q: %v, %v; want %v, %v", tt.text, got.Sub(t0), ok, tt.want, tt.ok)
		}
	}
}

func TestWhyOfARetryTellsWhatBecameOfRetryAfter(t *testing.T) {
	tests := map[string]string{
		"120":    "the receiver asked to wait (Retry-After: 120)",
		"999999": "the receiver asked to wait (Retry-After: 999999); callbackd waits 1 d at most",
		"soon":   "step 2 of 10 is due 5 s ± 10 % after the one before; the receiver's Retry-After (soon) is neither seconds nor a date and was not understood",
		"1":      "step 2 of 10 is due 5 s ± 10 % after the one before",
	}
	for text, want := range tests {
		r := &callbackd.Result{Status: 429, Fault: callbackd.FaultStatus, RetryAfter: text}
		if got := callbackd.Decide(callbackd.Delivery{}, r, callbackd.Policy{}, t0, 0.5).Why; got != want {
			t.Errorf("Retry-After %q: %q, want %q", text, got, want)
		}
	}
}

func TestRetryAfterClosesOnlyWith429And503(t *testing.T) {
	for code, want := range map[int]time.Time{429: t0.Add(time.Minute), 503: t0.Add(time.Minute), 500: {}, 301: {}, 410: {}, 200: {}} {
		r := status(code)
		r.RetryAfter = "60"
		if got := r.AsksToWaitUntil(t0); !got.Equal(want) {
			t.Errorf("%d closes until %v, want %v", code, got, want)
		}
	}
	for _, text := range []string{"", "0", "soon", "Fri, 02 Jan 2026 03:03:05 GMT"} {
		r := &callbackd.Result{Status: 429, Fault: callbackd.FaultStatus, RetryAfter: text}
		if got := r.AsksToWaitUntil(t0); !got.IsZero() {
			t.Errorf("%q closes until %v", text, got)
		}
	}
}

func TestAnOutcomeAfterTheEndIsRecordedAsItWas(t *testing.T) {
	for _, state := range []callbackd.State{callbackd.Delivered, callbackd.Failed} {
		d := callbackd.Decision{State: state, Step: 3, Why: "so"}
		if got := d.AfterEnd(); got != d {
			t.Errorf("%s becomes %+v", state, got)
		}
	}
	got := callbackd.Decision{State: callbackd.Pending, Step: 3, Due: t0, HoldsUntil: t0, Why: "so"}.AfterEnd()
	if got.State != callbackd.Canceled {
		t.Errorf("the state is %s, want canceled", got.State)
	}
	if got.Step != 3 {
		t.Errorf("the step is %d, want 3", got.Step)
	}
	if !got.Due.IsZero() {
		t.Errorf("the delivery is due at %v, want never", got.Due)
	}
	if !got.HoldsUntil.IsZero() {
		t.Errorf("the lane is blocked until %v, want that it is not", got.HoldsUntil)
	}
	if got.Why == "so" {
		t.Error("the reason is that of the retry, want that of the cancellation")
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

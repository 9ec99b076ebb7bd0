package console_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/console"
	"callbackd/internal/store"
	"callbackd/wire"
)

// A receiver that is dead is a red wall, also in the hours in which it was not
// even tried, and beside any number of successes before.
func TestADeadReceiverIsARedWall(t *testing.T) {
	since := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	slots := make([]store.Counters, 6)
	slots[1] = store.Counters{Delivered: 10_000, Attempts: 10_000}
	slots[2] = store.Counters{Delivered: 100, Attempts: 130, Faults: 30}
	slots[3] = store.Counters{Attempts: 3, Faults: 3}
	got := console.FailureChart(slots, since, since.Add(150*time.Minute))
	want := []string{"", "f-ok ", "f-ok f-bad ", "f-bad ", "f-bad ", "f-bad "}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := console.FailureChart(make([]store.Counters, 2), since, time.Time{}); !slices.Equal(got, []string{"", ""}) {
		t.Errorf("of one that was never used: %q", got)
	}
}

// What is overdue counts as not delivered, so that a receiver that is away does
// not show the success of what came before it.
func TestSuccessIsOfWhatShouldHaveBeenDelivered(t *testing.T) {
	for name, c := range map[string]struct {
		sums                 store.Counters
		overdue              int
		attempts, deliveries string
	}{
		"nothing":      {store.Counters{}, 0, "–", "–"},
		"all well":     {store.Counters{Delivered: 5, Attempts: 5}, 0, "100 %", "100 %"},
		"away":         {store.Counters{Attempts: 40, Faults: 40}, 12, "0 %", "0 %"},
		"away lately":  {store.Counters{Delivered: 75, Attempts: 100, Faults: 25}, 25, "75 %", "75 %"},
		"almost":       {store.Counters{Delivered: 999_999, Attempts: 999_999}, 1, "100 %", "99.99 %"},
		"given up too": {store.Counters{Delivered: 2, Failed: 1, Attempts: 12, Faults: 10}, 1, "16.67 %", "50 %"},
	} {
		if a, d := console.SuccessRates(&c.sums, c.overdue); a != c.attempts || d != c.deliveries {
			t.Errorf("%s: %s of attempts, %s of deliveries; want %s, %s", name, a, d, c.attempts, c.deliveries)
		}
	}
}

// A phase that never happened has no bar; without an answer the time belongs
// to the phase that failed.
func TestPhasesThatNeverHappenedHaveNoBar(t *testing.T) {
	for _, c := range []struct {
		t     wire.Timings
		fault callbackd.Fault
		want  string
	}{
		{wire.Timings{DNS: 1, Connect: 2, TLS: 3, FirstByte: 10, Total: 12}, callbackd.NoFault, "DNS connect TLS first byte body"},
		{wire.Timings{FirstByte: 4, Total: 5}, callbackd.NoFault, "first byte body"},
		{wire.Timings{DNS: 5, Total: 6}, callbackd.FaultDNS, "DNS"},
		{wire.Timings{DNS: 1, Total: 3000}, callbackd.FaultConnect, "DNS connect"},
		{wire.Timings{DNS: 1, Connect: 2, Total: 3000}, callbackd.FaultTLS, "DNS connect TLS"},
		{wire.Timings{DNS: 1, Connect: 2, TLS: 3, Total: 15000}, callbackd.FaultTimeout, "DNS connect TLS no answer"},
		{wire.Timings{DNS: 1, Total: 1.1}, callbackd.FaultRefused, "DNS"},
		{wire.Timings{Total: 0.2}, callbackd.FaultRefused, ""},
		{wire.Timings{Total: 0.2}, callbackd.FaultLocal, ""},
	} {
		if got := strings.Join(console.Phases(c.t, c.fault), " "); got != c.want {
			t.Errorf("%+v, %q: %q, want %q", c.t, c.fault, got, c.want)
		}
	}
}

// Times have a zone, and no time or duration is broken over two lines.
func TestTimesAndDurationsHaveOneStyle(t *testing.T) {
	now := time.Now()
	for _, at := range []time.Time{now, now.Add(-48 * time.Hour), now.AddDate(-2, 0, 0)} {
		if s := console.TimeText(at); !strings.HasSuffix(s, "\u00a0UTC") || strings.Contains(s, " ") {
			t.Errorf("%v is shown as %q", at, s)
		}
	}
	for d, want := range map[time.Duration]string{209 * time.Second: "3 min 29 s", 340 * time.Millisecond: "340 ms", 90 * time.Second: "1 min 30 s", time.Second: "1 s"} {
		if got := console.Duration(d); got != strings.ReplaceAll(want, " ", "\u00a0") {
			t.Errorf("%v is shown as %q", d, got)
		}
	}
}

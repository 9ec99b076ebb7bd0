package console_test

import (
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/console"
	"callbackd/internal/store"
	"callbackd/wire"

	"github.com/google/go-cmp/cmp"
)

// The chart of a receiver that is down is red, also in the hours in which nothing was
// sent to it, however many successes it had before.
func TestADeadReceiverIsARedWall(t *testing.T) {
	since := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	slots := make([]store.Counters, 6)
	slots[1] = store.Counters{Delivered: 10_000, Attempts: 10_000}
	slots[2] = store.Counters{Delivered: 100, Attempts: 130, Faults: 30}
	slots[3] = store.Counters{Attempts: 3, Faults: 3}
	got := console.FailureChart(slots, since, since.Add(150*time.Minute))
	want := []string{"", "f-ok ", "f-ok f-bad ", "f-bad ", "f-bad ", "f-bad "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the bars of each hour (-want +got):\n%s", diff)
	}
}

func TestTheChartOfAnUnusedReceiverIsEmpty(t *testing.T) {
	since := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	got := console.FailureChart(make([]store.Counters, 2), since, time.Time{})
	if diff := cmp.Diff([]string{"", ""}, got); diff != "" {
		t.Errorf("the bars of each hour (-want +got):\n%s", diff)
	}
}

// An overdue delivery counts as not delivered. Otherwise a receiver that is down would
// show its earlier success.
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
		attempts, deliveries := console.SuccessRates(&c.sums, c.overdue)
		if attempts != c.attempts {
			t.Errorf("%s: the rate of attempts is %s, want %s", name, attempts, c.attempts)
		}
		if deliveries != c.deliveries {
			t.Errorf("%s: the rate of deliveries is %s, want %s", name, deliveries, c.deliveries)
		}
	}
}

// A phase that did not happen has no bar. Without an answer the rest of the time
// belongs to the phase that failed.
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
			t.Errorf("the phases of %+v with the fault %q are %q, want %q", c.t, c.fault, got, c.want)
		}
	}
}

func TestTimesHaveAZoneAndDoNotBreak(t *testing.T) {
	now := time.Now()
	for _, at := range []time.Time{now, now.Add(-48 * time.Hour), now.AddDate(-2, 0, 0)} {
		if s := console.TimeText(at); !strings.HasSuffix(s, "\u00a0UTC") || strings.Contains(s, " ") {
			t.Errorf("%v is shown as %q, want no spaces and UTC at the end", at, s)
		}
	}
}

func TestDurationsDoNotBreak(t *testing.T) {
	for d, want := range map[time.Duration]string{
		340 * time.Millisecond: "340\u00a0ms",
		time.Second:            "1\u00a0s",
		209 * time.Second:      "3\u00a0min\u00a029\u00a0s",
	} {
		if got := console.Duration(d); got != want {
			t.Errorf("%v is shown as %q, want %q", d, got, want)
		}
	}
}

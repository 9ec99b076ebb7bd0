package obs

import (
	"io"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"callbackd"
)

// docs/operating.md names every metric of ours, and no other.
func TestOperatingNamesEveryMetric(t *testing.T) {
	m := New()
	m.WatchInFlight(func() int { return 0 })
	m.CountLog(NewLogBuffer(io.Discard))
	m.Accepted(1)
	m.Committed(1)
	m.AttemptDone(&callbackd.Outcome{}, callbackd.Delivered, time.Second)
	m.CallbackPaused(callbackd.PausedGone)
	m.WatchClients(func() Clients { return Clients{} })
	m.WatchAccepting(func() (int, int, int) { return 0, 0, 3 })
	m.WatchArchive(func() int64 { return 0 }, func() bool { return false })
	m.SetBuild("1", "sqlite")
	m.WatchStore(aStore(callbackd.Trouble{
		CallbackBacklog: callbackd.CallbackBacklog{ID: 1}, Callback: &callbackd.Callback{}, Paused: callbackd.PausedGone,
	}))
	text := scrape(t, m)
	doc, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	names := func(text, pattern string) []string {
		var out []string
		for _, n := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			out = append(out, n[1])
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	served, documented := names(text, `(?m)^# TYPE (callbackd_\w+) `), names(string(doc), "`(callbackd_\\w+)`")
	if !slices.Equal(served, documented) || len(served) < 10 {
		t.Errorf("served     %q\ndocumented %q", served, documented)
	}
}

// A delivery that a person cancels during its attempt is counted once, whether the outcome
// or the cancellation is told first.
func TestADeliveryThatIsCanceledDuringItsAttemptIsCountedOnce(t *testing.T) {
	m := New()
	m.AttemptDone(&callbackd.Outcome{}, callbackd.Delivered, time.Second)
	m.AttemptDone(&callbackd.Outcome{Canceled: true}, callbackd.Delivered, time.Second)
	m.Canceled(3)
	m.AttemptDone(&callbackd.Outcome{Canceled: true}, callbackd.Canceled, time.Second)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{`callbackd_deliveries_ended_total{state="delivered"} 1`, `callbackd_deliveries_ended_total{state="canceled"} 3`, `callbackd_deliveries_ended_total{state="failed"} 0`} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("the metrics do not have %q", want)
		}
	}
}

package console_test

import (
	"bufio"
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/console"
	"callbackd/internal/live"
)

// Two thousand attempts a second are shown as a sample, spread over all of
// them, that says what it is.
func TestTheTailIsASampleAndSaysSo(t *testing.T) {
	var f live.Stream
	sub := f.Subscribe(1)
	defer sub.Close()
	for n := range 500 { // a tick of 250 ms
		o := &callbackd.Outcome{Delivery: callbackd.Delivery{Event: &callbackd.Event{Key: 1, Type: callbackd.Complete, Session: "S", Sequence: int64(n)}}}
		f.AttemptDone(o, callbackd.State([]string{"delivered", "failed"}[n%2]), 0)
	}
	total, rows := console.Sample(sub, func(d *live.Item) bool { return d.State == callbackd.Failed })
	if total != 250 || len(rows) != 10 || rows[9].Sequence < live.MaxItems*3/4 {
		t.Errorf("%d in all, %d shown, the last is #%d", total, len(rows), rows[len(rows)-1].Sequence)
	}
	for want, got := range map[string]string{
		"Listening. There are no attempts right now.":      console.RateText(0, 0, time.Second),
		"Showing every attempt: 7 a second.":               console.RateText(7, 7, time.Second),
		"Showing a sample: 20 of 2,000 attempts a second.": console.RateText(4000, 40, 2*time.Second),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// An open live page holds no stop up, and ends with it.
func TestAStopEndsLivePages(t *testing.T) { onBothStores(t, aStopEndsLivePages) }

func aStopEndsLivePages(t *testing.T, s *site) {
	v := s.visitor(t).signIn(s.Key)
	req, err := http.NewRequest("GET", s.URL+"/console/deliveries/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := v.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	if !lines.Scan() || lines.Text() != "event: hello" {
		t.Fatalf("the stream begins with %q, %s", lines.Text(), res.Status)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.App.Stop(ctx); err != nil || ctx.Err() != nil {
		t.Errorf("stop: %v, %v", err, ctx.Err())
	}
	for lines.Scan() {
	}
	s.Start()
}

// Test-sends are limited for a key, from wherever they come.
func TestTestSendsAreLimited(t *testing.T) { onBothStores(t, testSendsAreLimited) }

func testSendsAreLimited(t *testing.T, s *site) {
	ids := s.fill(s.Key, newReceiver(t).URL)
	v := s.visitor(t).signIn(s.Key)
	limited := false
	for range 12 {
		switch a := v.do("POST", "/console/callbacks/"+ids["callback"]+"/test", url.Values{}); a.StatusCode {
		case http.StatusSeeOther:
			if !strings.HasPrefix(a.Header.Get("Location"), "/console/deliveries/dlv_") {
				t.Errorf("it leads to %s", a.Header.Get("Location"))
			}
		case http.StatusTooManyRequests:
			limited = true
		default:
			t.Fatal(a.Status)
		}
	}
	if !limited {
		t.Error("twelve test-sends at once were taken")
	}
}

// What a filter, a cursor or a form may hold, and what not: never a 500.
func TestWrongQueriesAreTheVisitorsFault(t *testing.T) {
	onBothStores(t, wrongQueriesAreTheVisitorsFault)
}

func wrongQueriesAreTheVisitorsFault(t *testing.T, s *site) {
	v := s.visitor(t).signIn(s.Key)
	for path, want := range map[string]int{
		"/console/deliveries?state=lost": 400, "/console/deliveries?event=X": 400, "/console/deliveries?callback=0": 400, "/console/deliveries?status=7": 400, "/console/deliveries?fault=bad": 400,
		"/console/deliveries?after=x": 400, "/console/deliveries?since=soon": 400, "/console/deliveries?since=2026-01-02T03:04&until=2026-01-03": 200, "/console/deliveries?status=5xx": 200,
		"/console/logs?status=99": 400, "/console/logs?after=-1": 400, "/console/sessions?after=x": 400, "/console/sessions/x?from=y": 404, "/console/replays/new?counted=1&rate=-1": 400,
		"/console/replays/new?counted=1&state=pending": 400, "/console/replays/new?counted=1&target=99": 400, "/console/callbacks/x": 404, "/console/callbacks/999": 404, "/console/deliveries/x": 404,
		"/console/events/x": 404, "/console/replays/x": 404, "/console/keys/x/rotate": 404, "/console/nodes": 404, "/console/static/x/console.css": 404,
		// What no text of PostgreSQL can hold is text that nothing has.
		"/console/deliveries?session=%00": 200, "/console/deliveries?session=%ff": 200, "/console/sessions?q=%00": 200, "/console/sessions?q=%ff": 200, "/console/sessions/%00": 404, "/console/sessions/%ff": 404,
		"/console/logs?path=%00": 200, "/console/logs?path=%ff": 200, "/console/keys/%00/rotate": 404, "/console/keys/%ff/rotate": 404, "/console/replays/new?counted=1&state=failed&session=%00": 200, "/console/replays/new?counted=1&state=failed&session=%ff": 200,
		"/console/sessions/x?from=%00": 404, "/console/link?token=%ff": 200,
	} {
		if a := v.get(path); a.StatusCode != want {
			t.Errorf("%s: %s, want %d", path, a.Status, want)
		}
	}
	if a := v.do("POST", "/console/callbacks/new", url.Values{"url": {strings.Repeat("x", 300<<10)}}); a.StatusCode/100 != 4 {
		t.Errorf("a form of 300 KiB: %s", a.Status)
	}
}

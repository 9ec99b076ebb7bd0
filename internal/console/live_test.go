package console_test

import (
	"bufio"
	"context"
	"net/http"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/console"
	"callbackd/internal/live"
)

// Two thousand attempts a second are shown as a sample, spread over all of
// them, that says what it is.
func TestTheLivePageIsASampleAndSaysSo(t *testing.T) {
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

package console_test

import (
	"bufio"
	"context"
	"net/http"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/console"
	"callbackd/internal/live"
)

// Of many attempts in a tick the live tail shows a sample that is spread over all.
func TestTheLiveTailShowsASample(t *testing.T) {
	var f live.Stream
	sub := f.Subscribe(1)
	defer sub.Close()
	for n := range 500 { // a tick of 250 ms at 2,000 a second
		o := &callbackd.Outcome{Delivery: callbackd.Delivery{Event: &callbackd.Event{Key: 1, Type: callbackd.Complete, Session: "S", Sequence: int64(n)}}}
		f.AttemptDone(o, callbackd.State([]string{"delivered", "failed"}[n%2]), 0)
	}
	total, rows := console.Sample(sub, func(d *live.Item) bool { return d.State == callbackd.Failed })
	if total != 250 {
		t.Errorf("%d attempts fit the filter, want 250", total)
	}
	if len(rows) != 10 {
		t.Fatalf("%d attempts are shown, want 10", len(rows))
	}
	if last := rows[9].Sequence; last < live.MaxItems*3/4 {
		t.Errorf("the last attempt shown is #%d, want one of the last quarter", last)
	}
}

func TestTheLiveTailSaysWhetherItShowsASample(t *testing.T) {
	for _, c := range []struct {
		total, shown int
		in           time.Duration
		want         string
	}{
		{0, 0, time.Second, "Listening. There are no attempts right now."},
		{7, 7, time.Second, "Showing every attempt: 7 a second."},
		{4000, 40, 2 * time.Second, "Showing a sample: 20 of 2,000 attempts a second."},
	} {
		if got := console.RateText(c.total, c.shown, c.in); got != c.want {
			t.Errorf("%d of %d in %v is %q, want %q", c.shown, c.total, c.in, got, c.want)
		}
	}
}

// liveTail opens the stream of the live tail, which has begun, and returns its lines.
func (v *visitor) liveTail(t *testing.T) *bufio.Scanner {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", v.site.URL+"/console/deliveries/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := v.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	lines := bufio.NewScanner(res.Body)
	if !lines.Scan() || lines.Text() != "event: hello" {
		t.Fatalf("the stream begins with %q, %s", lines.Text(), res.Status)
	}
	return lines
}

// A login that has ended gets no attempt on a stream that it has opened before, and its stream
// ends.
func TestALoginThatEndedSeesNoFurtherAttempt(t *testing.T) {
	onBothStores(t, aLoginThatEndedSeesNoFurtherAttempt)
}

func aLoginThatEndedSeesNoFurtherAttempt(t *testing.T, s *site) {
	r := newReceiver(t)
	s.register(s.Key, client.NewCallback{Event: string(callbackd.Complete), URL: r.URL})
	v := s.visitor(t).signIn(s.Key)
	lines := v.liveTail(t)
	v.post("/console/sign-out", nil)
	s.Publish(s.Key, callbackd.Complete, "S", map[string]any{})
	for lines.Scan() {
		if lines.Text() == "event: row" {
			t.Fatal("it shows an attempt after the sign-out")
		}
	}
}

// An open live page does not delay a stop, and ends with it.
func TestAStopEndsLivePages(t *testing.T) { onBothStores(t, aStopEndsLivePages) }

func aStopEndsLivePages(t *testing.T, s *site) {
	v := s.visitor(t).signIn(s.Key)
	lines := v.liveTail(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.App.Stop(ctx); err != nil {
		t.Errorf("the stop fails: %v", err)
	}
	for lines.Scan() {
	}
	s.Start()
}

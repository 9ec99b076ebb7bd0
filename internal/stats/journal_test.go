package stats_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
	"callbackd/internal/stats"
	"callbackd/internal/store"
)

// shelf is a store that keeps what it gets, unless it fails.
type shelf struct {
	calls   []store.LogEntry
	tallies []store.MinuteCounters
	batches int
	largest int
	fail    bool
}

func (s *shelf) AppendLogs(_ context.Context, es []store.LogEntry) error {
	s.batches++
	s.largest = max(s.largest, len(es))
	if s.fail {
		return errors.New("full")
	}
	s.calls = append(s.calls, es...)
	return nil
}

func (s *shelf) AddCounters(_ context.Context, ts []store.MinuteCounters) error {
	if s.fail {
		return errors.New("full")
	}
	s.tallies = append(s.tallies, ts...)
	return nil
}

func newJournal(s *shelf, dropped *int) *stats.Journal {
	return stats.New(s, slog.New(slog.DiscardHandler), func(n int) { *dropped += n })
}

// Attempts are added up by callback and minute; tests are not traffic, and
// repeats say nothing about latency.
func TestAttemptsAreAddedUp(t *testing.T) {
	var s shelf
	dropped := 0
	j := newJournal(&s, &dropped)
	at := time.Unix(1_700_000_000, 0).UTC()
	cert := at.Add(time.Hour)
	attempt := func(cb callbackd.CallbackID, after time.Duration, state callbackd.State, fault callbackd.Fault, change func(*callbackd.Delivery)) {
		d := callbackd.Delivery{ID: callbackd.DeliveryID{Event: 1, Callback: cb}, Event: &callbackd.Event{Key: 3}}
		if change != nil {
			change(&d)
		}
		res := callbackd.Result{StartedAt: at.Add(after), Fault: fault, Status: 200, CertEnds: cert}
		if fault != "" {
			res.Status, res.CertEnds = 503, time.Time{}
		}
		j.AttemptDone(&callbackd.Outcome{Delivery: d, Attempt: callbackd.Attempt{Result: res}}, state, 50*time.Millisecond)
	}
	attempt(1, 0, callbackd.Delivered, "", nil)
	attempt(1, 0, callbackd.Pending, callbackd.FaultStatus, nil)
	attempt(1, 0, callbackd.Failed, callbackd.FaultStatus, nil)
	attempt(1, 0, callbackd.Canceled, "", nil)
	attempt(1, 0, callbackd.Delivered, "", func(d *callbackd.Delivery) { d.Manual = true })
	attempt(1, 0, callbackd.Delivered, "", func(d *callbackd.Delivery) { d.Test = true })
	attempt(2, time.Minute, callbackd.Delivered, "", nil)
	j.Flush(t.Context())
	j.Flush(t.Context()) // nothing is written twice
	if len(s.tallies) != 2 {
		t.Fatalf("%+v", s.tallies)
	}
	for _, got := range s.tallies {
		want := store.MinuteCounters{Callback: 2, Key: 3, Minute: at.Add(time.Minute).Truncate(time.Minute), Counters: store.Counters{Delivered: 1, Attempts: 1}, Receiver: store.Receiver{LastSuccess: at.Add(time.Minute), CertNotAfter: cert}}
		if got.Callback == 1 {
			want = store.MinuteCounters{Callback: 1, Key: 3, Minute: at.Truncate(time.Minute), Counters: store.Counters{Delivered: 2, Failed: 1, Canceled: 1, Attempts: 5, Faults: 2, Repeats: 1},
				Receiver: store.Receiver{LastSuccess: at, LastFailure: at, LastFault: callbackd.FaultStatus, LastStatus: 503, CertNotAfter: cert}}
		}
		want.Latency.Add(50 * time.Millisecond)
		if got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if dropped != 0 {
		t.Errorf("%d dropped", dropped)
	}
}

// What does not fit is dropped and counted, and nobody waits.
func TestTheJournalIsBounded(t *testing.T) {
	var s shelf
	dropped := 0
	j := newJournal(&s, &dropped)
	at := time.Unix(1_700_000_000, 0)
	const keys = stats.MaxCalls/stats.CallBurst + 2
	for key := range keys {
		for range stats.CallBurst {
			j.Call(store.LogEntry{Key: callbackd.KeyID(key), At: at, Path: strings.Repeat("ü", 500), Message: strings.Repeat("ü", 500)})
		}
	}
	if want := keys*stats.CallBurst - stats.MaxCalls; dropped != want {
		t.Errorf("%d dropped, want %d", dropped, want)
	}
	for i := range stats.MaxCalls + 10 {
		j.Published(callbackd.KeyID(i), at, time.Millisecond, "192.0.2.1")
	}
	dropped = 0
	j.Flush(t.Context())
	if len(s.calls) != 2*stats.MaxCalls || s.largest > 256 || dropped != 0 {
		t.Errorf("%d calls kept in batches of up to %d, %d dropped", len(s.calls), s.largest, dropped)
	}
	for _, e := range s.calls {
		if len(e.Path) > 210 || len(e.Message) > 310 || strings.ContainsRune(e.Path, '\ufffd') {
			t.Fatalf("%d and %d bytes: %q", len(e.Path), len(e.Message), e.Path)
		}
	}
}

// What cannot be written is not tried again: it may have been written.
func TestWhatCannotBeWrittenIsDropped(t *testing.T) {
	s := shelf{fail: true}
	dropped := 0
	j := newJournal(&s, &dropped)
	j.Published(1, time.Now(), 0, "")
	j.Call(store.LogEntry{Key: 1, At: time.Now()})
	j.Flush(t.Context())
	s.fail = false
	j.Flush(t.Context())
	if dropped != 2 || len(s.calls) != 0 {
		t.Errorf("%d dropped, %+v", dropped, s.calls)
	}
}

// A stop loses nothing, and what runs on is written within seconds.
func TestRunFlushesAndEndsWithAFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s shelf
		dropped := 0
		j := newJournal(&s, &dropped)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { j.Run(ctx); close(done) }()
		j.Published(1, time.Now(), 0, "")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if len(s.calls) != 1 {
			t.Errorf("after three seconds: %+v", s.calls)
		}
		j.Refused(1, time.Now(), "")
		cancel()
		<-done
		if len(s.calls) != 2 || s.calls[1].Status != 401 {
			t.Errorf("after the stop: %+v", s.calls)
		}
	})
}

func TestLatencyQuantiles(t *testing.T) {
	var l store.Latency
	for i := 1; i <= 1000; i++ {
		l.Add(time.Duration(i) * time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.95: 950 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second, 0: time.Millisecond} {
		if got := l.Quantile(q); got < want || float64(got) > 1.42*float64(want) {
			t.Errorf("%v: %v, want %v to √2 times that", q, got, want)
		}
	}
	var none store.Latency
	if none.Quantile(0.5) != 0 {
		t.Error("a quantile of nothing")
	}
	none.Add(1000 * time.Hour)
	if fmt.Sprint(none.Quantile(0.5)) == "0s" {
		t.Error("what is beyond the buckets is not counted")
	}
}

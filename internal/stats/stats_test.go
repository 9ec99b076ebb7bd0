package stats_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
	"callbackd/internal/stats"
	"callbackd/internal/store"

	"github.com/google/go-cmp/cmp"
)

// memory is a store in memory, which can be made to fail.
type memory struct {
	calls    []store.LogEntry
	counters []store.MinuteCounters
	batches  int
	largest  int
	fail     bool
	counting sync.Mutex // counters, for tests that look while the recorder runs
}

func (s *memory) AppendLogs(_ context.Context, es []store.LogEntry) error {
	s.batches++
	s.largest = max(s.largest, len(es))
	if s.fail {
		return errors.New("full")
	}
	s.calls = append(s.calls, es...)
	return nil
}

func (s *memory) AddCounters(_ context.Context, ts []store.MinuteCounters) error {
	s.counting.Lock()
	defer s.counting.Unlock()
	if s.fail {
		return errors.New("full")
	}
	s.counters = append(s.counters, ts...)
	return nil
}

func newRecorder(s *memory, dropped *int) *stats.Recorder {
	return stats.New(s, slog.New(slog.DiscardHandler), func(n int) { *dropped += n })
}

// Attempts are added up by callback and minute; tests are not traffic, and
// repeats say nothing about latency.
func TestAttemptsAreAddedUp(t *testing.T) {
	var s memory
	dropped := 0
	r := newRecorder(&s, &dropped)
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
		r.AttemptDone(&callbackd.Outcome{Delivery: d, Attempt: callbackd.Attempt{Result: res}}, state, 50*time.Millisecond)
	}
	attempt(1, 0, callbackd.Delivered, "", nil)
	attempt(1, 0, callbackd.Pending, callbackd.FaultStatus, nil)
	attempt(1, 0, callbackd.Failed, callbackd.FaultStatus, nil)
	attempt(1, 0, callbackd.Canceled, "", nil)
	attempt(1, 0, callbackd.Delivered, "", func(d *callbackd.Delivery) { d.Manual = true })
	attempt(1, 0, callbackd.Delivered, "", func(d *callbackd.Delivery) { d.Test = true })
	attempt(2, time.Minute, callbackd.Delivered, "", nil)
	r.Flush(t.Context())
	r.Flush(t.Context()) // nothing is written twice
	want := []store.MinuteCounters{{
		Callback: 1, Key: 3, Minute: at.Truncate(time.Minute),
		Counters: store.Counters{Delivered: 2, Failed: 1, Canceled: 1, Attempts: 5, Faults: 2, Repeats: 1},
		Receiver: store.Receiver{LastSuccess: at, LastFailure: at, LastFault: callbackd.FaultStatus, LastStatus: 503, CertNotAfter: cert},
	}, {
		Callback: 2, Key: 3, Minute: at.Add(time.Minute).Truncate(time.Minute),
		Counters: store.Counters{Delivered: 1, Attempts: 1},
		Receiver: store.Receiver{LastSuccess: at.Add(time.Minute), CertNotAfter: cert},
	}}
	want[0].ByFault[callbackd.FailureKind(callbackd.FaultStatus, 503)] = 2
	for i := range want {
		want[i].Latency.Add(50 * time.Millisecond)
	}
	slices.SortFunc(s.counters, func(a, b store.MinuteCounters) int { return int(a.Callback - b.Callback) })
	if diff := cmp.Diff(want, s.counters); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
	if dropped != 0 {
		t.Errorf("%d dropped", dropped)
	}
}

// Rows that do not fit are dropped and counted, and no call waits.
func TestTheRecorderIsBounded(t *testing.T) {
	var s memory
	dropped := 0
	r := newRecorder(&s, &dropped)
	at := time.Unix(1_700_000_000, 0)
	const keys = stats.MaxCalls/stats.CallBurst + 2
	for key := range keys {
		for range stats.CallBurst {
			r.Call(store.LogEntry{Key: callbackd.KeyID(key), At: at, Path: strings.Repeat("ü", 500), Message: strings.Repeat("ü", 500)})
		}
	}
	if want := keys*stats.CallBurst - stats.MaxCalls; dropped != want {
		t.Errorf("%d dropped, want %d", dropped, want)
	}
	for i := range stats.MaxCalls + 10 {
		r.Published(callbackd.KeyID(i), at, time.Millisecond, "192.0.2.1")
	}
	dropped = 0
	r.Flush(t.Context())
	if want := 2 * stats.MaxCalls; len(s.calls) != want {
		t.Errorf("%d calls were written, want %d", len(s.calls), want)
	}
	if s.largest > 256 {
		t.Errorf("the largest batch has %d rows, want at most 256", s.largest)
	}
	if dropped != 0 {
		t.Errorf("the flush dropped %d rows, want none", dropped)
	}
	for _, e := range s.calls {
		if len(e.Path) > 210 || len(e.Message) > 310 {
			t.Fatalf("the path has %d bytes and the message %d, want 210 and 310 at most", len(e.Path), len(e.Message))
		}
		if strings.ContainsRune(e.Path, '\ufffd') {
			t.Fatalf("the path is cut within a character: %q", e.Path)
		}
	}
}

// Rows that cannot be written are not tried again: they may have been written.
func TestRowsThatCannotBeWrittenAreDropped(t *testing.T) {
	s := memory{fail: true}
	dropped := 0
	r := newRecorder(&s, &dropped)
	r.Published(1, time.Now(), 0, "")
	r.Call(store.LogEntry{Key: 1, At: time.Now()})
	r.Flush(t.Context())
	s.fail = false
	r.Flush(t.Context())
	if dropped != 2 {
		t.Errorf("%d rows dropped, want 2", dropped)
	}
	if len(s.calls) != 0 {
		t.Errorf("a second flush wrote %+v, want nothing", s.calls)
	}
}

// Rows are written within seconds, and the last ones at the stop.
func TestRunFlushesAndEndsWithAFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s memory
		dropped := 0
		r := newRecorder(&s, &dropped)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { r.Run(ctx); close(done) }()
		r.Published(1, time.Now(), 0, "")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if len(s.calls) != 1 {
			t.Errorf("after three seconds: %+v", s.calls)
		}
		r.Refused(1, time.Now(), "")
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

// Of very many callbacks, each flush writes a part, and the others go on counting.
func TestCountersOfVeryManyCallbacksWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s memory
		dropped := 0
		r := newRecorder(&s, &dropped)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { r.Run(ctx); close(done) }()
		at := time.Now()
		attempts := func(callbacks int) {
			for cb := range callbacks {
				r.AttemptDone(&callbackd.Outcome{
					Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: 1, Callback: callbackd.CallbackID(cb)}, Event: &callbackd.Event{Key: 3}},
					Attempt:  callbackd.Attempt{Result: callbackd.Result{StartedAt: at}},
				}, callbackd.Delivered, time.Millisecond)
			}
		}
		rows := func() []store.MinuteCounters {
			s.counting.Lock()
			defer s.counting.Unlock()
			return s.counters
		}
		forget := func() {
			s.counting.Lock()
			defer s.counting.Unlock()
			s.counters = nil
		}
		attempts(2500)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if len(rows()) != 1000 {
			t.Errorf("the first flush wrote counters of %d callbacks, want 1000", len(rows()))
		}
		attempts(2500)
		time.Sleep(time.Minute)
		synctest.Wait()
		counted := int64(0)
		for _, c := range rows() {
			counted += c.Attempts
		}
		if len(rows()) != 3500 || counted != 5000 {
			t.Errorf("after a minute %d rows count %d attempts, want 3500 rows and all 5000 attempts", len(rows()), counted)
		}
		forget()
		const many = 40_000
		attempts(many)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if want := many - 30_000; len(rows()) != want {
			t.Errorf("with %d rows a flush wrote %d, want %d", many, len(rows()), want)
		}
		if dropped != 0 {
			t.Errorf("%d attempts were dropped, want 0", dropped)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(rows()) != many {
			t.Errorf("after a minute %d rows are written, want all %d", len(rows()), many)
		}
		forget()
		attempts(2500)
		cancel()
		<-done
		if len(rows()) != 2500 {
			t.Errorf("the stop wrote %d rows, want all 2500", len(rows()))
		}
	})
}

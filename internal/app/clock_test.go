package app

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// A clock that is set either way, or that ran on while the machine slept, is
// noticed within two seconds, and one that runs as it should never is.
func TestAClockThatIsSetIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64
		clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		var seen []time.Duration
		ctx, cancel := context.WithCancel(t.Context())
		watch := newStopwatch(clock)
		compare := job{first: clockCheck, every: clockCheck, step: func(context.Context) (time.Duration, error) {
			if by := watch.jump(); by != 0 {
				seen = append(seen, by)
			}
			return 0, nil
		}}
		go compare.repeat(ctx, func() bool { return true }, slog.New(slog.DiscardHandler))
		expect := func(what string, want ...time.Duration) {
			t.Helper()
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if !slices.Equal(seen, want) {
				t.Errorf("%s: the jumps %v were noticed, want %v", what, seen, want)
			}
			seen = nil
		}
		time.Sleep(time.Hour)
		expect("nothing was set")
		ahead.Store(int64(2 * time.Hour))
		expect("ahead", 2*time.Hour)
		ahead.Store(int64(-time.Hour))
		expect("back", -3*time.Hour)
		ahead.Add(int64(clockSlack / 2))
		expect("a slew")
		cancel()
	})
}

// A start with a clock that is behind the newest event is logged, because one of the two
// is wrong.
func TestAStartBehindTheNewestEventIsTold(t *testing.T) {
	for ahead, told := range map[time.Duration]bool{0: false, time.Minute: false, 365 * 24 * time.Hour: true} {
		dir := t.TempDir()
		s := openPlace(t, StoreConfig{Data: dir})
		k, err := s.CreateKey(t.Context(), callbackd.Key{APIKey: "k", CreatedAt: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Accept(t.Context(), store.Batch{Key: k.ID, At: time.Now().Add(ahead), Events: []store.NewEvent{{Type: callbackd.Complete, Session: "S", Data: []byte("{}")}}}); err != nil {
			t.Fatal(err)
		}
		closeStore(t, s)
		var log syncBuffer
		c := config(dir)
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
		a, err := Start(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if got := strings.Contains(log.String(), "the newest event is from the future"); got != told {
			t.Errorf("%v ahead: told %v\n%s", ahead, got, log.String())
		}
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

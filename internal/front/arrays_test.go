package front_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"callbackd/internal/front"
)

// Clients that send arrays on many connections are slowed down, and not refused, while single
// events of another key do not wait for all of them. Keys with arrays get equal shares.
func TestArraysWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := front.NewOverload(nil)
		store := make(chan struct{}, 1) // takes one event in 100 µs
		accept := func(key string, events int) (waited time.Duration, err error) {
			begun := time.Now()
			a, err := o.Begin(t.Context(), key, events)
			if err != nil {
				return 0, err
			}
			store <- struct{}{}
			time.Sleep(time.Duration(events) * 100 * time.Microsecond)
			<-store
			o.End(a)
			return time.Since(begun), nil
		}
		end := time.Now().Add(20 * time.Second)
		var work sync.WaitGroup
		var accepted [2]atomic.Int64
		for i, connections := range []int{64, 8} {
			for range connections {
				work.Go(func() {
					for time.Now().Before(end) {
						if _, err := accept([]string{"a", "b"}[i], 100); err != nil {
							t.Error(err)
							return
						}
						accepted[i].Add(100)
					}
				})
			}
		}
		work.Go(func() {
			for time.Now().Before(end) {
				if waited, err := accept("c", 1); err != nil || waited > 200*time.Millisecond {
					t.Errorf("a single event waits %v, %v", waited, err)
				}
				time.Sleep(50 * time.Millisecond)
			}
		})
		work.Wait()
		a, b := accepted[0].Load(), accepted[1].Load()
		if a+b < 190_000 {
			t.Errorf("%d events are accepted in 20 s by a store that takes 200,000", a+b)
		}
		if b < a*2/3 {
			t.Errorf("of the key with 8 connections %d events are accepted, of the one with 64 %d", b, a)
		}
	})
}

// An array does not wait for a store that hangs, nor for a client that has gone.
func TestAnArrayWaitsForSomeTimeOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := front.NewOverload(nil)
		var open []*front.Accepting
		for range front.MinCalls {
			a, err := o.Begin(t.Context(), "a", 1000)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, a)
		}
		begun := time.Now()
		if _, err := o.Begin(t.Context(), "a", 2); err == nil || time.Since(begun) != 5*time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		begun = time.Now()
		if _, err := o.Begin(gone, "a", 2); err == nil || time.Since(begun) != 0 {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		for _, a := range open { // those that do not wait any more hold nothing
			o.End(a)
		}
		if n, _, arrays := o.Figures(); n != 0 || arrays != 0 {
			t.Errorf("%d events are being accepted, %d arrays wait", n, arrays)
		}
	})
}

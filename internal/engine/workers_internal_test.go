package engine

import (
	"testing"
	"testing/synctest"
)

// A goroutine is used again while others are busy, and none is left without work.
func TestGoroutinesOfAttemptsAreUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w workers
		long := make(chan struct{})
		w.run(func() { <-long })
		ran := 0
		for range 3 {
			w.run(func() { ran++ })
			synctest.Wait()
		}
		if ran != 3 || len(w.idle) != 1 {
			t.Errorf("%d of 3 short attempts ran, and %d goroutines are idle, want 1", ran, len(w.idle))
		}
		for range maxIdleWorkers + 1 {
			w.run(func() { <-long })
		}
		close(long)
		synctest.Wait()
		if w.busy != 0 || len(w.idle) != 0 {
			t.Errorf("without work %d goroutines are busy and %d idle", w.busy, len(w.idle))
		}
	})
}

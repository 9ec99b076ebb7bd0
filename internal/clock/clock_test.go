package clock_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"callbackd/internal/clock"
)

func TestSleepEndsWithItsTimeOrWithItsContext(t *testing.T) {
	for name, c := range map[string]struct {
		sleep, ends time.Duration
		want        bool
		took        time.Duration
	}{
		"to the end":  {sleep: time.Minute, ends: time.Hour, want: true, took: time.Minute},
		"interrupted": {sleep: time.Hour, ends: time.Minute, want: false, took: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.ends)
				defer cancel()
				begun := time.Now()
				if got := clock.Sleep(ctx, c.sleep); got != c.want {
					t.Errorf("Sleep returns %v, want %v", got, c.want)
				}
				if got := time.Since(begun); got != c.took {
					t.Errorf("Sleep took %v, want %v", got, c.took)
				}
			})
		})
	}
}

func TestTheSystemClockIsThisMachines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock.System
		begun := c.Now()
		due, stop := c.Timer(time.Minute)
		defer stop()
		ctx, cancel := c.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		<-due
		if got := time.Since(begun); got != time.Minute {
			t.Errorf("a timer of a minute took %v", got)
		}
		if c.Sleep(ctx, 2*time.Hour) {
			t.Error("Sleep outlasts its context")
		}
		if got := c.Now().Sub(begun); got != time.Hour {
			t.Errorf("a context of an hour took %v", got)
		}
	})
}

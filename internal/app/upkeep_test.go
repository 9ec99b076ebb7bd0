package app

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// repeated runs jobs for a while in fake time and returns the log.
func repeated(t *testing.T, d time.Duration, active bool, jobs ...job) string {
	t.Helper()
	var log syncBuffer
	b := newBackground(t.Context())
	for _, j := range jobs {
		b.run(func(ctx context.Context) {
			j.repeat(ctx, func() bool { return active }, slog.New(slog.NewTextHandler(&log, nil)))
		})
	}
	time.Sleep(d)
	synctest.Wait()
	b.stop(t.Context())
	return log.String()
}

// counting returns a step that counts its calls and returns what it is given.
func counting(n *int, wait time.Duration, err error) func(context.Context) (time.Duration, error) {
	return func(context.Context) (time.Duration, error) {
		*n++
		return wait, err
	}
}

func TestAJobThatFailsIsLoggedAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed, worked := 0, 0
		log := repeated(t, 150*time.Second, true,
			job{name: "broken", every: time.Minute, step: counting(&failed, 0, errors.New("disk full"))},
			job{name: "sound", every: time.Minute, step: counting(&worked, 0, nil)})
		if failed != 3 {
			t.Errorf("the job that fails ran %d times in 150 s, want 3", failed)
		}
		if worked != 3 {
			t.Errorf("the other job ran %d times in 150 s, want 3", worked)
		}
		if n := strings.Count(log, `msg="background job failed, trying again" job=broken error="disk full"`); n != 3 {
			t.Errorf("the log has %d lines about the job that fails, want 3:\n%s", n, log)
		}
		if strings.Contains(log, "sound") {
			t.Errorf("the log names the job that works:\n%s", log)
		}
	})
}

func TestAJobWithMoreToDoGoesOnSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		repeated(t, 10*stepPause+time.Millisecond, true, job{every: time.Minute, step: counting(&n, stepPause, nil)})
		if n != 11 {
			t.Errorf("%d steps, want 11", n)
		}
	})
}

func TestAJobWaitsBeforeItsFirstStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		repeated(t, 59*time.Second, true, job{first: time.Minute, every: time.Second, step: counting(&n, 0, nil)})
		if n != 0 {
			t.Errorf("%d steps within the first minute, want none", n)
		}
	})
}

func TestASingletonJobRunsOnTheActiveNodeOnly(t *testing.T) {
	for active, want := range map[bool]int{true: 2, false: 0} {
		synctest.Test(t, func(t *testing.T) {
			single, every := 0, 0
			repeated(t, 90*time.Second, active,
				job{every: time.Minute, singleton: true, step: counting(&single, 0, nil)},
				job{every: time.Minute, step: counting(&every, 0, nil)})
			if single != want {
				t.Errorf("active %v: the singleton job ran %d times, want %d", active, single, want)
			}
			if every != 2 {
				t.Errorf("active %v: the other job ran %d times, want 2", active, every)
			}
		})
	}
}

func TestAStopEndsJobsWithoutAWordInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := repeated(t, time.Second, true, job{every: time.Minute, step: func(ctx context.Context) (time.Duration, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}})
		if log != "" {
			t.Errorf("the log says: %s", log)
		}
	})
}

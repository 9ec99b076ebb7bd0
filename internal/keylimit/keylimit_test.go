package keylimit_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
	"callbackd/internal/keylimit"
)

// counter counts in place of a store.
type counter struct {
	use    callbackd.KeyUse
	err    error
	counts atomic.Int64
	takes  time.Duration
}

func (c *counter) count(context.Context, callbackd.KeyID) (callbackd.KeyUse, error) {
	c.counts.Add(1)
	time.Sleep(c.takes)
	return c.use, c.err
}

func limiter(c *counter) *keylimit.Limiter { return keylimit.New(keylimit.Options{Count: c.count}) }

func key(l callbackd.KeyLimits) *callbackd.Key { return &callbackd.Key{ID: 1, Limits: l} }

// call makes a call of n events of 10 bytes, each with one target.
func call(t *testing.T, l *keylimit.Limiter, k *callbackd.Key, n int) error {
	t.Helper()
	c, err := l.Begin(t.Context(), k, n, 10*n)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Admit(); err != nil {
		c.Done(nil)
		return err
	}
	var evs []*callbackd.Event
	for range n {
		evs = append(evs, &callbackd.Event{Data: make([]byte, 10), Targets: []callbackd.CallbackID{1}})
	}
	c.Done(evs)
	return nil
}

func refused(t *testing.T, err error, limit callbackd.Limit, seconds int64) {
	t.Helper()
	l, after := callbackd.LimitOf(err)
	if err == nil || l != limit || after != seconds {
		t.Errorf("the call is answered with %v, limit %q, retry after %d s; want %q, %d s", err, l, after, limit, seconds)
	}
}

func accepted(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("the call is refused: %v", err)
	}
}

func TestTheRateOfAKeyHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, k := limiter(&counter{}), key(callbackd.KeyLimits{PublishRate: 10})
		accepted(t, call(t, l, k, 4))
		accepted(t, call(t, l, k, 6))
		refused(t, call(t, l, k, 1), callbackd.LimitPublishRate, 1)
		refused(t, call(t, l, k, 1000), callbackd.LimitPublishRate, 1) // an array waits until the bucket is full
		time.Sleep(time.Second)
		accepted(t, call(t, l, k, 30)) // more than a second's: it is made up for
		refused(t, call(t, l, k, 1), callbackd.LimitPublishRate, 3)
		k.Limits.PublishRate = 100 // a change counts at once
		time.Sleep(250 * time.Millisecond)
		accepted(t, call(t, l, k, 1))
		other := key(callbackd.KeyLimits{PublishRate: 10})
		other.ID = 2
		accepted(t, call(t, l, other, 1))
	})
}

func TestACallIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, k := limiter(&counter{}), key(callbackd.KeyLimits{PublishRate: 1})
		c, err := l.Begin(t.Context(), k, 1, 0)
		accepted(t, err)
		accepted(t, c.Admit())
		accepted(t, c.Admit()) // the store runs a command again
		refused(t, call(t, l, k, 1), callbackd.LimitPublishRate, 1)
	})
}

func TestPendingDeliveriesAreKeptUpWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &counter{use: callbackd.KeyUse{Deliveries: 3, Bytes: 30}}
		l, k := limiter(store), key(callbackd.KeyLimits{Pending: 5})
		accepted(t, call(t, l, k, 1))
		accepted(t, call(t, l, k, 3)) // goes over it
		refused(t, call(t, l, k, 1), callbackd.LimitPending, 60)
		for range 3 {
			l.Ended(k.ID, 10)
		}
		accepted(t, call(t, l, k, 1))
		refused(t, call(t, l, k, 1), callbackd.LimitPending, 1)
		if n := store.counts.Load(); n != 1 {
			t.Errorf("the store counted %d times in a moment, want once", n)
		}
		time.Sleep(2 * time.Second) // a refusal needs a count that is not older
		store.use = callbackd.KeyUse{Deliveries: 2}
		accepted(t, call(t, l, k, 1))
		if n := store.counts.Load(); n != 2 {
			t.Errorf("the store counted %d times, want twice", n)
		}
	})
}

func TestPendingBytesLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, k := limiter(&counter{use: callbackd.KeyUse{Deliveries: 1, Bytes: 85}}), key(callbackd.KeyLimits{PendingBytes: 100})
		accepted(t, call(t, l, k, 1))
		accepted(t, call(t, l, k, 1))
		refused(t, call(t, l, k, 1), callbackd.LimitPendingBytes, 60)
		l.Ended(k.ID, 10)
		accepted(t, call(t, l, k, 1))
	})
}

// Calls that are being accepted count, so that many of them at once do not go over a limit.
func TestCallsAtOnceDoNotGoOverTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, k := limiter(&counter{}), key(callbackd.KeyLimits{Pending: 5})
		var open []*keylimit.Call
		for range 8 {
			c, err := l.Begin(t.Context(), k, 1, 10)
			accepted(t, err)
			if c.Admit() == nil {
				open = append(open, c)
			}
		}
		if len(open) != 5 {
			t.Errorf("%d calls at once are accepted, want 5", len(open))
		}
		for _, c := range open {
			c.Done(nil) // they failed
			c.Done(nil)
		}
		accepted(t, call(t, l, k, 5))
	})
}

// What happens while the store counts is not lost, and what other nodes do is found.
func TestACountGoesOnBesideCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &counter{takes: 100 * time.Millisecond}
		l, k := limiter(store), key(callbackd.KeyLimits{Pending: 100})
		start := time.Now()
		accepted(t, call(t, l, k, 1))
		if waited := time.Since(start); waited != store.takes {
			t.Errorf("the first call waited %v for the count, want %v", waited, store.takes)
		}
		store.use = callbackd.KeyUse{Deliveries: 50}
		time.Sleep(15 * time.Second)
		start = time.Now()
		accepted(t, call(t, l, k, 20))
		if waited := time.Since(start); waited != 0 {
			t.Errorf("a call waited %v for a count beside it", waited)
		}
		time.Sleep(200 * time.Millisecond)
		use, err := l.Use(t.Context(), k)
		accepted(t, err)
		if use.Deliveries != 70 && use.Deliveries != 50 { // counted before or after
			t.Errorf("%d deliveries are pending, want 70", use.Deliveries)
		}
	})
}

func TestAFailedCountIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &counter{err: errors.New("the database is away")}
		l, k := limiter(store), key(callbackd.KeyLimits{Pending: 100})
		if _, err := l.Begin(t.Context(), k, 1, 1); err == nil || !strings.Contains(err.Error(), "away") {
			t.Errorf("the error is %v", err)
		}
		store.err = nil
		accepted(t, call(t, l, k, 1))
	})
}

func TestAKeyWithoutLimitsIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &counter{}
		l := limiter(store)
		for range 1000 {
			accepted(t, call(t, l, key(callbackd.KeyLimits{}), 1000))
		}
		l.Ended(1, 10)
		if store.counts.Load() != 0 {
			t.Error("the store counted for a key without limits")
		}
	})
}

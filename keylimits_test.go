package callbackd_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"callbackd"
)

func TestKeyLimitsHaveTheDefaultsOfTheServer(t *testing.T) {
	server := callbackd.KeyLimits{PublishRate: 5, Pending: 100, PendingBytes: 1000}
	for _, c := range []struct{ own, want callbackd.KeyLimits }{
		{callbackd.KeyLimits{}, callbackd.KeyLimits{PublishRate: 5, Pending: 100, PendingBytes: 1000, Callbacks: callbackd.MaxCallbacks}},
		{callbackd.KeyLimits{PublishRate: 7, Callbacks: 3}, callbackd.KeyLimits{PublishRate: 7, Pending: 100, PendingBytes: 1000, Callbacks: 3}},
		{callbackd.KeyLimits{PublishRate: callbackd.NoLimit, Pending: callbackd.NoLimit, PendingBytes: 5},
			callbackd.KeyLimits{PublishRate: callbackd.NoLimit, Pending: callbackd.NoLimit, PendingBytes: 5, Callbacks: callbackd.MaxCallbacks}},
	} {
		if got := c.own.WithDefaults(server); got != c.want {
			t.Errorf("%+v with the defaults is %+v, want %+v", c.own, got, c.want)
		}
	}
	none := callbackd.KeyLimits{PublishRate: callbackd.NoLimit, Pending: callbackd.NoLimit, PendingBytes: callbackd.NoLimit}
	if none.LimitsRate() || none.LimitsPending() {
		t.Error("NoLimit limits")
	}
	for _, l := range callbackd.Limits[:4] {
		all := callbackd.KeyLimits{PublishRate: 1, Pending: 1, PendingBytes: 1, Callbacks: 1}
		all.Reset(l)
		if strings.Count(fmt.Sprint(all), "0") != 1 {
			t.Errorf("%s has left %+v", l, all)
		}
	}
}

func TestPendingIsRefusedAtTheLimit(t *testing.T) {
	both := callbackd.KeyLimits{Pending: 10, PendingBytes: 100}
	for _, c := range []struct {
		limits callbackd.KeyLimits
		use    callbackd.KeyUse
		want   callbackd.Limit
		says   string
	}{
		{both, callbackd.KeyUse{Deliveries: 9, Bytes: 99}, "", ""},
		{both, callbackd.KeyUse{Deliveries: 10, Bytes: 99}, callbackd.LimitPending, "10 deliveries of this API key are pending, and its limit pending_deliveries is 10"},
		{both, callbackd.KeyUse{Deliveries: 9, Bytes: 130}, callbackd.LimitPendingBytes, "130 bytes of event data, and its limit pending_bytes is 100"},
		{callbackd.KeyLimits{Pending: callbackd.NoLimit}, callbackd.KeyUse{Deliveries: 1 << 40, Bytes: 1 << 40}, "", ""},
	} {
		err := c.limits.CheckPending(c.use, 1500*time.Millisecond)
		if (err != nil) != (c.want != "") {
			t.Errorf("%+v of %+v: %v", c.use, c.limits, err)
			continue
		}
		limit, seconds := callbackd.LimitOf(err)
		if limit != c.want || err != nil && (seconds != 2 || callbackd.KindOf(err) != callbackd.KindLimited || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%+v of %+v: %v, limit %s, retry after %d s", c.use, c.limits, err, limit, seconds)
		}
	}
}

func TestCallbacksAreRefusedAtTheLimit(t *testing.T) {
	for _, c := range []struct{ limit, n, most int }{{0, 99, 100}, {0, 100, 100}, {3, 2, 3}, {3, 3, 3}, {3, 7, 3}, {1000, 100, 100}} {
		err := callbackd.KeyLimits{Callbacks: c.limit}.CheckCallbacks(c.n, callbackd.Complete)
		if (err != nil) != (c.n >= c.most) || err != nil && !strings.Contains(err.Error(), fmt.Sprintf("its limit callbacks is %d", c.most)) {
			t.Errorf("%d callbacks with the limit %d: %v", c.n, c.limit, err)
		}
	}
}

func TestFaultsOfStoredLimits(t *testing.T) {
	for _, l := range []callbackd.KeyLimits{{}, {PublishRate: 0.5, Pending: callbackd.NoLimit, PendingBytes: callbackd.MaxPendingLimit, Callbacks: callbackd.MaxCallbacks}, {PublishRate: callbackd.NoLimit, PendingBytes: callbackd.NoLimit}} {
		if fault := l.Fault(); fault != "" {
			t.Errorf("%+v: %s", l, fault)
		}
	}
	for want, l := range map[string]callbackd.KeyLimits{
		"publish_rate is 1e+07":    {PublishRate: 1e7},
		"publish_rate is NaN":      {PublishRate: math.NaN()},
		"pending_deliveries is -2": {Pending: -2},
		"pending_bytes is -3":      {PendingBytes: -3},
		"callbacks is -1":          {Callbacks: -1},
		"callbacks is 101":         {Callbacks: 101},
	} {
		if fault := l.Fault(); !strings.Contains(fault, want) {
			t.Errorf("the fault of %+v is %q, want %q", l, fault, want)
		}
	}
}

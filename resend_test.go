package callbackd_test

import (
	"testing"
	"time"

	"callbackd"

	"github.com/google/go-cmp/cmp"
)

func TestResend(t *testing.T) {
	accepted := time.UnixMilli(1_700_000_000_000).UTC()
	now := accepted.Add(time.Hour)
	later := now.Add(time.Hour)
	ev := &callbackd.Event{ID: callbackd.FirstEventID(accepted), Key: 5, Session: "S", Sequence: 3, Test: true}
	id := callbackd.DeliveryID{Event: ev.ID, Callback: 7}
	again := func(attempts int, replay callbackd.ReplayID) callbackd.Delivery {
		return callbackd.Delivery{ID: id, Key: 5, Session: "S", Sequence: 3, Test: true, Attempts: attempts, Manual: true, Due: now, Replay: replay}
	}
	pending := func(d callbackd.Delivery) callbackd.DeliveryRows { return callbackd.DeliveryRows{Pending: &d} }
	ended := func(n int, version int64, state callbackd.State) callbackd.DeliveryRows {
		return callbackd.DeliveryRows{Last: callbackd.AttemptRow{Number: n, Version: version, State: state}}
	}
	for _, c := range []struct {
		name    string
		rows    callbackd.DeliveryRows
		ended   bool // its callback
		want    callbackd.Delivery
		changed bool
		refused bool
	}{
		{"one that waits for its first attempt", pending(callbackd.Delivery{}), false,
			callbackd.Delivery{ID: id, Key: 5, Session: "S", Sequence: 3, Test: true}, false, false},
		{"one that waits for a retry", pending(callbackd.Delivery{Attempts: 2, Step: 2, Due: later, HoldsUntil: later, FirstFailedAt: accepted}), false,
			again(2, 0), true, false},
		{"one that waits in a replay", pending(callbackd.Delivery{Due: later, Replay: 9}), false, again(0, 9), true, false},
		{"one that was delivered", ended(1, 1, callbackd.Delivered), false, again(1, 0), true, false},
		{"one that failed", ended(4, 1, callbackd.Failed), false, again(4, 0), true, false},
		{"one that was canceled after an attempt", ended(2, 0, callbackd.Canceled), false, again(1, 0), true, false},
		{"one that was canceled during its second attempt", ended(2, 1, callbackd.Canceled), false, again(2, 0), true, false},
		{"one that was canceled with its callback", ended(2, 0, callbackd.Canceled), true, callbackd.Delivery{}, false, true},
		{"one that waits for a callback that ended", pending(callbackd.Delivery{}), true, callbackd.Delivery{}, false, true},
		{"one that was delivered to a callback that ended", ended(1, 1, callbackd.Delivered), true, callbackd.Delivery{}, false, true},
	} {
		got, changed, err := c.rows.Resend(ev, 7, c.ended, now)
		if refused := callbackd.KindOf(err) == callbackd.KindConflict; refused != c.refused {
			t.Errorf("%s: the error is %v; want a conflict: %v", c.name, err, c.refused)
		}
		if err != nil {
			continue
		}
		if changed != c.changed {
			t.Errorf("%s: changed is %v, want %v", c.name, changed, c.changed)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

package callbackd_test

import (
	"strings"
	"testing"
	"time"

	"callbackd"

	"github.com/google/go-cmp/cmp"
)

func TestStateOf(t *testing.T) {
	accepted := time.UnixMilli(1_700_000_000_000).UTC()
	later := accepted.Add(time.Hour)
	id := callbackd.DeliveryID{Event: callbackd.FirstEventID(accepted), Callback: 7}
	attempt := func(n int, version int64, state callbackd.State) callbackd.AttemptRow {
		return callbackd.AttemptRow{Number: n, Version: version, State: state}
	}
	for _, c := range []struct {
		name  string
		rows  callbackd.DeliveryRows
		ended bool
		want  callbackd.DeliveryState
	}{
		{"no row", callbackd.DeliveryRows{}, false, callbackd.DeliveryState{}},
		{"no row, callback ended", callbackd.DeliveryRows{}, true, callbackd.DeliveryState{}},
		{"accepted",
			callbackd.DeliveryRows{Pending: &callbackd.Delivery{ID: id}}, false,
			callbackd.DeliveryState{State: callbackd.Pending, Since: accepted}},
		{"accepted, callback ended",
			callbackd.DeliveryRows{Pending: &callbackd.Delivery{ID: id}}, true,
			callbackd.DeliveryState{State: callbackd.Canceled}},
		{"retrying",
			callbackd.DeliveryRows{Pending: &callbackd.Delivery{ID: id, Attempts: 1, Due: later}, Last: attempt(1, 1, callbackd.Pending)}, false,
			callbackd.DeliveryState{State: callbackd.Pending, Attempts: 1, Due: later, Since: accepted}},
		{"retrying, callback ended",
			callbackd.DeliveryRows{Pending: &callbackd.Delivery{ID: id, Attempts: 1, Due: later}, Last: attempt(1, 1, callbackd.Pending)}, true,
			callbackd.DeliveryState{State: callbackd.Canceled, Attempts: 1}},
		{"sent again by hand after it failed",
			callbackd.DeliveryRows{Pending: &callbackd.Delivery{ID: id, Attempts: 3, Due: later, Manual: true}, Last: attempt(3, 1, callbackd.Failed)}, false,
			callbackd.DeliveryState{State: callbackd.Pending, Attempts: 3, Due: later, Manual: true, Since: later}},
		{"sent again by a replay",
			callbackd.DeliveryRows{Pending: &callbackd.Delivery{ID: id, Attempts: 3, Due: later, Replay: 9}, Last: attempt(3, 1, callbackd.Delivered)}, false,
			callbackd.DeliveryState{State: callbackd.Pending, Attempts: 3, Due: later, Replay: 9, Since: later}},
		{"delivered", callbackd.DeliveryRows{Last: attempt(2, 1, callbackd.Delivered)}, false, callbackd.DeliveryState{State: callbackd.Delivered, Attempts: 2}},
		{"delivered, callback ended", callbackd.DeliveryRows{Last: attempt(2, 1, callbackd.Delivered)}, true, callbackd.DeliveryState{State: callbackd.Delivered, Attempts: 2}},
		{"failed", callbackd.DeliveryRows{Last: attempt(2, 1, callbackd.Failed)}, false, callbackd.DeliveryState{State: callbackd.Failed, Attempts: 2}},
		{"canceled before the first attempt", callbackd.DeliveryRows{Last: attempt(1, 0, callbackd.Canceled)}, true, callbackd.DeliveryState{State: callbackd.Canceled}},
		{"canceled after two attempts", callbackd.DeliveryRows{Last: attempt(3, 0, callbackd.Canceled)}, true, callbackd.DeliveryState{State: callbackd.Canceled, Attempts: 2}},
		{"canceled by its last attempt", callbackd.DeliveryRows{Last: attempt(2, 1, callbackd.Canceled)}, true, callbackd.DeliveryState{State: callbackd.Canceled, Attempts: 2}},
	} {
		if diff := cmp.Diff(c.want, callbackd.StateOf(c.rows, c.ended)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestDeliveryAudit(t *testing.T) {
	pending, manual := &callbackd.Delivery{}, &callbackd.Delivery{Manual: true}
	rows := func(states ...callbackd.State) (out []callbackd.AttemptRow) {
		for i, state := range states {
			out = append(out, callbackd.AttemptRow{Number: i + 1, Version: 1, State: state})
		}
		return out
	}
	canceled := []callbackd.AttemptRow{{Number: 1, Version: 1, State: callbackd.Pending}, {Number: 2, State: callbackd.Canceled}}
	gap := []callbackd.AttemptRow{{Number: 2, Version: 1, State: callbackd.Pending}, {Number: 4, Version: 1, State: callbackd.Delivered}}
	for _, c := range []struct {
		name              string
		audit             callbackd.DeliveryAudit
		state             callbackd.State
		attempts, repeats int64
		faults            []string // what each says
	}{
		{"accepted", callbackd.DeliveryAudit{Pending: pending}, callbackd.Pending, 0, 0, nil},
		{"accepted, callback ended", callbackd.DeliveryAudit{Pending: pending, Ended: true}, callbackd.Canceled, 0, 0, nil},
		{"retrying", callbackd.DeliveryAudit{Pending: pending, Attempts: rows(callbackd.Pending)}, callbackd.Pending, 1, 0, nil},
		{"delivered", callbackd.DeliveryAudit{Attempts: rows(callbackd.Pending, callbackd.Delivered)}, callbackd.Delivered, 2, 0, nil},
		{"failed", callbackd.DeliveryAudit{Attempts: rows(callbackd.Failed)}, callbackd.Failed, 1, 0, nil},
		{"canceled", callbackd.DeliveryAudit{Attempts: canceled, Ended: true}, callbackd.Canceled, 1, 0, nil},
		{"waits again, and its cancellation was not removed", callbackd.DeliveryAudit{Pending: manual, Attempts: canceled}, callbackd.Pending, 1, 0, []string{"goes on and has a row"}},
		{"an attempt after a cancellation", callbackd.DeliveryAudit{Attempts: append(canceled[:2:2], callbackd.AttemptRow{Number: 3, Version: 1, State: callbackd.Delivered})}, callbackd.Delivered, 2, 1, []string{"goes on and has a row"}},
		{"waits for a repeat", callbackd.DeliveryAudit{Pending: manual, Attempts: rows(callbackd.Failed)}, callbackd.Pending, 1, 0, nil},
		{"repeated", callbackd.DeliveryAudit{Attempts: rows(callbackd.Failed, callbackd.Pending, callbackd.Delivered)}, callbackd.Delivered, 3, 1, nil},
		{"no row at all", callbackd.DeliveryAudit{}, "", 0, 0, []string{"it is lost"}},
		{"not pending after an attempt", callbackd.DeliveryAudit{Attempts: rows(callbackd.Pending)}, "", 1, 0, []string{"it is lost"}},
		{"ended and pending", callbackd.DeliveryAudit{Pending: pending, Attempts: rows(callbackd.Delivered)}, callbackd.Pending, 1, 0, []string{"is delivered and pending as well"}},
		{"attempts missing", callbackd.DeliveryAudit{Attempts: gap}, callbackd.Delivered, 2, 0, []string{"has attempt 2 where 1 was expected", "has attempt 4 where 3 was expected"}},
	} {
		if got := c.audit.State(); got != c.state {
			t.Errorf("%s: state %q, want %q", c.name, got, c.state)
		}
		if attempts, repeats := c.audit.Count(); attempts != c.attempts || repeats != c.repeats {
			t.Errorf("%s: %d attempts, %d repeats; want %d, %d", c.name, attempts, repeats, c.attempts, c.repeats)
		}
		faults := c.audit.Faults()
		if len(faults) != len(c.faults) {
			t.Errorf("%s: faults %q, want %d", c.name, faults, len(c.faults))
			continue
		}
		for i, want := range c.faults {
			if !strings.Contains(faults[i], want) {
				t.Errorf("%s: fault %q, want %q in it", c.name, faults[i], want)
			}
		}
	}
}

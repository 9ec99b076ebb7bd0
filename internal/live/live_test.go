package live_test

import (
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/live"
)

func attempt(f *live.Stream, key callbackd.KeyID, n int64) {
	o := &callbackd.Outcome{Delivery: callbackd.Delivery{ID: callbackd.DeliveryID{Event: callbackd.EventID(n), Callback: 1},
		Event: &callbackd.Event{Key: key, Type: callbackd.Complete, Session: "S", Sequence: n}}}
	o.Attempt.Number, o.Attempt.Status, o.Attempt.Timings.Total = 1, 200, time.Millisecond
	f.AttemptDone(o, callbackd.Delivered, 0)
}

// A viewer sees the attempts of a key, or of all, in order.
func TestAViewerSeesItsKey(t *testing.T) {
	var f live.Stream
	attempt(&f, 1, 1) // nobody looks
	one, all := f.Subscribe(1), f.Subscribe(0)
	attempt(&f, 1, 2)
	attempt(&f, 2, 3)
	attempt(&f, 1, 4)
	for name, c := range map[string]struct {
		s    *live.Subscription
		want []int64
	}{"one": {one, []int64{2, 4}}, "all": {all, []int64{2, 3, 4}}} {
		select {
		case <-c.s.C():
		default:
			t.Errorf("%s was not told", name)
		}
		items, missed := c.s.Take()
		var got []int64
		for _, i := range items {
			got = append(got, i.Sequence)
		}
		if len(got) != len(c.want) || missed != 0 {
			t.Errorf("%s sees %v and missed %d, want %v", name, got, missed, c.want)
		}
	}
	one.Close()
	one.Close()
	attempt(&f, 1, 5)
	if items, _ := one.Take(); len(items) != 0 {
		t.Error("a closed viewer sees on")
	}
	if items, _ := all.Take(); len(items) != 1 {
		t.Error("closing one viewer closed another")
	}
}

// A viewer that does not read is told how many attempts it missed, and no more than its
// buffer is held for it.
func TestASlowViewerGetsASample(t *testing.T) {
	var f live.Stream
	s := f.Subscribe(1)
	defer s.Close()
	for n := range int64(live.MaxItems + 7) {
		attempt(&f, 1, n)
	}
	if items, missed := s.Take(); len(items) != live.MaxItems || missed != 7 {
		t.Errorf("%d items, %d missed", len(items), missed)
	}
	if items, missed := s.Take(); len(items) != 0 || missed != 0 {
		t.Errorf("taken twice: %d items, %d missed", len(items), missed)
	}
}

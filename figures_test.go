package callbackd

import (
	"slices"
	"testing"
	"time"
)

func TestMostTroubled(t *testing.T) {
	now := time.Unix(1e9, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	of := func(id CallbackID, pending int64, due, failing time.Duration, paused PauseReason) Trouble {
		t := Trouble{CallbackBacklog: CallbackBacklog{ID: id, Pending: pending}, Paused: paused}
		if due > 0 {
			t.OldestDue = ago(due)
		}
		if failing > 0 {
			t.FailingSince = ago(failing)
		}
		return t
	}
	all := []Trouble{
		of(1, 100, 0, 0, NotPaused),            // all wait for their time
		of(2, 50, time.Minute, 0, NotPaused),   // due, and not overdue
		of(3, 5, 61*time.Second, 0, NotPaused), // overdue
		of(4, 0, 0, time.Second, NotPaused),    // failing
		of(5, 0, 0, time.Hour, NotPaused),      // failing for longer
		of(6, 0, 0, 0, PausedByUser),           // paused
		of(7, 9, time.Hour, time.Hour, PausedGone),
	}
	var got []CallbackID
	for _, w := range MostTroubled(all, now) {
		got = append(got, w.ID)
	}
	if want := []CallbackID{7, 3, 5, 4, 6}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	var b Backlogs
	b.Sum(all)
	if b.Pending != 164 || !b.OldestDue.Equal(ago(61*time.Second)) {
		t.Errorf("got %d pending, due since %v", b.Pending, b.OldestDue)
	}
}

// Every reason and terminal state has a count, under a name of its own.
func TestDeliveryCounts(t *testing.T) {
	c := NewDeliveryCounts()
	n := int64(0)
	for _, r := range AcceptReasons {
		if !c.Add(string(r), 10) {
			t.Errorf("no count of %s", r)
		}
		n += 10
	}
	for _, s := range States {
		if c.Add(string(s), 1) != s.Terminal() {
			t.Errorf("whether there is a count of %s: got %v", s, !s.Terminal())
		}
		if s.Terminal() {
			n--
		}
	}
	if c.Pending() != n {
		t.Errorf("%d pending, want %d", c.Pending(), n)
	}
	if c.Add("recount", 1) {
		t.Error("a name that counts nothing has a count")
	}
}

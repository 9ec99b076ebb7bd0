package storetest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

var figuresTests = map[string]func(*suite){
	"DeliveriesAreCounted":         (*suite).deliveriesCounted,
	"CountsOutlastARestart":        (*suite).countsRestarted,
	"CountsOutlastRetention":       (*suite).countsSwept,
	"CallbacksAreCounted":          (*suite).callbacksCounted,
	"BacklogsOfAllKeys":            (*suite).backlogs,
	"BacklogsOfPausedCallbacks":    (*suite).backlogsPaused,
	"BacklogsOfDeletedCallbacks":   (*suite).backlogsDeleted,
	"TheMostTroubledCallbacksOnly": (*suite).mostTroubled,
}

// countsForProgress matches the counts of all events and of all secrets in a column.
var countsForProgress = regexp.MustCompile(`^SELECT count\((\*\) FROM events|\w+\) FROM \w+)$`)

// ReadsAll reports whether a statement reads all rows of a large table and is meant to: it counts
// pending deliveries for monitoring, rarely, or what a command that shows its progress will read.
func ReadsAll(sql string) bool {
	return countsForProgress.MatchString(sql) || strings.HasSuffix(sql, "FROM pending GROUP BY callback_no") || strings.Contains(sql, "(SELECT count(*) FROM pending)")
}

// counts returns the counts of deliveries.
func (s *suite) counts() callbackd.DeliveryCounts {
	s.Helper()
	f, err := s.Figures(s.ctx())
	s.must(err)
	return f.Counts
}

// wantCounts checks the counts that are not 0.
func (s *suite) wantCounts(when string, accepted map[callbackd.AcceptReason]int64, ended map[callbackd.State]int64) {
	s.Helper()
	want := callbackd.NewDeliveryCounts()
	for reason, n := range accepted {
		want.Accepted[reason] = n
	}
	for state, n := range ended {
		want.Ended[state] = n
	}
	s.equal("counts "+when, s.counts(), want)
	b, err := s.Backlogs(s.ctx(), s.at)
	s.must(err)
	s.equal("pending deliveries "+when, b.Pending, want.Pending())
}

func (s *suite) deliveriesCounted() {
	s.wantCounts("of an empty store", nil, nil)
	cb := s.newCallback(s.key, ev1, "a")
	s.newCallback(s.key, ev1, "b")
	s.publish(s.key, ev1, "S1", "S2", "S3")
	s.publish(s.key, ev2, "S1") // nobody gets it
	accepted := map[callbackd.AcceptReason]int64{callbackd.AcceptedEvent: 6}
	s.wantCounts("of three events with two callbacks", accepted, nil)
	ds := s.fresh(cb.ID)
	s.outcome(ds[0], callbackd.Delivered, time.Time{}, time.Time{})
	s.outcome(ds[1], callbackd.Failed, time.Time{}, time.Time{})
	s.outcome(ds[2], callbackd.Pending, s.at.Add(time.Hour), time.Time{})
	ended := map[callbackd.State]int64{callbackd.Delivered: 1, callbackd.Failed: 1}
	s.wantCounts("after three attempts", accepted, ended)
	again, err := s.Resend(s.ctx(), s.key.ID, ds[1].ID, s.at)
	s.must(err)
	s.must(second(s.Resend(s.ctx(), s.key.ID, ds[2].ID, s.at))) // which is pending already
	accepted[callbackd.AcceptedAgain] = 1
	s.wantCounts("after a failed delivery was resent", accepted, ended)
	s.outcome(*again, callbackd.Delivered, time.Time{}, time.Time{})
	ended[callbackd.Delivered] = 2
	s.wantCounts("after it was delivered", accepted, ended)
	late := s.newCallback(s.key, ev1, "late")
	s.step(s.replay(callbackd.ReplayFilter{Target: late.ID}, 0), s.at)
	accepted[callbackd.AcceptedLate] = 3
	s.wantCounts("after a replay to another callback", accepted, ended)
	s.step(s.cancel(callbackd.ReplayFilter{Callback: late.ID}, 0), s.at)
	ended[callbackd.Canceled] = 3
	s.wantCounts("after a cancellation", accepted, ended)
	s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, ev1, "b", s.at)))
	s.must(second(s.FinalizeCanceled(s.ctx(), s.at, 100)))
	ended[callbackd.Canceled] = 6
	s.wantCounts("after a callback was deleted", accepted, ended)
}

func (s *suite) countsRestarted() {
	cb := s.newCallback(s.key, ev1, "a")
	s.publish(s.key, ev1, "S1", "S2", "S3")
	s.outcome(s.fresh(cb.ID)[0], callbackd.Delivered, time.Time{}, time.Time{})
	s.reopen()
	s.wantCounts("after a restart", map[callbackd.AcceptReason]int64{callbackd.AcceptedEvent: 3}, map[callbackd.State]int64{callbackd.Delivered: 1})
}

func (s *suite) countsSwept() {
	cb := s.newCallback(s.key, ev1, "a")
	s.publish(s.key, ev1, "S1", "S2")
	s.deliverAll(s.fresh(cb.ID))
	swept, err := s.Sweep(s.ctx(), store.Sweep{Before: s.at.Add(time.Hour), Limit: 10})
	s.must(err)
	s.equal("events that were removed", swept.Removed, 2)
	s.wantCounts("after retention", map[callbackd.AcceptReason]int64{callbackd.AcceptedEvent: 2}, map[callbackd.State]int64{callbackd.Delivered: 2})
}

func (s *suite) callbacksCounted() {
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.key, ev1, "b")
	s.newCallback(s.key, ev1, "c")
	s.newCallback(s.newKey("k2"), ev1, "of a revoked key")
	s.must(s.ChangeKey(s.ctx(), "k2", func(k *callbackd.Key) error { k.Revoke(s.at); return nil }))
	s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, ev1, s.newCallback(s.key, ev1, "deleted").Name, s.at)))
	s.publish(s.key, ev1, "S1")
	s.fails(a)
	s.fails(b)
	s.pause(b, s.at)
	f, err := s.Figures(s.ctx())
	s.must(err)
	slices.SortFunc(f.Callbacks, func(a, b callbackd.CallbackCount) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	s.equal("callbacks", f.Callbacks, []callbackd.CallbackCount{{N: 1}, {Failing: true, N: 1}, {Failing: true, Paused: callbackd.PausedByUser, N: 1}})
	if f.Database <= 0 {
		s.Errorf("the database has %d bytes", f.Database)
	}
}

// fails records a failure of the first delivery of a callback, which is due again in an
// hour.
func (s *suite) fails(cb *callbackd.Callback) {
	s.Helper()
	o := result(s.fresh(cb.ID)[0], callbackd.Pending, s.at, s.at.Add(time.Hour), time.Time{})
	o.Change = callbackd.CallbackChange{Version: cb.Version, HealthTurned: true, FailingSince: s.at}
	s.must(second(s.Record(s.ctx(), o)))
}

// troubled returns the backlogs at a time after s.at, and the callbacks in trouble.
func (s *suite) troubled(after time.Duration) (b callbackd.Backlogs, ids []callbackd.CallbackID) {
	s.Helper()
	b, err := s.Backlogs(s.ctx(), s.at.Add(after))
	s.must(err)
	for _, t := range b.Troubled {
		s.equal("the callback of what is in trouble", t.Callback.ID, t.ID)
		s.equal("the name of its key", t.KeyName, "n")
		ids = append(ids, t.ID)
	}
	return b, ids
}

func (s *suite) backlogs() {
	a, b := s.newCallback(s.key, ev1, "a"), s.newCallback(s.newKey("k2"), ev2, "b")
	evs := s.publish(s.key, ev1, "S1", "S2")
	first := evs[0].ID.Time()
	check := func(when string, after time.Duration, pending int64, due time.Time, troubled ...callbackd.CallbackID) {
		s.Helper()
		got, ids := s.troubled(after)
		s.equal("pending deliveries "+when, got.Pending, pending)
		s.equal("since when the oldest is due "+when, got.OldestDue.UTC(), due.UTC())
		s.equal("callbacks in trouble "+when, ids, troubled)
	}
	check("of one callback", time.Second, 2, first)
	check("that are overdue", 2*time.Minute, 2, first, a.ID)
	s.fails(a)
	check("of which one waits for its retry", time.Second, 2, evs[1].ID.Time(), a.ID)
	s.outcome(s.fresh(a.ID)[0], callbackd.Delivered, time.Time{}, time.Time{})
	check("that wait for a retry", time.Second, 1, time.Time{}, a.ID)
	check("whose retry is due", time.Hour+time.Second, 1, s.at.Add(time.Hour), a.ID)
	s.publish(callbackd.Key{ID: b.Key}, ev2, "S1", "S2", "S3")
	check("of two keys", 2*time.Minute, 4, first, b.ID, a.ID)
}

func (s *suite) backlogsPaused() {
	a := s.newCallback(s.key, ev1, "a")
	s.publish(s.key, ev1, "S1")
	s.pause(a, s.at)
	got, ids := s.troubled(time.Hour)
	s.equal("pending deliveries", got.Pending, int64(1))
	s.equal("since when the oldest that is not paused is due", got.OldestDue, time.Time{})
	s.equal("callbacks in trouble", ids, []callbackd.CallbackID{a.ID})
	s.equal("why it is paused", got.Troubled[0].Paused, callbackd.PausedByUser)
}

func (s *suite) backlogsDeleted() {
	s.newCallback(s.key, ev1, "a")
	s.publish(s.key, ev1, "S1")
	s.must(second(s.DeleteCallback(s.ctx(), s.key.ID, ev1, "a", s.at)))
	got, ids := s.troubled(time.Hour)
	s.equal("pending deliveries before they are canceled", got.Pending, int64(1))
	s.equal("since when the oldest is due", got.OldestDue, time.Time{})
	s.equal("callbacks in trouble", ids, []callbackd.CallbackID(nil))
}

func (s *suite) mostTroubled() {
	for i := range callbackd.MaxTroubled + 5 {
		s.newCallback(s.key, ev1, "c"+string(rune('a'+i)))
	}
	s.publish(s.key, ev1, "S1")
	_, ids := s.troubled(2 * time.Minute)
	s.equal("callbacks in trouble", len(ids), callbackd.MaxTroubled)
}

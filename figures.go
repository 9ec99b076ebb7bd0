package callbackd

import (
	"cmp"
	"slices"
	"time"
)

// Figures has numbers of a whole store for monitoring. They cost little to read.
type Figures struct {
	Counts    DeliveryCounts
	Callbacks []CallbackCount // in force, of keys that are not revoked
	Database  int64           // bytes of the database
	Local     *LocalFigures   // nil: the database is on a server of its own
	Incidents IncidentCounts
}

// IncidentCounts counts incidents.
type IncidentCounts struct {
	Open         int64
	Mails        int64 // of which a mail is to be sent
	MailsFailing int64 // of which a mail could not be sent yet
}

// CallbackCount counts the callbacks that are in one condition.
type CallbackCount struct {
	Failing bool // an attempt failed, and none has succeeded since
	Paused  PauseReason
	N       int64
}

// LocalFigures has what only the embedded store knows.
type LocalFigures struct {
	Log      int64 // bytes of the write-ahead log
	DiskFree int64 // bytes that are free on the volume of the data directory
	Buffer   int   // events in the buffer
}

// Backlogs has numbers of all pending deliveries of a store. To read them takes the longer
// the more deliveries are pending.
type Backlogs struct {
	Pending   int64
	OldestDue time.Time // the least of the callbacks that are not paused; zero: nothing is due
	Troubled  []Trouble // see [MostTroubled]
}

// CallbackBacklog counts the pending deliveries of a callback.
type CallbackBacklog struct {
	ID        CallbackID
	Pending   int64
	OldestDue time.Time // since when a delivery has been due, the oldest one; zero: none is due
}

// Trouble is a callback that may be in trouble.
type Trouble struct {
	CallbackBacklog
	FailingSince time.Time   // see [Callback]
	Paused       PauseReason // see [Callback]
	Callback     *Callback   // set by the store for the callbacks that it returns
	KeyName      string      // the name of its API key; set by the store
}

// MaxTroubled is how many callbacks in trouble are monitored one by one.
const MaxTroubled = 20

// InTrouble reports whether a callback fails, is paused, or has a delivery that has been
// due for longer than [OverdueAfter] by now.
func (t *Trouble) InTrouble(now time.Time) bool {
	overdue := !t.OldestDue.IsZero() && now.Sub(t.OldestDue) > OverdueAfter
	return !t.FailingSince.IsZero() || t.Paused != NotPaused || overdue
}

// MostTroubled returns those that are in trouble, in this order: first those with the most
// pending deliveries, and of those with as many the one that has been failing for longer.
func MostTroubled(all []Trouble, now time.Time) []Trouble {
	worst := slices.DeleteFunc(slices.Clone(all), func(t Trouble) bool { return !t.InTrouble(now) })
	slices.SortFunc(worst, func(a, b Trouble) int {
		return cmp.Or(cmp.Compare(b.Pending, a.Pending), compareSince(a.FailingSince, b.FailingSince), cmp.Compare(a.ID, b.ID))
	})
	return worst
}

// compareSince orders times, the earliest first and the zero time last.
func compareSince(a, b time.Time) int {
	if a.IsZero() || b.IsZero() {
		return b.Compare(a)
	}
	return a.Compare(b)
}

// oldestDue returns the earlier of two times of [CallbackBacklog].
func oldestDue(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Add adds what is pending of the same callback elsewhere.
func (b CallbackBacklog) Add(pending int64, due time.Time) CallbackBacklog {
	b.Pending, b.OldestDue = b.Pending+pending, oldestDue(b.OldestDue, due)
	return b
}

// Sum adds up the pending deliveries of callbacks. What is due of a paused callback is
// meant to wait.
func (b *Backlogs) Sum(all []Trouble) {
	for i := range all {
		b.Pending += all[i].Pending
		if all[i].Paused == NotPaused {
			b.OldestDue = oldestDue(b.OldestDue, all[i].OldestDue)
		}
	}
}

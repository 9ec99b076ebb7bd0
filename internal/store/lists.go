package store

import (
	"math"
	"slices"
	"time"

	"callbackd"
)

// EventQuery chooses events. Zero members choose all.
type EventQuery struct {
	Key     callbackd.KeyID // AllKeys is possible
	Type    callbackd.EventType
	Session string
	Since   time.Time         // accepted at or after
	Until   time.Time         // accepted before
	After   callbackd.EventID // cursor: ListEvents returns older events, EventsAfter later ones
	Limit   int               // 1 to MaxPage
	// Withheld chooses events that were withheld: from WithheldFrom, or from any callback
	// when that is 0.
	Withheld     bool
	WithheldFrom callbackd.CallbackID
}

// Matches reports whether the query chooses an event of its key and session, apart from
// its cursor.
func (q *EventQuery) Matches(ev *callbackd.Event) bool {
	return (q.Type == "" || ev.Type == q.Type) && AcceptedWithin(ev, q.Since, q.Until) &&
		(!q.Withheld || slices.ContainsFunc(ev.Withheld, func(w callbackd.Withheld) bool {
			return q.WithheldFrom == 0 || w.Callback == q.WithheldFrom
		}))
}

// MaxPage is the largest number of entries on a page. MaxScan is the largest number
// of rows that a list reads for one page. A page that ends at MaxScan may be short or
// even empty, and still has a cursor.
const (
	MaxPage = 200
	MaxScan = 10_000
)

// MaxPageData limits the data of a page of events or sessions, in bytes. A page ends
// early there, but has one row at least.
const MaxPageData = 1 << 20

// EventPage is one page. Next is 0 at the end.
type EventPage struct {
	Events  []*callbackd.Event
	Next    callbackd.EventID
	Removed Removed // set by EventsAfter
}

// Removed says which events of a key retention has removed so far. A reader has missed
// events when Newest is after its cursor and Times has grown since the reader got that
// cursor.
type Removed struct {
	Newest callbackd.EventID
	Times  int64 // how often events were removed
}

// DeliveryQuery chooses deliveries. Zero members choose all.
type DeliveryQuery struct {
	Key      callbackd.KeyID // AllKeys is possible
	State    callbackd.State
	Type     callbackd.EventType
	Session  string
	Callback callbackd.CallbackID
	Since    time.Time            // event accepted at or after
	Until    time.Time            // event accepted before
	Status   int                  // of the last attempt; 1 to 5 choose a class
	Fault    callbackd.Fault      // of the last attempt
	After    callbackd.DeliveryID // cursor; zero at the start
	Limit    int
}

// OfAttempts reports whether q chooses by the result of the last attempt.
func (q *DeliveryQuery) OfAttempts() bool { return q.Status != 0 || q.Fault != callbackd.NoFault }

// ByError reports whether q chooses deliveries whose last attempt failed. They have an
// index.
func (q *DeliveryQuery) ByError() bool {
	return q.Fault != callbackd.NoFault || q.Status != 0 && q.Status != 2 && q.Status/100 != 2
}

// FitsAttempt reports whether q chooses deliveries whose last attempt is a.
func (q *DeliveryQuery) FitsAttempt(a *callbackd.Attempt) bool {
	return (q.Status == 0 || a.Status == q.Status || q.Status <= 5 && a.Status/100 == q.Status) && (q.Fault == callbackd.NoFault || a.Fault == q.Fault)
}

// MaxScanOf returns MaxScan for q. It is less when q needs the rows of attempts: for
// their results, or to know that a delivery was delivered.
func (q *DeliveryQuery) MaxScanOf() int {
	if q.OfAttempts() && !q.ByError() || q.State == callbackd.Delivered {
		return MaxScan / 5
	}
	return MaxScan
}

// DeliveryPage is one page. Next is zero at the end.
type DeliveryPage struct {
	Deliveries []DeliveryView
	Next       callbackd.DeliveryID
}

// MaxHistory is how many attempts of a delivery are read at once. A delivery can have
// more, because people can resend it as often as they like.
const MaxHistory = 50

// DeliveryView is a delivery as it is shown.
type DeliveryView struct {
	ID    callbackd.DeliveryID
	Event *callbackd.Event // without Data in lists
	// Callback is the setting. In lists it has only ID, Key, Event, Name, URL and
	// DeletedAt, because a list decrypts no secrets.
	Callback *callbackd.Callback
	callbackd.DeliveryState
	// Last is the last attempt, without headers and body; nil before the first.
	Last *callbackd.Attempt
	// History is up to MaxHistory attempts, oldest first; empty in lists.
	History []callbackd.Attempt
	// Unsent is the last row of a delivery that was canceled or expired between two
	// attempts: when and why. It is nil in lists, and when a delivery counts as canceled
	// before a row says so.
	Unsent *callbackd.Attempt
}

// AcceptedWithin reports whether an event was accepted at or after since and before
// until. A zero argument does not limit. Drivers call it for each event of an IDRange
// that they have widened: see [WidenedTo].
func AcceptedWithin(ev *callbackd.Event, since, until time.Time) bool {
	at := ev.Accepted()
	return (since.IsZero() || !at.Before(since)) && (until.IsZero() || at.Before(until))
}

// WidenedTo returns the upper end of an IDRange that also has the events from when the
// clock ran ahead. last is the last event before until by its ClockTime, or 0.
func WidenedTo(hi int64, last, after callbackd.EventID) int64 {
	if hi = max(hi, int64(last)+1); after != 0 {
		hi = min(hi, int64(after))
	}
	return hi
}

// IDRange returns the range [lo, hi) of the ids of events that were accepted at or
// after since and before until, and that are before the cursor after. A zero argument
// does not limit.
func IDRange(since, until time.Time, after callbackd.EventID) (lo, hi int64) {
	hi = math.MaxInt64
	if !since.IsZero() {
		// The first id that is not before since, when since is within a millisecond.
		lo = int64(callbackd.FirstEventID(since.Add(time.Millisecond - 1).Truncate(time.Millisecond)))
	}
	if !until.IsZero() {
		hi = int64(callbackd.FirstEventID(until.Add(time.Millisecond - 1).Truncate(time.Millisecond)))
	}
	if after != 0 {
		hi = min(hi, int64(after))
	}
	return lo, hi
}

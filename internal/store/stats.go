package store

import (
	"context"
	"time"

	"callbackd"
)

// Stats keeps what the overview shows. The sums are written in batches and
// are not part of any promise: a crash loses those of the last batch and
// never counts twice.
type Stats interface {
	// AddCounters adds what happened since the last call, in one commit.
	AddCounters(ctx context.Context, ts []MinuteCounters) error
	// ListStats returns the sums of the slots of q, oldest first, without
	// those in which nothing happened.
	ListStats(ctx context.Context, q StatsQuery) ([]Bucket, error)
	// ListHealth returns what ListCallbacks returns, with the health of each.
	ListHealth(ctx context.Context, q HealthQuery) (HealthPage, error)
	// CountPending counts the pending deliveries of a callback.
	CountPending(ctx context.Context, cb callbackd.CallbackID, q PendingQuery) (Backlog, error)
	// Receiver returns the latest that is known of a callback's receiver.
	Receiver(ctx context.Context, cb callbackd.CallbackID) (Receiver, error)
	// Prune removes up to limit rows of each kind that are older: logs,
	// minute and hour slots, replays that ended. It returns how many went.
	Prune(ctx context.Context, p Prune, limit int) (int, error)
}

// HealthQuery chooses callbacks in force, and says what counts as overdue.
type HealthQuery struct {
	CallbackQuery
	// Attention chooses, of all keys, up to MaxAttention callbacks that fail, are
	// paused, have pending deliveries, or have a certificate that ends before
	// CertBefore. CallbackQuery must be zero then, and there is no next page.
	Attention     bool
	CertBefore    time.Time
	OverdueBefore time.Time // what has been waiting since before this time
}

// HealthPage is one page. Next is 0 at the end.
type HealthPage struct {
	Callbacks []CallbackHealth
	Next      callbackd.CallbackID
}

// PendingQuery chooses pending deliveries of a callback.
type PendingQuery struct {
	Below         callbackd.EventID // counts events below this one; 0: all
	OverdueBefore time.Time
	Limit         int // counts no further
}

// Backlog is what a callback is owed, as far as it was counted.
type Backlog struct {
	Pending int       // up to the limit
	Overdue int       // of these, those that have been waiting for too long
	Since   time.Time // when the longest wait began (see [callbackd.Delivery.WaitsSince]); zero: nothing waits
}

// Add counts one pending delivery. With below set, later events count for Since
// alone.
func (b *Backlog) Add(d *callbackd.Delivery, q PendingQuery) {
	since := d.WaitsSince()
	if b.Since.IsZero() || since.Before(b.Since) {
		b.Since = since
	}
	if q.Below != 0 && d.ID.Event >= q.Below || b.Pending == q.Limit {
		return
	}
	b.Pending++
	if since.Before(q.OverdueBefore) {
		b.Overdue++
	}
}

// Prune says from which time on what is kept.
type Prune struct {
	Logs, Minutes, Hours, Replays time.Time
}

// MaxAttention bounds what ListHealth returns for Attention.
const MaxAttention = 200

// MaxPendingShown is how far the overview counts what is pending.
const MaxPendingShown = 1000

// Interval of a slot.
type Interval time.Duration

// The widths that are kept.
const (
	Minute = Interval(time.Minute)
	Hour   = Interval(time.Hour)
)

// Counters of a slot.
type Counters struct {
	Delivered, Failed, Canceled int64   // deliveries that ended
	Attempts                    int64   // all of them
	Faults                      int64   // attempts that failed, for whatever reason
	Repeats                     int64   // attempts that a person or a replay asked for
	Latency                     Latency // from acceptance to success, without repeats
}

// Bucket is what happened within one width.
type Bucket struct {
	At time.Time // its beginning
	Counters
}

// MinuteCounters is what one callback adds to the sums of one minute, and the latest
// that is known of its receiver.
type MinuteCounters struct {
	Callback callbackd.CallbackID
	Key      callbackd.KeyID
	Minute   time.Time
	Counters
	Receiver
}

// Receiver is the latest that is known of a callback's receiver. Zero
// members are not known, and change nothing in a MinuteCounters.
type Receiver struct {
	LastSuccess  time.Time
	LastFailure  time.Time
	LastFault    callbackd.Fault // of LastFailure
	LastStatus   int             // of LastFailure
	CertNotAfter time.Time       // of the certificate it last showed
}

// StatsQuery chooses slots: of one callback, of one key, or of everything.
type StatsQuery struct {
	Key      callbackd.KeyID      // AllKeys is possible
	Callback callbackd.CallbackID // 0: all callbacks
	Interval Interval
	Since    time.Time
	Until    time.Time
}

// CallbackHealth is a callback with what is known of its receiver. Its own
// members tell whether it is paused and since when it fails.
type CallbackHealth struct {
	Callback *callbackd.Callback
	Receiver
	Backlog // up to MaxPendingShown
}

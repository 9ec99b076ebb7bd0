package store

import (
	"context"
	"time"

	"callbackd"
)

// Stats stores the numbers of the overview. They are written in batches, and no
// guarantee depends on them: a crash loses what was not written yet. Nothing is counted
// twice.
type Stats interface {
	// AddCounters adds counters to the stored ones, in one commit.
	AddCounters(ctx context.Context, ts []MinuteCounters) error
	// ListStats returns the buckets that q chooses, oldest first. It leaves out
	// buckets in which nothing happened.
	ListStats(ctx context.Context, q StatsQuery) ([]Bucket, error)
	// ListHealth returns the callbacks that ListCallbacks returns, each with its
	// health.
	ListHealth(ctx context.Context, q HealthQuery) (HealthPage, error)
	// Health returns the health of a callback. Its backlog is empty when the callback
	// was deleted or its key revoked.
	Health(ctx context.Context, id callbackd.CallbackID, q PendingQuery) (Health, error)
	// Figures returns numbers of the whole store. Its counts of deliveries are exact: each
	// is changed in the transaction that changes the deliveries.
	Figures(ctx context.Context) (callbackd.Figures, error)
	// Backlogs counts the pending deliveries of all keys at a time. It reads all of them.
	Backlogs(ctx context.Context, at time.Time) (callbackd.Backlogs, error)
	// KeyUse counts the pending deliveries of a key and their data. It reads all of them.
	KeyUse(ctx context.Context, key callbackd.KeyID) (callbackd.KeyUse, error)
}

// HealthQuery chooses callbacks in force, and says which deliveries are overdue.
type HealthQuery struct {
	CallbackQuery
	// Attention chooses up to MaxAttention callbacks of all keys that fail, are
	// paused, have pending deliveries, or whose certificate expires before
	// CertBefore. CallbackQuery must be zero then, and there is no next page.
	Attention     bool
	CertBefore    time.Time
	OverdueBefore time.Time // deliveries that began to wait before it are overdue
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
	Limit         int // where the count stops; 0: nothing is counted
}

// Backlog has the counts of a callback's pending deliveries.
type Backlog struct {
	Pending int       // up to the limit
	Overdue int       // how many of them are overdue
	Since   time.Time // when the longest wait began (see [callbackd.Delivery.WaitsSince]); zero: nothing is pending
}

// MaxAttention is how many callbacks ListHealth returns for Attention.
const MaxAttention = 200

// MaxPendingShown is where the overview stops counting the pending deliveries of a
// callback.
const MaxPendingShown = 1000

// Interval is the length of a bucket.
type Interval time.Duration

// The intervals that are stored.
const (
	Minute = Interval(time.Minute)
	Hour   = Interval(time.Hour)
)

// Counters has the counts of a bucket.
type Counters struct {
	Delivered, Failed, Canceled int64   // deliveries that ended
	Expired                     int64   // deliveries that ended
	Attempts                    int64   // all attempts
	Faults                      int64   // attempts that failed, for any reason
	Repeats                     int64   // attempts of resends and replays
	Latency                     Latency // from acceptance to success, without resends and replays
	// ByFault counts attempts that failed by their kind: see [callbackd.FailureKinds].
	// Earlier versions counted Faults only, so there may be fewer.
	ByFault [callbackd.NumFailureKinds]uint32
}

// Unsent returns the counters of n deliveries that were canceled or expired.
func Unsent(state callbackd.State, n int64) *Counters {
	if state == callbackd.Expired {
		return &Counters{Expired: n}
	}
	return &Counters{Canceled: n}
}

// Bucket has the counts of one interval.
type Bucket struct {
	At time.Time // when the interval began
	Counters
}

// MinuteCounters has counts of one callback for one minute, and the latest results of
// its receiver.
type MinuteCounters struct {
	Callback callbackd.CallbackID
	Key      callbackd.KeyID
	Minute   time.Time
	Counters
	Receiver
}

// Receiver has the latest results of a callback's receiver. A zero field is not known;
// in MinuteCounters it does not change what is stored.
type Receiver struct {
	LastSuccess  time.Time
	LastFailure  time.Time
	LastFault    callbackd.Fault // of LastFailure
	LastStatus   int             // of LastFailure
	CertNotAfter time.Time       // when its latest certificate expires
}

// StatsQuery chooses buckets: of one callback, of one key, or of all keys.
type StatsQuery struct {
	Key      callbackd.KeyID      // AllKeys is possible
	Callback callbackd.CallbackID // 0: all callbacks
	Interval Interval
	Since    time.Time
	Until    time.Time
}

// Health has the latest results of a callback's receiver and its backlog.
type Health struct {
	Receiver
	Backlog
}

// CallbackHealth is a callback with its health. The Callback says whether it is paused
// and since when it has been failing. Its Backlog counts up to MaxPendingShown.
type CallbackHealth struct {
	Callback *callbackd.Callback
	Health
}

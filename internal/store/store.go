// Package store is the contract between callbackd and its database: domain
// commands with stated atomicity and errors, never rows or SQL.
//
// Every driver under this folder obeys it and proves so with the storetest
// suite. Time always comes in as an argument: a driver reads no clock to
// decide anything, but for one thing: whether the time in an event's id has come
// ([SweepFuture]).
//
// Keys: a method that reads takes the number of an API key and answers with what
// belongs to it. Queries, and the methods that say so, also take [AllKeys].
//
// Errors: a [callbackd.Error] whose kind says what happened. NotFound covers
// objects of another key. Unavailable means that nothing was written or that
// it is not known whether it was: the caller must not acknowledge. Any other
// error is a fault of the store.
package store

import (
	"context"
	"math"
	"time"

	"callbackd"
)

// Store is one open database. All methods may be called concurrently.
type Store interface {
	Keys
	Callbacks
	Events
	Queue
	Sessions
	Upkeep
	Forgetting
	Replays
	Logs
	Stats
	Logins
	Answers

	// Ready returns nil when the store can take writes now.
	Ready(ctx context.Context) error
	// Close waits for commits under way and releases everything.
	Close() error
}

// Keys keeps API keys. Other processes may change them while a server runs:
// see MaxKeyAge.
type Keys interface {
	// CreateKey stores k and returns it with its number. The API key text
	// must be new: Conflict otherwise.
	CreateKey(ctx context.Context, k callbackd.Key) (callbackd.Key, error)
	// ListKeys returns every key, oldest first, revoked ones included.
	ListKeys(ctx context.Context) ([]callbackd.Key, error)
	// RevokeKey ends a key at the given time: its calls are refused and what
	// its callbacks are still owed is canceled. Revoking twice keeps the
	// first time. NotFound when there is none.
	RevokeKey(ctx context.Context, apiKey string, at time.Time) error
	// RotateKey gives the key the secret next; the one before signs along
	// until keep, and one from before that no more. Conflict for a revoked
	// key, NotFound when there is none.
	RotateKey(ctx context.Context, apiKey string, next callbackd.Secret, keep time.Time) error
	// SetCaptureURL gives the key a template of its sessions' links, or none;
	// NotFound when there is no such key.
	SetCaptureURL(ctx context.Context, apiKey string, t callbackd.CaptureTemplate) error
	// Key returns the key with this text, revoked or not; NotFound when
	// there is none. The answer may be MaxKeyAge old. The result is shared:
	// it must not be changed.
	Key(ctx context.Context, apiKey string) (*callbackd.Key, error)
	// KeyByID is Key by number.
	KeyByID(ctx context.Context, no callbackd.KeyID) (*callbackd.Key, error)
}

// AllKeys in the place of a key's number asks for what belongs to any key, as
// the operator may. A key holder's number is never AllKeys: numbers begin with 1.
const AllKeys callbackd.KeyID = 0

// MaxKeyAge bounds how long a server may go on with what it knew about a key
// that another process changed. Commands that change keys wait this long
// before they return, so that their effect is complete when they do.
const MaxKeyAge = 200 * time.Millisecond

// Callbacks keeps the settings. Results are copies or immutable.
type Callbacks interface {
	// CreateCallback stores c (ID, Version and times are set by the store)
	// unless the key has a callback for the event with that name: then it
	// returns the stored one and created=false, and stores nothing.
	CreateCallback(ctx context.Context, c callbackd.Callback, at time.Time) (stored *callbackd.Callback, created bool, err error)
	// ChangeCallback runs change on the callback in force and stores what it
	// makes of it, in one transaction: see [callbackd.Callback.Replace],
	// SetPause, RotateSecret and Delete. change may run more than once, so it
	// changes nothing but the callback. An error of it ends the command. When a
	// change releases what waits for a later time, MakeDue makes it due.
	// NotFound when there is no such callback.
	ChangeCallback(ctx context.Context, key callbackd.KeyID, ev callbackd.EventType, name string, change func(*callbackd.Callback) error) (*callbackd.Callback, error)
	// Callback returns one setting in force.
	Callback(ctx context.Context, key callbackd.KeyID, ev callbackd.EventType, name string) (*callbackd.Callback, error)
	// ListCallbacks returns callbacks in force by key, in PAVE's event order,
	// then by name. With AllKeys it leaves out those of revoked keys.
	ListCallbacks(ctx context.Context, q CallbackQuery) (CallbackPage, error)
	// CallbackByID returns a setting by number, deleted ones included. One
	// whose key was revoked is Deleted from that time on: it is owed nothing.
	CallbackByID(ctx context.Context, no callbackd.CallbackID) (*callbackd.Callback, error)
	// CallbackVersion returns the setting as it was in that version (URL,
	// Method, Headers, Payload); everything else is as it is now.
	CallbackVersion(ctx context.Context, no callbackd.CallbackID, version int64) (*callbackd.Callback, error)
}

// CallbackQuery chooses callbacks in force.
type CallbackQuery struct {
	Key   callbackd.KeyID      // AllKeys is possible
	After callbackd.CallbackID // cursor; 0 at the start
	Limit int                  // 1 to MaxPage; 0 with a Key: all that the key has
}

// PageLimit is Limit within its bounds.
func (q *CallbackQuery) PageLimit() int {
	if q.Limit == 0 && q.Key != AllKeys {
		return callbackd.MaxCallbacks * len(callbackd.EventTypes)
	}
	return min(max(q.Limit, 1), MaxPage)
}

// Cut returns a page of up to limit callbacks of p, with Next when p has more.
func (p CallbackPage) Cut(limit int) CallbackPage {
	if len(p.Callbacks) <= limit {
		return p
	}
	return CallbackPage{Callbacks: p.Callbacks[:limit], Next: p.Callbacks[limit-1].ID}
}

// CallbackPage is one page. Next is 0 at the end.
type CallbackPage struct {
	Callbacks []*callbackd.Callback
	Next      callbackd.CallbackID
}

// NewEvent is one event to accept.
type NewEvent struct {
	Type    callbackd.EventType
	Session string
	Data    []byte // the store keeps it: the caller must not change it
	// OnlyTo, when not 0, owes the event to this callback alone and marks it
	// as a test.
	OnlyTo callbackd.CallbackID
	// Idempotency makes the event repeatable on its own; empty for none.
	// Used for the member "id" of events in a batch.
	Idempotency string
}

// Batch is what one request publishes: all or nothing.
type Batch struct {
	Key    callbackd.KeyID
	At     time.Time
	Events []NewEvent
	// Idempotency makes the whole batch repeatable: a batch with a key seen
	// before returns the first one's events; empty for none.
	Idempotency string
	// Digest is a hash of the request, compared on a repeat. Used with
	// Idempotency only; events with their own are compared by type, session
	// and data.
	Digest [32]byte
}

// Events takes events in and gives them back.
type Events interface {
	// Accept stores the batch with its sequence numbers and with a pending
	// delivery for every callback in force for (key, type), and returns the
	// events in the batch's order once they are durable: synced to disk.
	// A repeat by idempotency key returns the first answer and stores
	// nothing; the same idempotency key with another content is a Conflict.
	// Concurrent calls share a commit. Handed over events reach the hook of
	// OnCommit before Accept returns.
	Accept(ctx context.Context, b Batch) ([]*callbackd.Event, error)
	// Event returns one event of the key, or with AllKeys of any.
	Event(ctx context.Context, key callbackd.KeyID, id callbackd.EventID) (*callbackd.Event, error)
	// ListEvents returns events newest first. A page ends at MaxPageData.
	ListEvents(ctx context.Context, q EventQuery) (EventPage, error)
	// EventsAfter returns events of one key oldest first, with ids above
	// q.After. q.Key cannot be AllKeys. Next is where to go on, also at the end, and is safe: no
	// event of the key with an id up to Next is ever committed later, so a
	// reader that goes from Next to Next misses nothing, unless Removed says
	// that retention took what comes after its cursor.
	EventsAfter(ctx context.Context, q EventQuery) (EventPage, error)
	// Watch gives a value on changed soon after events of the key were
	// committed; several commits may give one. Call stop at the end.
	Watch(key callbackd.KeyID) (changed <-chan struct{}, stop func())
	// ListDeliveries returns deliveries newest event first, then by
	// callback number descending.
	ListDeliveries(ctx context.Context, q DeliveryQuery) (DeliveryPage, error)
	// Delivery returns one delivery of the key, or with AllKeys of any, with
	// its newest attempts: see MaxHistory.
	Delivery(ctx context.Context, key callbackd.KeyID, id callbackd.DeliveryID) (*DeliveryView, error)
	// DeliveryBefore is Delivery with the attempts before one of them; before
	// is its number.
	DeliveryBefore(ctx context.Context, key callbackd.KeyID, id callbackd.DeliveryID, before int) (*DeliveryView, error)
	// RetryDelivery makes a delivery due at once, from the start of its
	// schedule, as a manual repeat. One that was never tried is returned as it
	// is, without a Due: it takes its turn in its lane. A delivery in flight is a Conflict only
	// if the driver cannot serialise it; the engine keeps its lane single.
	// Canceled deliveries cannot be retried, nor any of a callback that is
	// owed nothing any more: Conflict. It returns the pending delivery to
	// hand to the engine.
	RetryDelivery(ctx context.Context, key callbackd.KeyID, id callbackd.DeliveryID, at time.Time) (*callbackd.Delivery, error)
}

// EventQuery chooses events. Zero members choose all.
type EventQuery struct {
	Key     callbackd.KeyID // AllKeys is possible
	Type    callbackd.EventType
	Session string
	Since   time.Time         // accepted at or after
	Until   time.Time         // accepted before
	After   callbackd.EventID // cursor: only older events than this; of EventsAfter: only later ones
	Limit   int               // 1 to MaxPage
}

// MaxPage is the most a list returns at once; MaxScan the most rows a list
// looks at for one page. A page cut by MaxScan may be short, even empty, and
// still has a cursor.
const (
	MaxPage = 200
	MaxScan = 10_000
)

// MaxPageData ends a page of events or sessions early, in bytes of their data:
// what is beyond it is not read. A page has one row at least.
const MaxPageData = 1 << 20

// EventPage is one page. Next is 0 at the end.
type EventPage struct {
	Events  []*callbackd.Event
	Next    callbackd.EventID
	Removed Removed // of EventsAfter
}

// Removed is what retention took of a key's events so far. A reader has missed
// something when Newest is after its cursor, and Times is more than it was when
// the reader got its cursor.
type Removed struct {
	Newest callbackd.EventID
	Times  int64 // that events were removed
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
	Status   int                  // of the last attempt; 1 to 5: its class
	Fault    callbackd.Fault      // of the last attempt
	After    callbackd.DeliveryID // cursor; zero at the start
	Limit    int
}

// OfAttempts tells whether q asks how the last attempt ended.
func (q *DeliveryQuery) OfAttempts() bool { return q.Status != 0 || q.Fault != callbackd.NoFault }

// ByError tells whether q asks for last attempts that failed: those have an
// index.
func (q *DeliveryQuery) ByError() bool {
	return q.Fault != callbackd.NoFault || q.Status != 0 && q.Status != 2 && q.Status/100 != 2
}

// FitsAttempt tells whether a is how q wants a last attempt to be.
func (q *DeliveryQuery) FitsAttempt(a *callbackd.Attempt) bool {
	return (q.Status == 0 || a.Status == q.Status || q.Status <= 5 && a.Status/100 == q.Status) && (q.Fault == callbackd.NoFault || a.Fault == q.Fault)
}

// MaxScanOf is MaxScan for a query. To know how an attempt ended, or that a
// delivery is a delivered one, its rows must be read, so then it is less.
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

// MaxHistory is how many attempts of a delivery are read at once. People can
// send a delivery again as often as they like.
const MaxHistory = 50

// DeliveryView is a delivery as it is shown.
type DeliveryView struct {
	ID    callbackd.DeliveryID
	Event *callbackd.Event // without Data in lists
	// Callback is the setting; in lists its number, key, event, name, URL and
	// end only: a list opens no secret.
	Callback *callbackd.Callback
	callbackd.DeliveryState
	// Last is the last attempt, without headers and body; nil before the first.
	Last *callbackd.Attempt
	// History is up to MaxHistory attempts, oldest first; empty in lists.
	History []callbackd.Attempt
}

// Queue is what the engine works from. The store is the queue; the engine
// holds a window of it.
type Queue interface {
	// OnCommit registers the one function that is told about each
	// committed event, in commit order, with its pending deliveries. It is
	// called before Accept returns, must not block and must not call the
	// store. It is set once, before the first Accept.
	OnCommit(func(ds []callbackd.Delivery))
	// Backlogs returns the number of every callback that is owed something.
	Backlogs(ctx context.Context) ([]callbackd.CallbackID, error)
	// FirstAttempts returns up to limit pending deliveries of the callback
	// that wait for their first attempt (Due is zero), with event ids above
	// after. They are in the order of acceptance, which is the order of
	// sequence numbers within each session. Event is set for the first
	// deliveries, up to MaxEventDataPerRead bytes, and nil for the others.
	FirstAttempts(ctx context.Context, cb callbackd.CallbackID, after callbackd.EventID, limit int) ([]callbackd.Delivery, error)
	// Due returns up to limit pending deliveries of the class that are due at
	// until or before, soonest first. next is when the first delivery that was
	// not returned is due; it is zero when there is none.
	Due(ctx context.Context, class callbackd.DueClass, cb callbackd.CallbackID, until time.Time, limit int) (ds []callbackd.Delivery, next time.Time, err error)
	// Blocked returns up to limit pending deliveries with HoldsUntil after
	// now, soonest HoldsUntil first: the heads that hold their lanes after a
	// restart.
	Blocked(ctx context.Context, cb callbackd.CallbackID, now time.Time, limit int) ([]callbackd.Delivery, error)
	// Lanes returns, for each cursor in turn, up to limit deliveries of the
	// session that follow the cursor and wait for their first attempt, in the
	// order of their sequence numbers. Event is set as in FirstAttempts. No two
	// cursors may name the same session.
	Lanes(ctx context.Context, cb callbackd.CallbackID, from []callbackd.LaneCursor, limit int) ([]callbackd.Delivery, error)
	// FirstAttemptsByID returns those of the deliveries that wait for their
	// first attempt, in the order of ids. Event is set as in FirstAttempts. It
	// does not check whether their callbacks were deleted or their keys revoked.
	FirstAttemptsByID(ctx context.Context, ids []callbackd.DeliveryID) ([]callbackd.Delivery, error)
	// EventByID returns the event of a delivery; NotFound when retention took it.
	EventByID(ctx context.Context, id callbackd.EventID) (*callbackd.Event, error)
	// Record writes an outcome: the attempt, where the delivery stands, and
	// what it changes of the callback, unless that has another version by now,
	// in one transaction. Concurrent calls share a commit. When the callback
	// was deleted or its key revoked meanwhile, [callbackd.Decision.AfterEnd]
	// of the decision is written, also in the place of a cancellation of
	// FinalizeCanceled. Due and HoldsUntil come back at most a millisecond later,
	// and never earlier. Any other delivery that is no longer pending is a
	// Conflict and nothing is written.
	Record(ctx context.Context, o callbackd.Outcome) (callbackd.Recorded, error)
	// MakeDue makes due at once what a callback's [callbackd.Callback.Releasing]
	// tells of: it looks at the next limit pending deliveries in the order of
	// events, and those that failed and wait for a later time become due at
	// at. How far it is, is kept. moved is how many became due.
	MakeDue(ctx context.Context, cb callbackd.CallbackID, at time.Time, limit int) (moved int, done bool, err error)
}

// MaxEventDataPerRead bounds the event data, in bytes, that one call of
// FirstAttempts, FirstAttemptsByID or Lanes returns.
const MaxEventDataPerRead = 2 << 20

// Upkeep is the slow work and the proofs.
type Upkeep interface {
	// FinalizeCanceled gives up to limit pending deliveries of deleted
	// callbacks and revoked keys their terminal state and returns how many.
	FinalizeCanceled(ctx context.Context, at time.Time, limit int) (int, error)
	// Sweep removes events accepted before the time whose deliveries have
	// all ended, with their attempts and idempotency keys: at most limit
	// events, from after on. It returns where to go on; done at the end.
	Sweep(ctx context.Context, before time.Time, after callbackd.EventID, limit int) (next callbackd.EventID, removed int, done bool, err error)
	// Check proves promise 2 over the whole database and returns a count
	// per callback and every row that breaks it.
	Check(ctx context.Context) (*Report, error)
}

// Report is what Check found.
type Report struct {
	Events    int64
	Callbacks []Balance
	Faults    []string // sentences that name the row; at most MaxFaults
	FaultN    int64    // how many there are
}

// MaxFaults is how many faults a Report spells out.
const MaxFaults = 100

// Balance is the sum of promise 2 for one callback:
// Accepted = Delivered + Failed + Canceled + Pending.
type Balance struct {
	Callback                                       *callbackd.Callback
	Accepted, Delivered, Failed, Canceled, Pending int64
	Attempts, Repeats                              int64
}

// AcceptedWithin tells whether an event was accepted since and until these times;
// a zero argument does not bound. A driver asks for each event of an IDRange that
// it has widened: see [WidenedTo].
func AcceptedWithin(ev *callbackd.Event, since, until time.Time) bool {
	at := ev.Accepted()
	return (since.IsZero() || !at.Before(since)) && (until.IsZero() || at.Before(until))
}

// WaitingSince corrects since when a delivery waits, where that was taken from the
// event's id and the clock said something else.
func WaitingSince(since time.Time, ev *callbackd.Event) time.Time {
	if !ev.ClockTime.IsZero() && since.Equal(ev.ID.Time()) {
		return ev.ClockTime
	}
	return since
}

// WidenedTo is the upper end of an IDRange where the clock ran ahead once. last is
// the last event before until by its ClockTime; 0: there is none.
func WidenedTo(hi int64, last, after callbackd.EventID) int64 {
	if hi = max(hi, int64(last)+1); after != 0 {
		hi = min(hi, int64(after))
	}
	return hi
}

// SweepFuture is what a sweep looks at besides what its time is before: the ids
// above from, whose time has not come by now, up to the last event that was
// accepted before that time by its ClockTime. Everything up to it was accepted
// earlier still, whatever its id says.
func SweepFuture(last, after callbackd.EventID, now time.Time) (from, to callbackd.EventID) {
	return max(after, callbackd.FirstEventID(now.Add(callbackd.MaxSkew))), last
}

// IDRange is the ids [lo, hi) of events accepted since and until these times,
// before the cursor; a zero argument does not bound.
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

// Package store defines the contract between callbackd and its database. The
// contract consists of domain commands. Each command states what it does in one
// transaction and how it fails. Rows and SQL do not appear in it.
//
// Every driver under this folder implements the contract and passes the storetest
// suite. Times are arguments: a driver reads no clock to decide anything, with one
// exception, which is whether the time in an event's id has come ([SweepFuture]). The
// time of an audit entry is the store's clock's too, but decides nothing ([Audits]).
//
// Keys: a method that reads takes the ID of an API key and returns only what
// belongs to that key. Queries also take [AllKeys], and so do the methods that say
// so.
//
// Errors: a method returns a [callbackd.Error] whose kind says what happened. NotFound
// also covers objects of another key. Unavailable means that nothing was written, or that
// it is unknown whether something was: the caller must not acknowledge. Any other error
// is an internal fault of the store.
package store

import (
	"context"
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
	Replays
	Erases
	Logs
	Stats
	Logins
	Tokens
	Settings
	Answers
	Sealing
	Audits
	Servers
	Incidents
	EventTypes

	// Ready returns nil when the store can take writes now.
	Ready(ctx context.Context) error
	// Close waits for the commits in progress and releases all resources.
	Close() error
}

// Keys stores API keys. Other processes may change them while a server runs: see
// MaxKeyAge.
type Keys interface {
	// CreateKey stores k and returns it with its ID. It fails with Conflict when
	// there is a key with this text already.
	CreateKey(ctx context.Context, k callbackd.Key) (callbackd.Key, error)
	// ListKeys returns all keys, oldest first, including revoked ones.
	ListKeys(ctx context.Context) ([]callbackd.Key, error)
	// ChangeKey runs change on the key with this text and stores what change may make of
	// it (all but its ID, account, text and kind, and when it was created), in one
	// transaction: see [callbackd.Key.Revoke] and [callbackd.Key.Rotate]. change may
	// run more than once, also on a key that it has changed already, and must change
	// nothing but the key. Its error is returned, and nothing is written. The calls
	// of a revoked key are refused, and the pending deliveries of its callbacks are
	// canceled. ChangeKey fails with NotFound when there is no such key.
	ChangeKey(ctx context.Context, apiKey string, change func(*callbackd.Key) error) error
	// Key returns the key with this text, revoked or not. The result may be
	// MaxKeyAge old. It is shared and must not be changed. Key fails with NotFound
	// when there is no such key.
	Key(ctx context.Context, apiKey string) (*callbackd.Key, error)
	// KeyByID returns the key with this ID, as Key does.
	KeyByID(ctx context.Context, id callbackd.KeyID) (*callbackd.Key, error)
}

// AllKeys, in place of a key's ID, selects what belongs to any key. Only the operator
// may see that. No key has this ID, because IDs begin with 1.
const AllKeys callbackd.KeyID = 0

// MaxKeyAge is how long a server may use what it knows about a key after another
// process has changed the key. Commands that change keys wait longer than that before
// they return, so that their change has taken full effect then.
const MaxKeyAge = 200 * time.Millisecond

// Callbacks stores the callbacks. Results are copies or never change.
type Callbacks interface {
	// CreateCallback stores c. The store sets ID, Version and the times. When the
	// key already has a callback for the event with that name, it stores nothing
	// and returns that callback with created=false.
	CreateCallback(ctx context.Context, c callbackd.Callback, at time.Time) (stored *callbackd.Callback, created bool, err error)
	// ChangeCallback runs change on the callback in force and stores the result, in
	// one transaction: see [callbackd.Callback.Replace], SetPause, RotateSecret and
	// Delete. change may run more than once, so it must change nothing but the
	// callback. When change fails, ChangeCallback returns its error and stores
	// nothing. When change sets Releasing, MakeDue makes the waiting deliveries due.
	// ChangeCallback fails with NotFound when there is no such callback.
	ChangeCallback(ctx context.Context, key callbackd.KeyID, ev callbackd.EventType, name string, change func(*callbackd.Callback) error) (*callbackd.Callback, error)
	// ListCallbacks returns callbacks in force, ordered by key, then in PAVE's order
	// of events, then by name. With AllKeys it leaves out those of revoked keys.
	ListCallbacks(ctx context.Context, q CallbackQuery) (CallbackPage, error)
	// CallbackByID returns a callback, also a deleted one. A callback of a revoked
	// key counts as deleted at the time of the revocation: it gets nothing more.
	CallbackByID(ctx context.Context, id callbackd.CallbackID) (*callbackd.Callback, error)
	// CountSessionCallbacks returns how many callbacks in force the key has that are for
	// one session, up to limit.
	CountSessionCallbacks(ctx context.Context, key callbackd.KeyID, limit int) (int, error)
	// CallbackVersion returns a callback with the URL, Method, Headers and Payload
	// of a version. All other fields are the present ones.
	CallbackVersion(ctx context.Context, id callbackd.CallbackID, version int64) (*callbackd.Callback, error)
}

// CallbackQuery chooses callbacks in force. Zero members choose all, except those that are
// for one session.
type CallbackQuery struct {
	Key callbackd.KeyID // AllKeys is possible
	// Session chooses the callbacks that are for this session, oldest first, and no
	// others. It needs a Key.
	Session string
	Event   callbackd.EventType
	Name    string
	After   callbackd.CallbackID // cursor; 0 at the start
	Limit   int                  // 1 to MaxPage; 0 with a Key: all callbacks of the key
}

// PageLimit returns Limit within its bounds.
func (q *CallbackQuery) PageLimit() int {
	if q.Limit == 0 && q.Key != AllKeys {
		return callbackd.MaxCallbacks * len(callbackd.EventTypes)
	}
	return min(max(q.Limit, 1), MaxPage)
}

// CallbackNamed returns the callback in force of a key for an event with that name. It
// fails with NotFound when there is none.
func CallbackNamed(ctx context.Context, cbs Callbacks, key callbackd.KeyID, ev callbackd.EventType, name string) (*callbackd.Callback, error) {
	if ev == "" || name == "" { // a query would choose all
		return nil, NoCallback(ev)
	}
	page, err := cbs.ListCallbacks(ctx, CallbackQuery{Key: key, Event: ev, Name: name, Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(page.Callbacks) == 0 {
		return nil, NoCallback(ev)
	}
	return page.Callbacks[0], nil
}

// Cut returns the first limit callbacks of p. It sets Next when p has more.
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
	Data    []byte // the store may hold it, so the caller must not change it
	// Test marks the event as a test, which goes to the callbacks that a real event goes to.
	// OnlyTo, when not 0, makes the event a test-send: a test with this callback as its only
	// target.
	Test   bool
	OnlyTo callbackd.CallbackID
	// DeliverAt and ExpiresAt are those of [callbackd.Event], as the client gave them.
	DeliverAt, ExpiresAt time.Time
	// Idempotency is the idempotency key of this event alone: the member "id" of a
	// published event. Empty means that it has none.
	Idempotency string
	// Callback, when not nil, is given to the event's session before the event is
	// accepted: see [callbackd.GiveCallback]. The store sets Key, Session, ID, Name and
	// Secrets.
	Callback *callbackd.Callback
}

// IsTest reports whether the event is a test.
func (n *NewEvent) IsTest() bool { return n.Test || n.OnlyTo != 0 }

// Batch has the events that one request publishes. All of them are accepted, or none.
type Batch struct {
	Key    callbackd.KeyID
	At     time.Time
	Events []NewEvent
	// Idempotency is the idempotency key of the whole batch. A batch with a known
	// key gets the events of the first one. Empty means that it has none.
	Idempotency string
	// Admit, when not nil, is called before anything of the batch is accepted, and not
	// for a batch whose idempotency keys are all known. Its error refuses the batch. It
	// may be called more than once, so it must remember its answer, and must not block.
	Admit func() error
	// Digest is a hash of the request, which is compared on a repeat. It is used
	// together with Idempotency only: events with a key of their own are compared
	// by type, session, data, times and the mark of a test.
	Digest [32]byte
	// Trace is what [TraceOf] returns of the context. The store sets it.
	Trace *callbackd.Trace
}

// Admitted calls Admit.
func (b *Batch) Admitted() error {
	if b.Admit == nil {
		return nil
	}
	return b.Admit()
}

// Events accepts events, and reads them and their deliveries.
type Events interface {
	// Accept stores the batch, gives each event its sequence number, and makes a
	// pending delivery for every callback that is in force for the key and the
	// type. It returns the events in the order of the batch, once they are durable,
	// that is, synced to disk. When an idempotency key is known already, Accept
	// returns the first result and stores nothing; with other content it fails with
	// Conflict. Concurrent calls share a commit. The function of OnCommit gets the
	// deliveries before Accept returns. Accept fails with Invalid when a session would
	// get more than [callbackd.MaxSessionCallbacks] callbacks.
	Accept(ctx context.Context, b Batch) ([]*callbackd.Event, error)
	// Event returns one event of the key, or of any key with AllKeys. It fails with
	// NotFound when there is none, or when retention has removed it.
	Event(ctx context.Context, key callbackd.KeyID, id callbackd.EventID) (*callbackd.Event, error)
	// ListEvents returns events, newest first. A page ends at MaxPageData.
	ListEvents(ctx context.Context, q EventQuery) (EventPage, error)
	// EventsAfter returns events of one key, or of all keys, with ids above q.After,
	// oldest first. With AllKeys, q.Session must be empty, and Removed is not set. Next is the cursor of the next call, also on the last
	// page. No event that q.Key chooses with an id up to Next is committed later. So a
	// reader that goes from Next to Next misses nothing, unless Removed shows that
	// retention removed events after its cursor.
	EventsAfter(ctx context.Context, q EventQuery) (EventPage, error)
	// Watch returns a channel that gets a value soon after events of the key were
	// committed. One value may stand for several commits. The caller must call stop
	// in the end.
	Watch(key callbackd.KeyID) (changed <-chan struct{}, stop func())
	// ListDeliveries returns deliveries, the newest event first, and those of one
	// event by descending ID of the callback.
	ListDeliveries(ctx context.Context, q DeliveryQuery) (DeliveryPage, error)
	// Delivery returns one delivery of the key, or of any key with AllKeys. It has up
	// to MaxHistory attempts: the newest ones, or, when before is not 0, the newest
	// ones before the attempt with that number.
	Delivery(ctx context.Context, key callbackd.KeyID, id callbackd.DeliveryID, before int) (*DeliveryView, error)
	// Resend makes a delivery due at once, as [callbackd.DeliveryRows.Resend] says. It
	// returns the pending delivery, which the caller hands to the engine. A delivery
	// that was never tried stays as it is, without a Due: it takes its turn in its
	// lane. A delivery in flight may be resent too, because the engine makes one
	// attempt at a time in a lane. Resend fails with Conflict for a canceled delivery,
	// and when the callback was deleted or its key revoked.
	Resend(ctx context.Context, key callbackd.KeyID, id callbackd.DeliveryID, at time.Time) (*callbackd.Delivery, error)
}

// Queue gives deliveries to the engine and stores what became of them. The store is
// the queue; the engine holds a window of it in memory.
type Queue interface {
	// OnCommit sets the function that gets the pending deliveries of each committed
	// event, in commit order. The store calls it before Accept returns. The function
	// must not block and must not call the store. OnCommit is called once, before
	// the first Accept.
	OnCommit(func(ds []callbackd.Delivery))
	// PendingCallbacks returns all callbacks with pending deliveries.
	PendingCallbacks(ctx context.Context) ([]callbackd.PendingCallback, error)
	// Pending returns pending deliveries of a callback. It returns none when the
	// callback was deleted or its key revoked. Event is set for the first of the first
	// attempts, up to MaxEventDataPerRead bytes, and nil for all other deliveries. next
	// is when the first retry or replay that was not returned is due; it is zero when
	// there is none.
	Pending(ctx context.Context, r callbackd.PendingRead) (ds []callbackd.Delivery, next time.Time, err error)
	// TakeTurns makes deferred deliveries of a callback that may be sent by now first
	// attempts, up to limit: those with the earliest DeliverAt first, and those with the
	// same one in the order of their events. next is when the next one is due; zero when
	// there is none.
	TakeTurns(ctx context.Context, cb callbackd.CallbackID, at time.Time, limit int) (ds []callbackd.Delivery, next time.Time, err error)
	// Earlier returns, for each delivery of r.Before and each callback of the key that is
	// in force, the newest pending delivery of the session that has an earlier event and
	// waits for its first attempt or blocks its lane after r.At. What has expired by r.At
	// does not count. They are ordered by event; Event is nil.
	Earlier(ctx context.Context, r callbackd.EarlierRead) ([][]callbackd.Delivery, error)
	// Record writes an outcome in one transaction: the attempt, the new state of the
	// delivery, and the change of the callback, unless the callback has another
	// version by now. Concurrent calls share a commit. Due and HoldsUntil are stored
	// at most a millisecond later, and never earlier. An outcome without a change of
	// the callback survives a kill, but need not be synced yet: a driver may leave
	// that to the next commit that is synced, if this comes soon even without one. When
	// it says CanWait, Record may wait some milliseconds for another command.
	//
	// When the callback was deleted or its key revoked meanwhile, Record writes
	// [callbackd.Decision.AfterEnd] of the decision, and replaces a row of
	// FinalizeCanceled, StepReplay or Expire by it. For any other delivery that is no longer pending it
	// fails with Conflict and writes nothing. The decision in o is the written one.
	Record(ctx context.Context, o *callbackd.Outcome) (callbackd.Recorded, error)
	// MakeDue makes the waiting deliveries of a callback due while its
	// [callbackd.Callback.Releasing] is set. Each call looks at the next limit pending
	// deliveries in the order of events, and makes those due at the time at that
	// failed and wait for a later time. The store remembers how far it has come.
	// moved is how many became due; done is true when none are left.
	MakeDue(ctx context.Context, cb callbackd.CallbackID, at time.Time, limit int) (moved int, done bool, err error)
}

// MaxEventDataPerRead bounds the event data, in bytes, that one call of Pending
// returns.
const MaxEventDataPerRead = 2 << 20

// SweepFuture returns the range of ids, from (exclusive) to to (inclusive), that a
// sweep reads in addition: ids with times that have not come at now. They are from when
// the clock ran ahead. last is the last event that was accepted before the time of the
// sweep by its ClockTime. All events with smaller ids were accepted earlier.
func SweepFuture(last, after callbackd.EventID, now time.Time) (from, to callbackd.EventID) {
	return max(after, callbackd.FirstEventID(now.Add(callbackd.MaxSkew))), last
}

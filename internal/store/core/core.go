// Package core holds every store command that is not on the hot path, once for
// all drivers. It needs little of a driver: [Driver] runs transactions, [Tx]
// runs statements, and [Dialect] says what the databases cannot say alike.
//
// Statements are written once, in the SQL that SQLite and PostgreSQL share,
// with parameters that are numbered from $1. [Plain] lists the types of
// arguments and [Row] those of results. A rule of the domain has no place
// here: it is a pure function of package callbackd, which a command calls
// inside its transaction.
package core

import (
	"context"
	"errors"
	"sync/atomic"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/codec"
	"callbackd/internal/store/seal"
)

// Driver runs transactions on one database.
type Driver interface {
	// Read runs f on committed data. In SQLite all queries of f share a
	// snapshot; in PostgreSQL each query has its own. f may be run again, so
	// it sets its results anew each time.
	Read(ctx context.Context, f func(Tx) error) error
	// ReadSettings is Read for keys and callbacks. Every command asks for
	// those, so PostgreSQL has connections for nothing else.
	ReadSettings(ctx context.Context, f func(Tx) error) error
	// ReadFlushed is Read of what [Driver.Flush] has written, for lists and pages of
	// events and pending deliveries. It answers on a full disk too.
	ReadFlushed(ctx context.Context, f func(Tx) error) error
	// Write runs f in a transaction that is durable when Write returns nil.
	// Commands of SQLite share a commit. f may be run again: after a failure
	// of another command in the same commit, or of the connection. So f sets
	// its results anew each time and changes nothing but the database. An
	// error of f rolls the transaction back.
	//
	// Write runs f through [Store.RunOnce], which gives the call its
	// idempotency key.
	Write(ctx context.Context, mode Mode, f func(Tx) error) error
	// Snapshot is Read for a command that may read for minutes: all queries of
	// f share a snapshot in every database.
	Snapshot(ctx context.Context, f func(Tx) error) error
	// Enqueue adds rows of pending deliveries and returns the deliveries whose
	// row it added. One that has a row already is left out.
	Enqueue(tx Tx, ds []callbackd.Delivery) ([]callbackd.Delivery, error)
	// Flush writes to the tables what the driver has buffered of the events
	// that were committed before the call. A command that reads pending
	// deliveries or the indexes of events calls it first, and never from
	// inside a transaction. PostgreSQL buffers nothing.
	Flush(ctx context.Context) error
	// FlushOfEnded is Flush for a command that is run every few seconds and reads only
	// pending deliveries of callbacks that were deleted or whose key was revoked.
	FlushOfEnded(ctx context.Context) error
	// Horizon returns the newest event of a key, or of all keys, that readers may see, and
	// promises that no event with a lower id is committed later. after is the cursor of
	// the reader: when an earlier promise reaches beyond it, that is enough for all keys.
	Horizon(ctx context.Context, key callbackd.KeyID, after callbackd.EventID) (callbackd.EventID, error)
	// FlushedUpTo returns the newest event that was flushed. A command that runs beside a
	// server cannot flush the server's buffer: it finds later events by their own rows
	// only, and a delivery of them without any row is pending and was never tried.
	FlushedUpTo(tx Tx) (callbackd.EventID, error)
	// RemoveIndexes deletes the rows that only this database keeps for events.
	// tx has just removed the events, which are in the order of their ids.
	RemoveIndexes(tx Tx, evs []*callbackd.Event) error
	// RemoveSessions drops sessions that tx removed from the driver's cache.
	RemoveSessions(tx Tx, ids []store.SessionID)
	// EndSessions removes what only this database keeps for sessions that have no events
	// and no callbacks any more. tx has just removed the callbacks.
	EndSessions(tx Tx, ids []store.SessionID) error
	// ChangeSession runs change on a stored session within tx, and writes the result. It
	// reports whether there is such a session.
	ChangeSession(tx Tx, id store.SessionID, change func(*callbackd.Session)) (found bool, err error)
	// Overwrite removes from the database's files what was deleted or replaced before,
	// as far as the database can. done is false when it must be called again later.
	Overwrite(ctx context.Context) (done bool, err error)
	// Audit checks what only this database keeps, in the snapshot of a Check, and
	// adds faults to the report. It returns the newest event that was flushed:
	// deliveries of later events may have no rows.
	Audit(tx Tx, report *store.Report) (flushed callbackd.EventID, err error)
	// Figures returns the sizes of the database and of what only this database keeps.
	Figures(tx Tx) (callbackd.Figures, error)
	// Unflushed counts the pending deliveries that have no row yet. PostgreSQL buffers
	// nothing.
	Unflushed() []callbackd.CallbackBacklog
	// UnflushedOf returns the events of a key with pending deliveries that have no row
	// yet, and how many deliveries of each.
	UnflushedOf(key callbackd.KeyID) map[callbackd.EventID]int64
	// Refresh drops from the cache what other processes changed more than
	// [store.MaxKeyAge] ago.
	Refresh(ctx context.Context) error
}

// Mode says what kind of change a Write makes.
type Mode uint8

// The modes of a Write; they can be combined.
const (
	// Repeatable means that f has the same effect when its commit was made without an
	// answer and f is run once more. Without it such a command fails with
	// KindUnavailable, because it is unknown whether the commit was made. A command with
	// an idempotency key is always repeatable.
	Repeatable Mode = 1 << iota
	// Settings means that f changes keys or callbacks. PostgreSQL runs such
	// changes one after the other and numbers them, so that every node finds
	// what is new.
	Settings
	// Deliveries means that f changes events, pending deliveries or attempts. SQLite
	// refuses it in a command that runs while a server does, because only the server has
	// the buffer.
	Deliveries
)

// Tx runs statements inside a Read or a Write. It is used by one goroutine.
type Tx interface {
	// Query calls row for each row of the result, in order. row must not use
	// the Tx. When row returns [ErrStop], Query reads no more rows and returns
	// nil; PostgreSQL sends them all the same, so the statement needs a LIMIT.
	Query(sql string, row func(Row) error, args ...any) error
	// Exec runs a statement without a result and returns the number of rows
	// that it changed.
	Exec(sql string, args ...any) (int64, error)
	// Batch runs a statement once for each list of arguments, in order, in one
	// round trip. It calls row, unless that is nil, for each row of the results.
	Batch(sql string, row func(Row) error, args [][]any) error
}

// Row is one row of a result.
type Row interface {
	// Scan copies the columns to dest: pointers to integers, bool, float64,
	// string, [Text], []byte, time.Time, time.Duration, or to types with a simple one of
	// those underneath, and [store.Counts], which it fills. A time is stored in milliseconds and a duration in
	// microseconds. NULL is the zero time and the nil []byte; for any other
	// type it needs a pointer to a pointer.
	Scan(dest ...any) error
}

// ErrStop ends a Query early; the Query then returns nil.
var ErrStop = errors.New("no more rows are wanted")

// ErrRace ends a Write that lost a race against another node: the driver runs
// the command again from the start.
var ErrRace = errors.New("another node changed the same row first")

// Store has the commands. A driver embeds it and adds the hot ones.
type Store struct {
	db     Driver
	d      *Dialect
	sealer *seal.Sealer
	cache  cache

	EventTypes *codec.EventTypes // the numbers of types

	choosing chan struct{}                        // holds one value, so that one replay's set is chosen at a time
	audits   struct{ key atomic.Pointer[[]byte] } // of the audit log; nil until it was read
}

// New returns the commands over a driver. The sealer seals and opens secrets.
func New(db Driver, d *Dialect, sealer *seal.Sealer) *Store {
	return &Store{db: db, d: d, sealer: sealer, cache: newCache(), EventTypes: &codec.EventTypes{}, choosing: make(chan struct{}, 1)}
}

// Derive returns keys for a purpose that every process with the same keyset derives too.
func (s *Store) Derive(purpose string) ([][]byte, error) { return s.sealer.Derive(purpose) }

var (
	_ store.Keys      = (*Store)(nil)
	_ store.Callbacks = (*Store)(nil)
	_ store.Logs      = (*Store)(nil)
	_ store.Stats     = (*Store)(nil)
	_ store.Logins    = (*Store)(nil)
	_ store.Tokens    = (*Store)(nil)
	_ store.Settings  = (*Store)(nil)
	_ store.Answers   = (*Store)(nil)
	_ store.Sealing   = (*Store)(nil)
	_ store.Audits    = (*Store)(nil)
	_ store.Incidents = (*Store)(nil)

	_ store.EventTypes = (*Store)(nil)
)

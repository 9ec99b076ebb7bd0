package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"callbackd"
	"callbackd/internal/clock"

	"github.com/jackc/pgx/v5/pgconn"
)

// verdict is what a failure of the database means for the command. Only judge
// decides that.
type verdict uint8

const (
	// again: nothing was committed, and the same may succeed soon.
	again verdict = iota
	// unknown: the connection ended while a commit was under way.
	unknown
	// refused: the data or the statement is at fault; it will fail again.
	refused
)

// judge returns the verdict on err, which is not nil. committing says that the commit
// had been sent before the error.
func judge(err error, committing bool) verdict {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		if committing && !pgconn.SafeToRetry(err) {
			return unknown
		}
		return again
	}
	if committing && pg.Severity != "ERROR" {
		// FATAL and PANIC may come after the commit and before its answer.
		return unknown
	}
	switch pg.Code {
	case "40001", "40P01", // serialization failure, deadlock
		"55P03",                            // lock timeout
		"57014",                            // statement timeout, or somebody canceled it
		"57P01", "57P02", "57P03", "57P05", // shutdown, crash, starting up
		"25006", // this server has become a standby
		"25P03", // idle in a transaction for too long
		"26000": // a prepared statement that is gone
		return again
	}
	if pg.Routine == "RevalidateCachedQuery" { // the schema has changed since the plan was made
		return again
	}
	if len(pg.Code) == 5 {
		switch pg.Code[:2] {
		case "08", // connection
			"53", // too many connections, out of disk or memory
			"58": // the server's I/O: a standby may take over
			return again
		}
	}
	return refused
}

// readOnly reports whether the server has become a standby, so that its connections are
// useless.
func readOnly(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "25006"
}

// lockTimedOut reports whether a lock was not granted in time.
func lockTimedOut(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "55P03"
}

// diskFull reports whether the database has no space left on its disk.
func diskFull(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "53100"
}

// violates returns the name of the unique constraint that err is about; empty
// for any other error.
func violates(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "23505" {
		return pg.ConstraintName
	}
	return ""
}

// errCodeEvicted is the SQLSTATE of the function require_node: the node was
// evicted.
const errCodeEvicted = "CB001"

// answer returns the error that a caller gets for a failure that is not tried
// again.
func answer(err error, v verdict) error {
	var own *callbackd.Error
	if errors.As(err, &own) {
		return err
	}
	var pg *pgconn.PgError
	is := func(code string) bool { return errors.As(err, &pg) && pg.Code == code }
	switch {
	case v == unknown:
		return callbackd.Wrap(callbackd.KindUnavailable, err, "the database did not confirm the commit; it may have been made: try again with the same idempotency key")
	case diskFull(err):
		return callbackd.Wrap(callbackd.KindUnavailable, err, "the database's disk is full: nothing was accepted; free some space and try again")
	case is("53300"):
		return callbackd.Wrap(callbackd.KindUnavailable, err, "the database has no free connection; try again, or raise its max_connections")
	case is(errCodeEvicted):
		return callbackd.Wrap(callbackd.KindConflict, err, "this node was evicted: its lease ended, and other nodes may own its shards")
	case v == again:
		return callbackd.Wrap(callbackd.KindUnavailable, err, "the database cannot be reached or is busy; try again")
	case is("22021"), is("22P05"):
		return callbackd.Wrap(callbackd.KindInvalid, err, "a text has bytes that are not UTF-8, or a zero byte")
	}
	return fmt.Errorf("store: %w", err)
}

// patience is how long a command is retried before it fails.
const patience = 10 * time.Second

// fullPatience is how long a command is retried while the database's disk is full: for a
// moment, because a standby may take over, and not longer, because people have to make room.
const fullPatience = time.Second

// backoff waits before try n = 1, 2, …, and reports whether it did. It returns as soon
// as ctx ends.
func backoff(ctx context.Context, n int) bool {
	d := min(time.Duration(1<<min(n, 8))*2*time.Millisecond, 500*time.Millisecond)
	return clock.Sleep(ctx, d/2+rand.N(d/2))
}

// insist runs try until it succeeds, fails for good, or patience is over; on a full disk it is
// fullPatience. try returns whether it had sent a commit. idempotent means that try may be
// repeated even when that commit was made.
func (s *Store) insist(ctx context.Context, idempotent bool, try func(ctx context.Context) (committing bool, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	begun := time.Now()
	for n := 1; ; n++ {
		committing, err := try(ctx)
		if err == nil {
			return nil
		}
		var own *callbackd.Error
		if errors.As(err, &own) {
			return err
		}
		v := judge(err, committing)
		if readOnly(err) {
			s.reset()
		}
		full := diskFull(err) && time.Since(begun) >= fullPatience
		if v == refused || v == unknown && !idempotent || full || !backoff(ctx, n) {
			return answer(err, v)
		}
	}
}

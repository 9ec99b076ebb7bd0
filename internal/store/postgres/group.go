package postgres

import (
	"context"
	"runtime"

	"callbackd"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Bounds of a group commit: with them the time a command waits and the
// memory a group holds are bounded.
const (
	maxGroup      = 512
	maxGroupBytes = 8 << 20
)

// command is one caller's part of a group.
type command struct {
	err  error
	done chan struct{}
}

func newCommand() command { return command{done: make(chan struct{})} }

// submit hands a command to its committer and waits for the outcome: ctx and
// patience end the wait for a place, never the wait for what was begun.
func submit[T any](ctx context.Context, s *Store, to chan<- T, in T, c *command) error {
	if err := s.closed(); err != nil {
		return err
	}
	select {
	case to <- in:
	default:
		ctx, cancel := context.WithTimeout(ctx, s.patience)
		defer cancel()
		select {
		case to <- in:
		case <-s.closing:
			return errClosing
		case <-ctx.Done():
			return callbackd.Wrap(callbackd.KindUnavailable, ctx.Err(), "the store is busy; try again")
		}
	}
	select {
	case <-c.done:
		return c.err
	case <-s.served:
	}
	select { // it may have been the last one
	case <-c.done:
		return c.err
	default: // it found a place when nobody was left to serve it
		return errClosing
	}
}

// commitGroups gathers what waits in from while the group before is under
// way: no timer, no fixed delay; a lone command commits at once. What is
// waiting when the store closes is still served. size is of one command in
// bytes; commit serves the group.
func commitGroups[T any](closing <-chan struct{}, from <-chan T, size func(T) int, commit func([]T)) {
	group := make([]T, 0, maxGroup)
	for {
		var first T
		select {
		case first = <-from:
		case <-closing:
			select {
			case first = <-from:
			default:
				return
			}
		}
		group = append(group[:0], first)
		for bytes := size(first); len(group) < maxGroup && bytes < maxGroupBytes; {
			next, ok := waiting(from)
			if !ok {
				break
			}
			group = append(group, next)
			bytes += size(next)
		}
		commit(group)
		clear(group)
	}
}

// waiting returns a waiting command, if there is one. It lets goroutines that
// are about to bring one run first: a commit costs the same for one as for
// many, and on an idle machine the yield returns at once.
func waiting[T any](from <-chan T) (v T, ok bool) {
	for range 2 {
		select {
		case v = <-from:
			return v, true
		default:
			runtime.Gosched()
		}
	}
	return v, false
}

// pipeline sends statements in one round trip and reads their answers.
type pipeline struct {
	batch pgx.Batch
}

// add queues a statement. row, when not nil, is called for each row of its
// answer.
func (p *pipeline) add(sql string, row func(pgx.CollectableRow) error, args ...any) {
	q := p.batch.Queue(sql, args...)
	if row == nil {
		return
	}
	q.Query(func(rows pgx.Rows) error {
		for rows.Next() {
			if err := row(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	})
}

// run sends what was queued. All of it is one transaction, unless BEGIN or
// COMMIT are among it.
func (p *pipeline) run(ctx context.Context, conn *pgx.Conn) error {
	return conn.SendBatch(ctx, &p.batch).Close()
}

// giveBack ends what a failed group left open, so that the connection is of
// use to the next one.
func giveBack(ctx context.Context, conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if c := conn.Conn(); !c.IsClosed() && c.PgConn().TxStatus() != 'I' {
		_, _ = c.Exec(ctx, "ROLLBACK") // the pool closes it when this fails
	}
	conn.Release()
}

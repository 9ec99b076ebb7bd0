package postgres

import (
	"context"
	"runtime"

	"callbackd/internal/store"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Bounds of a group commit. They limit how long a command waits and how much memory a
// group takes.
const (
	maxGroup      = 512
	maxGroupBytes = 8 << 20
)

// command is what every request of a group has.
type command struct {
	err  error
	done chan struct{}
}

func newCommand() command { return command{done: make(chan struct{})} }

// submit hands a command to its committer and waits for the result. ctx and patience
// limit the wait for a place in a group. submit waits for the end of a command that has a
// place.
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
			return store.ErrStopping
		case <-ctx.Done():
			return store.Busy(ctx.Err())
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
	default: // it was queued after the committer had ended
		return store.ErrStopping
	}
}

// commitGroups makes a group of the commands that came while the last group was
// committed, and calls commit for it. There is no timer and no fixed delay: a
// lone command is committed at once. Commands that wait when the store closes
// are still served. size returns the bytes of a command.
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

// waiting returns a waiting command, if there is one. It first lets goroutines
// run that are about to bring one, because a commit costs the same for one as
// for many. On an idle machine that costs nothing.
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

// run sends the queued statements. All of them are one transaction, unless
// BEGIN or COMMIT are among them.
func (p *pipeline) run(ctx context.Context, conn *pgx.Conn) error {
	if p.batch.Len() == 0 {
		return nil
	}
	return conn.SendBatch(ctx, &p.batch).Close()
}

// returnConn ends the transaction that a failed group left open, and returns the
// connection to its pool.
func returnConn(ctx context.Context, conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if c := conn.Conn(); !c.IsClosed() && c.PgConn().TxStatus() != 'I' {
		_, _ = c.Exec(ctx, "ROLLBACK") // the pool closes it when this fails
	}
	conn.Release()
}

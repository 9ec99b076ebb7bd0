package postgres

import (
	"context"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/store"

	"github.com/jackc/pgx/v5"
)

// Every change of a key or a callback begins with nextRevision, which locks
// the row, and gives the rows it changes thisRevision.
const (
	nextRevision = "UPDATE settings SET revision = revision + 1"
	thisRevision = "(SELECT revision FROM settings)"
)

// settingsRevision says how new the settings in the caches are.
type settingsRevision struct {
	mu        sync.Mutex
	asking    *asking // the call that reads the revision now; nil when there is none
	revision  int64
	checkedAt time.Time // when revision was last known to be the newest
	renewals  uint64    // counts Renew
}

// asking is one read of the revision. All callers that need it share the result. When the
// database does not answer, no caller waits longer than one read takes.
type asking struct {
	done chan struct{}
	err  error
}

// refresh makes sure that the caches have every change that is older than MaxKeyAge, of
// this node and of others. It reads the settings with a newer revision, at most once in
// that time, however many entries are cached.
func (s *Store) refresh(ctx context.Context) error {
	for range 2 { // a read in progress may have begun too long ago
		s.cached.mu.Lock()
		if s.cached.isFresh() {
			s.cached.mu.Unlock()
			return nil
		}
		a, mine := s.cached.asking, false
		if a == nil {
			a, mine = &asking{done: make(chan struct{})}, true
			s.cached.asking = a
			go s.ask(context.WithoutCancel(ctx), a, s.cached.revision, s.cached.renewals)
		}
		s.cached.mu.Unlock()
		select {
		case <-a.done:
		case <-ctx.Done():
			return answer(ctx.Err(), again)
		}
		if a.err != nil || mine {
			return a.err
		}
	}
	return nil
}

// ask reads the settings that are newer than the revision known. renewals is the number
// of calls of Renew before the read.
func (s *Store) ask(ctx context.Context, a *asking, known int64, renewals uint64) {
	defer close(a.done)
	var callbacks []callbackd.CallbackID
	var keys bool
	var revision int64
	now := time.Now() // before the read, so that the age is never understated
	a.err = s.readOn(ctx, s.settings, func(ctx context.Context, conn *pgx.Conn) error {
		callbacks, keys = nil, false
		var p pipeline
		p.add("SELECT revision FROM settings", func(row pgx.CollectableRow) error { return row.Scan(&revision) })
		p.add("SELECT no FROM callbacks WHERE revision > $1", func(row pgx.CollectableRow) error {
			var id int64
			err := row.Scan(&id)
			callbacks = append(callbacks, callbackd.CallbackID(id))
			return err
		}, known)
		p.add("SELECT EXISTS (SELECT 1 FROM keys WHERE revision > $1)", func(row pgx.CollectableRow) error { return row.Scan(&keys) }, known)
		return p.run(ctx, conn)
	})
	s.cached.mu.Lock()
	defer s.cached.mu.Unlock()
	s.cached.asking = nil
	if a.err != nil {
		return
	}
	if s.cached.renewals == renewals { // else the change may have come after the read
		s.cached.checkedAt = now
	}
	if revision == known {
		return
	}
	// Rows that were read after the first statement may be newer than revision. The cache
	// drops them now, and again with the next refresh.
	s.cached.revision = revision
	s.DropCallbacks(callbacks...)
	if keys {
		s.DropKeys()
	}
	if revision < known { // another server took over, without the last changes
		s.DropAll()
	}
}

// Renew is part of [store.Cluster].
func (s *Store) Renew() {
	s.cached.mu.Lock()
	defer s.cached.mu.Unlock()
	s.cached.renewals++
	s.cached.checkedAt = time.Time{}
}

// isFresh reports whether the caches have every change that is older than MaxKeyAge. mu
// is held.
func (c *settingsRevision) isFresh() bool {
	return time.Since(c.checkedAt) < store.MaxKeyAge
}

// damaged marks the error of a row that cannot be read, so that it is not taken for a
// fault of the connection.
func damaged(err error) error {
	if err == nil {
		return nil
	}
	return callbackd.Wrap(callbackd.KindInternal, err, "a row of the database cannot be read")
}

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// each calls f for each row of a query.
func each(ctx context.Context, q querier, sql string, f func(pgx.CollectableRow) error, args ...any) error {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// millis returns a time as it is stored; the zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// notEarlier is millis rounded up, so that nothing is due before its time.
func notEarlier(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Add(time.Millisecond - 1).UnixMilli()
}

// nullMillis is millis for a column in which the zero time is null.
func nullMillis(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	ms := t.UnixMilli()
	return &ms
}

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func fromNullMillis(ms *int64) time.Time {
	if ms == nil {
		return time.Time{}
	}
	return fromMillis(*ms)
}

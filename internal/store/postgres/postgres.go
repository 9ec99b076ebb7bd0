// Package postgres is the driver of the store for many nodes: PostgreSQL is
// the transactions, the locks and the replication, callbackd adds nothing to
// them.
//
// What the hot path writes is a constant number of set-based statements for
// each group commit. A group locks, reads, decides in Go and then writes with
// its commit: two round trips. Plans do not depend on statistics: the queue
// tables change faster than PostgreSQL counts them, and a plan that was right
// for ten rows must not stay in force for ten million. docs/decisions.md says
// how ids and sequence numbers are given out over many nodes.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/memo"
	"callbackd/internal/store/seal"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Sizes of what is kept in memory, in entries.
const (
	maxCallbacks = 1 << 13
	maxKeys      = 1 << 12
	maxChain     = 1 << 15
)

// Connections of one node: the intake and the record each hold one while
// they commit; everything else shares the rest.
const (
	hotConns    = 2
	leaseConns  = 2
	sharedConns = 8
)

const (
	connectTimeout = 3 * time.Second
	readTimeout    = 30 * time.Second
)

// Options says what to open.
type Options struct {
	// URL is where the database is, as postgres://user@host/name. Several
	// hosts may be named: the one that takes writes is used.
	URL string
	// KeysetFile holds the keys that seal secrets. Every node has the same.
	KeysetFile string
	// OnCommit, when set, is told the number of commands of each commit.
	OnCommit func(commands int)

	tracer pgx.QueryTracer // of the tests
}

// Store is an open database. See [store.Store] for its contract.
type Store struct {
	hot      *pgxpool.Pool // intake and record
	lease    *pgxpool.Pool // leases and messages: nothing else may hold them up
	shared   *pgxpool.Pool
	sealer   *seal.Sealer
	onCommit func(int)
	handover func([]callbackd.Delivery)

	intakes   chan *intake
	outcomes  chan *outcome
	closing   chan struct{}
	closeOnce sync.Once
	work      sync.WaitGroup
	life      context.Context // ends with the store
	end       context.CancelFunc
	node      atomic.Int64 // of the cluster; 0: none
	watching  sync.Once

	// Of the intake's goroutine alone.
	lastID callbackd.EventID
	chain  *memo.Cache[sessionID, int64] // the last number of sessions, when this node gave it out

	hub      store.Hub
	choosing chan struct{} // holds one: a set of a replay is chosen at a time
	checking sync.Mutex    // held by the one that asks for the revision
	claims   [stripes]sync.Mutex

	mu        sync.Mutex
	revision  int64     // of the settings that the caches hold
	checkedAt time.Time // when that was known to be the newest
	renewals  uint64    // counts Renew
	changes   uint64    // counts what was dropped: a read that overlaps it is not cached
	callbacks *memo.Cache[callbackd.CallbackNo, *callbackd.Callback]
	keys      *memo.Cache[string, *callbackd.Key]
	keysByNo  *memo.Cache[callbackd.KeyNo, *callbackd.Key]
}

var _ store.Store = (*Store)(nil)

// Open connects, brings the schema up to date and starts the group commits.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.KeysetFile == "" {
		return nil, errors.New("a keyset file is required with PostgreSQL: give every node a copy of the same one with --secret-keys (the first node makes it when the database is empty)")
	}
	s := &Store{
		onCommit: o.OnCommit,
		intakes:  make(chan *intake, maxGroup), outcomes: make(chan *outcome, maxGroup), closing: make(chan struct{}),
		choosing:  make(chan struct{}, 1),
		chain:     memo.New[sessionID, int64](maxChain),
		callbacks: memo.New[callbackd.CallbackNo, *callbackd.Callback](maxCallbacks),
		keys:      memo.New[string, *callbackd.Key](maxKeys), keysByNo: memo.New[callbackd.KeyNo, *callbackd.Key](maxKeys),
	}
	s.life, s.end = context.WithCancel(context.Background())
	if err := s.open(ctx, o); err != nil {
		return nil, errors.Join(err, s.release())
	}
	s.work.Go(s.takeIn)
	s.work.Go(s.recordAll)
	return s, nil
}

func (s *Store) open(ctx context.Context, o Options) error {
	config, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return fmt.Errorf("the database URL cannot be read; write for example postgres://callbackd@db.internal/callbackd: %w", err)
	}
	configure(config.ConnConfig)
	config.ConnConfig.Tracer = o.tracer
	if s.hot, err = pool(ctx, config, hotConns, ""); err != nil {
		return err
	}
	if s.lease, err = pool(ctx, config, leaseConns, ""); err != nil {
		return err
	}
	if s.shared, err = pool(ctx, config, sharedConns, fmt.Sprint(readTimeout.Milliseconds())); err != nil {
		return err
	}
	return s.insist(ctx, true, func(ctx context.Context) (bool, error) {
		conn, err := s.hot.Acquire(ctx)
		if err != nil {
			return false, err
		}
		defer conn.Release()
		if s.sealer, err = setup(ctx, conn.Conn(), o.KeysetFile); err != nil {
			var pg *pgconn.PgError
			if !errors.As(err, &pg) { // a keyset, or a schema too new: no use in trying again
				return false, callbackd.Wrap(callbackd.KindInternal, err, "the database cannot be used")
			}
			return true, err
		}
		var last int64
		err = conn.QueryRow(ctx, "SELECT coalesce((SELECT id FROM events ORDER BY id DESC LIMIT 1), 0), (SELECT revision FROM settings)").Scan(&last, &s.revision)
		s.lastID = callbackd.EventID(last)
		return false, err
	})
}

// configure sets what the driver relies on, whatever the server's defaults.
func configure(c *pgx.ConnConfig) {
	c.ConnectTimeout = connectTimeout
	if c.ValidateConnect == nil { // no target_session_attrs in the URL
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	for name, value := range map[string]string{
		"application_name":              "callbackd",
		"default_transaction_isolation": "read committed",
		"timezone":                      "UTC",
		"lock_timeout":                  "5000",
		// A process that was stopped, or that is gone without a word, must not
		// keep the locks that others wait for.
		"idle_in_transaction_session_timeout": "5000",
		"tcp_keepalives_idle":                 "10",
		"tcp_keepalives_interval":             "5",
		"tcp_keepalives_count":                "3",
		// Plans are made once and must hold for every size of the tables: the
		// only way through them is an index, and the only join is a lookup of
		// each row of the smaller side.
		"plan_cache_mode":   "force_generic_plan",
		"enable_seqscan":    "off",
		"enable_hashjoin":   "off",
		"enable_mergejoin":  "off",
		"enable_bitmapscan": "off",
		"jit":               "off",
	} {
		if _, set := c.RuntimeParams[name]; !set {
			c.RuntimeParams[name] = value
		}
	}
}

// pool opens a pool of n connections. A statement timeout must not meet a
// commit that waits for a standby: PostgreSQL would then answer that it was
// committed, and it is so on one machine only.
func pool(ctx context.Context, base *pgxpool.Config, n int32, statementTimeout string) (*pgxpool.Pool, error) {
	c := base.Copy()
	c.MaxConns = n
	if statementTimeout == "" {
		statementTimeout = "0"
	}
	c.ConnConfig.RuntimeParams["statement_timeout"] = statementTimeout
	c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		// A server or role set to off would acknowledge what no disk has.
		_, err := conn.Exec(ctx, "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')")
		return err
	}
	return pgxpool.NewWithConfig(ctx, c)
}

// reset drops every connection, so that the next ones are made to a server
// that takes writes.
func (s *Store) reset() {
	s.hot.Reset()
	s.lease.Reset()
	s.shared.Reset()
}

// read runs f, which may be run again, on a connection for reading.
func (s *Store) read(ctx context.Context, f func(context.Context, *pgx.Conn) error) error {
	return s.readOn(ctx, s.shared, f)
}

func (s *Store) readOn(ctx context.Context, on *pgxpool.Pool, f func(context.Context, *pgx.Conn) error) error {
	if err := s.closed(); err != nil {
		return err
	}
	return s.insist(ctx, true, func(ctx context.Context) (bool, error) {
		conn, err := on.Acquire(ctx)
		if err != nil {
			return false, err
		}
		defer conn.Release()
		return false, f(ctx, conn.Conn())
	})
}

// change runs f in a transaction of its own. f may be run again.
func (s *Store) change(ctx context.Context, idempotent bool, f func(context.Context, pgx.Tx) error) error {
	return s.changeOn(ctx, s.shared, idempotent, f)
}

func (s *Store) changeOn(ctx context.Context, on *pgxpool.Pool, idempotent bool, f func(context.Context, pgx.Tx) error) error {
	if err := s.closed(); err != nil {
		return err
	}
	return s.insist(ctx, idempotent, func(ctx context.Context) (bool, error) {
		conn, err := on.Acquire(ctx)
		if err != nil {
			return false, err
		}
		defer conn.Release()
		tx, err := conn.Begin(ctx)
		if err != nil {
			return false, err
		}
		if err := f(ctx, tx); err != nil {
			_ = tx.Rollback(ctx) // a connection that is not idle is not reused
			return false, err
		}
		return true, tx.Commit(ctx)
	})
}

func (s *Store) closed() error {
	select {
	case <-s.closing:
		return callbackd.Errorf(callbackd.KindUnavailable, "callbackd is stopping; try again")
	default:
		return nil
	}
}

// SetHandover is part of [store.Queue].
func (s *Store) SetHandover(f func([]callbackd.Delivery)) { s.handover = f }

// Ready is part of [store.Store].
func (s *Store) Ready(ctx context.Context) error {
	return s.read(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		var readOnly bool
		if err := conn.QueryRow(ctx, "SELECT current_setting('transaction_read_only')::boolean").Scan(&readOnly); err != nil {
			return err
		}
		if readOnly {
			s.reset()
			return callbackd.Errorf(callbackd.KindUnavailable, "the database takes no writes now; try again")
		}
		return nil
	})
}

// Close is part of [store.Store].
func (s *Store) Close() error {
	s.closeOnce.Do(func() { close(s.closing); s.end() })
	s.work.Wait()
	return s.release()
}

func (s *Store) release() error {
	s.end()
	for _, p := range []*pgxpool.Pool{s.hot, s.lease, s.shared} {
		if p != nil {
			p.Close() // waits for the connections in use
		}
	}
	return nil
}

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
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/internal/store/core"
	"callbackd/internal/store/memo"
	"callbackd/internal/store/seal"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Sizes of what is kept in memory, in entries.
const (
	maxLastSequences = 1 << 15
)

// Connections of one node: the intake and the record each hold one while
// they commit. Every command asks for keys and callbacks, so what reads those
// waits for nothing else. Everything else shares the rest.
const (
	hotConns      = 2
	leaseConns    = 2
	settingsConns = 2
	sharedConns   = 8
)

const (
	connectTimeout = 5 * time.Second // of one host
	pingTimeout    = 2 * time.Second
	readTimeout    = 30 * time.Second
	// idleTimeout is how long the locks of a node outlive its connection, or
	// its sleep, in the middle of a transaction. It is shorter than patience,
	// so that other nodes wait for them and do not fail.
	idleTimeout = 5 * time.Second
)

// keepAlive finds out within some ten seconds that the other side is gone.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}

// Options says what to open.
type Options struct {
	// URL is where the database is, as postgres://user@host/name. Several
	// hosts may be named: the one that takes writes is used.
	URL string
	// KeysetFile holds the keys that seal secrets. Every node has the same.
	KeysetFile string
	// Existing refuses a database that holds no store of this version, and makes
	// and upgrades nothing: for commands.
	Existing bool
	Hooks    store.Hooks

	// Of the tests.
	tracer   pgx.QueryTracer
	patience time.Duration
}

// Store is an open database. See [store.Store] for its contract.
type Store struct {
	*core.Store // the commands that are not hot

	hot      *pgxpool.Pool // intake and record
	lease    *pgxpool.Pool // leases and messages: nothing else may hold them up
	settings *pgxpool.Pool // what all commands ask for
	shared   *pgxpool.Pool
	patience time.Duration
	newestAt time.Time // event, at the start
	sealer   *seal.Sealer
	refusals store.Refusals
	onCommit func([]callbackd.Delivery)

	accepts   chan *acceptRequest
	outcomes  chan *outcome
	closing   chan struct{}
	closeOnce sync.Once
	work      sync.WaitGroup
	served    chan struct{}   // closed when the committers have ended
	life      context.Context // ends with the store
	end       context.CancelFunc
	node      atomic.Int64 // of the cluster; 0: none
	watching  sync.Once

	// Of the intake's goroutine alone.
	lastID        callbackd.EventID
	lastSequences *memo.Cache[sessionID, int64] // the last number of sessions, when this node gave it out

	hub    store.Hub
	claims [stripes]chan struct{} // hold one: a reader of a stripe raises its horizon at a time

	mu        sync.Mutex
	asking    *asking   // for the revision; nil when nobody does
	revision  int64     // of the settings that the caches hold
	checkedAt time.Time // when that was known to be the newest
	renewals  uint64    // counts Renew
}

var _ store.Store = (*Store)(nil)

// Open connects, brings the schema up to date and starts the group commits.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.KeysetFile == "" {
		return nil, callbackd.Errorf(callbackd.KindSetting, "a keyset file is required with PostgreSQL: give every node a copy of the same one with --secret-keys (the first node makes it when the database is empty)")
	}
	s := &Store{
		refusals: store.Refusals{Hooks: o.Hooks}, patience: cmp.Or(o.patience, patience),
		accepts: make(chan *acceptRequest, maxGroup), outcomes: make(chan *outcome, maxGroup), closing: make(chan struct{}), served: make(chan struct{}),
		lastSequences: memo.New[sessionID, int64](maxLastSequences),
	}
	for i := range s.claims {
		s.claims[i] = make(chan struct{}, 1)
	}
	s.life, s.end = context.WithCancel(context.Background())
	if err := s.open(ctx, o); err != nil {
		return nil, errors.Join(err, s.release())
	}
	s.work.Go(s.acceptLoop)
	s.work.Go(s.recordLoop)
	return s, nil
}

func (s *Store) open(ctx context.Context, o Options) error {
	config, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return badURL(err)
	}
	configure(config.ConnConfig)
	config.ConnConfig.Tracer = o.tracer
	if s.hot, err = pool(ctx, config, hotConns, ""); err != nil {
		return err
	}
	if s.lease, err = pool(ctx, config, leaseConns, ""); err != nil {
		return err
	}
	if s.settings, err = pool(ctx, config, settingsConns, ""); err != nil {
		return err
	}
	if s.shared, err = pool(ctx, config, sharedConns, fmt.Sprint(readTimeout.Milliseconds())); err != nil {
		return err
	}
	return s.insist(ctx, true, func(brief context.Context) (bool, error) {
		conn, err := s.hot.Acquire(brief)
		if err != nil {
			return false, err
		}
		defer conn.Release()
		// As long as ctx allows: a large database takes a while to migrate,
		// and another node may be about to.
		if s.sealer, err = setup(ctx, conn.Conn(), o.KeysetFile, o.Existing); err != nil {
			var pg *pgconn.PgError
			if !errors.As(err, &pg) { // a keyset, or a schema too new: no use in trying again
				return false, callbackd.Wrap(callbackd.KindOf(err), err, "the database cannot be used")
			}
			return true, err
		}
		var last int64
		err = conn.QueryRow(ctx, "SELECT coalesce((SELECT id FROM events ORDER BY id DESC LIMIT 1), 0), (SELECT revision FROM settings)").Scan(&last, &s.revision)
		s.lastID = callbackd.EventID(last)
		s.newestAt = s.lastID.Time()
		s.Store = core.New(seam{s}, &dialect, s.sealer)
		return false, err
	})
}

func badURL(err error) error {
	return callbackd.Wrap(callbackd.KindSetting, err, "the database URL cannot be read; write for example postgres://callbackd@db.internal/callbackd")
}

// configure sets what the driver relies on, whatever the server's defaults.
func configure(c *pgx.ConnConfig) {
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, connectTimeout)
	dial := c.DialFunc
	c.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetKeepAliveConfig(keepAlive) // without it, the end is found later
		}
		return conn, err
	}
	if c.ValidateConnect == nil { // no target_session_attrs in the URL
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	for name, value := range map[string]string{
		"application_name":                    "callbackd",
		"default_transaction_isolation":       "read committed",
		"lock_timeout":                        "5000",
		"idle_in_transaction_session_timeout": fmt.Sprint(idleTimeout.Milliseconds()),
		"timezone":                            "UTC",
		// The server asks too: in the middle of what a node was sending when
		// it was cut off, no other timeout of PostgreSQL counts, and the locks
		// of the transaction would stay for hours.
		"tcp_keepalives_idle":     fmt.Sprint(int(keepAlive.Idle.Seconds())),
		"tcp_keepalives_interval": fmt.Sprint(int(keepAlive.Interval.Seconds())),
		"tcp_keepalives_count":    fmt.Sprint(keepAlive.Count),
		"tcp_user_timeout":        "10000",
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
	c.PingTimeout = pingTimeout
	c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		// The pool sets no bound here, and counts the connection already.
		ctx, cancel := context.WithTimeout(ctx, c.ConnConfig.ConnectTimeout)
		defer cancel()
		_, err := conn.Exec(ctx, prepareSession)
		return err
	}
	return pgxpool.NewWithConfig(ctx, c)
}

func (s *Store) pools() []*pgxpool.Pool {
	return []*pgxpool.Pool{s.hot, s.lease, s.settings, s.shared}
}

// prepareSession lets go of no commit before it is on a disk, whatever the
// server or the role is set to, and shows that the database is in use: a move
// into it holds the lock alone. When one does now, setup says so.
const prepareSession = "SELECT CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN set_config('synchronous_commit', 'on', false) END, pg_try_advisory_lock_shared(" + inUse + ")"

const inUse = "hashtextextended('callbackd in use ' || current_schema(), 0)"

// reset drops every connection, so that the next ones are made to a server
// that takes writes.
func (s *Store) reset() {
	for _, p := range s.pools() {
		p.Reset()
	}
}

// resetWhenLate drops a pool's idle connections when time was up on one of
// them: the others may lead nowhere too, and each would cost as much again.
func resetWhenLate(ctx context.Context, p *pgxpool.Pool) {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		p.Reset()
	}
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
		defer resetWhenLate(ctx, on)
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
	idempotent = idempotent || store.OnceOf(ctx) != nil
	return s.insist(ctx, idempotent, func(ctx context.Context) (bool, error) {
		defer resetWhenLate(ctx, on)
		conn, err := on.Acquire(ctx)
		if err != nil {
			return false, err
		}
		defer conn.Release()
		tx, err := conn.Begin(ctx)
		if err != nil {
			return false, err
		}
		err = s.RunOnce(ctx, seamTx{ctx, tx}, func() error { return f(ctx, tx) })
		if err != nil {
			_ = tx.Rollback(ctx) // a connection that is not idle is not reused
			return false, err
		}
		return true, tx.Commit(ctx)
	})
}

func (s *Store) closed() error {
	select {
	case <-s.closing:
		return store.ErrStopping
	default:
		return nil
	}
}

// Newest is the time in the id of the event that was the newest at the start.
func (s *Store) Newest() time.Time { return s.newestAt }

// OnCommit is part of [store.Queue].
func (s *Store) OnCommit(f func([]callbackd.Delivery)) { s.onCommit = f }

// Ready is part of [store.Store].
func (s *Store) Ready(ctx context.Context) error {
	if err := s.refusals.Probe(ctx, s.probe); err != nil {
		return err
	}
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

// probe writes, for the sake of finding out whether that is possible.
func (s *Store) probe(ctx context.Context) error {
	err := s.change(ctx, true, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE settings SET canary = canary")
		return err
	})
	if err == nil {
		s.refusals.Committed(1, true)
	}
	return err
}

// Guard finds out, each second, whether a store that refused a write can take
// one again.
func (s *Store) Guard(ctx context.Context) { s.refusals.Probe(ctx, s.probe) }

// Close is part of [store.Store].
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		close(s.closing)
		s.end()
		s.work.Wait()
		close(s.served)
	})
	return s.release()
}

func (s *Store) release() error {
	s.end()
	for _, p := range s.pools() {
		if p != nil {
			p.Close() // waits for the connections in use
		}
	}
	return nil
}

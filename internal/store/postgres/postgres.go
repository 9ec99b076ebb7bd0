// Package postgres is the driver of the store for many nodes. It relies on PostgreSQL for
// transactions, locks and replication, and adds nothing to them.
//
// On the hot path each group commit runs a constant number of set-based statements. A
// group locks and reads in one round trip, decides in Go, and writes and commits in a
// second one. Plans do not depend on statistics: the queue tables change faster than
// PostgreSQL counts them, and a plan that was right for ten rows must not be used for ten
// million. docs/decisions.md says how ids and sequence numbers are given out over many
// nodes.
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

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// maxLastSequences is how many sessions the store remembers the last number of.
const maxLastSequences = 1 << 15

// Connections of one node. Accept and record each use one hot connection while they
// commit. Every command reads keys and callbacks, so these reads have connections of their
// own and wait for nothing else. All other commands share the rest.
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
	// idleTimeout is how long the server keeps the locks of a node that was cut off or
	// suspended during a transaction. It is shorter than patience, so that other nodes
	// wait for these locks and do not fail.
	idleTimeout = 5 * time.Second
)

// keepAlive detects within about ten seconds that the other side is gone.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}

// Options says what to open.
type Options struct {
	// URL is the address of the database, as postgres://user@host/name. It may name
	// several hosts: the one that accepts writes is used.
	URL string
	// KeysetFile holds the keys that seal secrets. Every node has the same.
	KeysetFile string
	// Existing is set by commands. Open then creates and upgrades nothing, and fails
	// when the database has no store of this version.
	Existing bool
	// AnyKeyset opens the database also with a keyset that lacks keys, for commands that
	// only read: fsck reports what they cannot open.
	AnyKeyset bool
	Hooks     store.Hooks

	// For tests.
	tracer   pgx.QueryTracer
	patience time.Duration
}

// Store is an open database. See [store.Store] for its contract.
type Store struct {
	*core.Store // the commands that are not hot
	pools

	patience time.Duration
	newestAt time.Time // the time of the newest event at the start
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
	node      atomic.Int64 // the ID of this node; 0 when it is not in a cluster
	watching  sync.Once

	last   lastGiven
	parsed *memo.Cache[string, *callbackd.Filter] // filters by their text; only the goroutine of accept uses it
	hub    store.Hub
	claims [stripes]chan struct{} // each holds one value: one reader of a stripe at a time raises its horizon
	cached settingsRevision
}

// pools has the connections of a node, by what they are for.
type pools struct {
	hot      *pgxpool.Pool // for accept and record
	lease    *pgxpool.Pool // for leases and messages, which must not wait for others
	settings *pgxpool.Pool // for keys and callbacks
	shared   *pgxpool.Pool // for everything else
}

// lastGiven is what this node gave out last. Only the goroutine of accept uses it.
type lastGiven struct {
	id        callbackd.EventID
	sequences *memo.Cache[store.SessionID, callbackd.GivenOut] // the last number of sessions, when this node gave it out
}

var _ store.Store = (*Store)(nil)

// Open connects, upgrades the schema and starts the group commits.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.KeysetFile == "" {
		return nil, callbackd.Errorf(callbackd.KindSetting, "a keyset file is required with PostgreSQL: give every node a copy of the same one with --secret-keys (the first node makes it when the database is empty)")
	}
	s := &Store{
		refusals: store.Refusals{Hooks: o.Hooks}, patience: cmp.Or(o.patience, patience),
		accepts: make(chan *acceptRequest, maxGroup), outcomes: make(chan *outcome, maxGroup), closing: make(chan struct{}), served: make(chan struct{}),
		last:   lastGiven{sequences: memo.New[store.SessionID, callbackd.GivenOut](maxLastSequences)},
		parsed: memo.New[string, *callbackd.Filter](maxParsed),
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
	if s.hot, err = newPool(ctx, config, hotConns, 0); err != nil {
		return err
	}
	if s.lease, err = newPool(ctx, config, leaseConns, 0); err != nil {
		return err
	}
	if s.settings, err = newPool(ctx, config, settingsConns, 0); err != nil {
		return err
	}
	if s.shared, err = newPool(ctx, config, sharedConns, readTimeout); err != nil {
		return err
	}
	return s.insist(ctx, true, func(brief context.Context) (bool, error) {
		conn, err := s.hot.Acquire(brief)
		if err != nil {
			return false, err
		}
		defer conn.Release()
		// setup may take as long as ctx allows: the migration of a large database takes
		// a while, and this node may have to wait for another one that does it.
		sealer, err := setup(ctx, conn.Conn(), &o)
		if err != nil {
			var pg *pgconn.PgError
			if !errors.As(err, &pg) { // a wrong keyset or a newer schema: another try would not help
				return false, callbackd.Wrap(callbackd.KindOf(err), err, "the database cannot be used")
			}
			return true, err
		}
		var last int64
		err = conn.QueryRow(ctx, "SELECT coalesce((SELECT id FROM events ORDER BY id DESC LIMIT 1), 0), (SELECT revision FROM settings)").Scan(&last, &s.cached.revision)
		s.last.id = callbackd.EventID(last)
		s.newestAt = s.last.id.Time()
		s.Store = core.New(seam{s}, &dialect, sealer)
		if err != nil {
			return false, err
		}
		types, err := readEventTypes(ctx, conn.Conn())
		s.EventTypes.Set(types)
		s.EventTypes.Load = s.loadEventTypes
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
			_ = tcp.SetKeepAliveConfig(keepAlive) // when it fails, a lost connection is detected later
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
		// The server sends keepalives too. When a node is cut off in the middle of a
		// message, no other timeout of PostgreSQL applies, and the locks of its
		// transaction would stay for hours.
		"tcp_keepalives_idle":     fmt.Sprint(int(keepAlive.Idle.Seconds())),
		"tcp_keepalives_interval": fmt.Sprint(int(keepAlive.Interval.Seconds())),
		"tcp_keepalives_count":    fmt.Sprint(keepAlive.Count),
		"tcp_user_timeout":        "10000",
		// Plans are made once and must be right for tables of every size. So they may
		// use indexes only, and join only by looking up each row of the smaller side.
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

// newPool opens a pool of n connections; a statementTimeout of 0 is none. Connections that
// commit must have none: when it ends a commit that waits for a standby, PostgreSQL answers
// that the transaction was committed, but it is on one machine only.
func newPool(ctx context.Context, base *pgxpool.Config, n int32, statementTimeout time.Duration) (*pgxpool.Pool, error) {
	c := base.Copy()
	c.MaxConns = n
	c.ConnConfig.RuntimeParams["statement_timeout"] = fmt.Sprint(statementTimeout.Milliseconds())
	c.PingTimeout = pingTimeout
	c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		// The pool sets no timeout here, although it counts the connection already.
		ctx, cancel := context.WithTimeout(ctx, c.ConnConfig.ConnectTimeout)
		defer cancel()
		_, err := conn.Exec(ctx, prepareSession)
		return err
	}
	return pgxpool.NewWithConfig(ctx, c)
}

func (p *pools) all() []*pgxpool.Pool {
	return []*pgxpool.Pool{p.hot, p.lease, p.settings, p.shared}
}

// reset drops all connections, so that new ones go to a server that accepts writes.
func (p *pools) reset() {
	for _, one := range p.all() {
		one.Reset()
	}
}

// close closes the pools that are open. It waits for the connections in use.
func (p *pools) close() {
	for _, one := range p.all() {
		if one != nil {
			one.Close()
		}
	}
}

// prepareSession makes each commit wait until it is on disk, whatever the server or the
// role is set to. It also takes a shared lock that shows that the database is in use. A
// move into the database holds this lock exclusively; then the lock is not granted, and
// setup returns an error.
const prepareSession = "SELECT CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN set_config('synchronous_commit', 'on', false) END, pg_try_advisory_lock_shared(" + inUse + ")"

const inUse = "hashtextextended('callbackd in use ' || current_schema(), 0)"

// resetWhenLate drops a pool's idle connections when a command on one of them ran out of
// time. The others may be dead too, and each would cost as much time again.
func resetWhenLate(ctx context.Context, p *pgxpool.Pool) {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		p.Reset()
	}
}

// read runs f on a shared connection. It may run f more than once.
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

// change runs f in a transaction of its own. It may run f more than once.
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

// Newest returns the time in the id of the event that was the newest one at the start.
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
			return callbackd.Errorf(callbackd.KindUnavailable, "the database accepts no writes now; try again")
		}
		return nil
	})
}

// probe makes a write to find out whether that is possible.
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

// Guard finds out whether a store that refused a write can write again. It is called each
// second.
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
	s.pools.close()
	return nil
}

package app

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"callbackd"
	"callbackd/internal/obs"
	"callbackd/internal/store"
	"callbackd/internal/store/postgres"
	"callbackd/internal/store/sqlite"
)

// StoreConfig holds where a store is.
type StoreConfig struct {
	Data        string // the data directory of SQLite
	DatabaseURL string // of PostgreSQL, instead of Data
	KeysetFile  string // empty: a file in Data; required with DatabaseURL
}

// kind names the kind of store.
func (p StoreConfig) kind() string {
	if p.DatabaseURL != "" {
		return "postgres"
	}
	return "sqlite"
}

// Open opens the store. One server may use a data directory, and at the same time any
// number of commands, which set secondary. hooks may be nil.
func (p StoreConfig) Open(ctx context.Context, secondary bool, hooks *store.Hooks) (store.Store, error) {
	if hooks == nil {
		hooks = &store.Hooks{}
	}
	if p.DatabaseURL != "" {
		return opened(postgres.Open(ctx, postgres.Options{URL: p.DatabaseURL, KeysetFile: p.KeysetFile, Hooks: *hooks}))
	}
	return opened(sqlite.Open(ctx, sqlite.Options{Dir: p.Data, KeysetFile: p.KeysetFile, Secondary: secondary, Hooks: *hooks}))
}

// Inspect opens the store read-only. It makes, changes and upgrades nothing,
// and fails where there is no store. The keyset may lack keys: reading what they have
// sealed fails.
func (p StoreConfig) Inspect(ctx context.Context) (store.Store, error) {
	if p.DatabaseURL != "" {
		return opened(postgres.Open(ctx, postgres.Options{URL: p.DatabaseURL, KeysetFile: p.KeysetFile, Existing: true, AnyKeyset: true}))
	}
	return opened(sqlite.Inspect(sqlite.Options{Dir: p.Data, KeysetFile: p.KeysetFile}))
}

// Survey looks at the database without opening it as a store, and changes nothing. now is
// the clock of this machine. It fails where no server of this version can start.
func (p StoreConfig) Survey(ctx context.Context, now func() time.Time) (store.Survey, error) {
	if p.DatabaseURL != "" {
		return postgres.Survey(ctx, postgres.Options{URL: p.DatabaseURL}, now)
	}
	return sqlite.Survey(sqlite.Options{Dir: p.Data})
}

// NodeConnections is how many connections to PostgreSQL one node uses.
const NodeConnections = postgres.MaxConns

// Existing opens the store for a command that changes it. A server may run meanwhile. It
// fails where there is no store.
func (p StoreConfig) Existing(ctx context.Context) (store.Store, error) {
	if p.DatabaseURL != "" {
		return opened(postgres.Open(ctx, postgres.Options{URL: p.DatabaseURL, KeysetFile: p.KeysetFile, Existing: true}))
	}
	if err := sqlite.Holds(p.Data); err != nil {
		return nil, err
	}
	return p.Open(ctx, true, nil)
}

// nodeSeen is how long after its last sign of life a node counts as running, for [StoreConfig.Alone].
const nodeSeen = 2 * time.Minute

// Alone opens an existing store for a command that changes what a running server has in
// memory. It fails with Unavailable when a server runs on the store.
func (p StoreConfig) Alone(ctx context.Context) (store.Store, error) {
	if p.DatabaseURL == "" {
		if err := sqlite.Holds(p.Data); err != nil {
			return nil, err
		}
		return p.Open(ctx, false, nil)
	}
	s, err := p.Existing(ctx)
	if err != nil {
		return nil, err
	}
	nodes, err := s.(store.Cluster).Nodes(ctx)
	for _, n := range nodes {
		if err == nil && n.Unseen < nodeSeen {
			err = callbackd.Errorf(callbackd.KindUnavailable, "the node %s runs on the database", n.Name)
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// opened turns a nil driver into a nil store: a nil pointer in an interface
// would not be nil.
func opened[S store.Store](s S, err error) (store.Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// hooks returns functions that count what the store does, and log when it
// begins and when it ends to refuse writes.
func hooks(m *obs.Metrics, log *slog.Logger) *store.Hooks {
	var refusing atomic.Bool
	return &store.Hooks{
		Committed: m.Committed,
		Refused: func(commands int, err error) {
			m.Refused(commands)
			if !refusing.Swap(true) {
				log.Error("the store refuses writes: publishers get 503, and outcomes wait", "error", err)
			}
		},
		Taken: func() {
			if refusing.Swap(false) {
				log.Info("the store takes writes again")
			}
		},
	}
}

// Failed returns a channel that is closed when the store can no longer be
// trusted and the process should end. It is nil for PostgreSQL, which is tried
// again instead.
func (a *App) Failed() <-chan struct{} {
	if s, ok := a.store.(interface{ Failed() <-chan struct{} }); ok {
		return s.Failed()
	}
	return nil
}

// Failure returns why the channel of Failed was closed.
func (a *App) Failure() error {
	if s, ok := a.store.(interface{ Failure() error }); ok {
		return s.Failure()
	}
	return nil
}

// checkStore makes the embedded store check its directory and its disk.
func (a *App) checkStore(ctx context.Context) (time.Duration, error) {
	if s, ok := a.store.(interface{ Guard(context.Context) }); ok {
		s.Guard(ctx)
	}
	return 0, nil
}

// addUpCounts adds up the counts of deliveries in a store where nodes add rows to them.
func (a *App) addUpCounts(ctx context.Context) (time.Duration, error) {
	if s, ok := a.store.(interface{ AddUpCounts(context.Context) error }); ok {
		return 0, s.AddUpCounts(ctx)
	}
	return 0, nil
}

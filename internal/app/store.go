package app

import (
	"context"
	"sync/atomic"

	"callbackd/internal/obs"
	"callbackd/internal/store"
	"callbackd/internal/store/postgres"
	"callbackd/internal/store/sqlite"
)

// StoreConfig says where a store is.
type StoreConfig struct {
	Data        string // the data directory of SQLite
	DatabaseURL string // of PostgreSQL, instead of Data
	KeysetFile  string // empty: within Data; required with DatabaseURL
}

// Open opens the store for the one server on it, or, with beside, for a
// command that a server may run beside. hooks may be nil.
func (p StoreConfig) Open(ctx context.Context, beside bool, hooks *store.Hooks) (store.Store, error) {
	if hooks == nil {
		hooks = &store.Hooks{}
	}
	if p.DatabaseURL != "" {
		return opened(postgres.Open(ctx, postgres.Options{URL: p.DatabaseURL, KeysetFile: p.KeysetFile, Hooks: *hooks}))
	}
	return opened(sqlite.Open(ctx, sqlite.Options{Dir: p.Data, KeysetFile: p.KeysetFile, Beside: beside, Hooks: *hooks}))
}

// Inspect opens the store for a command that only looks: it makes, changes and
// upgrades nothing, and refuses what is no store.
func (p StoreConfig) Inspect(ctx context.Context) (store.Store, error) {
	if p.DatabaseURL != "" {
		return opened(postgres.Open(ctx, postgres.Options{URL: p.DatabaseURL, KeysetFile: p.KeysetFile, Existing: true}))
	}
	return opened(sqlite.Inspect(sqlite.Options{Dir: p.Data, KeysetFile: p.KeysetFile}))
}

// Existing is Open for a command that changes what is there: it makes no store
// where there is none.
func (p StoreConfig) Existing(ctx context.Context) (store.Store, error) {
	if p.DatabaseURL != "" {
		return opened(postgres.Open(ctx, postgres.Options{URL: p.DatabaseURL, KeysetFile: p.KeysetFile, Existing: true}))
	}
	if err := sqlite.Holds(p.Data); err != nil {
		return nil, err
	}
	return p.Open(ctx, true, nil)
}

// opened keeps a nil driver from becoming a store that is not nil.
func opened[S store.Store](s S, err error) (store.Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// hooks count what the store does, and say when it begins and ends to refuse
// writes.
func (a *App) hooks(m *obs.Metrics) *store.Hooks {
	var refusing atomic.Bool
	return &store.Hooks{
		Committed: m.Committed,
		Refused: func(commands int, err error) {
			m.Refused(commands)
			if !refusing.Swap(true) {
				a.log.Error("the store refuses writes: publishers get 503, and outcomes wait", "error", err)
			}
		},
		Taken: func() {
			if refusing.Swap(false) {
				a.log.Info("the store takes writes again")
			}
		},
	}
}

// Failed is closed when the store can no longer be trusted and the process
// should end. A database that is reached over the network is tried again
// instead: for it the channel is nil.
func (a *App) Failed() <-chan struct{} {
	if s, ok := a.store.(interface{ Failed() <-chan struct{} }); ok {
		return s.Failed()
	}
	return nil
}

// Failure is why Failed is closed.
func (a *App) Failure() error {
	if s, ok := a.store.(interface{ Failure() error }); ok {
		return s.Failure()
	}
	return nil
}

// guard has the store look after itself.
func (a *App) guard(ctx context.Context) {
	s, ok := a.store.(interface{ Guard(context.Context) })
	for ok && sleep(ctx, clockCheck) {
		s.Guard(ctx)
	}
}

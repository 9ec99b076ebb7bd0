package app

import (
	"context"
	"sync"
	"time"

	"callbackd/internal/store"
)

const (
	// auditWait is how long the writer of an audit entry waits for the store.
	auditWait = 5 * time.Second
	// lateAuditEvery is the time between two attempts to write the entries that the store
	// did not take.
	lateAuditEvery = 5 * time.Second
	// maxLateAudits is how many entries wait for the store. Further ones are logged only.
	maxLateAudits = 1000
)

// lateAudits are audit entries about this process that the store did not take at once, oldest
// first. A full disk, or a database that is away, must keep neither a server from starting nor
// the operator from changing what it logs.
type lateAudits struct {
	mu      sync.Mutex
	entries []lateAudit
}

// lateAudit writes an entry.
type lateAudit func(context.Context) error

// audit writes an entry, now or when the store takes it.
func (a *App) audit(ctx context.Context, write lateAudit) {
	a.late.mu.Lock()
	defer a.late.mu.Unlock()
	actor := store.ActorOf(ctx)
	if len(a.late.entries) == 0 {
		ctx, cancel := context.WithTimeout(ctx, auditWait)
		defer cancel()
		err := write(ctx)
		if err == nil {
			return
		}
		a.log.Warn("an audit entry was not written; it will be when the store takes it", "error", err)
	}
	if len(a.late.entries) >= maxLateAudits {
		a.log.Error("an audit entry was not written, because too many wait for the store")
		return
	}
	a.late.entries = append(a.late.entries, func(ctx context.Context) error { return write(store.WithActor(ctx, actor)) })
}

// step writes the entries that wait.
func (l *lateAudits) step(ctx context.Context) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.entries) > 0 {
		ctx, cancel := context.WithTimeout(ctx, auditWait)
		err := l.entries[0](ctx)
		cancel()
		if err != nil {
			return 0, err
		}
		l.entries = l.entries[1:]
	}
	return 0, nil
}

// auditOptions audits the options of this start when they are others than those of the last
// one. What the store has not taken until the stop, it is given once more then.
func (a *App) auditOptions(ctx context.Context, c Config) {
	a.teardown.add("late audit entries", func(ctx context.Context) error {
		if _, err := a.late.step(ctx); err != nil {
			a.log.Error("audit entries are lost, because the store did not take them", "error", err)
		}
		return nil
	})
	if len(c.Settings) == 0 {
		return
	}
	a.audit(store.WithActor(ctx, c.StartedBy), func(ctx context.Context) error {
		return a.store.NoteOptions(ctx, hostname(), c.Settings, a.started)
	})
}

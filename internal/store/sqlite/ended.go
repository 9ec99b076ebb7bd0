package sqlite

import (
	"context"
	"sync"
	"sync/atomic"
)

// endedBuffered tells whether the buffer may have deliveries of callbacks that have ended.
type endedBuffered struct {
	own atomic.Int64 // commits of this store that changed keys or callbacks

	mu   sync.Mutex
	seen settingsVersion // by the last flush
	// flushed is what the flush before saw: a key that another process revoked can be in use
	// for another [store.MaxKeyAge], so a change is followed by two flushes.
	flushed settingsVersion
}

// settingsVersion changes when keys or callbacks may have changed.
type settingsVersion struct{ own, others int64 }

// FlushOfEnded is part of [core.Driver]. An event that is accepted after a callback ended does
// not have it as a target. So the buffer is flushed only after something may have ended: by a
// command of this store, or by another process, which the writer sees when it commits.
func (d seam) FlushOfEnded(ctx context.Context) error {
	if d.s.dir.secondary || d.s.buffer.len() == 0 {
		return nil
	}
	look := func(*tx) error { return nil }
	if err := d.s.do(ctx, &job{run: look, deferred: true, done: make(chan struct{})}); err != nil {
		return err
	}
	e := &d.s.ended
	e.mu.Lock()
	defer e.mu.Unlock()
	now := settingsVersion{own: e.own.Load(), others: d.s.keys.currentVersion()}
	if now == e.flushed {
		return nil
	}
	if err := d.Flush(ctx); err != nil {
		return err
	}
	e.flushed, e.seen = e.seen, now
	return nil
}

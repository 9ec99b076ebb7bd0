package store

import (
	"context"
	"sync"
	"time"

	"callbackd"
)

// Hooks are functions that a store calls for metrics and the log. Each may be nil. They
// must not block.
type Hooks struct {
	Committed func(commands int)            // after each group commit
	Refused   func(commands int, err error) // after commands that could not be written
	Taken     func()                        // after the first write that succeeds again
}

// quietFor is how long after the last refused write the store makes a write of its own
// to find out whether it works again.
const quietFor = 5 * time.Second

// Refusals remembers whether the last write was refused. Then the store is not ready.
// Every driver has one. The zero value is ready.
type Refusals struct {
	Hooks Hooks
	mu    sync.Mutex
	err   error     // of the last write; nil when it succeeded
	at    time.Time // when it was refused
}

// Committed counts a group commit. wrote says whether it wrote something; then the store
// is ready.
func (r *Refusals) Committed(commands int, wrote bool) {
	if r.Hooks.Committed != nil {
		r.Hooks.Committed(commands)
	}
	r.mu.Lock()
	over := wrote && r.err != nil
	if over {
		r.err = nil
	}
	r.mu.Unlock()
	if over && r.Hooks.Taken != nil {
		r.Hooks.Taken()
	}
}

// Refuse notes that commands could not be written. It ignores errors that say nothing
// about the store.
func (r *Refusals) Refuse(commands int, err error) {
	if callbackd.KindOf(err) != callbackd.KindUnavailable {
		return
	}
	r.mu.Lock()
	r.err, r.at = err, time.Now()
	r.mu.Unlock()
	if r.Hooks.Refused != nil {
		r.Hooks.Refused(commands, err)
	}
}

// Err returns why the last write was refused, or nil when it succeeded.
func (r *Refusals) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Probe makes a write when the last one was refused and no command has written for a
// while. A store that is not ready gets no commands, so without this write it would never
// become ready. Probe returns what Err does afterwards.
func (r *Refusals) Probe(ctx context.Context, write func(context.Context) error) error {
	r.mu.Lock()
	due := r.err != nil && time.Since(r.at) >= quietFor
	r.mu.Unlock()
	if due {
		if err := write(ctx); err != nil {
			return err
		}
	}
	return r.Err()
}

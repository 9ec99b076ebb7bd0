package store

import (
	"context"
	"sync"
	"time"

	"callbackd"
)

// Hooks are told what a store does, for metrics and the log. Each may be nil.
// They must not block.
type Hooks struct {
	Committed func(commands int)            // of each group commit
	Refused   func(commands int, err error) // could not be written
	Taken     func()                        // the first write after one that was refused
}

// quietFor is how long no write must have been refused before one is tried for
// its own sake.
const quietFor = 5 * time.Second

// Refusals remembers whether the last write was refused, which is what "ready"
// is about. Every driver has one; the zero value takes writes.
type Refusals struct {
	Hooks Hooks
	mu    sync.Mutex
	err   error // of the last write; nil: it was made
	at    time.Time
}

// Committed counts a group commit. wrote says that something was written: then
// the store takes writes.
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

// Refuse takes note of commands that could not be written. Errors that say
// nothing about the store are left alone.
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

// Err is why the last write was refused; nil when it was made.
func (r *Refusals) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Probe makes a write when the last one was refused and nobody has tried since
// then: who is not ready is sent nothing, and would stay so. It returns what Err
// does afterwards.
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

package notices

import (
	"context"
	"strconv"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// conditions returns what is wrong now, by its subject.
func (w *Watcher) conditions(ctx context.Context) (map[callbackd.IncidentSubject]*callbackd.Condition, error) {
	out := map[callbackd.IncidentSubject]*callbackd.Condition{}
	unwell, err := w.Store.Unwell(ctx)
	if err != nil {
		return nil, err
	}
	for _, u := range unwell {
		cb, err := w.Store.CallbackByID(ctx, u.ID)
		if callbackd.KindOf(err) == callbackd.KindNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		if c := callbackd.CallbackCondition(cb, u.FailingSince, u.Pause); c != nil {
			out[c.Subject()] = c
		}
	}
	return out, nil
}

// describe adds to a condition how the last attempt failed.
func (w *Watcher) describe(ctx context.Context, c *callbackd.Condition) error {
	if c.Callback == 0 || c.Facts.Status != 0 || c.Facts.Fault != callbackd.NoFault {
		return nil
	}
	h, err := w.Store.Health(ctx, c.Callback, store.PendingQuery{})
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return nil
	}
	c.Facts.Status, c.Facts.Fault = h.LastStatus, h.LastFault
	return err
}

// maxExhausted is how many callbacks have deliveries that were given up and are not stored
// yet. Those of further callbacks are left out; they fail, which is an incident too.
const maxExhausted = 10_000

// exhausted collects the deliveries that were given up, by callback.
type exhausted struct {
	mu     sync.Mutex
	failed map[callbackd.CallbackID]*callbackd.Condition
}

// AttemptDone notes a delivery that was given up. It does not block.
func (w *Watcher) AttemptDone(o *callbackd.Outcome, state callbackd.State, _ time.Duration) {
	if state != callbackd.Failed || o.Delivery.Test || o.Delivery.Event == nil {
		return
	}
	e := &w.exhausted
	e.mu.Lock()
	defer e.mu.Unlock()
	id := o.Delivery.ID.Callback
	c := e.failed[id]
	if c == nil {
		if len(e.failed) == maxExhausted {
			return
		}
		c = &callbackd.Condition{Kind: callbackd.NoticeExhausted, Key: o.Delivery.Event.Key, Name: strconv.FormatInt(int64(id), 10), Callback: id}
		e.failed[id] = c
	}
	c.N++
	c.Facts.Status, c.Facts.Fault = o.Attempt.Status, o.Attempt.Fault
}

// flushEvery is how often deliveries that were given up are stored.
const flushEvery = 2 * time.Second

// Run stores what AttemptDone notes, on every node, until ctx ends, and then a last time.
func (w *Watcher) Run(ctx context.Context) {
	ticks := time.NewTicker(flushEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			w.Flush(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushEvery)
			defer cancel()
			w.Flush(last)
			return
		}
	}
}

// Flush stores what AttemptDone noted. What cannot be stored is tried again next time.
func (w *Watcher) Flush(ctx context.Context) {
	e := &w.exhausted
	e.mu.Lock()
	failed := e.failed
	e.failed = map[callbackd.CallbackID]*callbackd.Condition{}
	e.mu.Unlock()
	for id, c := range failed {
		if err := w.storeExhausted(ctx, c); err != nil {
			w.Log.Error("deliveries that were given up are not in an incident yet, trying again", "callback", int64(id), "deliveries", c.N, "error", err)
			e.mu.Lock()
			if later := e.failed[id]; later != nil {
				later.N += c.N
			} else {
				e.failed[id] = c
			}
			e.mu.Unlock()
		}
	}
}

func (w *Watcher) storeExhausted(ctx context.Context, c *callbackd.Condition) error {
	cb, err := w.Store.CallbackByID(ctx, c.Callback)
	if callbackd.KindOf(err) == callbackd.KindNotFound || err == nil && cb.Deleted() {
		return nil
	}
	if err != nil {
		return err
	}
	c.Facts.Event, c.Facts.Name, c.Facts.Origin = cb.Event, cb.Name, callbackd.Origin(cb.URL)
	return w.open(ctx, c, w.Now())
}

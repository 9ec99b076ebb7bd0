package notices

import (
	"context"
	"maps"
	"strconv"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// conditions returns what is wrong now, by its subject.
func (w *Watcher) conditions(ctx context.Context, now time.Time) (map[callbackd.IncidentSubject]*callbackd.Condition, error) {
	if err := w.lookSlowly(ctx, now); err != nil {
		return nil, err
	}
	out := maps.Clone(w.slow.found)
	unwell, err := w.Store.Unwell(ctx)
	if err != nil {
		return nil, err
	}
	for _, u := range unwell {
		cb, err := w.callback(ctx, u.ID)
		if err != nil {
			return nil, err
		}
		if cb == nil {
			continue
		}
		if c := callbackd.CallbackCondition(cb, u.FailingSince, u.Pause); c != nil {
			out[c.Subject()] = c
		}
	}
	return out, nil
}

// describe adds to a condition how the last attempt failed.
func (w *Watcher) describe(ctx context.Context, c *callbackd.Condition) error {
	if c.Kind != callbackd.NoticeFailing && c.Kind != callbackd.NoticePaused || c.Facts.Status != 0 || c.Facts.Fault != callbackd.NoFault {
		return nil
	}
	h, err := w.Store.Health(ctx, c.Callback, store.PendingQuery{})
	if callbackd.KindOf(err) == callbackd.KindNotFound {
		return nil
	}
	c.Facts.Status, c.Facts.Fault = h.LastStatus, h.LastFault
	return err
}

// maxPassed is how many subjects have conditions that passed and are not stored yet. Those
// of further subjects are left out; their callbacks fail, which is an incident too.
const maxPassed = 10_000

// passed collects conditions that are over at once: deliveries that were given up, and nodes
// that were lost.
type passed struct {
	mu   sync.Mutex
	seen map[callbackd.IncidentSubject]*callbackd.Condition
}

// add adds a condition that happened once.
func (p *passed) add(c *callbackd.Condition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.N = max(c.N, 1)
	if before := p.seen[c.Subject()]; before != nil {
		c.N += before.N
		c.Facts.Nodes = max(c.Facts.Nodes, before.Facts.Nodes)
	} else if len(p.seen) == maxPassed {
		return
	}
	p.seen[c.Subject()] = c
}

// take returns what was added, and forgets it.
func (p *passed) take() map[callbackd.IncidentSubject]*callbackd.Condition {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen = map[callbackd.IncidentSubject]*callbackd.Condition{}
	return seen
}

// AttemptDone notes a delivery that was given up. It does not block.
func (w *Watcher) AttemptDone(o *callbackd.Outcome, state callbackd.State, _ time.Duration) {
	if state != callbackd.Failed || o.Delivery.Test || o.Delivery.Event == nil {
		return
	}
	id := o.Delivery.ID.Callback
	c := &callbackd.Condition{Kind: callbackd.NoticeExhausted, Key: o.Delivery.Event.Key, Name: strconv.FormatInt(int64(id), 10), Callback: id}
	c.Facts.Status, c.Facts.Fault = o.Attempt.Status, o.Attempt.Fault
	w.passed.add(c)
}

// NodeLost notes that this node evicted another one: see [callbackd.NodeLostCondition]. It
// does not block.
func (w *Watcher) NodeLost(name string, before callbackd.NodesOfName) {
	w.passed.add(callbackd.NodeLostCondition(name, before))
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

// Flush stores what AttemptDone and NodeLost noted. What cannot be stored is tried again
// next time.
func (w *Watcher) Flush(ctx context.Context) {
	for _, c := range w.passed.take() {
		if err := w.storePassed(ctx, c); err != nil {
			w.Log.Error("what passed is not in an incident yet, trying again", "callback", int64(c.Callback), "deliveries", c.N, "error", err)
			w.passed.add(c)
		}
	}
}

func (w *Watcher) storePassed(ctx context.Context, c *callbackd.Condition) error {
	if c.Callback != 0 {
		cb, err := w.callback(ctx, c.Callback)
		if cb == nil {
			return err
		}
		c.Facts.Event, c.Facts.Name, c.Facts.Origin = cb.Event, cb.Name, callbackd.Origin(cb.URL)
	}
	return w.open(ctx, c, w.Now())
}

// callback returns a callback in force; nil when there is none.
func (w *Watcher) callback(ctx context.Context, id callbackd.CallbackID) (*callbackd.Callback, error) {
	cb, err := w.Store.CallbackByID(ctx, id)
	if callbackd.KindOf(err) == callbackd.KindNotFound || err == nil && cb.Deleted() {
		return nil, nil
	}
	return cb, err
}

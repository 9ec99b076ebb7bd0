package cluster

import (
	"context"
	"sync"
	"time"

	"callbackd"
)

// owner is who owns a callback's shard, as far as is known; 0: nobody knows.
func (m *Member) owner(no callbackd.CallbackID) callbackd.NodeID {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.owners[callbackd.ShardOf(no)]
}

// OnCommit takes deliveries that were just committed to whoever delivers
// them. The store calls it in commit order; it does not block.
func (m *Member) OnCommit(ds []callbackd.Delivery) {
	m.route(ds, kindNew, m.o.Engine.OnCommit)
}

// Replay tells of deliveries that a replay made due.
func (m *Member) Replay(ds []callbackd.Delivery) { m.route(ds, kindReplay, m.o.Engine.Replay) }

// Retry tells of a delivery that a person made due.
func (m *Member) Retry(d callbackd.Delivery) {
	m.route([]callbackd.Delivery{d}, kindRetry, func(ds []callbackd.Delivery) { m.o.Engine.Retry(ds[0]) })
}

// route gives this node's own deliveries to here and sends word of all
// others. What is nobody's goes to all, for somebody may own it by now.
func (m *Member) route(ds []callbackd.Delivery, kind string, here func([]callbackd.Delivery)) {
	var own []callbackd.Delivery
	away := map[callbackd.NodeID][]message{}
	m.mu.Lock()
	for i := range ds {
		d := &ds[i]
		s := callbackd.ShardOf(d.ID.Callback)
		if m.shards[s] == owned {
			own = append(own, *d)
			continue
		}
		to := m.owners[s]
		w := message{Kind: kind, Callback: d.ID.Callback, Event: d.ID.Event, Session: d.Session, Number: d.Sequence, Test: d.Test, Replay: d.Replay}
		if to == m.ID() || to == 0 {
			to, w.Hops = 0, maxHops // whoever else hears it says no more
		}
		if !d.Due.IsZero() {
			w.Due = d.Due.UnixMilli()
		}
		away[to] = append(away[to], w)
	}
	m.mu.Unlock()
	if len(own) > 0 {
		here(own)
	}
	for to, ms := range away {
		m.out.add(to, ms...)
	}
}

// CallbackChanged makes every engine read a callback's setting again.
func (m *Member) CallbackChanged(no callbackd.CallbackID) {
	m.o.Engine.CallbackChanged(no)
	m.out.add(0, message{Kind: kindChanged, Callback: no})
}

// ReplaysChanged tells every node of a replay that was created or resumed.
func (m *Member) ReplaysChanged() {
	m.o.ReplaysChanged()
	m.out.add(0, message{Kind: kindReplays})
}

// tryEvery is how often the store is asked for an attempt of another node's.
const tryEvery = 100 * time.Millisecond

// Watch returns a channel that is closed when the next attempt of a delivery
// is recorded; of another node's, when a first one was.
func (m *Member) Watch(id callbackd.DeliveryID) (<-chan struct{}, func()) {
	if m.Owns(callbackd.ShardOf(id.Callback)) {
		return m.o.Engine.Watch(id)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		for pause(ctx, tryEvery) {
			if tried, err := m.o.Tried(ctx, id); tried && err == nil {
				close(done)
				return
			}
		}
	}()
	return done, stop
}

// patience is how long an answer of another node is waited for.
const patience = 500 * time.Millisecond

// Diagnosis tells what the engine that delivers for a callback has in mind.
// Without an answer in time it is what is known here: nothing.
func (m *Member) Diagnosis(no callbackd.CallbackID, session string, now time.Time) callbackd.Diagnosis {
	here := m.o.Engine.Diagnosis(no, session, now)
	to := m.owner(no)
	if m.Owns(callbackd.ShardOf(no)) || to == 0 || to == m.ID() {
		return here
	}
	n, answer := m.asks.new()
	defer m.asks.forget(n)
	m.out.add(to, message{Kind: kindAsk, From: m.ID(), Ask: n, Callback: no, Session: session})
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case w := <-answer:
		if w.Diagnosis != nil {
			return *w.Diagnosis
		}
	case <-t.C:
	}
	return here
}

// asks are questions that wait for an answer.
type asks struct {
	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan message
}

func (a *asks) new() (uint64, <-chan message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	ch := make(chan message, 1)
	a.waiting[a.last] = ch
	return a.last, ch
}

func (a *asks) forget(n uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, n)
}

func (a *asks) answered(w message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ch := a.waiting[w.Ask]; ch != nil {
		delete(a.waiting, w.Ask)
		ch <- w
	}
}

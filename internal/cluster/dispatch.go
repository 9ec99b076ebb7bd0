package cluster

import (
	"context"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/clock"
)

// ownerOf returns the node that owns a callback's shard, as far as is known; 0:
// none.
func (m *Member) ownerOf(id callbackd.CallbackID) callbackd.NodeID {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.owners[callbackd.ShardOf(id)]
}

// OnCommit tells the nodes that deliver of deliveries that were just committed.
// The store calls it in commit order; it does not block.
func (m *Member) OnCommit(ds []callbackd.Delivery) {
	m.route(ds, kindNew, m.options.Engine.OnCommit)
}

// Replayed tells the nodes that deliver of deliveries that a replay made due.
func (m *Member) Replayed(ds []callbackd.Delivery) {
	m.route(ds, kindReplay, m.options.Engine.Replayed)
}

// Resent tells the node that delivers of a delivery that a person resent.
func (m *Member) Resent(d callbackd.Delivery) {
	m.route([]callbackd.Delivery{d}, kindResend, func(ds []callbackd.Delivery) {
		m.options.Engine.Resent(ds[0])
	})
}

// route calls deliver with the deliveries that this node owns and sends messages
// for all others to their owners. A delivery that no node is known to own goes to
// all nodes, because one may own it by the time.
func (m *Member) route(ds []callbackd.Delivery, kind string, deliver func([]callbackd.Delivery)) {
	var own []callbackd.Delivery
	others := map[callbackd.NodeID][]message{}
	m.mu.Lock()
	for i := range ds {
		d := &ds[i]
		s := callbackd.ShardOf(d.ID.Callback)
		if m.shards[s] == owned {
			own = append(own, *d)
			continue
		}
		msg := messageOf(kind, d)
		to := m.owners[s]
		if to == 0 || to == m.ID() {
			to = 0
			msg.Hops = maxHops // nobody forwards what went to all
		}
		others[to] = append(others[to], msg)
	}
	m.mu.Unlock()
	if len(own) > 0 {
		deliver(own)
	}
	for to, ms := range others {
		m.outbox.add(to, ms...)
	}
}

// messageOf returns the message that tells of a delivery.
func messageOf(kind string, d *callbackd.Delivery) message {
	msg := message{
		Kind:     kind,
		Callback: d.ID.Callback,
		Event:    d.ID.Event,
		Session:  d.Session,
		Number:   d.Sequence,
		Test:     d.Test,
		Replay:   d.Replay,
	}
	if !d.Due.IsZero() {
		msg.Due = d.Due.UnixMilli()
	}
	return msg
}

// CallbackChanged makes every node's engine read a callback's setting again.
func (m *Member) CallbackChanged(id callbackd.CallbackID) {
	m.options.Engine.CallbackChanged(id)
	m.outbox.add(0, message{Kind: kindChanged, Callback: id})
}

// ReplaysChanged tells every node that a replay was created or resumed.
func (m *Member) ReplaysChanged() {
	m.options.ReplaysChanged()
	m.outbox.add(0, message{Kind: kindReplays})
}

// pollInterval is how often the store is asked whether another node made an
// attempt.
const pollInterval = 100 * time.Millisecond

// Watch returns a channel that is closed when the next attempt of a delivery is
// recorded. When another node owns the delivery, only its first attempt is
// noticed.
func (m *Member) Watch(id callbackd.DeliveryID) (<-chan struct{}, func()) {
	if m.Owns(callbackd.ShardOf(id.Callback)) {
		return m.options.Engine.Watch(id)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		for clock.Sleep(ctx, pollInterval) {
			attempted, err := m.options.Attempted(ctx, id)
			if attempted && err == nil {
				close(done)
				return
			}
		}
	}()
	return done, stop
}

// answerTimeout is how long another node's answer is waited for.
const answerTimeout = 500 * time.Millisecond

// Diagnosis returns what the engine that delivers for a callback knows of it. If
// another node's engine does and its answer does not come in time, it returns what
// this node's engine knows, which is next to nothing.
func (m *Member) Diagnosis(id callbackd.CallbackID, session string, now time.Time) callbackd.Diagnosis {
	own := m.options.Engine.Diagnosis(id, session, now)
	owner := m.ownerOf(id)
	if m.Owns(callbackd.ShardOf(id)) || owner == 0 || owner == m.ID() {
		return own
	}
	number, answer := m.questions.add()
	defer m.questions.remove(number)
	m.outbox.add(owner, message{Kind: kindQuestion, From: m.ID(), Question: number, Callback: id, Session: session})
	timer := time.NewTimer(answerTimeout)
	defer timer.Stop()
	select {
	case msg := <-answer:
		if msg.Diagnosis != nil {
			return *msg.Diagnosis
		}
	case <-timer.C:
	}
	return own
}

// questions holds the questions to other nodes that wait for an answer.
type questions struct {
	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan message
}

// add gives a question its number and a channel for the answer.
func (q *questions) add() (uint64, <-chan message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.last++
	ch := make(chan message, 1)
	q.waiting[q.last] = ch
	return q.last, ch
}

func (q *questions) remove(number uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.waiting, number)
}

// answer gives an answer to who waits for it. One that comes too late is dropped.
func (q *questions) answer(msg message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if ch := q.waiting[msg.Question]; ch != nil {
		delete(q.waiting, msg.Question)
		ch <- msg
	}
}

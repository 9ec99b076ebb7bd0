package cluster

import (
	"context"
	"sync"
	"time"

	"callbackd"
)

// ownerOf returns the node that owns a key's shard, as far as is known; 0: none.
func (m *Member) ownerOf(key callbackd.KeyID) callbackd.NodeID {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.view.owners[callbackd.ShardOf(key)]
}

// isHere reports whether this node is the home of a key.
func (m *Member) isHere(key callbackd.KeyID) bool { return m.Owns(callbackd.ShardOf(key)) }

// keyOf returns the key of a callback; 0: it could not be read.
func (m *Member) keyOf(id callbackd.CallbackID) callbackd.KeyID {
	key, err := m.options.KeyOf(m.ctx, id)
	if err != nil {
		m.logError(m.ctx, "the key of a callback was not read", err)
	}
	return key
}

// OnCommit tells the homes about deliveries that were just committed. The store calls it
// in commit order; it does not block.
func (m *Member) OnCommit(ds []callbackd.Delivery) {
	m.route(ds, kindNew, m.options.Engine.OnCommit)
}

// Replayed tells the homes about deliveries that a replay made due.
func (m *Member) Replayed(ds []callbackd.Delivery) {
	m.route(ds, kindReplay, m.options.Engine.Replayed)
}

// Resent tells the home about a delivery that a person resent.
func (m *Member) Resent(d callbackd.Delivery) {
	m.route([]callbackd.Delivery{d}, kindResend, func(ds []callbackd.Delivery) {
		m.options.Engine.Resent(ds[0])
	})
}

// route calls deliver with the deliveries whose home is this node, and sends messages
// about all others to their homes. A message about a delivery that has no known home goes
// to all nodes, because one of them may be its home when the message arrives.
func (m *Member) route(ds []callbackd.Delivery, kind string, deliver func([]callbackd.Delivery)) {
	var own []callbackd.Delivery
	for i := range ds {
		d := &ds[i]
		if m.isHere(d.Key) {
			own = append(own, *d)
		} else {
			m.tellHome(messageOf(kind, d))
		}
	}
	if len(own) > 0 {
		deliver(own)
	}
}

// tellHome sends a message to the home of its key, which is another node, or to all
// nodes when it is not known.
func (m *Member) tellHome(msg message) {
	to := m.ownerOf(msg.Key)
	if to == m.ID() { // this node gives up the shard
		to = 0
	}
	if to == 0 {
		msg.Hops = maxHops // a message to all nodes is not forwarded
	}
	m.outbox.add(to, msg)
}

// messageOf returns the message about a delivery.
func messageOf(kind string, d *callbackd.Delivery) message {
	msg := message{
		Kind:     kind,
		Key:      d.Key,
		Callback: d.ID.Callback,
		Event:    d.ID.Event,
		Session:  d.Session,
		AtOnce:   d.AtOnce,
		Replay:   d.Replay,
	}
	if !d.Due.IsZero() {
		msg.Due = d.Due.UnixMilli()
	}
	return msg
}

// changeTimeout is how long CallbackChanged waits for the home. A home that is alive answers
// within milliseconds. One that does not may be dead, and so start no attempt.
const changeTimeout = 250 * time.Millisecond

// CallbackChanged makes the engine of a callback's home read its setting again. It returns
// when no attempt begins there with an older setting, or after changeTimeout.
func (m *Member) CallbackChanged(id callbackd.CallbackID) {
	key := m.keyOf(id)
	if m.isHere(key) {
		m.options.Engine.CallbackChanged(id)
		return
	}
	number, told := m.changes.begin()
	defer m.changes.end(number)
	m.tellHome(message{Kind: kindChanged, Key: key, Callback: id, From: m.ID(), Number: number})
	over, stop := m.clock.Timer(changeTimeout)
	defer stop()
	select {
	case <-told:
	case <-over:
	}
}

// changes are the calls of CallbackChanged that wait for another node.
type changes struct {
	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan struct{}
}

func (c *changes) begin() (number uint64, told <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == nil {
		c.waiting = map[uint64]chan struct{}{}
	}
	c.last++
	done := make(chan struct{}, 1)
	c.waiting[c.last] = done
	return c.last, done
}

func (c *changes) end(number uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, number)
}

// told ends the wait of a call. Any that has ended is ignored.
func (c *changes) told(number uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case c.waiting[number] <- struct{}{}:
	default:
	}
}

// ReplaysChanged says that a replay was created or resumed. Another node that is the home
// of its key finds it within two seconds.
func (m *Member) ReplaysChanged() { m.options.ReplaysChanged() }

// pollInterval is how often the store is asked whether another node made an
// attempt.
const pollInterval = 100 * time.Millisecond

// Watch returns a channel that is closed when the next attempt of a delivery is
// recorded. When another node owns the delivery, only its first attempt is
// noticed.
func (m *Member) Watch(id callbackd.DeliveryID) (<-chan struct{}, func()) {
	if m.isHere(m.keyOf(id.Callback)) {
		return m.options.Engine.Watch(id)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		for m.clock.Sleep(ctx, pollInterval) {
			attempted, err := m.options.Attempted(ctx, id)
			if attempted && err == nil {
				close(done)
				return
			}
		}
	}()
	return done, stop
}

// Diagnosis returns what this node's engine knows of a callback. Unless this node is the
// callback's home, that is almost nothing.
func (m *Member) Diagnosis(id callbackd.CallbackID, session string, now time.Time) callbackd.Diagnosis {
	return m.options.Engine.Diagnosis(id, session, now)
}

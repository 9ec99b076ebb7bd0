package cluster

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// Kinds of messages. Nodes of other versions know them by these strings.
const (
	kindNew     = "new"     // a delivery was accepted
	kindResend  = "retry"   // a person resent a delivery
	kindReplay  = "replay"  // a replay made a delivery due
	kindChanged = "changed" // a callback's setting changed
	kindTold    = "told"    // the home has got that a callback's setting changed
	kindShards  = "shards"  // shards changed hands; to all nodes
	kindRescan  = "rescan"  // messages were lost; to all nodes
)

// message is what one node tells another. Nodes of different versions exchange
// messages, so each ignores what it does not know.
type message struct {
	Kind     string               `json:"k"`
	Hops     int                  `json:"h,omitempty"` // how often it was forwarded
	Key      callbackd.KeyID      `json:"y,omitempty"`
	Callback callbackd.CallbackID `json:"c,omitempty"`
	Event    callbackd.EventID    `json:"e,omitempty"`
	Session  string               `json:"s,omitempty"`
	AtOnce   bool                 `json:"t,omitempty"` // it is a test-send
	Due      int64                `json:"d,omitempty"` // milliseconds since 1970
	Replay   callbackd.ReplayID   `json:"r,omitempty"`
	From     callbackd.NodeID     `json:"f,omitempty"` // the node that waits for the answer
	Number   uint64               `json:"n,omitempty"` // of what it waits for
}

const (
	maxOutbox = 1 << 14 // messages that wait to be sent
	maxHops   = 3       // how often nodes forward a message that is not for them
)

// outbox holds the messages that wait to be sent, maxOutbox at most. When more come, a
// message to all nodes says that some were lost, and each node reads from the store what
// it may have missed.
type outbox struct {
	notEmpty chan struct{} // has a value when there may be something to send

	mu            sync.Mutex
	messages      map[callbackd.NodeID][]message // by receiver; 0: all nodes
	count         int
	lost          bool               // some did not fit or were not sent
	stopListening context.CancelFunc // ends Listen for the node ID that it was called with
}

func (b *outbox) add(to callbackd.NodeID, ms ...message) {
	b.mu.Lock()
	if b.count+len(ms) > maxOutbox {
		b.lost = true
	} else {
		if b.messages == nil {
			b.messages = map[callbackd.NodeID][]message{}
		}
		b.messages[to] = append(b.messages[to], ms...)
		b.count += len(ms)
	}
	b.mu.Unlock()
	select {
	case b.notEmpty <- struct{}{}:
	default:
	}
}

// notSent notes that messages were lost.
func (b *outbox) notSent() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost = true
}

// encode empties the outbox and packs its messages into as few notifications as
// their size allows.
func (b *outbox) encode() []store.Message {
	b.mu.Lock()
	messages, lost := b.messages, b.lost
	b.messages, b.count, b.lost = nil, 0, false
	b.mu.Unlock()
	var out []store.Message
	for to, ms := range messages {
		for len(ms) > 0 {
			body, n, dropped := pack(ms)
			if n > dropped {
				out = append(out, store.Message{To: to, Body: body})
			}
			ms = ms[n:]
			lost = lost || dropped > 0
		}
	}
	if lost {
		out = append(out, store.Message{Body: bodyOf(message{Kind: kindRescan})})
	}
	return out
}

// pack encodes as many of the first messages as fit into one body. It returns how
// many it took, and how many of those it dropped because each alone is too large.
func pack(ms []message) (body string, n, dropped int) {
	buf := []byte{'['}
	for n < len(ms) {
		one, err := json.Marshal(ms[n])
		if err != nil || len(one) > store.MaxMessage-2 {
			n++
			dropped++
			continue
		}
		if n > dropped {
			one = append([]byte{','}, one...)
		}
		if len(buf)+len(one)+len("]") > store.MaxMessage {
			break
		}
		buf = append(buf, one...)
		n++
	}
	return string(append(buf, ']')), n, dropped
}

func bodyOf(msg message) string {
	body, _ := json.Marshal([]message{msg})
	return string(body)
}

// restartListener makes listen begin again, with the ID that this node has now.
func (b *outbox) restartListener() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopListening != nil {
		b.stopListening()
	}
}

// sendInterval is the shortest time between two sends, so that under load many messages
// to a node share a notification. After a pause, a message is sent at once.
const sendInterval = 10 * time.Millisecond

// sendMessages sends what is in the outbox. Messages that are added meanwhile go with the
// next send.
func (m *Member) sendMessages(ctx context.Context) {
	var last time.Time
	for {
		select {
		case <-m.outbox.notEmpty:
		case <-ctx.Done():
			return
		}
		early := sendInterval - m.clock.Now().Sub(last)
		if early > 0 && !m.clock.Sleep(ctx, early) {
			return
		}
		last = m.clock.Now()
		out := m.outbox.encode()
		if len(out) == 0 {
			continue
		}
		if err := m.options.Store.Notify(ctx, out); err != nil {
			m.outbox.notSent()
			m.logError(ctx, "messages to other nodes not sent; they will read from the store", err)
			if !m.clock.Sleep(ctx, time.Second) {
				return
			}
			m.outbox.add(0) // to say that some were lost
		}
	}
}

// listen receives the messages of other nodes.
func (m *Member) listen(ctx context.Context) {
	for {
		connection, cancel := context.WithCancel(ctx)
		m.outbox.mu.Lock()
		m.outbox.stopListening = cancel
		m.outbox.mu.Unlock()
		connected := func() {
			m.refreshSoon()
			// This node has missed the messages that were sent before.
			if err := m.options.Engine.Rescan(connection); err != nil {
				m.logError(ctx, "queue not read", err)
			}
		}
		err := m.options.Store.Listen(connection, m.ID(), connected, m.receive)
		restarted := connection.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return
		}
		if !restarted {
			m.logError(ctx, "messages of other nodes not received, trying again", err)
			if !m.clock.Sleep(ctx, m.timing.Heartbeat/2) {
				return
			}
		}
	}
}

// receive handles the messages in a notification.
func (m *Member) receive(body string) {
	var ms []message
	if err := json.Unmarshal([]byte(body), &ms); err != nil {
		m.options.Log.Error("message of another node not understood", "error", err)
		return
	}
	for i := range ms {
		m.handle(&ms[i])
	}
}

// handle does what a message asks for. A message about a key whose home is another node
// is forwarded. A node of the version in which shards were of callbacks names no key.
func (m *Member) handle(msg *message) {
	switch msg.Kind {
	case kindShards:
		m.shardNews.Add(1)
		m.refreshSoon()
	case kindTold:
		m.changes.told(msg.Number)
	case kindRescan:
		m.work.Go(func() {
			if err := m.options.Engine.Rescan(m.ctx); err != nil {
				m.logError(m.ctx, "queue not read", err)
			}
		})
	default:
		if msg.Key == 0 && msg.Callback != 0 {
			msg.Key = m.keyOf(msg.Callback)
		}
		if m.isHere(msg.Key) {
			m.handleOwn(msg)
		} else {
			m.forward(msg)
		}
	}
}

// forward passes a message on to the node that owns the shard by now. After
// maxHops it goes to all nodes, and none of them forwards it.
func (m *Member) forward(msg *message) {
	if msg.Hops >= maxHops {
		return
	}
	next := *msg
	next.Hops++
	to := m.ownerOf(next.Key)
	if to == m.ID() || next.Hops == maxHops {
		to = 0
		next.Hops = maxHops
	}
	m.outbox.add(to, next)
}

// handleOwn does what a message about a callback of this node asks for.
func (m *Member) handleOwn(msg *message) {
	d := callbackd.Delivery{
		ID:      callbackd.DeliveryID{Event: msg.Event, Callback: msg.Callback},
		Key:     msg.Key,
		Session: msg.Session,
		Test:    msg.AtOnce, // the engine reads everything else from the store
		AtOnce:  msg.AtOnce,
		Replay:  msg.Replay,
	}
	if msg.Due != 0 {
		d.Due = time.UnixMilli(msg.Due).UTC()
	}
	switch msg.Kind {
	case kindNew:
		m.options.Engine.AcceptedElsewhere(d)
	case kindResend:
		d.Manual = true
		m.options.Engine.Resent(d)
	case kindReplay:
		m.options.Engine.Replayed([]callbackd.Delivery{d})
	case kindChanged:
		m.options.Store.Renew()
		m.options.Engine.CallbackChanged(msg.Callback)
		if msg.From != 0 {
			m.outbox.add(msg.From, message{Kind: kindTold, Number: msg.Number})
		}
	}
}

package cluster

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// The kinds of messages.
const (
	kindNew     = "new"     // a delivery was accepted: look
	kindRetry   = "retry"   // a person made a delivery due
	kindReplay  = "replay"  // a replay did
	kindChanged = "changed" // a callback's setting did; to all
	kindReplays = "replays" // a replay was created or resumed; to all
	kindShards  = "shards"  // something changed hands; to all
	kindRescan  = "rescan"  // messages were lost; to all
	kindAsk     = "ask"     // what have you in mind for a callback?
	kindAnswer  = "answer"
)

// message is a word from one node to another. Nodes of different versions
// talk: what is not known is passed over.
type message struct {
	Kind      string               `json:"k"`
	Hops      int                  `json:"h,omitempty"` // how often it was sent on
	From      callbackd.NodeID     `json:"f,omitempty"` // whom to answer
	Ask       uint64               `json:"a,omitempty"` // the question's number
	Callback  callbackd.CallbackID `json:"c,omitempty"`
	Event     callbackd.EventID    `json:"e,omitempty"`
	Session   string               `json:"s,omitempty"`
	Number    int64                `json:"n,omitempty"` // within the session
	Test      bool                 `json:"t,omitempty"`
	Due       int64                `json:"d,omitempty"` // milliseconds
	Replay    callbackd.ReplayID   `json:"r,omitempty"`
	Diagnosis *callbackd.Diagnosis `json:"o,omitempty"`
}

// maxOut bounds the messages that wait to be sent, and maxHops how often one
// is sent on by nodes that know no better.
const (
	maxOut  = 1 << 14
	maxHops = 3
)

// outbox is the messages that wait to be sent.
type outbox struct {
	wake chan struct{}

	mu     sync.Mutex
	to     map[callbackd.NodeID][]message
	n      int
	missed bool // some were lost: say so
	listen context.CancelFunc
}

func (b *outbox) add(to callbackd.NodeID, ms ...message) {
	b.mu.Lock()
	if b.n+len(ms) > maxOut {
		b.missed = true
	} else {
		if b.to == nil {
			b.to = map[callbackd.NodeID][]message{}
		}
		b.to[to] = append(b.to[to], ms...)
		b.n += len(ms)
	}
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take empties the outbox into posts.
func (b *outbox) take() []store.Message {
	b.mu.Lock()
	to, missed := b.to, b.missed
	b.to, b.n, b.missed = nil, 0, false
	b.mu.Unlock()
	var posts []store.Message
	for no, ms := range to {
		for len(ms) > 0 {
			body := []byte{'['}
			n := 0
			for n < len(ms) {
				one, err := json.Marshal(ms[n])
				if err != nil || len(one) > store.MaxMessage-2 {
					missed, n = true, n+1
					continue
				}
				if len(body)+len(one)+2 > store.MaxMessage {
					break
				}
				if len(body) > 1 {
					body = append(body, ',')
				}
				body = append(body, one...)
				n++
			}
			ms = ms[n:]
			posts = append(posts, store.Message{To: no, Body: string(append(body, ']'))})
		}
	}
	if missed {
		posts = append(posts, store.Message{Body: bodyOf(message{Kind: kindRescan})})
	}
	return posts
}

func bodyOf(m message) string {
	body, _ := json.Marshal([]message{m})
	return string(body)
}

// relisten makes the listener begin anew, for this node's new number.
func (b *outbox) relisten() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listen != nil {
		b.listen()
	}
}

// gather is the least time between two posts: under load, words to a node go
// together. After a silence they go at once.
const gather = 10 * time.Millisecond

// deliver sends what waits; while one post is under way, the next gathers.
func (m *Member) deliver(ctx context.Context) {
	var last time.Time
	for {
		select {
		case <-m.out.wake:
		case <-ctx.Done():
			return
		}
		if early := gather - time.Since(last); early > 0 && !pause(ctx, early) {
			return
		}
		last = time.Now()
		posts := m.out.take()
		if len(posts) == 0 {
			continue
		}
		if err := m.o.Store.Notify(ctx, posts); err != nil {
			m.out.mu.Lock()
			m.out.missed = true
			m.out.mu.Unlock()
			m.report(ctx, "other nodes not told; they look for themselves", err)
			if !pause(ctx, time.Second) {
				return
			}
			m.out.add(0)
		}
	}
}

// listen hears what other nodes say.
func (m *Member) listen(ctx context.Context) {
	for {
		one, cancel := context.WithCancel(ctx)
		m.out.mu.Lock()
		m.out.listen = cancel
		m.out.mu.Unlock()
		err := m.o.Store.Listen(one, m.ID(), func() {
			m.wake()
			if err := m.o.Engine.Rescan(one); err != nil { // what was said meanwhile was not heard
				m.report(ctx, "queue not read", err)
			}
		}, m.hear)
		renumbered := one.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return
		}
		if !renumbered {
			m.report(ctx, "other nodes not heard, trying again", err)
			if !pause(ctx, m.timing.Heartbeat/2) {
				return
			}
		}
	}
}

// hear does what messages ask for.
func (m *Member) hear(body string) {
	var ms []message
	if err := json.Unmarshal([]byte(body), &ms); err != nil {
		m.o.Log.Error("message of another node not understood", "error", err)
		return
	}
	var accepted []callbackd.Delivery
	for i := range ms {
		if w := &ms[i]; w.Kind == kindNew && !w.Test && m.Owns(callbackd.ShardOf(w.Callback)) {
			accepted = append(accepted, callbackd.Delivery{ID: callbackd.DeliveryID{Event: w.Event, Callback: w.Callback}, Session: w.Session, Sequence: w.Number})
			continue
		}
		m.act(&ms[i])
	}
	if len(accepted) > 0 {
		m.o.Engine.Look(accepted)
	}
}

func (m *Member) act(w *message) {
	switch w.Kind {
	case kindShards:
		m.heard.Add(1)
		m.wake()
	case kindChanged:
		m.o.Store.Renew()
		m.o.Engine.CallbackChanged(w.Callback)
	case kindReplays:
		m.o.ReplaysChanged()
	case kindRescan:
		m.work.Go(func() {
			if err := m.o.Engine.Rescan(m.run); err != nil {
				m.report(m.run, "queue not read", err)
			}
		})
	case kindAnswer:
		m.asks.answered(*w)
	default:
		if !m.Owns(callbackd.ShardOf(w.Callback)) {
			m.sendOn(w)
			return
		}
		m.serve(w)
	}
}

// sendOn passes a message on to who owns the shard by now. After some hops it
// goes to all.
func (m *Member) sendOn(w *message) {
	if w.Hops >= maxHops {
		return
	}
	on := *w
	on.Hops++
	to := m.owner(on.Callback)
	if to == m.ID() || on.Hops == maxHops {
		to, on.Hops = 0, maxHops // whoever else hears it says no more
	}
	m.out.add(to, on)
}

// serve is act for the owner.
func (m *Member) serve(w *message) {
	id := callbackd.DeliveryID{Event: w.Event, Callback: w.Callback}
	d := callbackd.Delivery{ID: id, Session: w.Session, Test: w.Test, Replay: w.Replay, Due: time.UnixMilli(w.Due).UTC()}
	switch w.Kind {
	case kindNew:
		d.Due = time.Time{} // a test: it does not wait for its lane
		m.o.Engine.OnCommit([]callbackd.Delivery{d})
	case kindRetry:
		d.Manual = true
		m.o.Engine.Retry(d)
	case kindReplay:
		m.o.Engine.Replay([]callbackd.Delivery{d})
	case kindAsk:
		look := m.o.Engine.Diagnosis(w.Callback, w.Session, time.Now())
		m.out.add(w.From, message{Kind: kindAnswer, Ask: w.Ask, Diagnosis: &look})
	}
}

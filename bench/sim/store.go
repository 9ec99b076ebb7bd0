package sim

import (
	"context"
	"errors"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// nodeStore is the store of one node: it takes statements over the network to the
// database, and their answers back.
type nodeStore struct {
	store.Cluster // nil; Nodes is not called
	n             *node
	w             *World
	db            *database
}

func (n *node) store() nodeStore { return nodeStore{n: n, w: n.w, db: n.w.db} }

var (
	errNotReached = errors.New("the database was not reached")
	errEvicted    = callbackd.Errorf(callbackd.KindConflict, "the node was evicted")
)

// request makes a statement on one of the node's few connections. at is what the database
// does. A lost request or answer is tried again.
func (s nodeStore) request(ctx context.Context, at func()) error {
	select {
	case s.n.conns <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.n.conns }()
	for start := time.Now(); time.Since(start) <= retryFor; {
		s.n.waitWhileFrozen()
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.n.isGone() {
			break
		}
		if s.exchange(at) {
			return nil
		}
		time.Sleep(noticeFailed)
	}
	return errNotReached
}

// exchange sends a statement once, and reports whether an answer came.
func (s nodeStore) exchange(at func()) bool {
	if !s.w.travel() || s.isDown() {
		return false
	}
	at()
	if !s.w.travel() { // it is done, and the answer is lost
		return false
	}
	s.n.waitWhileFrozen()
	return !s.n.isGone()
}

func (s nodeStore) isDown() bool {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.db.isDown()
}

func (s nodeStore) change(ctx context.Context, kind string, at func() (changed bool)) error {
	return s.request(ctx, func() { s.db.change(kind, at) })
}

// Join is part of store.Cluster.
func (s nodeStore) Join(ctx context.Context, _ store.Node) (id callbackd.NodeID, err error) {
	err = s.change(ctx, "join", func() bool {
		id = s.db.join(s.n)
		return true
	})
	if err == nil {
		s.w.mu.Lock()
		s.n.id = id
		s.w.mu.Unlock()
	}
	return id, err
}

// Heartbeat is part of store.Cluster.
func (s nodeStore) Heartbeat(ctx context.Context, b store.Heartbeat, known int64) (v store.ClusterView, err error) {
	err = s.request(ctx, func() {
		s.w.mu.Lock()
		cost := heartbeatCost + time.Duration(len(s.db.order))*heartbeatPerNode
		if s.db.revision != known {
			cost += ownersCost
		}
		s.w.mu.Unlock()
		s.db.serve("heartbeat", cost)
		s.w.mu.Lock()
		v = s.db.heartbeat(b, known)
		s.w.mu.Unlock()
	})
	return v, err
}

// Claim is part of store.Cluster.
func (s nodeStore) Claim(ctx context.Context, id callbackd.NodeID, limit int) (got []callbackd.Shard, revision int64, err error) {
	evicted := false
	err = s.change(ctx, "claim", func() bool {
		if evicted = s.db.rows[id] == nil; evicted {
			return false
		}
		got = s.db.claim(id, limit)
		revision = s.db.revision
		s.w.claims += len(got)
		return len(got) > 0
	})
	if err == nil && evicted {
		err = errEvicted
	}
	if err != nil {
		return nil, 0, err
	}
	return got, revision, nil
}

// Release is part of store.Cluster.
func (s nodeStore) Release(ctx context.Context, id callbackd.NodeID, shards []callbackd.Shard) (revision int64, err error) {
	err = s.change(ctx, "release", func() bool {
		s.db.release(id, shards)
		revision = s.db.revision
		return true
	})
	return revision, err
}

// Evict is part of store.Cluster.
func (s nodeStore) Evict(ctx context.Context, id callbackd.NodeID, unseen time.Duration) (evicted bool, err error) {
	err = s.change(ctx, "evict", func() bool {
		evicted = s.db.evict(id, unseen)
		return evicted
	})
	return evicted, err
}

// Leave is part of store.Cluster.
func (s nodeStore) Leave(ctx context.Context, id callbackd.NodeID) error {
	return s.change(ctx, "leave", func() bool { return s.db.evict(id, -time.Hour) })
}

// Renew is part of store.Cluster.
func (s nodeStore) Renew() {}

// Notify is part of store.Cluster.
func (s nodeStore) Notify(ctx context.Context, messages []store.Message) error {
	return s.request(ctx, func() {
		s.w.mu.Lock()
		cost := notifyCost
		for _, m := range messages {
			if m.To == 0 {
				cost += time.Duration(len(s.db.listeners)) * notifyPerNode
			}
		}
		s.w.mu.Unlock()
		s.db.serve("notify", cost)
		s.w.work.Go(func() {
			s.w.mu.Lock()
			latency := s.w.latency()
			s.w.mu.Unlock()
			time.Sleep(latency)
			s.w.mu.Lock()
			defer s.w.mu.Unlock()
			for _, m := range messages {
				s.db.send(m)
			}
		})
	})
}

// Listen is part of store.Cluster.
func (s nodeStore) Listen(ctx context.Context, id callbackd.NodeID, ready func(), f func(string)) error {
	s.w.travel()
	if s.isDown() || s.n.isGone() {
		time.Sleep(noticeFailed)
		s.n.waitWhileFrozen()
		return errNotReached
	}
	l := &listener{id, make(chan string, 256), make(chan struct{})}
	s.w.mu.Lock()
	s.db.listeners[l] = true
	s.w.mu.Unlock()
	defer func() {
		s.w.mu.Lock()
		defer s.w.mu.Unlock()
		delete(s.db.listeners, l)
	}()
	s.n.waitWhileFrozen()
	ready()
	for {
		select {
		case body := <-l.messages:
			s.n.waitWhileFrozen()
			f(body)
		case <-l.lost:
			time.Sleep(noticeFailed)
			s.n.waitWhileFrozen()
			return errNotReached
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

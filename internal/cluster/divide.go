package cluster

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// divide acts on each renewal. Only divide changes which shards this node owns, and
// release, which frees those that were given up.
func (m *Member) divide(ctx context.Context) {
	for {
		select {
		case r := <-m.renewals:
			switch {
			case r.id != m.ID(): // from before this node joined again
			case !r.Alive:
				m.rejoin(ctx)
			default:
				if m.apply(ctx, &r) {
					m.announce()
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

// announce makes every node renew its lease now, because shards changed hands. The
// database sends a message to all to each node, which costs it time. With many nodes, a
// node therefore waits a little, and sends no message when another node did meanwhile.
func (m *Member) announce() {
	m.refreshSoon()
	wait := m.timing.RefreshDelay(m.nodeCount())
	if wait <= m.timing.RefreshDelay(0) {
		m.outbox.add(0, message{Kind: kindShards})
		return
	}
	before := m.shardNews.Load()
	m.work.Go(func() {
		if m.clock.Sleep(m.ctx, rand.N(wait)) && m.shardNews.Load() == before {
			m.outbox.add(0, message{Kind: kindShards})
		}
	})
}

// rejoin joins as another node after this one was evicted.
func (m *Member) rejoin(ctx context.Context) {
	m.options.Log.Warn("the lease of this node expired and other nodes took its shards; it joins again", "node", m.id.Load())
	select {
	case <-m.options.Engine.Abandon():
	case <-ctx.Done():
		return
	}
	m.mu.Lock()
	m.shards = [callbackd.Shards]shardState{}
	m.mu.Unlock()
	m.notAdopted = nil
	id, err := m.options.Store.Join(ctx, m.options.Node)
	if err != nil {
		m.logError(ctx, "not joined, trying again", err) // at the next renewal
		return
	}
	m.id.Store(int64(id))
	m.outbox.restartListener()
	m.announce()
}

// apply does what one renewal asks for: it evicts expired nodes and claims or gives
// up shards. It reports whether any shard changed hands.
func (m *Member) apply(ctx context.Context, r *renewal) (changed bool) {
	found, mine := m.reconcile(r)
	m.adopt(ctx, found)
	p := Decide(r.id, mine, &r.ClusterView, m.timing, r.unbroken)
	for _, expired := range p.Evict {
		evicted, err := m.options.Store.Evict(ctx, expired, m.timing.EvictAfter)
		if err != nil {
			m.logError(ctx, "expired node not evicted, trying again", err)
		}
		if evicted && m.options.Evicted != nil {
			m.options.Evicted(lostNode(&r.ClusterView, expired))
		}
		if evicted {
			m.options.Log.Warn("the lease of a node expired; its shards are divided among the others", "expired", int64(expired))
			changed = true
		}
	}
	if p.Claim > 0 && m.claim(ctx, r.id, p.Claim) {
		changed = true
	}
	if p.GiveUp > 0 {
		m.giveUp(ctx, r.id, p.GiveUp)
	}
	return changed
}

// lostNode returns the name of a node that was evicted, and which nodes of that name were
// there when its lease was last renewed. One that was started after that may have come in its
// place. Nodes of one name are on one host, so the lost one's clock is that of all.
func lostNode(v *store.ClusterView, id callbackd.NodeID) (name string, before callbackd.NodesOfName) {
	at := slices.IndexFunc(v.Nodes, func(n store.Node) bool { return n.ID == id })
	if at < 0 {
		return strconv.FormatInt(int64(id), 10), callbackd.NodesOfName{Newest: id, N: 1}
	}
	lost := &v.Nodes[at]
	renewed := v.At.Add(lost.Skew - lost.Unseen)
	for i := range v.Nodes {
		n := &v.Nodes[i]
		if n.Name == lost.Name && (n.ID == id || n.StartedAt.Before(renewed)) {
			before.Newest, before.N = max(before.Newest, n.ID), before.N+1
		}
	}
	return lost.Name, before
}

// claim takes up to n free shards, and reports whether it got any.
func (m *Member) claim(ctx context.Context, id callbackd.NodeID, n int) bool {
	got, revision, err := m.options.Store.Claim(ctx, id, n)
	if err != nil {
		m.logError(ctx, "shards not claimed, trying again", err)
	}
	if len(got) == 0 {
		return false
	}
	m.setState(got, owned, revision)
	m.adopt(ctx, got)
	select {
	case m.claimed <- struct{}{}:
	default:
	}
	return true
}

func (m *Member) logError(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		m.options.Log.Error(what, "node", m.id.Load(), "error", err)
	}
}

// reconcile counts the shards that this node owns. It also finds shards that this node
// owns without knowing it, because a claim was committed and its answer was lost. A
// renewal from before this node's last change cannot show that.
func (m *Member) reconcile(r *renewal) (found []callbackd.Shard, mine int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.shards {
		if m.shards[i] == notOwned && r.Owners[i] == r.id && m.view.revision >= m.ownRevision {
			m.shards[i] = owned
			found = append(found, callbackd.Shard(i))
		}
		if m.shards[i] == owned {
			mine++
		}
	}
	return found, mine
}

// setState notes the new state of shards, which a change with that revision made.
func (m *Member) setState(shards []callbackd.Shard, to shardState, revision int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ownRevision = max(m.ownRevision, revision)
	for _, s := range shards {
		m.shards[s] = to
	}
}

// adopt makes the engine deliver for owned shards. What it cannot adopt now it
// tries again at the next renewal.
func (m *Member) adopt(ctx context.Context, shards []callbackd.Shard) {
	m.notAdopted = append(m.notAdopted, shards...)
	if len(m.notAdopted) == 0 {
		return
	}
	if err := m.options.Engine.Adopt(ctx, m.notAdopted); err != nil {
		m.logError(ctx, "pending deliveries not read, trying again", err)
		return
	}
	m.notAdopted = nil
}

// giveUp gives up n shards, each as soon as none of its attempts is under way.
func (m *Member) giveUp(ctx context.Context, id callbackd.NodeID, n int) {
	var shards []callbackd.Shard
	m.mu.Lock()
	for i := len(m.shards) - 1; i >= 0 && len(shards) < n; i-- {
		if m.shards[i] == owned {
			m.shards[i] = draining
			shards = append(shards, callbackd.Shard(i))
		}
	}
	m.mu.Unlock()
	m.notAdopted = slices.DeleteFunc(m.notAdopted, func(s callbackd.Shard) bool { return slices.Contains(shards, s) })
	drained := m.options.Engine.Disown(shards)
	m.work.Go(func() { m.releaseDrained(ctx, id, drained) })
}

// releaseDrained frees shards as they are drained, until all are free. What is left
// when ctx ends is freed by Close.
func (m *Member) releaseDrained(ctx context.Context, id callbackd.NodeID, drained <-chan callbackd.Shard) {
	for {
		var shards []callbackd.Shard
		select {
		case s, ok := <-drained:
			if !ok {
				return
			}
			shards = append(shards, s)
		case <-ctx.Done():
			return
		}
		for more := true; more; { // shards that are drained by now are freed together
			select {
			case s, ok := <-drained:
				more = ok
				if ok {
					shards = append(shards, s)
				}
			default:
				more = false
			}
		}
		if !m.release(ctx, id, shards) {
			return
		}
	}
}

// release frees shards. It tries until it succeeds; false: ctx ended first.
func (m *Member) release(ctx context.Context, id callbackd.NodeID, shards []callbackd.Shard) bool {
	for {
		revision, err := m.options.Store.Release(ctx, id, shards)
		if err == nil {
			if id == m.ID() {
				m.setState(shards, notOwned, revision)
			}
			m.announce()
			return true
		}
		m.logError(ctx, "shards not given up, trying again", err)
		if !m.clock.Sleep(ctx, time.Second) {
			return false
		}
	}
}

// rescanEvery is how many lease times pass between two reads of what messages should have
// told the engine.
const rescanEvery = 6

// rescan makes the engine read the queue every few leases, in case messages were
// lost, and soon after this node claimed shards: a node that did not know the new
// owner yet may have sent its messages to the old one, which is gone. Three
// renewals later every live node knows the owner.
func (m *Member) rescan(ctx context.Context) {
	for {
		due, stop := m.clock.Timer(rescanEvery * m.options.Lease)
		select {
		case <-due:
		case <-m.claimed:
			stop()
			if !m.clock.Sleep(ctx, 3*m.timing.Heartbeat) {
				return
			}
		case <-ctx.Done():
			stop()
			return
		}
		if err := m.options.Engine.Rescan(ctx); err != nil {
			m.logError(ctx, "queue not read, trying again", err)
		}
	}
}

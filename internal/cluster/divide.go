package cluster

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"callbackd"
)

// divide does what the views ask for: it alone changes what this node owns,
// except that shards which were given up become free as they are drained.
func (m *Member) divide(ctx context.Context) {
	for {
		select {
		case v := <-m.views:
			if v.id != m.ID() {
				continue // from before this node joined again
			}
			if !v.Alive {
				m.rejoin(ctx)
			} else if m.follow(ctx, &v) {
				m.announce()
			}
		case <-ctx.Done():
			return
		}
	}
}

// announce makes every node look: something changed hands. Word to all costs
// the database something for each of them: of many nodes one waits a little,
// and leaves it when another says it meanwhile.
func (m *Member) announce() {
	m.wake()
	wait := m.timing.Gather(int(m.size.Load()))
	if wait <= m.timing.Gather(0) {
		m.out.add(0, message{Kind: kindShards})
		return
	}
	before := m.heard.Load()
	m.work.Go(func() {
		if pause(m.run, rand.N(wait)) && m.heard.Load() == before {
			m.out.add(0, message{Kind: kindShards})
		}
	})
}

// rejoin begins again as another node: this one was taken for dead.
func (m *Member) rejoin(ctx context.Context) {
	m.o.Log.Warn("this node was taken for dead and its shards went to others; it joins again", "node", m.id.Load())
	select {
	case <-m.o.Engine.Abandon():
	case <-ctx.Done():
		return
	}
	m.mu.Lock()
	m.shards, m.unread = [callbackd.Shards]state{}, nil
	m.mu.Unlock()
	no, err := m.o.Store.Join(ctx, m.o.Node)
	if err != nil {
		m.report(ctx, "not joined, trying again", err) // at the next view
		return
	}
	m.id.Store(int64(no))
	m.out.relisten()
	m.announce()
}

// follow does what one view asks for, and tells whether anything changed
// hands by it.
func (m *Member) follow(ctx context.Context, v *sight) (changed bool) {
	found, mine := m.compare(v)
	m.adopt(ctx, found)
	p := Decide(v.id, mine, &v.ClusterView, m.timing, v.steady)
	for _, dead := range p.Evict {
		buried, err := m.o.Store.Evict(ctx, dead, m.timing.Dead)
		if err != nil {
			m.report(ctx, "dead node not buried, trying again", err)
		}
		if buried {
			m.o.Log.Warn("a node is dead; its shards are divided among the others", "dead", int64(dead))
			changed = true
		}
	}
	if p.Claim > 0 {
		got, revision, err := m.o.Store.Claim(ctx, v.id, p.Claim)
		if err != nil {
			m.report(ctx, "shards not claimed, trying again", err)
		}
		if len(got) > 0 {
			m.set(got, owned, revision)
			m.adopt(ctx, got)
			changed = true
			select {
			case m.took <- struct{}{}:
			default:
			}
		}
	}
	if p.GiveUp > 0 {
		m.giveUp(ctx, v.id, p.GiveUp)
	}
	return changed
}

func (m *Member) report(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		m.o.Log.Error(what, "node", m.id.Load(), "error", err)
	}
}

// compare counts what this node owns, and finds what it owns without knowing:
// by a claim whose commit was not answered. A view from before this node's
// last change says nothing.
func (m *Member) compare(v *sight) (found []callbackd.Shard, mine int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.shards {
		if m.shards[i] == none && v.Owners[i] == v.id && m.known >= m.changed {
			m.shards[i] = owned
			found = append(found, callbackd.Shard(i))
		}
		if m.shards[i] == owned {
			mine++
		}
	}
	return found, mine
}

func (m *Member) set(shards []callbackd.Shard, to state, revision int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changed = max(m.changed, revision)
	for _, s := range shards {
		m.shards[s] = to
	}
}

// adopt lets the engine deliver for shards that are owned. What it cannot
// read now it reads at the next view.
func (m *Member) adopt(ctx context.Context, shards []callbackd.Shard) {
	if m.unread = append(m.unread, shards...); len(m.unread) == 0 {
		return
	}
	if err := m.o.Engine.Adopt(ctx, m.unread); err != nil {
		m.report(ctx, "what is owed was not read, trying again", err)
		return
	}
	m.unread = nil
}

// giveUp gives up n shards, each as soon as nothing of it is under way.
func (m *Member) giveUp(ctx context.Context, no callbackd.NodeID, n int) {
	var shards []callbackd.Shard
	m.mu.Lock()
	for i := len(m.shards) - 1; i >= 0 && len(shards) < n; i-- {
		if m.shards[i] == owned {
			m.shards[i] = givenUp
			shards = append(shards, callbackd.Shard(i))
		}
	}
	m.mu.Unlock()
	m.unread = slices.DeleteFunc(m.unread, func(s callbackd.Shard) bool { return slices.Contains(shards, s) })
	drained := m.o.Engine.Disown(shards)
	m.work.Go(func() { m.release(ctx, no, drained) })
}

// release frees shards as they are drained.
func (m *Member) release(ctx context.Context, no callbackd.NodeID, drained <-chan callbackd.Shard) {
	for {
		var shards []callbackd.Shard
		select {
		case s, ok := <-drained:
			if !ok {
				return
			}
			shards = append(shards, s)
		case <-ctx.Done():
			return // Leave frees them
		}
		for more := true; more; {
			select {
			case s, ok := <-drained:
				if more = ok; ok {
					shards = append(shards, s)
				}
			default:
				more = false
			}
		}
		for {
			revision, err := m.o.Store.Release(ctx, no, shards)
			if err == nil {
				if no == m.ID() {
					m.set(shards, none, revision)
				}
				m.announce()
				break
			}
			m.report(ctx, "shards not given up, trying again", err)
			if !pause(ctx, time.Second) {
				return
			}
		}
	}
}

// every is how often, in leases, an engine reads what messages should have
// told it.
const every = 6

// rescan is the net under the messages: now and then, and soon after this node
// took shards. A node that did not know yet may have told the owner before, who
// is gone; three renewals later every living node knows.
func (m *Member) rescan(ctx context.Context) {
	for {
		t := time.NewTimer(every * m.o.Lease)
		select {
		case <-t.C:
		case <-m.took:
			t.Stop()
			if !pause(ctx, 3*m.timing.Heartbeat) {
				return
			}
		case <-ctx.Done():
			t.Stop()
			return
		}
		if err := m.o.Engine.Rescan(ctx); err != nil {
			m.report(ctx, "queue not read, trying again", err)
		}
	}
}

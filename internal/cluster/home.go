package cluster

import (
	"context"
	"fmt"
	"time"

	"callbackd"
)

// Home returns the home of a key as the last renewal of the lease returned it. Another
// node may be the home by now: see [Member.Refresh].
func (m *Member) Home(key callbackd.KeyID) callbackd.Home {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := callbackd.ShardOf(key)
	if m.shards[s] == owned {
		return callbackd.Home{Here: true, Node: m.ID()}
	}
	node := m.view.owners[s]
	if node == m.ID() { // this node gives up the shard
		node = 0
	}
	return callbackd.Home{Node: node, Address: m.view.addresses[node]}
}

// Refresh renews the lease and returns when the answer is in use, so that Home knows
// every change of owners that was committed before Refresh was called. Calls at the same
// time share a renewal. It fails when ctx ends first.
func (m *Member) Refresh(ctx context.Context) error {
	renewed := make(chan struct{})
	m.mu.Lock()
	m.awaiting = append(m.awaiting, renewed)
	m.mu.Unlock()
	m.refreshSoon()
	select {
	case <-renewed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// DatabaseTime returns the time by the database's clock, as far as this node knows it.
func (m *Member) DatabaseTime() time.Time {
	return m.options.Now().Add(-time.Duration(m.lease.ahead.Load()))
}

// unrenewed is how many heartbeats in a row may fail until a node is not ready for the
// calls of other nodes.
const unrenewed = 3

// Ready returns an error when the node has not renewed its lease for a few heartbeats.
// Then it probably does not reach the database, and other nodes may.
func (m *Member) Ready() error {
	since := m.clock.Now().Sub(time.Unix(0, m.lease.renewedAt.Load()))
	if since > unrenewed*m.timing.Heartbeat {
		return fmt.Errorf("the lease was not renewed for %v", since.Round(time.Millisecond))
	}
	return nil
}

// takeAwaiting returns the calls of Refresh that a renewal which begins now answers.
func (m *Member) takeAwaiting() []chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	waiting := m.awaiting
	m.awaiting = nil
	return waiting
}

// keepAwaiting leaves calls of Refresh to the next renewal, because this one failed.
func (m *Member) keepAwaiting(waiting []chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.awaiting = append(m.awaiting, waiting...)
}

// Package cluster makes a process one of the nodes on a database: it renews the
// node's lease, divides the shards with the other nodes, and carries messages
// between their engines.
//
// The engine delivers for the shards this node owns and for no others. The store
// refuses what a node records after it was evicted. Messages only save time:
// everything they tell of is in the store. It is read there when a shard is
// adopted, when messages may have been lost, and every few leases.
package cluster

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"callbackd"
	"callbackd/internal/clock"
	"callbackd/internal/store"
)

// Engine delivers for the shards of this node; engine.Engine says what each
// method does.
type Engine interface {
	Adopt(ctx context.Context, shards []callbackd.Shard) error
	Disown(shards []callbackd.Shard) <-chan callbackd.Shard
	Abandon() <-chan struct{}
	SetLease(until time.Time)
	Rescan(ctx context.Context) error
	OnCommit(ds []callbackd.Delivery)
	AcceptedElsewhere(d callbackd.Delivery)
	Resent(d callbackd.Delivery)
	Replayed(ds []callbackd.Delivery)
	CallbackChanged(id callbackd.CallbackID)
	Watch(id callbackd.DeliveryID) (done <-chan struct{}, stop func())
	Diagnosis(id callbackd.CallbackID, session string, now time.Time) callbackd.Diagnosis
	InFlight() int
}

// Clock is the time by which a member waits and measures its lease. Durations are those
// of the node's monotonic clock.
type Clock interface {
	Now() time.Time
	// Sleep waits for d, and reports whether it did. It returns as soon as ctx ends.
	Sleep(ctx context.Context, d time.Duration) bool
	// Timer returns a channel that gives one value after d, unless stop is called.
	Timer(d time.Duration) (c <-chan time.Time, stop func())
	// WithTimeout returns a context that ends after d.
	WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
}

// Options holds the options of a Member. All but Lease, Clock and Now are required.
type Options struct {
	Store  store.Cluster
	Engine Engine
	Node   store.Node    // name, address, version, start
	Lease  time.Duration // the failover time; 0: DefaultLease
	Log    *slog.Logger
	// Attempted reports whether an attempt of a delivery was recorded.
	Attempted func(ctx context.Context, id callbackd.DeliveryID) (bool, error)
	// KeyOf returns the key of a callback.
	KeyOf func(ctx context.Context, id callbackd.CallbackID) (callbackd.KeyID, error)
	// ReplaysChanged is called when a replay was created or resumed here.
	ReplaysChanged func()
	// Evicted is called with the name of a node that this one evicted, and the nodes of that
	// name that were there until then; nil: nothing is.
	Evicted func(name string, before callbackd.NodesOfName)
	// Clock is the node's clock; nil: this machine's.
	Clock Clock
	// Now returns the time of the wall clock, which is compared with the database's;
	// nil: that of Clock.
	Now func() time.Time
}

// Member is this process as a node. Make it with [Join].
type Member struct {
	options Options
	clock   Clock
	timing  Timing
	ctx     context.Context // of all goroutines; ends with Close
	cancel  context.CancelFunc
	work    sync.WaitGroup

	id        atomic.Int64
	shardNews atomic.Uint64 // how many messages have said that shards changed hands
	refresh   chan struct{} // asks for a renewal of the lease now
	renewals  chan renewal  // the latest renewal, until divide takes it
	claimed   chan struct{} // has a value after this node claimed shards
	outbox    outbox
	changes   changes
	lease     lease

	mu          sync.Mutex
	shards      [callbackd.Shards]shardState
	view        view
	awaiting    []chan struct{} // calls of Refresh; closed by the next renewal
	ownRevision int64           // the revision that this node made last
	leaving     bool

	// Only divide uses this: owned shards that the engine could not adopt yet.
	notAdopted []callbackd.Shard
}

// lease is what this node knows of its lease. Only heartbeats uses and changes it; others
// read what is atomic.
type lease struct {
	renewedAt     atomic.Int64 // when the last renewal began, in nanoseconds since 1970
	ahead         atomic.Int64 // how far the clock is ahead of the database's, in nanoseconds
	renewal       time.Time    // when the last one began
	renewalWall   time.Time    // the same by the wall clock, which may be set
	unbrokenSince time.Time    // when the renewals without a gap began
	renewalFailed bool
	clockIsOff    bool
}

// view is what the last renewal showed of the nodes. Only heartbeats changes it.
type view struct {
	owners      []callbackd.NodeID          // of all shards, as far as is known
	revision    int64                       // of owners
	shardCounts map[callbackd.NodeID]int    // of owners
	addresses   map[callbackd.NodeID]string // where other nodes reach each node
}

// renewal is what one renewal of the lease returned.
type renewal struct {
	store.ClusterView
	id       callbackd.NodeID // the node's ID at that time
	unbroken bool             // no gap between the renewals for EvictAfter
}

// shardState is whether this node owns a shard.
type shardState uint8

const (
	notOwned shardState = iota
	owned
	draining // given up; free when everything under way is recorded
)

// Join makes this process a node and begins to divide the shards. It waits for the
// database, and for no other node.
func Join(ctx context.Context, o Options) (*Member, error) {
	m := newMember(o)
	id, err := o.Store.Join(ctx, o.Node)
	if err != nil {
		return nil, err
	}
	m.id.Store(int64(id))
	m.ctx, m.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, task := range []func(context.Context){m.heartbeats, m.divide, m.listen, m.sendMessages, m.rescan} {
		m.work.Go(func() { task(m.ctx) })
	}
	return m, nil
}

// newMember makes a member that has not joined.
func newMember(o Options) *Member {
	if o.Lease == 0 {
		o.Lease = DefaultLease
	}
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Now == nil {
		o.Now = o.Clock.Now
	}
	m := &Member{
		options:  o,
		clock:    o.Clock,
		timing:   TimingOf(o.Lease),
		refresh:  make(chan struct{}, 1),
		renewals: make(chan renewal, 1),
		claimed:  make(chan struct{}, 1),
		view:     view{owners: make([]callbackd.NodeID, callbackd.Shards)},
	}
	m.outbox.notEmpty = make(chan struct{}, 1)
	return m
}

// ID returns the node's ID. It changes when the node was evicted and joined again.
func (m *Member) ID() callbackd.NodeID { return callbackd.NodeID(m.id.Load()) }

// Timing returns the intervals of this node's lease.
func (m *Member) Timing() Timing { return m.timing }

// Owns reports whether this node owns a shard.
func (m *Member) Owns(s callbackd.Shard) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.shards[s] == owned
}

// Leave begins to give up all shards, each as soon as none of its attempts is under way,
// and claims no others. It does not wait. Call [Member.Close] afterwards.
func (m *Member) Leave() {
	m.mu.Lock()
	m.leaving = true
	m.mu.Unlock()
	m.refreshSoon()
}

// Close ends the node. What it still owns becomes free for the others.
func (m *Member) Close(ctx context.Context) error {
	m.cancel()
	m.work.Wait()
	err := m.options.Store.Leave(ctx, m.ID())
	if err == nil {
		err = m.options.Store.Notify(ctx, []store.Message{{Body: bodyOf(message{Kind: kindShards})}})
	}
	return err
}

// nodeCount returns how many nodes the last renewal showed.
func (m *Member) nodeCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.view.addresses)
}

// refreshSoon makes the next renewal come now, for the view that it returns.
func (m *Member) refreshSoon() {
	select {
	case m.refresh <- struct{}{}:
	default:
	}
}

// heartbeats renews the lease until ctx ends. It does nothing that can take long, because
// the lease would expire meanwhile.
func (m *Member) heartbeats(ctx context.Context) {
	for {
		m.heartbeat(ctx)
		due, stop := m.clock.Timer(m.timing.Heartbeat)
		select {
		case <-due:
		case <-m.refresh:
		case <-ctx.Done():
			stop()
			return
		}
		stop()
		// Half of the delay is random, so that not all nodes read at the same moment.
		delay := m.timing.RefreshDelay(m.nodeCount())
		if !m.clock.Sleep(ctx, delay/2+rand.N(delay/2)) {
			return
		}
		select { // the next heartbeat is also the answer to requests that came meanwhile
		case <-m.refresh:
		default:
		}
	}
}

// heartbeat renews the lease once.
func (m *Member) heartbeat(ctx context.Context) {
	m.mu.Lock()
	leaving := m.leaving
	m.mu.Unlock()
	b := store.Heartbeat{
		ID:       m.ID(),
		InFlight: m.options.Engine.InFlight(),
		Leaving:  leaving,
		Skew:     time.Duration(m.lease.ahead.Load()),
	}
	awaiting := m.takeAwaiting()
	start := m.clock.Now()
	wall := m.options.Now().Round(0)
	limited, cancel := m.clock.WithTimeout(ctx, m.timing.TrustFor-m.timing.Heartbeat)
	v, err := m.options.Store.Heartbeat(limited, b, m.view.revision)
	cancel()
	if err != nil {
		if !m.lease.renewalFailed && ctx.Err() == nil {
			m.options.Log.Error("lease not renewed, trying again", "node", int64(b.ID), "error", err)
		}
		m.lease.renewalFailed = true
		m.keepAwaiting(awaiting)
		return
	}
	if m.lease.renewalFailed {
		m.options.Log.Info("the database answers again", "node", int64(b.ID))
		m.lease.renewalFailed = false
	}
	if v.Alive {
		if m.gapBefore(start, wall) {
			m.lease.unbrokenSince = start
		}
		m.lease.renewal = start
		m.lease.renewalWall = wall
		m.lease.renewedAt.Store(start.UnixNano())
		m.options.Engine.SetLease(start.Add(m.timing.TrustFor))
		m.compareClocks(wall, m.clock.Now().Sub(start), v.At)
	}
	m.publish(renewal{
		ClusterView: v,
		id:          b.ID,
		unbroken:    start.Sub(m.lease.unbrokenSince) >= m.timing.EvictAfter,
	})
	for _, renewed := range awaiting {
		close(renewed)
	}
}

// gapBefore reports whether EvictAfter or more has passed since the last renewal, by the
// wall clock or the monotonic one. Then the cause, such as a database that was away, may
// have kept other nodes from renewing too, and does not show that they failed.
func (m *Member) gapBefore(start, wall time.Time) bool {
	if m.lease.renewal.IsZero() {
		return true
	}
	passed := max(start.Sub(m.lease.renewal), wall.Sub(m.lease.renewalWall))
	return passed >= m.timing.EvictAfter
}

// compareClocks measures how far the wall clock is from the database's. A difference
// within half of the round trip may come from the round trip, and counts as none.
func (m *Member) compareClocks(wall time.Time, took time.Duration, database time.Time) {
	ahead := wall.Add(took / 2).Sub(database)
	if ahead.Abs() <= took/2 {
		ahead = 0
	}
	m.lease.ahead.Store(int64(ahead))
	isOff := ahead.Abs() > callbackd.MaxSkew
	if isOff == m.lease.clockIsOff {
		return
	}
	m.lease.clockIsOff = isOff
	if isOff {
		m.options.Log.Error("the clock of this machine is too far from the database's: the node owns no shards until it is set right", "ahead", ahead, "limit", callbackd.MaxSkew)
	} else {
		m.options.Log.Info("the clock is right again")
	}
	m.refreshSoon()
}

// publish notes who owns what, and gives the renewal to divide in place of an
// older one that divide has not taken yet.
func (m *Member) publish(r renewal) {
	m.mu.Lock()
	if r.Owners != nil {
		m.view.owners = r.Owners
		m.view.revision = r.Revision
		m.view.shardCounts = map[callbackd.NodeID]int{}
		for _, id := range r.Owners {
			m.view.shardCounts[id]++
		}
	}
	r.Owners = m.view.owners
	m.view.addresses = make(map[callbackd.NodeID]string, len(r.Nodes))
	for i := range r.Nodes {
		m.view.addresses[r.Nodes[i].ID] = r.Nodes[i].Inner
	}
	m.mu.Unlock()
	for i := range r.Nodes {
		r.Nodes[i].Shards = m.view.shardCounts[r.Nodes[i].ID]
	}
	select {
	case <-m.renewals:
	default:
	}
	m.renewals <- r
}

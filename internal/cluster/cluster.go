// Package cluster makes a process one of the nodes on a database: it keeps
// the node's lease, divides the shards with the other nodes, and carries word
// between the engines of them.
//
// The engine delivers for the shards this node owns and for no others; the
// store refuses what a node records after it was taken for dead. Messages
// make things fast and are never needed: everything a message tells of is in
// the store, and is found there when a shard is adopted, when messages may
// have been lost, and now and then.
package cluster

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// Engine is what delivers.
type Engine interface {
	Adopt(ctx context.Context, shards []callbackd.Shard) error
	Disown(shards []callbackd.Shard) <-chan callbackd.Shard
	Abandon() <-chan struct{}
	Hold(until time.Time)
	Rescan(ctx context.Context) error
	Look(ds []callbackd.Delivery)
	OnCommit(ds []callbackd.Delivery)
	Retry(d callbackd.Delivery)
	Replay(ds []callbackd.Delivery)
	CallbackChanged(no callbackd.CallbackID)
	Watch(id callbackd.DeliveryID) (done <-chan struct{}, stop func())
	Diagnosis(no callbackd.CallbackID, session string, now time.Time) callbackd.Diagnosis
	InFlight() int
}

// Options of a member. All but Lease and Now are required.
type Options struct {
	Store  store.Cluster
	Engine Engine
	Node   store.Node    // name, address, version, start
	Lease  time.Duration // 0: DefaultLease
	Log    *slog.Logger
	// Tried tells whether an attempt of a delivery was recorded.
	Tried func(ctx context.Context, id callbackd.DeliveryID) (bool, error)
	// ReplaysChanged is called when another node says that a replay was
	// created or resumed.
	ReplaysChanged func()
	// Now is the wall clock that is compared with the database's; nil: the
	// real one.
	Now func() time.Time
}

// Member is this process as a node. Make it with [Join].
type Member struct {
	o      Options
	timing Timing
	id     atomic.Int64
	size   atomic.Int64  // number of nodes
	heard  atomic.Uint64 // how often word came that something changed hands
	wakeup chan struct{}
	views  chan sight
	took   chan struct{} // shards
	out    outbox
	asks   asks
	work   sync.WaitGroup
	run    context.Context
	stop   context.CancelFunc

	mu      sync.Mutex
	shards  [callbackd.Shards]state
	owners  []callbackd.NodeID // as far as is known
	changed int64              // the revision that this node made last
	leaving bool

	// Of the goroutine of beats alone.
	known  int64     // revision of owners
	last   time.Time // start of the last renewal
	since  time.Time // since when renewals had no gap
	skew   time.Duration
	failed bool
	skewed bool

	// Of the goroutine of the division alone.
	unread []callbackd.Shard // owned, and the engine could not read what is owed
}

// sight is what one renewal showed.
type sight struct {
	store.ClusterView
	id     callbackd.NodeID // whose renewal it was
	steady bool             // renewals had no gap for as long as it takes to be dead
}

// state is what this node has of a shard.
type state uint8

const (
	none state = iota
	owned
	givenUp // until what is under way is recorded
)

// Join makes this process a node and begins to divide the shards. It waits
// for nothing but the database.
func Join(ctx context.Context, o Options) (*Member, error) {
	if o.Lease == 0 {
		o.Lease = DefaultLease
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &Member{o: o, timing: TimingOf(o.Lease), wakeup: make(chan struct{}, 1), views: make(chan sight, 1), took: make(chan struct{}, 1), owners: make([]callbackd.NodeID, callbackd.Shards)}
	m.out.wake = make(chan struct{}, 1)
	m.asks.waiting = map[uint64]chan message{}
	no, err := o.Store.Join(ctx, o.Node)
	if err != nil {
		return nil, err
	}
	m.id.Store(int64(no))
	m.run, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	for _, part := range []func(context.Context){m.heartbeats, m.divide, m.listen, m.deliver, m.rescan} {
		m.work.Go(func() { part(m.run) })
	}
	return m, nil
}

// ID is the node's number. It changes when the node was taken for dead and
// joined again.
func (m *Member) ID() callbackd.NodeID { return callbackd.NodeID(m.id.Load()) }

// Owns tells whether a shard is this node's.
func (m *Member) Owns(s callbackd.Shard) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.shards[s] == owned
}

// Leave gives the shards away, each as soon as nothing of it is under way,
// and takes none any more. It returns at once; [Member.Close] ends it.
func (m *Member) Leave() {
	m.mu.Lock()
	m.leaving = true
	m.mu.Unlock()
	m.wake()
}

// Close ends the node: what it still owns is free for others from now on.
func (m *Member) Close(ctx context.Context) error {
	m.stop()
	m.work.Wait()
	err := m.o.Store.Leave(ctx, m.ID())
	if err == nil {
		err = m.o.Store.Notify(ctx, []store.Message{{Body: bodyOf(message{Kind: kindShards})}})
	}
	return err
}

// hurry makes the next renewal come now.
func (m *Member) wake() {
	select {
	case m.wakeup <- struct{}{}:
	default:
	}
}

// beats renews the lease. Nothing that can take long is done here.
func (m *Member) heartbeats(ctx context.Context) {
	for {
		m.heartbeat(ctx)
		t := time.NewTimer(m.timing.Heartbeat)
		select {
		case <-t.C:
		case <-m.wakeup:
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
		gather := m.timing.Gather(int(m.size.Load()))
		if !pause(ctx, gather/2+rand.N(gather/2)) { // not all nodes in one moment
			return
		}
		select { // several pokes are one
		case <-m.wakeup:
		default:
		}
	}
}

func (m *Member) heartbeat(ctx context.Context) {
	m.mu.Lock()
	b := store.Heartbeat{ID: m.ID(), InFlight: m.o.Engine.InFlight(), Leaving: m.leaving, Skew: m.skew}
	m.mu.Unlock()
	start, wall := time.Now(), m.o.Now()
	bound, cancel := context.WithTimeout(ctx, m.timing.Holds-m.timing.Heartbeat)
	v, err := m.o.Store.Heartbeat(bound, b, m.known)
	cancel()
	if err != nil {
		if !m.failed && ctx.Err() == nil {
			m.o.Log.Error("lease not renewed, trying again", "node", int64(b.ID), "error", err)
		}
		m.failed = true
		return
	}
	if m.failed {
		m.o.Log.Info("the database answers again", "node", int64(b.ID))
		m.failed = false
	}
	if v.Alive {
		if m.last.IsZero() || start.Round(0).Sub(m.last.Round(0)) >= m.timing.Dead || start.Sub(m.last) >= m.timing.Dead {
			m.since = start // a gap: others may have had it too
		}
		m.last = start
		m.o.Engine.Hold(start.Add(m.timing.Holds))
		m.compareClocks(wall, time.Since(start), v.At)
	}
	m.size.Store(int64(len(v.Nodes)))
	m.see(sight{v, b.ID, start.Sub(m.since) >= m.timing.Dead})
}

// compareClocks measures how far the wall clock is from the database's. What
// the way there and back took is not held against it.
func (m *Member) compareClocks(wall time.Time, took time.Duration, db time.Time) {
	skew := wall.Add(took / 2).Sub(db)
	if skew.Abs() <= took/2 {
		skew = 0
	}
	m.skew = skew
	if far := skew.Abs() > callbackd.MaxSkew; far != m.skewed {
		if m.skewed = far; far {
			m.o.Log.Error("the clock of this machine is too far from the database's: the node owns no shards until it is set right", "ahead", skew, "limit", callbackd.MaxSkew)
		} else {
			m.o.Log.Info("the clock is right again")
		}
		m.wake()
	}
}

// see notes who owns what and gives the view to the divider.
func (m *Member) see(v sight) {
	m.mu.Lock()
	if v.Owners != nil {
		m.owners, m.known = v.Owners, v.Revision
	}
	v.Owners = m.owners
	m.mu.Unlock()
	count := map[callbackd.NodeID]int{}
	for _, no := range v.Owners {
		count[no]++
	}
	for i := range v.Nodes {
		v.Nodes[i].Shards = count[v.Nodes[i].ID]
	}
	select {
	case <-m.views: // an older one that was not looked at
	default:
	}
	m.views <- v
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

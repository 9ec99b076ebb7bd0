package store

import (
	"context"
	"time"

	"callbackd"
)

// Cluster is how processes share one database: which exist, which shard is
// whose, and what they tell each other. A driver that one process owns alone
// does not have it.
//
// A node's lease is its row: it is renewed by Heartbeat, and whoever finds it not
// renewed for too long, by the clock of the database, may Evict the node. From
// that commit on the store refuses what the buried node records, and its
// shards are free. A number is never given out again, so it fences like an
// epoch.
type Cluster interface {
	// Join makes this process a node, and everything that this store records
	// from then on is recorded in its name.
	Join(ctx context.Context, n Node) (callbackd.NodeID, error)
	// Heartbeat renews the lease and returns what the cluster looks like. Owners
	// is nil when nothing changed hands since the revision known.
	Heartbeat(ctx context.Context, b Heartbeat, known int64) (ClusterView, error)
	// Claim gives the node up to limit of the free shards, and returns the
	// revision that this made. Conflict when the node was buried.
	Claim(ctx context.Context, no callbackd.NodeID, limit int) ([]callbackd.Shard, int64, error)
	// Release frees shards of the node, and returns the revision that this
	// made. The node must record nothing for them any more.
	Release(ctx context.Context, no callbackd.NodeID, shards []callbackd.Shard) (int64, error)
	// Evict ends a node whose lease was not renewed for the given time, and
	// frees its shards. It waits for what that node has under way to be
	// recorded. false: it had renewed its lease, or was buried already.
	Evict(ctx context.Context, no callbackd.NodeID, unseen time.Duration) (bool, error)
	// Leave is Evict of the node itself.
	Leave(ctx context.Context, no callbackd.NodeID) error
	// Nodes returns all nodes with what they own and have to do.
	Nodes(ctx context.Context) ([]Node, error)

	// Renew makes what is asked from now on know every change of settings
	// that was committed before, by any node.
	Renew()
	// Message sends messages to nodes, durable nowhere: a message may be lost,
	// and comes at most once.
	Notify(ctx context.Context, posts []Message) error
	// Listen calls ready once it hears, and then f for each message to the
	// node or to all, until ctx ends or the connection is lost.
	Listen(ctx context.Context, no callbackd.NodeID, ready func(), f func(body string)) error
}

// MaxMessage is the longest body of a message, in bytes.
const MaxMessage = 7900

// Message is a message to a node; To 0: to all, the sender too.
type Message struct {
	To   callbackd.NodeID
	Body string
}

// Node is one process and its lease.
type Node struct {
	ID        callbackd.NodeID
	Name      string
	Address   string
	Version   string
	StartedAt time.Time
	Unseen    time.Duration // since its lease was renewed, by the database's clock
	Shards    int
	Owed      int   // callbacks of its shards with something pending; of Nodes alone
	Backlog   int64 // that many deliveries, MaxCounted of a callback at most; of Nodes alone
	Heartbeat
}

// MaxCounted bounds how many pending deliveries of one callback are counted.
const MaxCounted = 10_000

// Heartbeat is what a node says when it renews its lease.
type Heartbeat struct {
	ID       callbackd.NodeID
	InFlight int           // attempts under way
	Leaving  bool          // it gives its shards away and takes none
	Skew     time.Duration // of its clock, ahead of the database's
}

// ClusterView is the state of the cluster at one moment.
type ClusterView struct {
	Alive    bool      // the node that asks was not buried
	At       time.Time // the clock of the database
	Revision int64     // counts changes of hands
	Nodes    []Node    // by number
	Owners   []callbackd.NodeID
}

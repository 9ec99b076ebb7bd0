package store

import (
	"context"
	"time"

	"callbackd"
)

// Cluster lets several processes share one database: it knows the nodes, divides
// the shards among them and carries their messages. A driver with one process
// does not have it.
//
// A node's row is its lease. Heartbeat renews it. Any node may Evict a node whose
// lease was not renewed for too long by the database's clock. From that commit on
// the store refuses the records of the evicted node, and its shards are free. The ID
// of a node is never used again, so it serves as a fencing token.
type Cluster interface {
	// Join makes this process a node. From then on this store records outcomes
	// in the node's name.
	Join(ctx context.Context, n Node) (callbackd.NodeID, error)
	// Heartbeat renews the lease and returns the state of the cluster. Owners is
	// nil when no shard changed its owner since the revision known.
	Heartbeat(ctx context.Context, b Heartbeat, known int64) (ClusterView, error)
	// Claim gives the node up to limit of the free shards, and returns the new
	// revision. Conflict when the node was evicted.
	Claim(ctx context.Context, id callbackd.NodeID, limit int) ([]callbackd.Shard, int64, error)
	// Release frees shards of the node, and returns the new revision. The node
	// must record nothing for them any more.
	Release(ctx context.Context, id callbackd.NodeID, shards []callbackd.Shard) (int64, error)
	// Evict removes a node whose lease was not renewed for the given time, and
	// frees its shards. It waits until outcomes that the node is recording are
	// stored. It returns false when the node has renewed its lease or was
	// evicted already.
	Evict(ctx context.Context, id callbackd.NodeID, unseen time.Duration) (bool, error)
	// Leave removes the node itself.
	Leave(ctx context.Context, id callbackd.NodeID) error
	// Nodes returns all nodes, with the number of their shards and their backlog.
	Nodes(ctx context.Context) ([]Node, error)

	// Renew drops cached settings: reads from now on see every change of
	// settings that any node committed before.
	Renew()
	// Notify sends messages to nodes. No message is stored: it may be lost, and
	// it arrives at most once.
	Notify(ctx context.Context, posts []Message) error
	// Listen calls ready when it is connected, and then f for each message to the
	// node or to all nodes. It returns when ctx ends or the connection is lost.
	Listen(ctx context.Context, id callbackd.NodeID, ready func(), f func(body string)) error
}

// MaxMessage is the longest body of a message, in bytes.
const MaxMessage = 7900

// Message is a message to a node, or to all nodes including the sender when To is 0.
type Message struct {
	To   callbackd.NodeID
	Body string
}

// Node is one process and its lease.
type Node struct {
	ID        callbackd.NodeID
	Name      string
	Address   string // where clients reach it
	Inner     string // where other nodes reach it; empty: they cannot
	Version   string
	StartedAt time.Time
	Keyset    callbackd.Keyset // empty: of a version that does not say it; Join and Heartbeat set it
	Unseen    time.Duration    // since its lease was renewed, by the database's clock
	Shards    int
	Callbacks int   // callbacks of its shards with pending deliveries; set by Nodes only
	Backlog   int64 // pending deliveries, at most MaxCounted of each callback; set by Nodes only
	Heartbeat
}

// MaxCounted is the most pending deliveries of one callback that Nodes counts.
const MaxCounted = 10_000

// Heartbeat is the report of a node that renews its lease.
type Heartbeat struct {
	ID       callbackd.NodeID
	InFlight int           // attempts in flight
	Leaving  bool          // the node gives up its shards and takes none
	Skew     time.Duration // how far its clock is ahead of the database's
}

// ClusterView is the state of the cluster at one moment.
type ClusterView struct {
	Alive    bool      // the node that asks was not evicted
	At       time.Time // the clock of the database
	Revision int64     // counts changes of owners
	Nodes    []Node    // by ID
	Owners   []callbackd.NodeID
}

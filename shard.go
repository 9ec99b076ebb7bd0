package callbackd

import "time"

// MaxSkew is how far a node's clock may be from the database's. A node beyond
// it owns no shards.
const MaxSkew = 2 * time.Minute

// Shards is the number of shards. It never changes, because nodes of all versions must
// agree on the shard of a key.
const Shards = 4096

// Shard is a share of all API keys. One node owns it, or none for a moment. That node is
// the home of the keys: only it sends the deliveries of their callbacks.
type Shard uint16

// ShardOf returns the shard of a key. IDs are consecutive, and steps of the golden ratio
// spread consecutive IDs evenly over the shards. So all nodes share the work also when
// there are few keys.
func ShardOf(id KeyID) Shard { return Shard(uint16(id) * shardStep >> 4) }

// shardStep is 2¹⁶ divided by the golden ratio. An odd factor reaches every shard.
const shardStep = 40503

// NodeID identifies a node. A process gets a new ID each time that it joins, and no ID is
// used twice. 0 means that there is no node.
type NodeID int64

// Home says which node is the home of an API key, as far as a node knows: the one that
// owns the key's shard.
type Home struct {
	Here    bool   // the node that was asked is
	Node    NodeID // the home; 0: none is known
	Address string // where other nodes reach it; empty: they cannot
}

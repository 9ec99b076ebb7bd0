package callbackd

import "time"

// MaxSkew is how far a node's clock may be from the database's. A node beyond
// it owns no shards.
const MaxSkew = 2 * time.Minute

// Shards is the number of shares that callbacks are divided into. It is fixed:
// every node of every version must find a callback in the same one.
const Shards = 4096

// Shard is one of the shares: what one node delivers for, and no other, as
// long as it owns it.
type Shard uint16

// ShardOf is the shard of a callback. Numbers are given out one after the
// other: steps of the golden ratio put any run of them evenly over all shards,
// so that few callbacks too are shared by all nodes.
func ShardOf(no CallbackID) Shard { return Shard(uint16(no) * shardStep >> 4) }

const shardStep = 40503 // 2¹⁶ over the golden ratio, odd

// NodeID numbers the processes that ever shared a database; none has the
// number of another, not even of itself before a restart. 0 is none.
type NodeID int64

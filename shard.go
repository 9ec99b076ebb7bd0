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
// other, so that each shard has as many callbacks as any other.
func ShardOf(no CallbackNo) Shard { return Shard(uint64(no) % Shards) }

// NodeNo numbers the processes that ever shared a database; none has the
// number of another, not even of itself before a restart. 0 is none.
type NodeNo int64

// LaneCursor is a place in a lane: behind the event After of the session.
type LaneCursor struct {
	Session string
	After   EventID
}

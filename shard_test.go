package callbackd_test

import (
	"testing"

	"callbackd"
)

// Any run of keys is spread evenly over any split of the shards: with as
// many keys as shards each shard has one, and few ones reach all nodes.
func TestShardsAreEven(t *testing.T) {
	for _, first := range []callbackd.KeyID{1, 1000, 1 << 20, 1 << 40} {
		var count [callbackd.Shards]int
		for i := range callbackd.KeyID(1 << 16) {
			count[callbackd.ShardOf(first+i)]++
		}
		for s, n := range count {
			if n != 16 {
				t.Fatalf("shard %d has %d of 65,536 keys from %d on, not 16", s, n, first)
			}
		}
		for _, nodes := range []int{2, 3, 7} {
			of := make([]int, nodes)
			for i := range callbackd.KeyID(10 * nodes) {
				of[int(callbackd.ShardOf(first+i))*nodes/callbackd.Shards]++
			}
			for node, n := range of {
				if n < 8 || n > 12 {
					t.Errorf("node %d of %d has %d of %d keys from %d on", node, nodes, n, 10*nodes, first)
				}
			}
		}
	}
}

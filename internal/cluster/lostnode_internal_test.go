package cluster

import (
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/store"
)

// The nodes of a host that were there with a lost one do not count as its return, whichever of
// them joined first. One that was started in its place before it was evicted does.
func TestWhoWasThereWithALostNode(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	node := func(id callbackd.NodeID, name string, started time.Duration) store.Node {
		return store.Node{ID: id, Name: name, StartedAt: now.Add(started)}
	}
	lost := node(3, "a", -time.Hour)
	lost.Unseen = 10 * time.Second
	for _, c := range []struct {
		what   string
		ahead  time.Duration // the clock of the host
		others []store.Node
		want   callbackd.NodesOfName
	}{
		{"no other", 0, nil, callbackd.NodesOfName{Newest: 3, N: 1}},
		{"others of the host", 0, []store.Node{node(2, "a", -time.Hour), node(7, "a", -time.Minute)}, callbackd.NodesOfName{Newest: 7, N: 3}},
		{"another host", 0, []store.Node{node(7, "b", -time.Minute)}, callbackd.NodesOfName{Newest: 3, N: 1}},
		{"started again", 0, []store.Node{node(7, "a", -time.Minute), node(8, "a", -9*time.Second)}, callbackd.NodesOfName{Newest: 7, N: 2}},
		{"by a clock that is ahead", time.Minute, []store.Node{node(7, "a", 49*time.Second), node(8, "a", 51*time.Second)}, callbackd.NodesOfName{Newest: 7, N: 2}},
	} {
		lost.Skew = c.ahead
		v := &store.ClusterView{At: now, Nodes: append([]store.Node{lost}, c.others...)}
		if name, got := lostNode(v, 3); name != "a" || got != c.want {
			t.Errorf("%s: %s with %+v, want a with %+v", c.what, name, got, c.want)
		}
	}
	if name, got := lostNode(&store.ClusterView{}, 3); name != "3" || got != (callbackd.NodesOfName{Newest: 3, N: 1}) {
		t.Errorf("a node that no list has: %s with %+v", name, got)
	}
}

package home_test

import (
	"net/http"
	"testing"
	"time"
)

// TestKeysAreReplaced replaces the key of two nodes, one node at a time. They know each
// other as long as they have one key in common, whichever comes first.
func TestKeysAreReplaced(t *testing.T) {
	t.Parallel()
	old, next := []byte("the old key"), []byte("the new key")
	for name, steps := range map[string][][2][][]byte{
		"added first": {
			{{old, next}, {old}}, {{old, next}, {old, next}}, {{next, old}, {old, next}}, {{next, old}, {next, old}},
			{{next}, {next, old}}, {{next}, {next}},
		},
		"primary at once": {{{next, old}, {old}}, {{next, old}, {next, old}}, {{next, old}, {next}}},
		"many keys":       {{{old, next, []byte("3"), []byte("4"), []byte("5")}, {[]byte("6"), next}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			a, b := c.nodeWith(1, [][]byte{old}, echo), c.nodeWith(2, [][]byte{old}, echo)
			for i, keys := range append([][2][][]byte{{{old}, {old}}}, steps...) {
				a.router.SetKeys(keys[0])
				b.router.SetKeys(keys[1])
				for _, method := range []string{"POST", "GET"} { // in a frame, and with a connection for itself
					c.move(1, 2)
					call(t, a, method, "/", "").want(t, name+" "+method+" to b", 200, "2", method+" / ")
					c.move(1, 1)
					call(t, b, method, "/", "").want(t, name+" "+method+" to a", 200, "1", method+" / ")
				}
				if t.Failed() {
					t.Fatalf("after step %d", i)
				}
			}
		})
	}
}

// A connection that was made with a key that was removed carries no further calls.
func TestARemovedKeyEndsItsConnections(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	old, next := []byte("the old key"), []byte("the new key")
	a, b := c.nodeWith(1, [][]byte{old}, echo), c.nodeWith(2, [][]byte{old}, echo)
	c.move(1, 2)
	for _, method := range []string{"POST", "GET"} {
		call(t, a, method, "/", "").want(t, method+" with the old key", 200, "2", method+" / ")
	}
	a.router.SetKeys([][]byte{next})
	for _, method := range []string{"POST", "GET"} {
		call(t, a, method, "/", "").want(t, method+" with no key in common", 200, "1", method+" / ")
	}
	b.router.SetKeys([][]byte{next})
	for call(t, a, "POST", "/", "").node != "2" { // until a ping has found out
		<-time.After(10 * time.Millisecond)
	}
}

// A call under way is answered although the key of its connection is removed meanwhile.
func TestACallOutlivesItsKey(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	old, next := []byte("the old key"), []byte("the new key")
	arrived, goOn := make(chan string), make(chan struct{})
	a := c.nodeWith(1, [][]byte{old}, echo)
	b := c.nodeWith(2, [][]byte{old}, func(w http.ResponseWriter, r *http.Request) {
		arrived <- r.Method
		<-goOn
	})
	c.move(1, 2)
	answers := make(chan answer)
	for _, method := range []string{"POST", "GET"} {
		go func() { answers <- call(t, a, method, "/", "") }()
		<-arrived
	}
	a.router.SetKeys([][]byte{next, old})
	a.router.SetKeys([][]byte{next})
	b.router.SetKeys([][]byte{next})
	close(goOn)
	for range 2 {
		(<-answers).want(t, "a call that was under way", 200, "2", "")
	}
}

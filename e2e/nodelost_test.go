package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
	"callbackd/internal/store/postgres/pgtest"
	"callbackd/wire"
)

// A node that is killed leads to one NODE:LOST, which another node delivers, and to its end when
// a node of that name has joined again. That other nodes have the same name ends nothing, also
// when they joined later than the lost one: these nodes share the name of this machine.
func TestALostNodeIsToldOnceWithItsEnd(t *testing.T) {
	t.Parallel()
	pg, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Stop)
	c := newNodesOn(t, pg, pg.Schema(t), 2*time.Second, 0, 0)
	c.extra = []string{"--notice-key", c.cl.APIKey}
	for range 3 {
		c.up = append(c.up, c.serve(c.url))
		c.shared(len(c.up)) // so that the nodes have joined in this order
	}
	notices := make(chan wire.Notice, 10)
	told := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var n wire.Notice
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			t.Errorf("the body of a notice cannot be read: %v", err)
		}
		notices <- n
	}))
	t.Cleanup(told.Close)
	if _, err := c.cl.CreateCallback(t.Context(), client.NewCallback{Event: string(callbackd.NoticeNodeLost), URL: told.URL}); err != nil {
		t.Fatal(err)
	}

	c.node(0).kill()
	c.shared(2)
	c.up = c.up[1:]
	lost := c.notice(notices)
	if lost.State != "open" || lost.Count != 1 || lost.Node == "" {
		t.Fatalf("the notice is %+v, want one that is open, of one node", lost)
	}
	c.up = append(c.up, c.serve(c.url))
	back := c.notice(notices)
	if back.State != "closed" || back.Incident != lost.Incident || back.Node != lost.Node {
		t.Errorf("the second notice is %+v, want the end of %s", back, lost.Incident)
	}
	c.stopAll()
	if n := len(notices); n != 0 {
		t.Errorf("%d notices more came, want none", n)
	}
	c.fsck()
}

// notice returns the next notice of a receiver.
func (c *nodes) notice(from <-chan wire.Notice) wire.Notice {
	c.t.Helper()
	select {
	case n := <-from:
		return n
	case <-time.After(2 * patience):
		c.t.Fatal("no notice came")
	}
	return wire.Notice{}
}

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"callbackd/client"
	"callbackd/internal/store/postgres/pgtest"
	"callbackd/wire"
)

// firstKey is the key of a cluster's client.
const firstKey = 1

// links puts a link that can be disturbed before the address that each node tells the
// others.
func (c *nodes) links() []*link {
	c.t.Helper()
	var out []*link
	for i := range c.up {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			c.t.Fatal(err)
		}
		at := l.Addr().String()
		l.Close()
		w := newLinkTo(c.t, at)
		out = append(out, w)
		old := c.node(i)
		cmd := c.command(c.url)
		cmd.Args = append(cmd.Args, "--node-listen", at, "--node-address", w.Listen)
		c.replace(i, listening(c.t, start(c.t, cmd)))
		if code := old.term(c.t); code != 0 {
			c.t.Errorf("node %d ends with %d: %s", i, code, old.log)
		}
	}
	c.shared(len(c.up))
	return out
}

// A home is cut off from the other nodes and not from the database, while calls for its
// key arrive on both sides: nothing is lost or repeated, and each session keeps its order.
func TestAHomeThatOthersDoNotReach(t *testing.T) {
	t.Parallel()
	c := newNodes(t, 2, 2)
	links := c.links()
	at := c.home(firstKey)
	home, other := c.at(at), c.at(1-at)
	c.begin()
	c.more(60)
	for _, fault := range []struct {
		what    string
		disturb func(w *link)
	}{
		{"refused", func(w *link) { w.Stop() }},
		{"black hole", func(w *link) {
			w.poison(`{"type":"timeout","stream":"upstream","attributes":{"timeout":0}}`, `{"type":"timeout","stream":"downstream","attributes":{"timeout":0}}`)
		}},
		{"answers are lost", func(w *link) {
			w.poison(`{"type":"timeout","stream":"downstream","attributes":{"timeout":0}}`)
		}},
		{"reset", func(w *link) {
			w.poison(`{"type":"reset_peer","stream":"downstream","attributes":{"timeout":0}}`)
		}},
	} {
		fault.disturb(links[at])
		session := "both-sides-of-" + strings.ReplaceAll(fault.what, " ", "-")
		for i := range 10 {
			side := home
			if i%2 == 1 {
				side = other
			}
			want := int64(i + 1)
			if got := c.publishOnce(side, session, fmt.Sprint(session, i)); got.Sequence != want {
				t.Errorf("%s: event %d has sequence %d, want %d", fault.what, i, got.Sequence, want)
			}
		}
		c.more(40)
		links[at].heal()
		c.more(20)
	}
	c.proven()
}

// publishOnce publishes an event until it is acknowledged.
func (c *nodes) publishOnce(at *client.Client, session, once string) wire.Accepted {
	c.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		got, err := at.Publish(c.t.Context(), client.NewEvent{Event: event, SessionKey: session, ID: once, Data: map[string]string{"once": once}})
		if err == nil {
			c.loads[0].ack(got.ID)
			return got
		}
		if time.Now().After(deadline) {
			c.t.Fatal(err)
		}
	}
}

// A home dies, or freezes, under load at another node: only calls that are in flight
// fail, their answer says so, and repeated with their id they make no second event.
func TestAHomeThatDiesUnderLoad(t *testing.T) {
	t.Parallel()
	for _, fault := range []struct {
		what   string
		signal syscall.Signal
	}{{"killed", syscall.SIGKILL}, {"frozen", syscall.SIGSTOP}} {
		t.Run(fault.what, func(t *testing.T) {
			c := newNodes(t, 2, 1)
			c.shared(2)
			at := c.home(firstKey)
			const clients = 8
			w := &workers{nodes: c, other: c.at(1 - at)}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			w.load = &load{wake: c.sinks[0].wake}
			c.loads, c.stop = []*load{w.load}, stop
			for i := range clients {
				c.work.Go(func() { w.publish(ctx, i) })
			}
			c.more(100)
			dead := c.node(at)
			dead.cmd.Process.Signal(fault.signal)
			c.disturbed()
			c.more(200)
			stop()
			c.work.Wait()
			dead.kill()
			c.replace(at, c.serve(c.url))
			c.shared(2)
			w.mu.Lock()
			if w.failed > clients {
				t.Errorf("%d calls failed, want those in flight at most: %d", w.failed, clients)
			}
			t.Logf("%d calls failed", w.failed)
			w.mu.Unlock()
			c.proven()
		})
	}
}

// workers publish at one node.
type workers struct {
	*nodes
	other *client.Client
	load  *load

	mu     sync.Mutex
	failed int
}

// publish publishes events one after the other, each until it is acknowledged.
func (w *workers) publish(ctx context.Context, worker int) {
	cl := *w.other
	cl.HTTP = &http.Client{Transport: &http.Transport{}, Timeout: patience}
	for i := 0; ctx.Err() == nil; i++ {
		once := fmt.Sprint(worker, "-", i)
		for ctx.Err() == nil {
			got, err := cl.Publish(w.t.Context(), client.NewEvent{Event: event, SessionKey: fmt.Sprint("W", worker), ID: once, Data: map[string]string{"once": once}})
			if err == nil {
				w.load.ack(got.ID)
				break
			}
			var refused *client.Error
			if !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable {
				w.t.Errorf("%s: %v, want 503", once, err)
			}
			w.mu.Lock()
			w.failed++
			w.mu.Unlock()
		}
	}
}

// Ten nodes are replaced one after the other, behind a balancer that knows nothing of
// homes: everything that is acknowledged arrives, in order.
func TestTenNodesAreReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("ten processes")
	}
	const n = 10
	pg, err := pgtest.Start("max_connections=400")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Stop)
	c := newNodesOn(t, pg, pg.Schema(t), lease, n, 3)
	c.shared(n)
	c.begin()
	c.more(50)
	for i := range n {
		old := c.node(i)
		c.replace(i, c.serve(c.url))
		if code := old.term(t); code != 0 {
			t.Errorf("node %d ends with %d: %s", i, code, old.log)
		}
		c.more(10)
	}
	c.shared(n)
	c.proven()
}

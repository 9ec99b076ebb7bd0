package home_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// unreachable are homes that cannot take calls. Each returns its address.
var unreachable = []struct {
	what string
	at   func(t *testing.T, c *cluster) string
}{
	{"nobody listens", func(t *testing.T, c *cluster) string {
		l := listen(t)
		defer l.Close()
		return l.Addr().String()
	}},
	{"nobody answers", func(t *testing.T, c *cluster) string {
		l := listen(t) // the kernel accepts
		t.Cleanup(func() { l.Close() })
		return l.Addr().String()
	}},
	{"it resets connections", func(t *testing.T, c *cluster) string {
		l := listen(t)
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				conn.Close()
			}
		}()
		return l.Addr().String()
	}},
	{"another program", func(t *testing.T, c *cluster) string {
		l := listen(t)
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("API-Key") != "" {
				t.Error("a stranger sees a client's call")
			}
		})}
		go s.Serve(l)
		t.Cleanup(func() { s.Close() })
		return l.Addr().String()
	}},
	{"another node", func(t *testing.T, c *cluster) string { return c.node(3, echo).addr }},
	{"a node with another keyset", func(t *testing.T, c *cluster) string {
		return c.nodeWith(2, [][]byte{[]byte("another key")}, echo).addr
	}},
	{"a node whose clock is a minute off", func(t *testing.T, c *cluster) string {
		n := c.node(2, echo)
		n.set(func() { n.ahead = time.Minute })
		return n.addr
	}},
	{"a node that is not ready", func(t *testing.T, c *cluster) string {
		n := c.node(2, echo)
		n.set(func() { n.ready = errors.New("its database is away") })
		return n.addr
	}},
	{"a node that has stopped", func(t *testing.T, c *cluster) string {
		n := c.node(2, echo)
		n.kill()
		return n.addr
	}},
}

// A call that the home has not taken is answered by this node, whatever the reason.
func TestAHomeThatCannotBeReached(t *testing.T) {
	t.Parallel()
	for _, v := range unreachable {
		t.Run(v.what, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			a := c.node(1, echo)
			at := v.at(t, c)
			c.address(2, at)
			c.move(1, 2)
			large := strings.Repeat("x", 50_000)
			call(t, a, "POST", "/", "small").want(t, "the first call", 200, "1", "POST / small")
			call(t, a, "POST", "/", large).want(t, "the second one", 200, "1", "POST / "+large)
			if n := a.away.Load(); n != 2 {
				t.Errorf("%d calls are counted as without their home, want 2", n)
			}
		})
	}
}

// A home that is ready again is asked again.
func TestAHomeThatComesBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a, b := c.node(1, echo), c.node(2, echo)
	c.move(1, 2)
	b.set(func() { b.ready = errors.New("its database is away") })
	call(t, a, "POST", "/", "x").want(t, "not ready", 200, "1", "POST / x")
	b.set(func() { b.ready = nil })
	for call(t, a, "POST", "/", "x").node != "2" { // until a ping has found out
		<-time.After(10 * time.Millisecond)
	}
}

// A call that was sent and got no answer is not made twice, unless it only reads.
func TestAHomeThatDiesDuringACall(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a := c.node(1, echo)
	var b *node
	b = c.node(2, func(w http.ResponseWriter, r *http.Request) {
		io.ReadAll(r.Body)
		go b.kill()
		<-r.Context().Done()
	})
	c.move(1, 2)
	got := call(t, a, "POST", "/", "x")
	if got.status != 503 || got.node != "" {
		t.Errorf("a call that was sent: %d by node %q; want 503 by none", got.status, got.node)
	}
	if !strings.Contains(got.body, "may have taken effect") {
		t.Errorf("a call that was sent: the message %q does not say that it may have taken effect", got.body)
	}
	if n := a.silent.Load(); n != 1 {
		t.Errorf("%d calls are counted as unanswered, want 1", n)
	}
	call(t, a, "POST", "/", "x").want(t, "the next call", 200, "1", "POST / x")

	c2 := newCluster(t)
	a = c2.node(1, echo)
	var b2 *node
	b2 = c2.node(2, func(w http.ResponseWriter, r *http.Request) {
		go b2.kill()
		<-r.Context().Done()
	})
	c2.move(1, 2)
	call(t, a, "GET", "/", "").want(t, "a call that reads", 200, "1", "GET / ")
}

// A frozen home is detected by its silence, long before the timeout of a call.
func TestAHomeThatFreezesDuringACall(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a := c.node(1, echo)
	b := c.node(2, echo)
	way := newWay(t, b.addr)
	c.address(2, way.addr)
	c.move(1, 2)
	call(t, a, "POST", "/", "x").want(t, "before", 200, "2", "POST / x")
	way.frozen.Store(true)
	got := call(t, a, "POST", "/", "x")
	if got.status != 503 || a.silent.Load() != 1 {
		t.Errorf("a call to a frozen home: %d by node %q: %s; %d are counted as unanswered", got.status, got.node, got.body, a.silent.Load())
	}
	call(t, a, "POST", "/", "x").want(t, "frozen", 200, "1", "POST / x")
	way.frozen.Store(false)
	way.reset()
	for call(t, a, "POST", "/", "x").node == "1" {
		<-time.After(10 * time.Millisecond)
	}
}

// way is the network in front of a node. When it is frozen it loses everything; when it
// is stalled it reads nothing.
type way struct {
	addr            string
	frozen, stalled atomic.Bool
	mu              sync.Mutex
	conns           []net.Conn
	sent            []byte // what the first connection has sent to the node
	ended           chan struct{}
}

func newWay(t *testing.T, to string) *way {
	l := listen(t)
	w := &way{addr: l.Addr().String(), ended: make(chan struct{})}
	t.Cleanup(func() { l.Close(); w.reset(); close(w.ended) })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			in.(*net.TCPConn).SetReadBuffer(64 << 10)
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			w.mu.Lock()
			first := len(w.conns) == 0
			w.conns = append(w.conns, in, out)
			w.mu.Unlock()
			go w.copy(in, out, first)
			go w.copy(out, in, false)
		}
	}()
	return w
}

func (w *way) copy(from, to net.Conn, note bool) {
	defer to.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if note {
			w.mu.Lock()
			w.sent = append(w.sent, b[:n]...)
			w.mu.Unlock()
		}
		if w.stalled.Load() {
			<-w.ended // meanwhile the kernel takes what from sends until its buffers are full
			return
		}
		if !w.frozen.Load() {
			to.Write(b[:n])
		}
	}
}

func (w *way) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		c.Close()
	}
}

// No call fails when a home stops: it answers the calls that it has taken, and other
// nodes answer the rest.
func TestAHomeThatStopsUnderLoad(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a, b := c.node(1, echo), c.node(2, echo)
	c.move(1, 2)
	var work sync.WaitGroup
	var before sync.WaitGroup
	stopped := make(chan struct{})
	for range 8 {
		before.Add(1)
		work.Go(func() {
			for i := 0; ; i++ {
				if got := call(t, a, "POST", "/", "x"); got.status != 200 {
					t.Errorf("call %d: %d by node %q: %s", i, got.status, got.node, got.body)
				}
				if i == 20 {
					before.Done()
				}
				select {
				case <-stopped:
					return
				default:
				}
			}
		})
	}
	before.Wait()
	if err := b.inner.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	close(stopped)
	work.Wait()
	if b.calls.Load() == 0 {
		t.Error("the home got no call")
	}
}

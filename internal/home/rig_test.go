package home_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/front"
	"callbackd/internal/home"
)

// cluster is a few nodes that know each other. The tests say who is the home of a key.
type cluster struct {
	t     testing.TB
	mu    sync.Mutex
	homes map[callbackd.KeyID]callbackd.NodeID
	at    map[callbackd.NodeID]string
}

func newCluster(t testing.TB) *cluster {
	return &cluster{t: t, homes: map[callbackd.KeyID]callbackd.NodeID{}, at: map[callbackd.NodeID]string{}}
}

// move makes a node the home of a key.
func (c *cluster) move(key callbackd.KeyID, to callbackd.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.homes[key] = to
}

func (c *cluster) address(node callbackd.NodeID, at string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at[node] = at
}

// place returns the home of a key, as a node sees it that knows everything.
func (c *cluster) place(self callbackd.NodeID, key callbackd.KeyID) callbackd.Home {
	c.mu.Lock()
	defer c.mu.Unlock()
	node := c.homes[key]
	if node == self {
		return callbackd.Home{Here: true, Node: self}
	}
	return callbackd.Home{Node: node, Address: c.at[node]}
}

// node is one node: a server for clients, and one for other nodes.
type node struct {
	id     callbackd.NodeID
	router *home.Router
	inner  *home.Server
	addr   string // for nodes
	url    string // for clients
	calls  atomic.Int64

	mu      sync.Mutex
	find    func(callbackd.KeyID) callbackd.Home // replaced by some tests
	refresh func()
	ahead   time.Duration // of its clock
	ready   error

	forwarded, away, silent atomic.Int64
}

func (n *node) Forwarded()  { n.forwarded.Add(1) }
func (n *node) HomeAway()   { n.away.Add(1) }
func (n *node) HomeSilent() { n.silent.Add(1) }

// set changes a node while it runs.
func (n *node) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

// read returns what set may have changed.
func read[T any](n *node, of func() T) T {
	n.mu.Lock()
	defer n.mu.Unlock()
	return of()
}

var commonKeys = [][]byte{[]byte("a key that all nodes have")}

// node starts a node that answers calls with handler.
func (c *cluster) node(id callbackd.NodeID, handler http.HandlerFunc) *node {
	return c.nodeWith(id, commonKeys, handler)
}

func (c *cluster) nodeWith(id callbackd.NodeID, keys [][]byte, handler http.HandlerFunc) *node {
	c.t.Helper()
	return c.nodeOn(id, keys, func(s http.Handler) http.Handler { return s }, handler)
}

// nodeOn starts a node whose server for nodes is wrapped.
func (c *cluster) nodeOn(id callbackd.NodeID, keys [][]byte, wrap func(http.Handler) http.Handler, handler http.HandlerFunc) *node {
	c.t.Helper()
	n := &node{id: id}
	n.find = func(key callbackd.KeyID) callbackd.Home { return c.place(id, key) }
	n.refresh = func() {}
	n.router = home.New(home.Options{
		Find:    func(key callbackd.KeyID) callbackd.Home { return read(n, func() callbackd.Home { return n.find(key) }) },
		Refresh: func(context.Context) error { n.set(n.refresh); return nil },
		Self:    func() callbackd.NodeID { return id },
		KeyOf: func(r *http.Request) callbackd.KeyID {
			key, _ := strconv.ParseInt(r.Header.Get("Api-Key"), 10, 64)
			return callbackd.KeyID(key)
		},
		Keys: keys, Now: func() time.Time { return time.Now().Add(read(n, func() time.Duration { return n.ahead })) },
		Fail: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, callbackd.Sentence(err), front.Status(err))
		},
		Ready: func(context.Context) error { return read(n, func() error { return n.ready }) },
		Count: n, Log: slog.New(slog.DiscardHandler),
	})
	limits := front.New(front.Options{})
	here := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.calls.Add(1)
		w.Header().Set("Node", strconv.FormatInt(int64(id), 10))
		handler(w, r)
	})
	outer, l := &http.Server{Handler: limits.Handler(n.router.Handler(here), func(*http.Request) bool { return false }), ConnContext: front.ConnContext}, listen(c.t)
	outer.RegisterOnShutdown(n.router.EndReads)
	n.url = "http://" + l.Addr().String()
	go outer.Serve(limits.Listen(l))
	l = listen(c.t)
	n.addr = l.Addr().String()
	base := &http.Server{}
	n.inner = n.router.Server(base, limits, here)
	base.Handler = wrap(base.Handler)
	go n.inner.Serve(l)
	c.address(id, n.addr)
	c.t.Cleanup(func() {
		outer.Close()
		n.router.Close()
		n.kill()
	})
	return n
}

// kill ends the node's listener for nodes and all connections there.
func (n *node) kill() {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	n.inner.Stop(ended)
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// echo answers with the method, the target and the body.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%s %s %s", r.Method, r.RequestURI, body)
}

// answer is what a client got.
type answer struct {
	status int
	node   string // the node that answered
	body   string
	header http.Header
}

// call makes a call about key 1 at a node.
func call(t testing.TB, n *node, method, target, body string, header ...string) answer {
	t.Helper()
	return callBody(t, n, method, target, strings.NewReader(body), header...)
}

func callBody(t testing.TB, n *node, method, target string, body io.Reader, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, n.url+target, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("API-Key", "1")
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header.Get("Node"), string(raw), res.Header}
}

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func (a answer) want(t *testing.T, what string, status int, node, body string) {
	t.Helper()
	if a.status != status || a.node != node || a.body != body {
		t.Errorf("%s: %d by node %q: %.200q, want %d by node %q: %.200q", what, a.status, a.node, a.body, status, node, body)
	}
}

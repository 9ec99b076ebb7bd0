package home_test

import (
	"bufio"
	"context"
	"errors"
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
func (c *cluster) place(self callbackd.NodeID, key callbackd.KeyID) home.Place {
	c.mu.Lock()
	defer c.mu.Unlock()
	node := c.homes[key]
	if node == self {
		return home.Place{Here: true, Node: self}
	}
	return home.Place{Node: node, Address: c.at[node]}
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
	find    func(callbackd.KeyID) home.Place // replaced by some tests
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
	n := &node{id: id}
	n.find = func(key callbackd.KeyID) home.Place { return c.place(id, key) }
	n.refresh = func() {}
	n.router = home.New(home.Options{
		Find:    func(key callbackd.KeyID) home.Place { return read(n, func() home.Place { return n.find(key) }) },
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
	n.inner = n.router.Server(&http.Server{}, limits, here)
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
	node   string // that answered
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

func TestTheHomeAnswers(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a, b := c.node(1, echo), c.node(2, echo)
	c.move(1, 2)
	large := strings.Repeat("x", 100_000)
	for _, v := range []struct{ what, method, target, body string }{
		{"no body", "GET", "/v1/events?after=1%202", ""},
		{"an empty body", "POST", "/v1/events", ""},
		{"a small body", "POST", "/v1/events", "hello"},
		{"16 KiB", "PUT", "/x", large[:16<<10]},
		{"a large body", "POST", "/x", large},
		{"two slashes", "DELETE", "//x//y", ""},
	} {
		call(t, a, v.method, v.target, v.body).want(t, v.what, 200, "2", v.method+" "+v.target+" "+v.body)
		call(t, b, v.method, v.target, v.body).want(t, v.what+" at the home", 200, "2", v.method+" "+v.target+" "+v.body)
		unknown := struct{ io.Reader }{strings.NewReader(v.body)} // is sent in chunks
		callBody(t, a, v.method, v.target, unknown).want(t, v.what+" of unknown length", 200, "2", v.method+" "+v.target+" "+v.body)
	}
	if n := a.calls.Load(); n != 0 {
		t.Errorf("node 1 answered %d calls of node 2's key", n)
	}
	if n := a.forwarded.Load(); n != 12 {
		t.Errorf("%d calls are counted as forwarded, want 12", n)
	}
}

// What the home sees of a call is what the first node saw.
func TestTheHomeKnowsTheClient(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	seen := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, front.ClientAddr(r), front.Secure(r), r.Host, r.Header["X-Twice"], r.Header["X-Gone"], r.Header["Callbackd-Hop"], r.Header["Idempotency-Key"])
		w.Header().Set("Trailer", "X-Late")
	}
	a := c.node(1, seen)
	c.node(2, seen)
	c.move(1, 2)
	got := call(t, a, "POST", "/", "{}", "X-Twice", "a", "X-Twice", "b", "X-Gone", "1", "Connection", "x-gone", "Idempotency-Key", "k", "Callbackd-Hop", "forged")
	got.want(t, "headers", 200, "2", fmt.Sprintln("127.0.0.1 false", strings.TrimPrefix(a.url, "http://"), "[a b] [] [] [k]"))
	for _, name := range []string{"Callbackd-Hop", "Trailer"} {
		if v := got.header[name]; v != nil {
			t.Errorf("the client gets the header %s: %q", name, v)
		}
	}
}

func TestAnswersArePassedOn(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a := c.node(1, echo)
	c.node(2, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("X-Twice", "a")
		w.Header().Add("X-Twice", "b")
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/there", http.StatusSeeOther)
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/long":
			for range 1000 {
				io.WriteString(w, strings.Repeat("y", 1000))
			}
		default:
			http.Error(w, "no", http.StatusTeapot)
		}
	})
	c.move(1, 2)
	call(t, a, "POST", "/redirect", "").want(t, "a redirect", 303, "2", "")
	call(t, a, "GET", "/none", "").want(t, "no content", 204, "2", "")
	call(t, a, "GET", "/long", "").want(t, "a long one", 200, "2", strings.Repeat("y", 1_000_000))
	call(t, a, "HEAD", "/other", "").want(t, "HEAD", 418, "2", "")
	got := call(t, a, "GET", "/other", "")
	got.want(t, "an error", 418, "2", "no\n")
	if v := got.header["X-Twice"]; len(v) != 2 {
		t.Errorf("X-Twice: %q", v)
	}
}

// A stream arrives piece by piece, and ends at the home when the client leaves.
func TestStreams(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a := c.node(1, echo)
	pieces, left := make(chan string), make(chan struct{})
	c.node(2, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			select {
			case p := <-pieces:
				io.WriteString(w, p+"\n")
				http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				close(left)
				return
			}
		}
	})
	c.move(1, 2)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", a.url+"/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("API-Key", "1")
	go func() { pieces <- "first" }()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for _, want := range []string{"first", "second", "third"} {
		if want != "first" {
			pieces <- want
		}
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("the stream has %q, %v; want %q", lines.Text(), lines.Err(), want)
		}
	}
	cancel()
	<-left
}

// When the first node stops, streams end well, and calls that wait are answered.
func TestReadsEndWithTheNode(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a := c.node(1, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "nothing new") })
	began := make(chan struct{}, 2)
	c.node(2, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "hello")
			http.NewResponseController(w).Flush()
		}
		began <- struct{}{}
		<-r.Context().Done()
	})
	c.move(1, 2)
	req, err := http.NewRequestWithContext(t.Context(), "GET", a.url+"/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("API-Key", "1")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	hello := make([]byte, len("hello"))
	if _, err := io.ReadFull(res.Body, hello); err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() { call(t, a, "GET", "/poll", "").want(t, "a poll", 200, "1", "nothing new") })
	<-began
	<-began
	a.router.EndReads()
	work.Wait()
	if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
		t.Errorf("the stream ends with %q, %v", rest, err)
	}
}

// There is one hop, and the map is read again when a node refuses.
func TestAKeyThatMoved(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a, b, d := c.node(1, echo), c.node(2, echo), c.node(3, echo)
	c.move(1, 3)
	c.move(2, 1)
	old := func(callbackd.KeyID) home.Place { return home.Place{Node: 2, Address: b.addr} }
	large := strings.Repeat("x", 50_000)
	for _, body := range []string{"small", large} {
		for range 2 {
			a.set(func() {
				a.find = old
				a.refresh = func() { a.find = func(key callbackd.KeyID) home.Place { return c.place(1, key) } }
			})
			call(t, a, "POST", "/", body).want(t, "the new home is another node", 200, "3", "POST / "+body)
			a.set(func() { a.find = old })
			req, err := http.NewRequestWithContext(t.Context(), "POST", a.url+"/", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("API-Key", "2")
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if node := res.Header.Get("Node"); node != "1" {
				t.Errorf("key 2, whose new home is this node, is answered by node %s", node)
			}
		}
	}
	a.set(func() { a.find, a.refresh = old, func() {} }) // nobody knows better
	call(t, a, "POST", "/", "small").want(t, "a wrong map", 200, "1", "POST / small")
	call(t, a, "POST", "/", large).want(t, "a wrong map, a large body", 200, "1", "POST / "+large)
	// b believes that d is the home, and d that b is: nobody forwards twice.
	b.set(func() { b.find = func(callbackd.KeyID) home.Place { return home.Place{Node: 3, Address: d.addr} } })
	d.set(func() { d.find = func(callbackd.KeyID) home.Place { return home.Place{Node: 2, Address: b.addr} } })
	call(t, b, "POST", "/", "x").want(t, "two that disagree", 200, "2", "POST / x")
	if n := b.calls.Load(); n != 1 {
		t.Errorf("node 2 answers %d calls, want 1", n)
	}
}

// Whatever is wrong with the home, a call that it has not taken is answered here.
func TestAHomeThatCannotBeReached(t *testing.T) {
	t.Parallel()
	for _, v := range []struct {
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
	} {
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
	if got.status != 503 || got.node != "" || !strings.Contains(got.body, "may have taken effect") {
		t.Errorf("a call that was sent: %d by node %q: %s", got.status, got.node, got.body)
	}
	if n := a.silent.Load(); n != 1 {
		t.Errorf("%d calls are counted as unanswered, want 1", n)
	}
	call(t, a, "POST", "/", "x").want(t, "the next call", 200, "1", "POST / x")

	c2 := newCluster(t)
	a = c2.node(1, echo)
	b = c2.node(2, func(w http.ResponseWriter, r *http.Request) {
		go b.kill()
		<-r.Context().Done()
	})
	c2.move(1, 2)
	call(t, a, "GET", "/", "").want(t, "a call that reads", 200, "1", "GET / ")
}

// A home that is frozen is noticed by its silence, long before a call's time is over.
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

// way is the network before a node, which can stand still.
type way struct {
	addr   string
	frozen atomic.Bool
	mu     sync.Mutex
	conns  []net.Conn
}

func newWay(t *testing.T, to string) *way {
	l := listen(t)
	w := &way{addr: l.Addr().String()}
	t.Cleanup(func() { l.Close(); w.reset() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, in, out)
			w.mu.Unlock()
			go w.copy(in, out)
			go w.copy(out, in)
		}
	}()
	return w
}

func (w *way) copy(from, to net.Conn) {
	defer to.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
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

// A home that stops fails no call: what it has taken it answers, and the rest is answered
// elsewhere.
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

// The call of a client whose body ends early takes no effect, and the client is told.
func TestABodyThatBreaksOff(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a := c.node(1, echo)
	c.node(2, echo)
	c.move(1, 2)
	for _, head := range []string{"Content-Length: 100\r\n\r\nabc", "Content-Length: 100000\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "Transfer-Encoding: chunked\r\n\r\n20000\r\n" + strings.Repeat("x", 0x20000) + "\r\n"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nAPI-Key: 1\r\n"+head)
		conn.(*net.TCPConn).CloseWrite()
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%.40q: %v", head, err)
		}
		if res.StatusCode != 400 || res.Header.Get("Node") != "1" {
			t.Errorf("%.40q: %s by node %s, want 400 by node 1", head, res.Status, res.Header.Get("Node"))
		}
		conn.Close()
	}
}

// The listener for nodes tells nobody anything.
func TestStrangersLearnNothing(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n := c.node(2, echo)
	c.move(1, 2)
	for _, header := range []string{"", "x", "1 2 1 false 127.0.0.1 x", fmt.Sprint(time.Now().Unix(), " 2 1 false 127.0.0.1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")} {
		for _, path := range []string{"/", "/metrics", "/healthz", "/v1/events", "/ping/x"} {
			req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+n.addr+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if header != "" {
				req.Header.Set("Callbackd-Hop", header)
			}
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			res.Header.Del("Date")
			res.Header.Del("Content-Length")
			if res.StatusCode != 403 || len(body) > 0 || len(res.Header) > 0 {
				t.Errorf("%s with %q: %s %v %q", path, header, res.Status, res.Header, body)
			}
		}
	}
	if n.calls.Load() != 0 {
		t.Error("it answered a call")
	}
}

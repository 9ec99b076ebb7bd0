package home_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// opened returns how many connections were made.
func (w *way) opened() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.conns) / 2
}

// through puts a way in front of the home of key 1, and makes a first call.
func (c *cluster) through(t *testing.T, a, b *node) *way {
	w := newWay(t, b.addr)
	c.address(b.id, w.addr)
	c.move(1, b.id)
	call(t, a, "POST", "/", "first").want(t, "the first call", 200, fmt.Sprint(b.id), "POST / first")
	return w
}

// Many small changes at the same time need one connection, whatever other calls are in
// progress. The test runs alone, so that no ping is late.
func TestManyCallsOnOneConnection(t *testing.T) {
	for _, v := range []struct {
		what string
		b    [][]byte // the other node's keyset
	}{
		{"the same keyset", commonKeys},
		{"a keyset that is rotated", [][]byte{[]byte("the next key"), commonKeys[0]}},
	} {
		c := newCluster(t)
		a, b := c.nodeWith(1, [][]byte{commonKeys[0], []byte("the next key")}, echo), c.nodeWith(2, v.b, echo)
		w := c.through(t, a, b)
		var work sync.WaitGroup
		for i := range 16 {
			work.Go(func() {
				for j := range 20 {
					body := strings.Repeat(fmt.Sprintf("%d.%d ", i, j), (i*20+j)*5%2000)
					target := fmt.Sprintf("/%d?j=%d", i, j)
					call(t, a, "PUT", target, body).want(t, v.what, 200, "2", "PUT "+target+" "+body)
				}
			})
		}
		work.Wait()
		if n := w.opened(); n != 1 {
			t.Errorf("%s: %d connections, want 1", v.what, n)
		}
		call(t, a, "GET", "/", "").want(t, "a read", 200, "2", "GET / ")
		if n := w.opened(); n != 2 {
			t.Errorf("%s: %d connections with one for a read, want 2", v.what, n)
		}
	}
}

// A node of a version without frames gets each call over a connection of its own.
func TestANodeWithoutFrames(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a := c.node(1, echo)
	b := c.nodeOn(2, commonKeys, func(s http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.ServeHTTP(struct{ http.ResponseWriter }{w}, r) // no connection to take over
		})
	}, echo)
	w := c.through(t, a, b)
	for range 10 {
		call(t, a, "POST", "/x", "y").want(t, "a call", 200, "2", "POST /x y")
	}
	if n := w.opened(); n != 1 {
		t.Errorf("%d connections, want 1: the one that was to carry frames carries calls", n)
	}
}

// Calls that were sent over a connection that breaks are not made twice. The next call
// opens a new connection.
func TestAConnectionThatBreaks(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a := c.node(1, echo)
	arrived := make(chan struct{}, 8)
	b := c.node(2, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			arrived <- struct{}{}
			<-r.Context().Done()
			arrived <- struct{}{}
			return
		}
		echo(w, r)
	})
	w := c.through(t, a, b)
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			if got := call(t, a, "POST", "/long", "x"); got.status != 503 || !strings.Contains(got.body, "may have taken effect") {
				t.Errorf("a call under way: %d by node %q: %s", got.status, got.node, got.body)
			}
		})
	}
	for range 8 {
		<-arrived
	}
	w.reset()
	work.Wait()
	for range 8 {
		<-arrived // the handler's context has ended
	}
	call(t, a, "POST", "/", "x").want(t, "the next call", 200, "2", "POST / x")
	if n := a.silent.Load(); n != 8 {
		t.Errorf("%d calls are counted as unanswered, want 8", n)
	}
}

// When a client leaves, its call ends at the home, and no other call ends.
func TestAClientThatLeaves(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a := c.node(1, echo)
	arrived, left, release := make(chan struct{}), make(chan struct{}), make(chan struct{})
	b := c.node(2, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/left":
			arrived <- struct{}{}
			<-r.Context().Done()
			close(left)
		case "/other":
			arrived <- struct{}{}
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		echo(w, r)
	})
	w := c.through(t, a, b)
	var work sync.WaitGroup
	work.Go(func() { call(t, a, "POST", "/other", "x").want(t, "another call", 200, "2", "POST /other x") })
	<-arrived
	ctx, cancel := context.WithCancel(t.Context())
	work.Go(func() {
		req, err := http.NewRequestWithContext(ctx, "POST", a.url+"/left", strings.NewReader("x"))
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("API-Key", "1")
		if _, err := client.Do(req); !errors.Is(err, context.Canceled) {
			t.Errorf("the call that is given up: %v", err)
		}
	})
	<-arrived
	cancel()
	<-left
	close(release)
	work.Wait()
	if n := w.opened(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// An answer arrives completely or not at all, and a handler that aborts affects no other
// call.
func TestAnswersThatDoNotFit(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a := c.node(1, echo)
	b := c.node(2, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			w.Write(bytes.Repeat([]byte("x"), 500_000))
			return
		case "/too-large":
			for range 10 {
				w.Write(bytes.Repeat([]byte("x"), 500_000))
			}
			return
		case "/abort":
			panic(http.ErrAbortHandler)
		case "/none":
			w.WriteHeader(http.StatusNoContent)
			return
		}
		echo(w, r)
	})
	w := c.through(t, a, b)
	call(t, a, "POST", "/large", "").want(t, "a large answer", 200, "2", strings.Repeat("x", 500_000))
	call(t, a, "POST", "/none", "").want(t, "no content", 204, "2", "")
	for _, path := range []string{"/too-large", "/abort"} {
		if got := call(t, a, "POST", path, ""); got.status != 503 || got.node != "" {
			t.Errorf("%s: %d by node %q: %.100s", path, got.status, got.node, got.body)
		}
	}
	call(t, a, "POST", "/", "x").want(t, "the next call", 200, "2", "POST / x")
	if n := w.opened(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// A call that is older than 30 s when it arrives is not taken.
func TestACallThatIsOld(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a, b := c.node(1, echo), c.node(2, echo)
	c.through(t, a, b)
	b.set(func() { b.ahead = time.Minute })
	call(t, a, "POST", "/", "x").want(t, "a minute later", 200, "1", "POST / x")
	b.set(func() { b.ahead = 0 })
	call(t, a, "POST", "/", "x").want(t, "the next call", 200, "2", "POST / x")
}

// A node that reads nothing delays calls only until this is detected. Calls that were not
// sent are answered by this node, and the others are not made twice. The test runs alone,
// because it fills the buffers of the kernel.
func TestAHomeThatReadsNothing(t *testing.T) {
	c := newCluster(t)
	a, b := c.node(1, echo), c.node(2, echo)
	w := c.through(t, a, b)
	w.stalled.Store(true)
	const calls = 600
	var here, silent int
	var mu sync.Mutex
	var work sync.WaitGroup
	body := strings.Repeat("x", 16<<10)
	for range calls {
		work.Go(func() {
			got := call(t, a, "POST", "/", body)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case got.status == 200 && got.node == "1":
				here++
			case got.status == 503:
				silent++
			default:
				t.Errorf("%d by node %q: %.100s", got.status, got.node, got.body)
			}
		})
	}
	work.Wait()
	if here == 0 {
		t.Error("this node answered no call, want one or more")
	}
	if silent == 0 {
		t.Error("every call was answered, want one or more without an answer")
	}
	if here+silent != calls {
		t.Errorf("%d calls were answered by this node and %d not at all; want %d together", here, silent, calls)
	}
	if n := b.calls.Load(); n != 1 {
		t.Errorf("the home got %d calls, want the first one only", n)
	}
}

// A program that repeats what a node has sent causes no call, and cannot send frames of
// its own.
func TestARepeatedHandshake(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a, b := c.node(1, echo), c.node(2, echo)
	w := c.through(t, a, b)
	w.mu.Lock()
	sent := bytes.Clone(w.sent)
	w.mu.Unlock()
	end := bytes.Index(sent, []byte("\r\n\r\n")) + 4
	if !bytes.HasPrefix(sent, []byte("GET /frames/")) || end == len(sent) {
		t.Fatalf("a connection begins with %.50q", sent)
	}
	frame := func(size uint32, text string) []byte {
		return append(binary.BigEndian.AppendUint32(nil, size), text...)
	}
	for what, then := range map[string][]byte{
		"the same call": sent[end:],
		"one byte":      frame(17, strings.Repeat("x", 17)),
		"a short frame": frame(3, "xxx"),
		"a large frame": frame(1<<31, strings.Repeat("x", 100_000)),
		"a part":        frame(100, "x"),
		"a length":      {0, 0},
		"nothing":       nil,
	} {
		conn, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(conn)
		if _, err := conn.Write(sent[:end]); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil || res.StatusCode != 101 {
			t.Fatalf("%s: %v, %v", what, res, err)
		}
		conn.Write(then)
		conn.(*net.TCPConn).CloseWrite()
		if rest, _ := io.ReadAll(in); len(rest) > 0 {
			t.Errorf("%s: the node answers %q", what, rest)
		}
		conn.Close()
		all := bytes.Replace(sent, []byte("GET"), []byte("PUT"), 1)
		if conn, err = net.Dial("tcp", b.addr); err != nil {
			t.Fatal(err)
		}
		conn.Write(all)
		if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || res.StatusCode != 403 {
			t.Errorf("a request that was changed: %v, %v", res, err)
		}
		conn.Close()
	}
	if n := b.calls.Load(); n != 1 {
		t.Errorf("node 2 answered %d calls, want 1", n)
	}
	call(t, a, "POST", "/", "x").want(t, "a call meanwhile", 200, "2", "POST / x")
}

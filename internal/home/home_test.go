package home_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/front"
)

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

// A call makes one hop at most. When a node refuses it, the owners are read again.
func TestAKeyThatMoved(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a, b, d := c.node(1, echo), c.node(2, echo), c.node(3, echo)
	c.move(1, 3)
	c.move(2, 1)
	old := func(callbackd.KeyID) callbackd.Home { return callbackd.Home{Node: 2, Address: b.addr} }
	large := strings.Repeat("x", 50_000)
	for _, body := range []string{"small", large} {
		for range 2 {
			a.set(func() {
				a.find = old
				a.refresh = func() { a.find = func(key callbackd.KeyID) callbackd.Home { return c.place(1, key) } }
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
	a.set(func() { a.find, a.refresh = old, func() {} }) // a refresh returns the same wrong owners
	call(t, a, "POST", "/", "small").want(t, "outdated owners", 200, "1", "POST / small")
	call(t, a, "POST", "/", large).want(t, "outdated owners, a large body", 200, "1", "POST / "+large)
	// b believes that d is the home, and d that b is. The call is forwarded once.
	b.set(func() {
		b.find = func(callbackd.KeyID) callbackd.Home { return callbackd.Home{Node: 3, Address: d.addr} }
	})
	d.set(func() {
		d.find = func(callbackd.KeyID) callbackd.Home { return callbackd.Home{Node: 2, Address: b.addr} }
	})
	call(t, b, "POST", "/", "x").want(t, "two that disagree", 200, "2", "POST / x")
	if n := b.calls.Load(); n != 1 {
		t.Errorf("node 2 answers %d calls, want 1", n)
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

// Programs that are not nodes learn nothing from the listener for nodes.
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
			if res.StatusCode != 403 {
				t.Errorf("%s with %q: the answer is %s, want 403", path, header, res.Status)
			}
			if len(body) > 0 {
				t.Errorf("%s with %q: the body is %q, want none", path, header, body)
			}
			if len(res.Header) > 0 {
				t.Errorf("%s with %q: the headers are %v, want none", path, header, res.Header)
			}
		}
	}
	if n.calls.Load() != 0 {
		t.Error("it answered a call")
	}
}

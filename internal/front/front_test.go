package front

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"callbackd"
)

// site is a server behind a Front.
type site struct {
	t *testing.T
	*Front
	addr string
	log  lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func start(t *testing.T, o Options, h http.HandlerFunc) *site {
	t.Helper()
	s := &site{t: t}
	o.Log = slog.New(slog.NewTextHandler(&s.log, nil))
	s.Front = New(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	server := &http.Server{Handler: s.Handler(h, func(r *http.Request) bool { return r.URL.Path == "/essential" }), ConnContext: ConnContext}
	done := make(chan error, 1)
	go func() { done <- server.Serve(s.Listen(l)) }()
	t.Cleanup(func() { server.Close(); <-done })
	return s
}

// dial opens a connection and sends nothing on it.
func (s *site) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// ask sends a request on a connection of its own and returns the answer's status.
func (s *site) ask(path string, header ...string) int {
	s.t.Helper()
	status, err := ask(s.dial(), path, header...)
	if err != nil {
		s.t.Fatal(err)
	}
	return status
}

func ask(c net.Conn, path string, header ...string) (int, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: x\r\n", path)
	for _, h := range header {
		b.WriteString(h + "\r\n")
	}
	if _, err := io.WriteString(c, b.String()+"\r\n"); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

func ok(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

// Silence costs others nothing: beyond the limit the longest silent connection
// gives its place to the newcomer, and the log says so.
func TestTheLongestSilentConnectionMakesRoom(t *testing.T) {
	s := start(t, Options{MaxConns: 64, Trusted: loopback}, ok) // a trusted address has no limit of its own
	var silent []net.Conn
	for range 200 {
		silent = append(silent, s.dial())
	}
	for range 5 {
		if got := s.ask("/"); got != http.StatusNoContent {
			t.Fatalf("status %d", got)
		}
	}
	if _, err := silent[0].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the first silent connection: %v", err)
	}
	if n := s.Counts(); n.Connections > 64 || n.Closed < 100 {
		t.Errorf("%+v", n)
	}
	if got := strings.Count(s.log.String(), "as many connections are open as there may be"); got != 1 {
		t.Errorf("the log says it %d times:\n%s", got, s.log.String())
	}
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// One address has at most half of all connections: what it opens beyond them
// costs itself, not others.
func TestOneAddressHasHalfOfTheConnections(t *testing.T) {
	s := start(t, Options{MaxConns: 64}, ok)
	other := s.dialFrom("127.0.0.9")
	if _, err := ask(other, "/"); err != nil {
		t.Fatal(err)
	}
	for range 500 {
		s.dial()
	}
	if got := s.ask("/"); got != http.StatusNoContent { // comes after all of them
		t.Fatalf("status %d", got)
	}
	if n := s.Counts(); n.Connections > 33 {
		t.Errorf("%+v", n)
	}
	if status, err := ask(other, "/"); err != nil || status != http.StatusNoContent {
		t.Errorf("the other address's connection: %d %v", status, err)
	}
}

func (s *site) dialFrom(addr string) net.Conn {
	s.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	c, err := d.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// gate is a handler that holds requests until it is opened.
type gate struct {
	entered chan struct{}
	open    chan struct{}
}

func newGate() *gate { return &gate{make(chan struct{}, 1000), make(chan struct{})} }

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/held" {
		g.entered <- struct{}{}
		<-g.open
	}
	w.WriteHeader(http.StatusNoContent)
}

// A request that is served keeps its connection, whatever others open.
func TestAWorkingConnectionKeepsItsPlace(t *testing.T) {
	g := newGate()
	s := start(t, Options{MaxConns: 64, Trusted: loopback}, g.ServeHTTP)
	answered := make(chan error, 1)
	go func() {
		status, err := ask(s.dial(), "/held")
		if err == nil && status != http.StatusNoContent {
			err = fmt.Errorf("status %d", status)
		}
		answered <- err
	}()
	<-g.entered
	for range 300 {
		s.dial()
	}
	s.ask("/")
	close(g.open)
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// When requests under way hold all places but the reserve, the operator is
// served and others are told to come again.
func TestTheOperatorHasAReserveOfConnections(t *testing.T) {
	g := newGate()
	s := start(t, Options{MaxConns: 64}, g.ServeHTTP)
	statuses := make(chan int, 64)
	for i := range 64 {
		c := s.dialFrom(fmt.Sprintf("127.0.0.%d", 10+i%3))
		go func() {
			status, _ := ask(c, "/held")
			statuses <- status
		}()
	}
	const reserve = 8
	for range 64 - reserve {
		<-g.entered
	}
	for range reserve {
		if got := <-statuses; got != http.StatusServiceUnavailable {
			t.Errorf("status %d", got)
		}
	}
	if got := s.ask("/"); got != http.StatusServiceUnavailable {
		t.Errorf("anybody: %d", got)
	}
	if got := s.ask("/essential"); got != http.StatusNoContent {
		t.Errorf("the operator: %d", got)
	}
	close(g.open)
	for range 64 - reserve {
		<-statuses
	}
}

// Behind a proxy that is trusted, the visitor's address is counted.
func TestVisitorsBehindAProxyAreCountedByTheirOwnAddress(t *testing.T) {
	g := newGate()
	s := start(t, Options{MaxConns: 64, Trusted: loopback}, g.ServeHTTP)
	refused := make(chan int, 100)
	for range 20 {
		c := s.dial()
		go func() {
			status, _ := ask(c, "/held", "X-Forwarded-For: 192.0.2.1")
			refused <- status
		}()
	}
	for range 16 {
		<-g.entered
	}
	for range 4 {
		if got := <-refused; got != http.StatusTooManyRequests {
			t.Errorf("status %d", got)
		}
	}
	if got := s.ask("/", "X-Forwarded-For: 192.0.2.2"); got != http.StatusNoContent {
		t.Errorf("another visitor: %d", got)
	}
	close(g.open)
	for range 16 {
		<-refused
	}
}

func TestWhoAVisitorIs(t *testing.T) {
	f := New(Options{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}})
	for name, c := range map[string]struct {
		peer    string
		headers []string
		client  string
		secure  bool
	}{
		"no proxy":                        {"192.0.2.7:1", nil, "192.0.2.7", false},
		"nobody trusted is believed":      {"192.0.2.7:1", []string{"X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: https"}, "192.0.2.7", false},
		"a proxy":                         {"10.0.0.1:1", []string{"X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: https"}, "198.51.100.1", true},
		"what a visitor wrote":            {"10.0.0.1:1", []string{"X-Forwarded-For: 203.0.113.9, 198.51.100.1"}, "198.51.100.1", false},
		"in a header of its own":          {"10.0.0.1:1", []string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 198.51.100.1"}, "198.51.100.1", false},
		"two proxies":                     {"10.0.0.1:1", []string{"X-Forwarded-For: 203.0.113.9, 198.51.100.1, 10.9.9.9"}, "198.51.100.1", false},
		"only proxies":                    {"10.0.0.1:1", []string{"X-Forwarded-For: 10.2.2.2, 10.3.3.3"}, "10.2.2.2", false},
		"an IPv6 visitor":                 {"10.0.0.1:1", []string{"X-Forwarded-For: 2001:4860::1"}, "2001:4860::1", false},
		"an IPv6 visitor with a port":     {"10.0.0.1:1", []string{"X-Forwarded-For: [2001:4860::1]:443"}, "2001:4860::1", false},
		"a visitor with a port":           {"10.0.0.1:1", []string{"X-Forwarded-For: 198.51.100.1:5555"}, "198.51.100.1", false},
		"an IPv6 proxy":                   {"[2001:db8::5]:1", []string{"X-Forwarded-For: 198.51.100.1"}, "198.51.100.1", false},
		"a mapped proxy":                  {"[::ffff:10.0.0.1]:1", []string{"X-Forwarded-For: ::ffff:198.51.100.1"}, "198.51.100.1", false},
		"something that is no address":    {"10.0.0.1:1", []string{"X-Forwarded-For: 203.0.113.9, unknown"}, "10.0.0.1", false},
		"nothing":                         {"10.0.0.1:1", nil, "10.0.0.1", false},
		"Forwarded":                       {"10.0.0.1:1", []string{`Forwarded: for=203.0.113.9, for="[2001:4860::1]:80";proto=https;by=10.0.0.1`}, "2001:4860::1", true},
		"Forwarded beside the other":      {"10.0.0.1:1", []string{`Forwarded: for=203.0.113.9;proto=https`, "X-Forwarded-For: 198.51.100.1"}, "198.51.100.1", false},
		"the nearest protocol":            {"10.0.0.1:1", []string{"X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: https, http"}, "198.51.100.1", false},
		"a protocol that a visitor wrote": {"10.0.0.1:1", []string{"X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: https", "X-Forwarded-Proto: http"}, "198.51.100.1", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.peer
			for _, h := range c.headers {
				name, value, _ := strings.Cut(h, ": ")
				r.Header.Add(name, value)
			}
			client, secure := f.clientOf(r)
			if client.String() != c.client || secure != c.secure {
				t.Errorf("%v %v, want %v %v", client, secure, c.client, c.secure)
			}
		})
	}
}

// A body takes memory as it arrives, and never what was promised; a length
// above the limit is refused with nothing read.
func TestABodyTakesMemoryAsItArrives(t *testing.T) {
	result := make(chan string, 1)
	s := start(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if err := BeginCall(r, "key", Write); err != nil {
			t.Error(err)
		}
		b, err := ReadBody(w, r, 1<<20)
		result <- fmt.Sprint(len(b), err)
	})
	c := s.dial()
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n%s", strings.Repeat("x", 5000))
	var m counting
	r := httptest.NewRequest("POST", "/", nil)
	go func() {
		_, err := ReadAll(r, &m, 1<<20)
		result <- err.Error()
	}()
	if got := <-result; got != "enough" {
		t.Fatal(got)
	}
	if m.most > 8<<10 {
		t.Errorf("5,000 bytes of a promised MiB were read into a buffer with %d free", m.most)
	}
	c.Close()
	if got := <-result; !strings.HasPrefix(got, "0 ") {
		t.Errorf("the body that broke off: %s", got)
	}
	c = s.dial()
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n") // and no body
	if got := <-result; got != "0 "+ErrTooLarge.Error() {
		t.Errorf("too large: %s", got)
	}
}

// counting gives 5,000 bytes in small pieces and notes how much it is asked for.
type counting struct{ given, most int }

func (c *counting) Read(p []byte) (int, error) {
	c.most = max(c.most, len(p))
	if c.given >= 5000 {
		return 0, errors.New("enough")
	}
	n := min(100, len(p))
	c.given += n
	return n, nil
}

// Bodies of one key hold its share and no more; other keys have room, and the
// operator has when nobody else has.
func TestBytesUnderWayHaveABudget(t *testing.T) {
	b := budget{total: 800, share: 300, name: "bodies"}
	if err := b.acquire("a", 500); err != nil {
		t.Errorf("a first one that is larger than the share: %v", err)
	}
	if err := b.acquire("a", 1); callbackd.KindOf(err) != callbackd.KindLimited {
		t.Errorf("beyond the share: %v", err)
	}
	if err := b.acquire("b", 200); err != nil {
		t.Errorf("another key: %v", err)
	}
	if err := b.acquire("c", 1); callbackd.KindOf(err) != callbackd.KindUnavailable {
		t.Errorf("when only the reserve is left: %v", err)
	}
	if err := b.acquire(Operator, 100); err != nil {
		t.Errorf("the operator: %v", err)
	}
	b.release("a", 500)
	if err := b.acquire("c", 1); err != nil {
		t.Errorf("after some were given back: %v", err)
	}
	b.release("b", 200)
	b.release("c", 1)
	b.release(Operator, 100)
	if b.held != 0 || len(b.byClient) != 0 {
		t.Errorf("%d bytes are never given back: %v", b.held, b.byClient)
	}
}

func TestCallsOfAKeyUnderWayAreLimited(t *testing.T) {
	g := newGate()
	s := start(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if err := BeginCall(r, r.Header.Get("Key"), Read); err != nil {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		g.ServeHTTP(w, r)
	})
	statuses := make(chan int, MaxReads)
	for range MaxReads {
		c := s.dial()
		go func() {
			status, _ := ask(c, "/held", "Key: a")
			statuses <- status
		}()
		<-g.entered
	}
	if got := s.ask("/", "Key: a"); got != http.StatusTooManyRequests {
		t.Errorf("one more call of the key: %d", got)
	}
	if got := s.ask("/", "Key: b"); got != http.StatusNoContent {
		t.Errorf("a call of another key: %d", got)
	}
	close(g.open)
	for range MaxReads {
		if got := <-statuses; got != http.StatusNoContent {
			t.Errorf("status %d", got)
		}
	}
	if got := s.ask("/", "Key: a"); got != http.StatusNoContent {
		t.Errorf("a call of the key afterwards: %d", got)
	}
}

// Of a key that asks for many large answers a few are made at a time; others
// need not wait for all of it.
func TestLargeAnswersAreMadeInTurns(t *testing.T) {
	var w answerSlots
	w.init()
	ctx, cancel := context.WithCancel(t.Context())
	var mine []func()
	for range slotsOf("a", runtime.GOMAXPROCS(0)) {
		done, err := w.take(ctx, "a", "A")
		if err != nil {
			t.Fatal(err)
		}
		mine = append(mine, done)
	}
	more := make(chan error, 1)
	go func() {
		_, err := w.take(ctx, "a", "A")
		more <- err
	}()
	done, err := w.take(ctx, "b", "B")
	if err != nil {
		t.Fatal(err)
	}
	done()
	cancel()
	if err := <-more; callbackd.KindOf(err) != callbackd.KindUnavailable {
		t.Errorf("one more of the same key: %v", err)
	}
	for _, done := range mine {
		done()
	}
	if len(w.all) != 0 || len(w.of) != 0 {
		t.Errorf("%d places are never given back, %v", len(w.all), w.of)
	}
}

// An account with many keys has the places of one key; another account does not
// wait for it.
func TestKeysOfAnAccountShareTheirTurns(t *testing.T) {
	var w answerSlots
	w.init()
	var mine []func()
	for i := range slotsOf("", runtime.GOMAXPROCS(0)) {
		done, err := w.take(t.Context(), fmt.Sprint("key", i), "A")
		if err != nil {
			t.Fatal(err)
		}
		mine = append(mine, done)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := w.take(gone, "another key", "A"); callbackd.KindOf(err) != callbackd.KindUnavailable {
		t.Errorf("one more key of the account: %v", err)
	}
	done, err := w.take(t.Context(), "theirs", "B")
	if err != nil {
		t.Fatal(err)
	}
	done()
	for _, done := range mine {
		done()
	}
	if len(w.all) != 0 || len(w.of) != 0 {
		t.Errorf("%d places are never given back, %v", len(w.all), w.of)
	}
}

// The large answers of one key leave half of the processors, and half of the
// places, to others. The operator has as many as there are.
func TestLargeAnswersOfAKeyLeaveProcessorsToOthers(t *testing.T) {
	for processors := 1; processors <= 128; processors *= 2 {
		n := slotsOf("a", processors)
		if n < 1 || n > max(1, processors/2) || n > maxSlots/2 {
			t.Errorf("%d answers of a key at a time on %d processors", n, processors)
		}
		if n := slotsOf(Operator, processors); n != maxSlots {
			t.Errorf("%d answers of the operator at a time", n)
		}
	}
}

// pipes is a listener of connections in memory.
type pipes struct{ conns chan net.Conn }

func (p *pipes) Accept() (net.Conn, error) {
	c, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p *pipes) Close() error   { return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A reader that takes nothing loses its connection; one that is slow but
// steady gets everything, however long that takes.
func TestAReaderThatTakesNothingLosesItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 10 * pieceSize
		wrote := make(chan error, 1)
		f := New(Options{})
		server := &http.Server{ConnContext: ConnContext, WriteTimeout: 90 * time.Second, Handler: f.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := w.Write(make([]byte, size))
			wrote <- err
		}), func(*http.Request) bool { return false })}
		l := &pipes{make(chan net.Conn)}
		done := make(chan error, 1)
		go func() { done <- server.Serve(f.Listen(l)) }()
		open := func() net.Conn {
			here, there := net.Pipe()
			l.conns <- there
			io.WriteString(here, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			return here
		}

		begun := time.Now()
		deaf := open()
		if err := <-wrote; err == nil || time.Since(begun) > 2*pieceTimeout {
			t.Errorf("nothing was read: %v after %v", err, time.Since(begun))
		}
		deaf.Close()

		begun = time.Now()
		slow := open()
		res, err := http.ReadResponse(bufio.NewReaderSize(slow, 16), nil)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for buf := make([]byte, pieceSize/4); err == nil; {
			time.Sleep(pieceTimeout / 5)
			var m int
			m, err = io.ReadFull(res.Body, buf)
			n += m
		}
		if n != size || !errors.Is(err, io.EOF) || time.Since(begun) < 90*time.Second {
			t.Errorf("a slow reader got %d bytes in %v: %v", n, time.Since(begun), err)
		}
		<-wrote
		slow.Close()
		close(l.conns)
		server.Close()
		<-done
	})
}

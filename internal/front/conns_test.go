package front

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// Beyond the limit, each new connection closes the longest idle one, and the log
// says so once.
func TestTheLongestIdleConnectionIsClosed(t *testing.T) {
	s := start(t, Options{MaxConns: 64, Trusted: loopback}, ok) // a trusted address has no limit of its own
	var idle []net.Conn
	for range 200 {
		idle = append(idle, s.dial())
	}
	for range 5 {
		if got := s.ask("/"); got != http.StatusNoContent {
			t.Fatalf("status %d", got)
		}
	}
	if _, err := idle[0].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the first idle connection: %v", err)
	}
	if n := s.Counts(); n.Connections > 64 || n.Closed < 100 {
		t.Errorf("%+v", n)
	}
	if got := strings.Count(s.log.String(), "the limit of connections is reached"); got != 1 {
		t.Errorf("the log says it %d times:\n%s", got, s.log.String())
	}
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// One address has at most half of all connections. Beyond that it closes its own,
// not those of others.
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

// A connection with an active request is not closed, whatever others open.
func TestAnActiveConnectionIsNotClosed(t *testing.T) {
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

// When active requests use all connections but the reserve, the operator is served
// and others get 503.
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

// Behind a trusted proxy, the client's own address is counted.
func TestClientsBehindAProxyAreCountedByTheirOwnAddress(t *testing.T) {
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
		t.Errorf("another client: %d", got)
	}
	close(g.open)
	for range 16 {
		<-refused
	}
}

package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func targets(texts ...string) (out []netip.AddrPort) {
	for _, t := range texts {
		out = append(out, netip.AddrPortFrom(netip.MustParseAddr(t), 80))
	}
	return out
}

var errRefused = &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}

// closing is a connection that counts its end.
type closing struct {
	net.Conn
	closed *atomic.Int64
}

func (c closing) Close() error {
	c.closed.Add(1)
	return nil
}

// network is what becomes of a connection to each address: it is accepted or
// refused after a time, and without an entry it is swallowed.
type network struct {
	accepts, refuses map[string]time.Duration
	begin            time.Time

	mu     sync.Mutex
	tried  []string // "address@time"
	opened atomic.Int64
	closed atomic.Int64
}

func (n *network) connect(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	a := to.Addr().String()
	n.mu.Lock()
	n.tried = append(n.tried, a+"@"+time.Since(n.begin).String())
	n.mu.Unlock()
	if after, ok := n.accepts[a]; ok {
		time.Sleep(after) // also when it is given up meanwhile: it may be too late to stop it
		n.opened.Add(1)
		return closing{closed: &n.closed}, nil
	}
	if after, ok := n.refuses[a]; ok {
		time.Sleep(after)
		return nil, errRefused
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// Addresses are tried as RFC 8305 says: each a quarter of a second after the
// one before, or as soon as one has failed; the first connection counts.
func TestADeadAddressDelaysByAQuarterOfASecond(t *testing.T) {
	for _, tt := range []struct {
		name    string
		net     *network
		to      []string
		timeout time.Duration
		after   time.Duration
		chosen  string
		tried   string
	}{
		{"the first", &network{accepts: map[string]time.Duration{"192.0.2.1": time.Millisecond}}, []string{"192.0.2.1", "192.0.2.2"}, time.Minute, time.Millisecond, "192.0.2.1", "192.0.2.1@0s"},
		{"three dead ones before", &network{accepts: map[string]time.Duration{"192.0.2.4": 0}}, []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}, time.Minute, 750 * time.Millisecond, "192.0.2.4",
			"192.0.2.1@0s 192.0.2.2@250ms 192.0.2.3@500ms 192.0.2.4@750ms"},
		{"a refusal", &network{accepts: map[string]time.Duration{"192.0.2.2": 0}, refuses: map[string]time.Duration{"192.0.2.1": 10 * time.Millisecond}}, []string{"192.0.2.1", "192.0.2.2"}, time.Minute, 10 * time.Millisecond, "192.0.2.2",
			"192.0.2.1@0s 192.0.2.2@10ms"},
		{"a slow one wins", &network{accepts: map[string]time.Duration{"192.0.2.1": 400 * time.Millisecond, "192.0.2.2": time.Second}}, []string{"192.0.2.1", "192.0.2.2"}, time.Minute, 400 * time.Millisecond, "192.0.2.1",
			"192.0.2.1@0s 192.0.2.2@250ms"},
		{"little time", &network{accepts: map[string]time.Duration{"192.0.2.4": 0}}, []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}, 800 * time.Millisecond, 300 * time.Millisecond, "192.0.2.4",
			"192.0.2.1@0s 192.0.2.2@100ms 192.0.2.3@200ms 192.0.2.4@300ms"},
		{"all dead", &network{}, []string{"192.0.2.1", "192.0.2.2"}, 10 * time.Second, 10 * time.Second, "", "192.0.2.1@0s 192.0.2.2@250ms"},
		{"all refuse", &network{refuses: map[string]time.Duration{"192.0.2.1": 0, "192.0.2.2": 0}}, []string{"192.0.2.1", "192.0.2.2"}, time.Minute, 0, "", "192.0.2.1@0s 192.0.2.2@0s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
				defer cancel()
				tt.net.begin = time.Now()
				conn, chosen, err := race(ctx, targets(tt.to...), tt.net.connect)
				took := time.Since(tt.net.begin)
				if (conn != nil) != (tt.chosen != "") {
					t.Errorf("there is a connection: %v; want one to %q", conn != nil, tt.chosen)
				}
				if (err == nil) != (conn != nil) {
					t.Errorf("the error is %v with the connection %v; want one of them", err, conn)
				}
				if conn != nil && chosen.Addr().String() != tt.chosen {
					t.Errorf("connected to %s; want %s", chosen, tt.chosen)
				}
				if took != tt.after {
					t.Errorf("it took %v; want %v", took, tt.after)
				}
				tt.net.mu.Lock()
				got := strings.Join(tt.net.tried, " ")
				tt.net.mu.Unlock()
				if got != tt.tried {
					t.Errorf("tried %s, want %s", got, tt.tried)
				}
				time.Sleep(time.Minute) // what connected too late is closed
				if open := tt.net.opened.Load() - tt.net.closed.Load(); open > 1 || open == 1 != (conn != nil) {
					t.Errorf("%d connections stay open", open)
				}
			})
		})
	}
}

func TestFamiliesTakeTurnsAndWhatWorkedComesFirst(t *testing.T) {
	all := targets("2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2", "192.0.2.3")
	d := &dialer{}
	list := func() (out []string) {
		for _, t := range d.order("a.test:80", all) {
			out = append(out, t.Addr().String())
		}
		return out
	}
	if got, want := list(), []string{"2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "192.0.2.3"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	d.remember("a.test:80", netip.MustParseAddr("192.0.2.2"))
	if got, want := list(), []string{"192.0.2.2", "2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.3"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	d.remember("a.test:80", netip.MustParseAddr("198.51.100.1")) // it has moved away since
	if got := list(); got[0] != "2001:db8::1" {
		t.Errorf("%v", got)
	}
	for i := range 3 * maxLastGood {
		d.remember(string(rune(i)), netip.MustParseAddr("192.0.2.1"))
	}
	if len(d.lastGood) > maxLastGood {
		t.Errorf("%d names are remembered", len(d.lastGood))
	}
}

// What a router or the receiver's firewall says is the receiver's; what this
// machine has no route or no means for is its own.
func TestAMissingRouteIsOurs(t *testing.T) {
	here, nowhere := netip.MustParseAddrPort("127.0.0.1:80"), netip.MustParseAddrPort("[fe80::1]:80") // an interface would have to be named
	for _, tt := range []struct {
		code syscall.Errno
		to   netip.AddrPort
		want Missing
	}{
		{syscall.ENETUNREACH, nowhere, NoRoute}, {syscall.EHOSTUNREACH, nowhere, NoRoute}, {syscall.EACCES, nowhere, NoRoute},
		{syscall.ENETUNREACH, here, ""}, {syscall.EHOSTUNREACH, here, ""}, {syscall.EACCES, here, ""}, {syscall.ECONNREFUSED, nowhere, ""}, {syscall.ETIMEDOUT, nowhere, ""}, {syscall.ECONNRESET, here, ""},
		{syscall.ENETDOWN, here, NoRoute}, {syscall.EAFNOSUPPORT, here, NoRoute}, {syscall.EPERM, here, NoRoute},
		{syscall.EMFILE, here, NoResources}, {syscall.ENFILE, here, NoResources}, {syscall.ENOBUFS, here, NoResources}, {syscall.EADDRNOTAVAIL, here, NoResources},
	} {
		err := localFault(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", tt.code)}, tt.to)
		var local *LocalError
		if isLocal := errors.As(err, &local); isLocal != (tt.want != "") {
			t.Errorf("%v to %s: a local fault: %v; want %q", tt.code, tt.to, isLocal, tt.want)
		}
		if local != nil && local.Missing != tt.want {
			t.Errorf("%v to %s: missing is %q; want %q", tt.code, tt.to, local.Missing, tt.want)
		}
		if !errors.Is(err, tt.code) {
			t.Errorf("%v to %s is %v; want the code in it", tt.code, tt.to, err)
		}
	}
	if err := localFault(nil, here); err != nil {
		t.Error(err)
	}
}

// An address that cannot be reached from here says nothing when another one
// refused.
func TestTheReceiversFaultCountsAmongSeveral(t *testing.T) {
	ours := &LocalError{Missing: NoRoute, Err: syscall.ENETUNREACH}
	var local *LocalError
	if err := preferReceivers([]error{ours, errRefused}); errors.As(err, &local) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
	if err := preferReceivers([]error{ours, ours}); !errors.As(err, &local) {
		t.Error(err)
	}
}

// The end of a connection that the receiver announces is not waited for.
func TestKeepAliveOfTheReceiverIsHeeded(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": idleTimeout, "timeout=5": 4 * time.Second, "timeout=5, max=100": 4 * time.Second, "max=100, Timeout=30": 29 * time.Second, "timeout=1": 0, "timeout=0": -time.Second,
		"timeout=3600": idleTimeout, "timeout=x": idleTimeout, "timeout=-5": idleTimeout,
	} {
		h := http.Header{}
		if text != "" {
			h["Keep-Alive"] = []string{text}
		}
		if got := idleTime(h); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestIdleConnectionsEndInTime(t *testing.T) {
	now := time.Now()
	c := &conn{idleSince: now, idleFor: 4 * time.Second, retireAt: now.Add(time.Minute)}
	for after, want := range map[time.Duration]bool{0: false, 3 * time.Second: false, 4 * time.Second: true} {
		if got := c.isExpired(now.Add(after)); got != want {
			t.Errorf("after %v: %v", after, got)
		}
	}
	c.idleFor = time.Hour
	if c.isExpired(now.Add(59*time.Second)) || !c.isExpired(now.Add(time.Minute)) {
		t.Error("the age does not count")
	}
}

// slowNames answers for each family after a time; a family without an answer is
// silent.
type slowNames struct {
	after map[string]time.Duration
	addrs map[string][]netip.Addr
	errs  map[string]error
}

func (s slowNames) LookupNetIP(ctx context.Context, network, _ string) ([]netip.Addr, error) {
	after, ok := s.after[network]
	if !ok {
		<-ctx.Done()
		return nil, &net.DNSError{Err: "i/o timeout", IsTimeout: true}
	}
	time.Sleep(after)
	return s.addrs[network], s.errs[network]
}

// A name server that answers for one family alone delays a connection, and does
// not prevent it; and "no such name" is believed when nobody says otherwise.
func TestNamesOfWhichOneFamilyIsSilent(t *testing.T) {
	four, six := []netip.Addr{netip.MustParseAddr("192.0.2.1")}, []netip.Addr{netip.MustParseAddr("2001:db8::1")}
	unknown, broken := &net.DNSError{Err: "no such host", IsNotFound: true}, &net.DNSError{Err: "server misbehaving", IsTemporary: true}
	for name, tt := range map[string]struct {
		names slowNames
		want  string // the addresses, "unknown" or "ours"
		after time.Duration
	}{
		"both":             {slowNames{after: map[string]time.Duration{"ip4": 1, "ip6": 2}, addrs: map[string][]netip.Addr{"ip4": four, "ip6": six}}, "[2001:db8::1 192.0.2.1]", 2},
		"one is late":      {slowNames{after: map[string]time.Duration{"ip4": 1, "ip6": time.Second}, addrs: map[string][]netip.Addr{"ip4": four, "ip6": six}}, "[2001:db8::1 192.0.2.1]", time.Second},
		"no AAAA":          {slowNames{after: map[string]time.Duration{"ip4": 1}, addrs: map[string][]netip.Addr{"ip4": four}}, "[192.0.2.1]", 1 + resolutionDelay},
		"no A":             {slowNames{after: map[string]time.Duration{"ip6": 1}, addrs: map[string][]netip.Addr{"ip6": six}}, "[2001:db8::1]", 1 + resolutionDelay},
		"AAAA fails":       {slowNames{after: map[string]time.Duration{"ip4": 2, "ip6": 1}, addrs: map[string][]netip.Addr{"ip4": four}, errs: map[string]error{"ip6": broken}}, "[192.0.2.1]", 2},
		"unknown":          {slowNames{after: map[string]time.Duration{"ip4": 1, "ip6": 3}, errs: map[string]error{"ip4": unknown, "ip6": unknown}}, "unknown", 3},
		"empty":            {slowNames{after: map[string]time.Duration{"ip4": 1, "ip6": 3}}, "unknown", 3},
		"unknown or fails": {slowNames{after: map[string]time.Duration{"ip4": 1, "ip6": 3}, errs: map[string]error{"ip4": unknown, "ip6": broken}}, "ours", 3},
		"silence":          {slowNames{}, "ours", 10 * time.Second},
		"mapped twice":     {slowNames{after: map[string]time.Duration{"ip4": 1, "ip6": 1}, addrs: map[string][]netip.Addr{"ip4": four, "ip6": {netip.MustParseAddr("::ffff:192.0.2.1")}}}, "[192.0.2.1]", 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				begin := time.Now()
				addrs, err := lookup(ctx, tt.names, "a.test.")
				took := time.Since(begin)
				got := fmt.Sprint(addrs)
				var local *LocalError
				var dns *net.DNSError
				switch {
				case errors.As(err, &local):
					got = "ours"
				case errors.As(err, &dns) && dns.IsNotFound:
					got = "unknown"
				}
				if got != tt.want || took != tt.after {
					t.Errorf("%s, %v after %v; want %s after %v", got, err, took, tt.want, tt.after)
				}
				time.Sleep(time.Minute) // nothing is left behind: the bubble would say so
			})
		})
	}
}

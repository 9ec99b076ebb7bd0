package egress

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"callbackd/internal/system"
)

// Limits of connecting. Single steps have no limit: the deadline of the whole exchange is
// in the request's context.
const (
	// DefaultProxyTimeout is how long the operator's proxy may take to accept a
	// connection.
	DefaultProxyTimeout = 10 * time.Second
	// DefaultMaxAge and DefaultMaxUses limit a busy connection, so that a changed
	// DNS entry, a drained load balancer and a new certificate are noticed.
	DefaultMaxAge  = time.Minute
	DefaultMaxUses = 1000

	maxAddresses = 16                     // of a name that are tried
	attemptDelay = 250 * time.Millisecond // RFC 8305, section 5
	maxLastGood  = 4096                   // names whose last good address is remembered
)

// Options of a transport. Policy is required.
type Options struct {
	Policy   *Policy
	Resolver Resolver       // default the system's name servers and hosts file
	Roots    *x509.CertPool // default the system's
	Proxy    *url.URL       // http or https; nil for none; the environment is never asked
	// ProxyTimeout, MaxAge and MaxUses have defaults.
	ProxyTimeout time.Duration
	MaxAge       time.Duration // of a connection that is used again
	MaxUses      int
}

func (o Options) withDefaults() Options {
	if o.Resolver == nil {
		o.Resolver = systemResolver
	}
	if o.ProxyTimeout == 0 {
		o.ProxyTimeout = DefaultProxyTimeout
	}
	if o.MaxAge == 0 {
		o.MaxAge = DefaultMaxAge
	}
	if o.MaxUses == 0 {
		o.MaxUses = DefaultMaxUses
	}
	return o
}

type dialer struct {
	o       Options
	proxied atomic.Int64 // when the proxy answered last, in nanoseconds

	mu       sync.Mutex
	lastGood map[string]netip.Addr // by host and port, of names with several addresses
}

// dial resolves the target, judges all of its addresses, and connects to one of them. One
// forbidden address refuses the name: whether an attempt is allowed must not depend on
// the address that is tried.
func (d *dialer) dial(ctx context.Context, target string, tr *Trace) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, err
	}
	addrs, err := d.resolve(ctx, host, tr)
	if err != nil {
		return nil, err
	}
	targets := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		targets[i] = netip.AddrPortFrom(a, uint16(port))
		if v, ok := d.judge(host, targets[i]); !ok {
			return nil, &RefusedError{Host: host, Addr: targets[i], Verdict: v}
		}
	}
	tr.Phase = Connecting
	begin := time.Now()
	defer func() { tr.Connect = time.Since(begin) }()
	tr.Address = targets[0].String()
	if len(targets) == 1 {
		conn, err := d.connect(ctx, host, targets[0])
		return conn, localFault(err, targets[0])
	}
	targets = d.order(target, targets)
	conn, chosen, err := race(ctx, targets, func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		return d.connect(ctx, host, to)
	})
	tr.Address = chosen.String()
	if err == nil {
		d.remember(target, chosen.Addr())
	}
	return conn, err
}

// judge asks the policy. A name of one label belongs to the operator's network, so it may
// lead only into ranges that the operator allowed.
func (d *dialer) judge(host string, target netip.AddrPort) (Verdict, bool) {
	v, ok := d.o.Policy.Judge(target)
	if ok && isSingleLabel(host) && !d.o.Policy.allows(target.Addr()) {
		return SingleLabel, false
	}
	return v, ok
}

func isSingleLabel(host string) bool {
	return !strings.Contains(strings.TrimSuffix(host, "."), ".") && !strings.Contains(host, ":")
}

// resolve looks up the host. The name is absolute: the search list of this machine must
// not complete it to another name.
func (d *dialer) resolve(ctx context.Context, host string, tr *Trace) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	tr.Phase = Resolving
	begin := time.Now()
	defer func() { tr.DNS = time.Since(begin) }()
	return lookup(ctx, d.o.Resolver, strings.TrimSuffix(host, ".")+".")
}

// order returns the addresses in the order in which they are tried: the one that worked
// last comes first, and the families alternate (RFC 8305, section 4).
func (d *dialer) order(target string, targets []netip.AddrPort) []netip.AddrPort {
	d.mu.Lock()
	good := d.lastGood[target]
	d.mu.Unlock()
	first := 0
	for i, t := range targets {
		if t.Addr() == good {
			first = i
		}
	}
	same, other := []netip.AddrPort{targets[first]}, []netip.AddrPort(nil)
	for i, t := range targets {
		switch {
		case i == first:
		case t.Addr().Is4() == targets[first].Addr().Is4():
			same = append(same, t)
		default:
			other = append(other, t)
		}
	}
	out := make([]netip.AddrPort, 0, len(targets))
	for i := range max(len(same), len(other)) {
		if i < len(same) {
			out = append(out, same[i])
		}
		if i < len(other) {
			out = append(out, other[i])
		}
	}
	return out[:min(len(out), maxAddresses)]
}

func (d *dialer) remember(target string, a netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.lastGood) >= maxLastGood || d.lastGood == nil {
		d.lastGood = map[string]netip.Addr{}
	}
	d.lastGood[target] = a
}

// dialed is the result of dialing one address.
type dialed struct {
	conn net.Conn
	to   netip.AddrPort
	err  error
}

// race connects to the targets one after the other. It tries the next one as soon as one
// has failed, or after a delay without an answer (RFC 8305, section 5). It returns the
// first connection and closes the others. When none succeeds it returns the errors and
// the address that was tried last.
func race(ctx context.Context, targets []netip.AddrPort, connect func(context.Context, netip.AddrPort) (net.Conn, error)) (net.Conn, netip.AddrPort, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan dialed, len(targets))
	running, begun := 0, 0
	begin := func() {
		t := targets[begun]
		begun++
		running++
		go func() {
			conn, err := connect(ctx, t)
			results <- dialed{conn, t, localFault(err, t)}
		}()
	}
	delay := time.NewTicker(delayBetween(ctx, len(targets)))
	defer delay.Stop()
	var errs []error
	begin()
	for running > 0 {
		select {
		case r := <-results:
			running--
			if r.err == nil {
				cancel()
				go closeRest(results, running)
				return r.conn, r.to, nil
			}
			errs = append(errs, r.err)
		case <-delay.C:
		}
		if begun < len(targets) && ctx.Err() == nil {
			begin()
		}
	}
	return nil, targets[begun-1], preferReceivers(errs)
}

// delayBetween returns the delay between two addresses. It is shorter when the time of
// the exchange is too short for all of them.
func delayBetween(ctx context.Context, n int) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return attemptDelay
	}
	return max(time.Millisecond, min(attemptDelay, time.Until(deadline)/time.Duration(2*n)))
}

// closeRest closes the connections that came too late.
func closeRest(results <-chan dialed, n int) {
	for range n {
		if r := <-results; r.conn != nil {
			r.conn.Close()
		}
	}
}

// preferReceivers joins the errors of receivers, or those of this machine if there are no
// others: an address that this machine cannot reach tells nothing when another address
// answered.
func preferReceivers(errs []error) error {
	var theirs, ours []error
	for _, err := range errs {
		var local *LocalError
		if errors.As(err, &local) {
			ours = append(ours, err)
		} else {
			theirs = append(theirs, err)
		}
	}
	if len(theirs) == 0 {
		return errors.Join(ours...)
	}
	return errors.Join(theirs...)
}

// connect dials a judged address, through the proxy if there is one. It judges the address
// again on the socket, where it cannot change any more.
func (d *dialer) connect(ctx context.Context, host string, target netip.AddrPort) (net.Conn, error) {
	if d.o.Proxy != nil {
		return d.viaProxy(ctx, target)
	}
	nd := &net.Dialer{
		ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
			a, err := netip.ParseAddrPort(address)
			if err != nil || network != "tcp4" && network != "tcp6" {
				return &RefusedError{Host: host, Addr: a, Verdict: Reserved}
			}
			if v, ok := d.judge(host, a); !ok {
				return &RefusedError{Host: host, Addr: a, Verdict: v}
			}
			return nil
		},
	}
	return nd.DialContext(ctx, "tcp", target.String())
}

// Missing is what is missing on this machine.
type Missing string

// What can be missing on this machine.
const (
	NoResolver  Missing = "resolver"  // an answer of the name servers it is configured with
	NoRoute     Missing = "route"     // a way to the receiver
	NoResources Missing = "resources" // descriptors, ports, memory
	NoRoots     Missing = "roots"     // certificate authorities to trust
)

// LocalError is a fault of this machine or its network, not of the receiver.
type LocalError struct {
	Missing Missing
	Err     error
}

// Error returns what is missing, and why.
func (e *LocalError) Error() string { return fmt.Sprintf("no %s: %v", e.Missing, e.Err) }

// Unwrap returns the cause.
func (e *LocalError) Unwrap() error { return e.Err }

// localFault turns an error of this machine into a [LocalError], and returns others as
// they are.
func localFault(err error, target netip.AddrPort) error {
	switch {
	case system.Is(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL):
		return &LocalError{Missing: NoResources, Err: err}
	case system.Is(err, syscall.ENETDOWN, syscall.EPERM, syscall.EAFNOSUPPORT):
		return &LocalError{Missing: NoRoute, Err: err}
	case system.Is(err, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EACCES) && !hasRoute(target):
		return &LocalError{Missing: NoRoute, Err: err}
	}
	return err
}

// hasRoute reports whether this machine has a route to the address. The same error may also
// come from a router or from the receiver's firewall. Connecting a UDP socket checks the
// routes of this machine and sends nothing.
func hasRoute(target netip.AddrPort) bool {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(target))
	if err != nil {
		return false
	}
	c.Close()
	return true
}

package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Resolver looks up names, which end with a dot. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// systemResolver looks up names in the hosts file and with the name servers of this
// machine. It is Go's resolver in every build: the C library does not distinguish an
// unknown name from a name server that does not answer.
var systemResolver = &hostsThenDNS{
	hosts: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errHostsOnly }},
	dns:   &net.Resolver{PreferGo: true},
	plain: &plainResolver{servers: nameServers},
}

var errHostsOnly = errors.New("only the hosts file is asked")

// hostsThenDNS looks up names of one label in the hosts file first, without their dot,
// because Go finds them there only in that spelling. It asks name servers with the dot
// only: without it they would be asked for the name in each domain of the search list.
type hostsThenDNS struct{ hosts, dns, plain Resolver }

// LookupNetIP is part of [Resolver].
func (r *hostsThenDNS) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if isSingleLabel(host) {
		if addrs, err := r.hosts.LookupNetIP(ctx, network, strings.TrimSuffix(host, ".")); err == nil {
			return addrs, nil
		}
	}
	if edgeHyphens(host) {
		return r.plain.LookupNetIP(ctx, network, host)
	}
	return r.dns.LookupNetIP(ctx, network, host)
}

// resolutionDelay is how long the addresses of one family wait for those of the other.
// A name server that never answers one of the two questions must not delay the attempt.
// It is longer than in RFC 8305, section 3, because all addresses must be judged.
const resolutionDelay = time.Second

// familyResult is the result for one family of addresses.
type familyResult struct {
	addrs []netip.Addr
	err   error
}

// lookup looks up both families at once. The error is a net.DNSError when the name
// servers say that there is no address, and a [LocalError] when there is none because
// not all of them answered. IPv4 addresses mapped into IPv6, as from a hosts file, are
// unmapped.
func lookup(ctx context.Context, r Resolver, name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan familyResult, 2)
	for _, network := range []string{"ip4", "ip6"} {
		go func() { results <- lookupFamily(ctx, r, network, name) }()
	}
	first := <-results
	var late <-chan time.Time
	if len(first.addrs) > 0 {
		timer := time.NewTimer(resolutionDelay)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case second := <-results:
		return merge(name, first, second)
	case <-late:
		return merge(name, first)
	}
}

// lookupFamily looks up one family. A panic must not end the process.
func lookupFamily(ctx context.Context, r Resolver, network, name string) (f familyResult) {
	defer func() {
		if p := recover(); p != nil {
			f = familyResult{err: fmt.Errorf("the resolver panicked: %v", p)}
		}
	}()
	f.addrs, f.err = r.LookupNetIP(ctx, network, name)
	return f
}

// merge returns the addresses of all answers, IPv6 first as in RFC 8305.
func merge(name string, answers ...familyResult) ([]netip.Addr, error) {
	var all []netip.Addr
	err := error(&net.DNSError{Err: "no address", Name: name, IsNotFound: true})
	for _, a := range answers {
		for _, addr := range a.addrs {
			all = append(all, addr.Unmap())
		}
		if a.err != nil && !isNotFound(a.err) {
			err = &LocalError{Missing: NoResolver, Err: a.err}
		}
	}
	if len(all) == 0 {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b netip.Addr) int { return b.BitLen() - a.BitLen() })
	seen := all[:0]
	for _, a := range all {
		if !slices.Contains(seen, a) {
			seen = append(seen, a)
		}
	}
	return seen, nil
}

// isNotFound reports whether a name server answered that the name has no address of the
// family.
func isNotFound(err error) bool {
	var unknown *net.DNSError
	var unfit *net.AddrError
	return errors.As(err, &unknown) && unknown.IsNotFound || errors.As(err, &unfit)
}

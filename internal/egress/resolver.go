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

// Resolver looks names up; *net.Resolver is one. Names end with a dot.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// systemResolver looks names up in the hosts file and with the name servers
// that this machine is configured with. It is Go's own, in every build: the C
// library does not tell an unknown name from a name server that is silent.
var systemResolver = &hostsFirst{
	hosts: &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errHostsOnly }},
	dns:   &net.Resolver{PreferGo: true},
	plain: &plainResolver{servers: nameServers},
}

var errHostsOnly = errors.New("only the hosts file is asked")

// hostsFirst asks the hosts file for names of one label without their dot: Go
// finds them there in no other spelling. Without the dot a name server would be
// asked for the name with each domain of the search list, so that one is never
// reached.
type hostsFirst struct{ hosts, dns, plain Resolver }

// LookupNetIP is part of [Resolver].
func (r *hostsFirst) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
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

// resolutionDelay is how long the addresses of one family wait for those of the
// other: a name server that never answers one of the two questions must not
// hold up what is known. It is longer than in RFC 8305, section 3, for all
// addresses are to be judged.
const resolutionDelay = time.Second

// found is the answer for one family of addresses.
type found struct {
	addrs []netip.Addr
	err   error
}

// lookup asks for the addresses of both families at once. An error is a
// net.DNSError when name servers say that there is no address, and a
// [LocalError] when not all of them answered and none has an address. Addresses
// of IPv4 that come mapped into IPv6, as they do from a hosts file, are
// unmapped.
func lookup(ctx context.Context, r Resolver, name string) ([]netip.Addr, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan found, 2)
	for _, network := range []string{"ip4", "ip6"} {
		go func() { results <- ask(ctx, r, network, name) }()
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
		return merged(name, first, second)
	case <-late:
		return merged(name, first)
	}
}

// ask looks one family up. A panic must not end the process.
func ask(ctx context.Context, r Resolver, network, name string) (f found) {
	defer func() {
		if p := recover(); p != nil {
			f = found{err: fmt.Errorf("the resolver panicked: %v", p)}
		}
	}()
	f.addrs, f.err = r.LookupNetIP(ctx, network, name)
	return f
}

// merged is what the answers say together: IPv6 comes first, as in RFC 8305.
func merged(name string, answers ...found) ([]netip.Addr, error) {
	var all []netip.Addr
	err := error(&net.DNSError{Err: "no address", Name: name, IsNotFound: true})
	for _, a := range answers {
		for _, addr := range a.addrs {
			all = append(all, addr.Unmap())
		}
		if a.err != nil && !saysNone(a.err) {
			err = &LocalError{Lacks: LacksResolver, Err: a.err}
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

// saysNone tells whether a name server answered that there is no address of the
// family, or only one that is of the other.
func saysNone(err error) bool {
	var unknown *net.DNSError
	var unfit *net.AddrError
	return errors.As(err, &unknown) && unknown.IsNotFound || errors.As(err, &unfit)
}

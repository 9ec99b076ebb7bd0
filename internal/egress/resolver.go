package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
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
}

var errHostsOnly = errors.New("only the hosts file is asked")

// hostsFirst asks the hosts file for names of one label without their dot: Go
// finds them there in no other spelling. Without the dot a name server would be
// asked for the name with each domain of the search list, so that one is never
// reached.
type hostsFirst struct{ hosts, dns Resolver }

// LookupNetIP is part of [Resolver].
func (r *hostsFirst) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if isSingleLabel(host) {
		if addrs, err := r.hosts.LookupNetIP(ctx, network, strings.TrimSuffix(host, ".")); err == nil {
			return addrs, nil
		}
	}
	return r.dns.LookupNetIP(ctx, network, host)
}

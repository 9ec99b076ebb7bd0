package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// What is said early of targets that will be refused. Whether a name is
// unknown or leads inside is one answer: the difference would tell what is
// there.
const (
	adviceAddress = "The address is private or reserved, and callbackd sends nothing to it unless the operator allows its range (--allow-target)."
	adviceName    = "The host has no address that callbackd may send to: the name is unknown, or it leads to a private or reserved address. Nothing can be delivered until that changes."
)

// adviceTime is how long a name is looked up for, and when an advice about it
// comes, whatever it was that is wrong: how long the lookup took would tell
// one case from the other.
const adviceTime = time.Second

// AdviseAddress is [Transport.Advise] without a lookup: of addresses, and of
// names that always mean one.
func (t *Transport) AdviseAddress(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	a, ok := literal(u.Hostname())
	if !ok {
		return ""
	}
	if _, allowed := t.dialer.judge(u.Hostname(), netip.AddrPortFrom(a.Unmap(), portOf(u))); allowed {
		return ""
	}
	return adviceAddress
}

// Advise says early that a callback's URL leads nowhere that may be sent to;
// empty when it may be, or when nobody knows. It decides nothing: each dial
// judges its address anew.
func (t *Transport) Advise(ctx context.Context, rawURL string) string {
	u, err := ParseURL(rawURL) // what is kept is as it was given
	if err != nil {
		return ""
	}
	host := u.Hostname()
	if _, ok := literal(host); ok {
		return t.AdviseAddress(rawURL)
	}
	timer := time.NewTimer(adviceTime)
	defer timer.Stop()
	lookup, cancel := context.WithTimeout(ctx, adviceTime)
	defer cancel()
	if t.leadsOut(lookup, host, portOf(u)) {
		return ""
	}
	select {
	case <-timer.C:
		return adviceName
	case <-ctx.Done():
		return ""
	}
}

// leadsOut tells whether a name leads to addresses that may be sent to, as far
// as can be known: a resolver that does not answer tells nothing.
func (t *Transport) leadsOut(ctx context.Context, host string, port uint16) bool {
	addrs, err := t.dialer.resolve(ctx, host, &Trace{})
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
		return false
	}
	for _, a := range addrs {
		if _, allowed := t.dialer.judge(host, netip.AddrPortFrom(a, port)); !allowed {
			return false
		}
	}
	return true
}

// literal reads a host that is an address, or a name that always means one.
func literal(host string) (netip.Addr, bool) {
	if name := strings.ToLower(strings.TrimSuffix(host, ".")); name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), true
	}
	a, err := netip.ParseAddr(host)
	return a, err == nil
}

func portOf(u *url.URL) uint16 {
	switch {
	case u.Port() != "":
		p, err := netip.ParseAddrPort("127.0.0.1:" + u.Port())
		if err != nil {
			return 0
		}
		return p.Port()
	case u.Scheme == "https":
		return 443
	}
	return 80
}

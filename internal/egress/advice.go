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

// Advice about targets that will be refused. An unknown name and a name that leads
// to a private address get the same advice: the difference would tell which names
// exist in the operator's network.
const (
	adviceAddress = "The address is private or reserved, and callbackd sends nothing to it unless the operator allows its range (--allow-target)."
	adviceName    = "The host has no address that callbackd may send to: the name is unknown, or it leads to a private or reserved address. Nothing can be delivered until that changes."
)

// adviceTime is how long a lookup may take, and after how long the advice about a
// name is given. It is the same in every case: the time of the lookup would tell the
// cases apart.
const adviceTime = time.Second

// AdviseAddress is [Transport.Advise] without a lookup: for addresses, and for names
// that always mean one.
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

// Advise returns a warning when nothing may be sent to a callback's URL, and an empty
// string when something may, or when that is not known. It decides nothing: each dial
// judges its address again.
func (t *Transport) Advise(ctx context.Context, rawURL string) string {
	u, err := ParseURL(rawURL) // the stored URL is as it was given
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
	if t.mayReach(lookup, host, portOf(u)) {
		return ""
	}
	select {
	case <-timer.C:
		return adviceName
	case <-ctx.Done():
		return ""
	}
}

// mayReach reports whether a name leads to allowed addresses. It is true when the
// resolver does not answer, because then nobody knows.
func (t *Transport) mayReach(ctx context.Context, host string, port uint16) bool {
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

package front

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// visit is what a request holds.
type request struct {
	client  netip.Addr // the visitor's, as far as it is known
	secure  bool       // the visitor speaks TLS
	who     string
	kind    Kind
	entered bool
	relayed string // the address that it counts for behind a trusted proxy
	bodies  int64
	answers int64
	done    func() // gives a workplace back
}

func (v *request) leave(f *Front) {
	v.leaveCall(f)
	if v.relayed != "" {
		f.calls.end(v.relayed, proxied)
	}
	f.bodies.release(v.who, v.bodies)
	f.answers.release(v.who, v.answers)
	if v.done != nil {
		v.done()
	}
	*v = request{}
}

func (v *request) leaveCall(f *Front) {
	if v.entered {
		f.calls.end(v.who, v.kind)
		v.entered = false
	}
}

// Client is the address of the visitor: the other end of the connection, or
// what a trusted proxy says.
func ClientAddr(r *http.Request) netip.Addr {
	if c := connOf(r); c != nil && c.request.client.IsValid() {
		return c.request.client
	}
	return parseAddr(r.RemoteAddr)
}

// ClientGroup is whom a visitor counts for: the address, or the /64 that an
// IPv6 address is in, which one person has alone.
func ClientNetwork(r *http.Request) string {
	a := ClientAddr(r)
	if !a.IsValid() {
		return r.RemoteAddr
	}
	if a.Is4() {
		return a.String()
	}
	return networkOf(a).String()
}

// Secure tells whether the visitor speaks TLS, to callbackd or to a trusted
// proxy.
func Secure(r *http.Request) bool {
	if c := connOf(r); c != nil && c.request.secure {
		return true
	}
	return r.TLS != nil
}

func addrOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap()
	}
	return parseAddr(a.String())
}

// parseAddr reads an address with or without a port, as proxies write it.
func parseAddr(s string) netip.Addr {
	s = strings.Trim(strings.TrimSpace(s), `"`)
	if at, err := netip.ParseAddrPort(s); err == nil {
		return at.Addr().Unmap().WithZone("")
	}
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return a.Unmap().WithZone("")
	}
	return netip.Addr{}
}

// group is the network that an address stands for when visitors are counted.
func networkOf(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

func (f *Front) trusts(a netip.Addr) bool {
	for _, p := range f.options.Trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// visitor reads who stands behind a request. The word of a proxy counts when
// its address is trusted: then the rightmost address that is no trusted
// proxy's is the visitor's. What stands left of it anybody can write.
func (f *Front) clientOf(r *http.Request) (client netip.Addr, secure bool) {
	client, secure = parseAddr(r.RemoteAddr), r.TLS != nil
	if !f.trusts(client) {
		return client, secure
	}
	hops, proto := forwarded(r.Header)
	for i := len(hops) - 1; i >= 0; i-- {
		a := parseAddr(hops[i])
		if !a.IsValid() {
			break // whoever wrote this does not say; the hop after it counts
		}
		client = a
		if !f.trusts(a) {
			break
		}
	}
	return client, secure || strings.EqualFold(proto, "https")
}

// forwarded is the hops of a request, the nearest last, and the protocol that
// the visitor spoke. X-Forwarded-For goes before Forwarded, as a proxy that
// sets one leaves the other as the visitor sent it; who sets Forwarded only
// must remove X-Forwarded-For, and the documents say so.
func forwarded(h http.Header) (hops []string, proto string) {
	if proto = lastElement(h.Values("X-Forwarded-Proto")); proto != "" || len(h.Values("X-Forwarded-For")) > 0 {
		for _, v := range h.Values("X-Forwarded-For") {
			hops = append(hops, strings.Split(v, ",")...)
		}
		return hops, proto
	}
	for _, v := range h.Values("Forwarded") {
		for _, element := range strings.Split(v, ",") {
			hop := ""
			for _, pair := range strings.Split(element, ";") {
				name, value, _ := strings.Cut(pair, "=")
				value = strings.Trim(strings.TrimSpace(value), `"`)
				switch strings.ToLower(strings.TrimSpace(name)) {
				case "for":
					hop = value
				case "proto":
					proto = value
				}
			}
			hops = append(hops, hop)
		}
	}
	return hops, proto
}

// lastOf is the last element of a list in headers: the one that the nearest
// proxy wrote.
func lastElement(values []string) string {
	if len(values) == 0 {
		return ""
	}
	last := values[len(values)-1]
	return strings.TrimSpace(last[strings.LastIndex(last, ",")+1:])
}

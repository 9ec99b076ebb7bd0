package front

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// request is the active request of a connection, with the resources that it uses.
type request struct {
	addr      netip.Addr // of the client, as far as it is known
	secure    bool       // the client uses TLS
	client    string     // what is charged: an API key, or Operator
	kind      Kind
	counted   bool   // among the client's active calls
	proxied   string // the client's network, which is charged behind a trusted proxy
	bodies    int64  // bytes
	answers   int64  // bytes
	endAnswer func() // releases its slot; nil when it has none
}

// release returns everything that the request uses.
func (r *request) release(f *Front) {
	r.endCall(f)
	if r.proxied != "" {
		f.calls.end(r.proxied, proxied)
	}
	f.bodies.release(r.client, r.bodies)
	f.answers.release(r.client, r.answers)
	if r.endAnswer != nil {
		r.endAnswer()
	}
	*r = request{}
}

func (r *request) endCall(f *Front) {
	if r.counted {
		f.calls.end(r.client, r.kind)
		r.counted = false
	}
}

// ClientAddr returns the address of the client: the other end of the connection,
// or the address that a trusted proxy names.
func ClientAddr(r *http.Request) netip.Addr { return connOf(r).clientAddr(r) }

// clientAddr is ClientAddr with the connection of the request, which may be nil.
func (c *conn) clientAddr(r *http.Request) netip.Addr {
	if c != nil && c.request.addr.IsValid() {
		return c.request.addr
	}
	return parseAddr(r.RemoteAddr)
}

// ClientText returns the address of the client as text; empty when it is not known.
func ClientText(r *http.Request) string {
	c := connOf(r)
	a := c.clientAddr(r)
	if !a.IsValid() {
		return ""
	}
	if c == nil {
		return a.String()
	}
	if c.shown != a { // the last request of the connection usually had the same
		c.shown, c.shownText = a, a.String()
	}
	return c.shownText
}

// ClientNetwork returns the network that a client is counted by: its IPv4 address, or the
// /64 of its IPv6 address, which usually belongs to one person.
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

// Secure reports whether the client uses TLS, to callbackd or to a trusted proxy.
func Secure(r *http.Request) bool {
	if c := connOf(r); c != nil && c.request.secure {
		return true
	}
	return r.TLS != nil
}

func addrOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
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

// networkOf returns the network that an address is counted by.
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

// clientOf returns the address of a request's client, and whether it uses TLS. remote is
// the other end of its connection.
// The headers of a trusted proxy count: the client is the rightmost address that
// is not a trusted proxy itself. The addresses on its left may be forged.
func (f *Front) clientOf(r *http.Request, remote netip.Addr) (client netip.Addr, secure bool) {
	client, secure = remote, r.TLS != nil
	if !f.trusts(client) {
		return client, secure
	}
	hops, proto := forwarded(r.Header)
	for i := len(hops) - 1; i >= 0; i-- {
		a := parseAddr(hops[i])
		if !a.IsValid() {
			break // the proxy hides the address, so the proxy itself counts
		}
		client = a
		if !f.trusts(a) {
			break
		}
	}
	return client, secure || strings.EqualFold(proto, "https")
}

// forwarded returns the addresses that a request came through, the nearest last,
// and the protocol that the client used. X-Forwarded-For wins over Forwarded,
// because a proxy that sets one leaves the other as the client sent it. A proxy
// that sets Forwarded only must remove X-Forwarded-For, as docs/proxy.md says.
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

// lastElement returns the last element of a list in headers, which the nearest
// proxy wrote.
func lastElement(values []string) string {
	if len(values) == 0 {
		return ""
	}
	last := values[len(values)-1]
	return strings.TrimSpace(last[strings.LastIndex(last, ",")+1:])
}

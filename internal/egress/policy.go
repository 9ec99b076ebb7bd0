package egress

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// Policy holds what deliveries may connect to. Only the operator sets it; no member of
// the API does.
type Policy struct {
	allow []netip.Prefix
	only  bool // public addresses are refused too

	mu  sync.RWMutex
	own []netip.AddrPort
}

// NewPolicy allows ranges in addition to the public addresses. An IPv4 range covers the
// same addresses mapped into IPv6, and a mapped range stands for its IPv4 range.
func NewPolicy(allow []netip.Prefix) *Policy {
	p := &Policy{}
	for _, a := range allow {
		if a.Addr().Is4In6() && a.Bits() >= 96 {
			a = netip.PrefixFrom(a.Addr().Unmap(), a.Bits()-96)
		}
		p.allow = append(p.allow, a)
	}
	return p
}

// OnlyPolicy allows ranges and nothing else, not even public addresses.
func OnlyPolicy(allow []netip.Prefix) *Policy {
	p := NewPolicy(allow)
	p.only = true
	return p
}

// Guard makes the policy refuse one of callbackd's own listeners, whatever is allowed: a
// callback must not call the API that it was registered with.
func (p *Policy) Guard(listener netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.own = append(p.own, listener)
}

// Judge reports whether deliveries may connect to the target.
func (p *Policy) Judge(target netip.AddrPort) (Verdict, bool) {
	if p.isOwn(target) {
		return Own, false
	}
	v := Classify(target.Addr())
	if v == Public && !p.only {
		return v, true
	}
	if p.allows(target.Addr()) {
		return Allowed, true
	}
	return v, false
}

// allows reports whether the operator allowed a range with the address.
func (p *Policy) allows(addr netip.Addr) bool {
	if addr.Zone() != "" {
		return false
	}
	for _, a := range p.allow {
		if a.Contains(addr) || a.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

func (p *Policy) isOwn(target netip.AddrPort) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	addr := target.Addr().Unmap()
	for _, o := range p.own {
		if o.Port() != target.Port() {
			continue
		}
		own := o.Addr().Unmap()
		// The unspecified address, and all of 127/8, reach this machine.
		if own == addr || addr.IsUnspecified() || own.IsUnspecified() && isLocal(addr) {
			return true
		}
	}
	return false
}

// isLocal reports whether an address belongs to this machine.
func isLocal(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true // unknown: refuse rather than guess
	}
	for _, i := range addrs {
		if n, ok := i.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == a {
				return true
			}
		}
	}
	return false
}

// RefusedError is the error for a target that the policy refuses. Its text is the same
// for every target, so that key holders learn nothing about the operator's network.
// Detail is for the operator's log.
type RefusedError struct {
	Host    string
	Addr    netip.AddrPort
	Verdict Verdict
}

// Error returns one fixed sentence.
func (e *RefusedError) Error() string { return "the target address is not allowed" }

// IsName reports whether the target was given as a name and not as an address.
func (e *RefusedError) IsName() bool {
	_, err := netip.ParseAddr(e.Host)
	return err != nil
}

// Detail returns the target and why it was refused.
func (e *RefusedError) Detail() string {
	return fmt.Sprintf("%s resolves to %s (%s); if callbacks should reach it, allow its range with --allow-target", e.Host, e.Addr, e.Verdict)
}

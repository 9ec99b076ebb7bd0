// Package egress makes all outbound connections of deliveries. It judges every address
// before it connects: after the name was resolved, and again on the socket. It has the
// HTTP transport that deliveries use.
//
// An IPv4 address is public unless a registry reserves it. An IPv6 address is public
// only within 2000::/3, less the registered exceptions. Whole blocks are refused, not
// encodings, because no list of the ways to write an IPv4 address inside an IPv6
// address is complete.
package egress

import "net/netip"

// Verdict is the class of an address.
type Verdict string

// The verdicts. Only addresses that are Public or Allowed are connected to.
const (
	Public        Verdict = "public"
	Allowed       Verdict = "allowed by the operator"
	Loopback      Verdict = "loopback"
	Private       Verdict = "private network"
	LinkLocal     Verdict = "link-local"
	CGNAT         Verdict = "carrier-grade NAT"
	Metadata      Verdict = "cloud metadata"
	Multicast     Verdict = "multicast"
	Unspecified   Verdict = "unspecified"
	Broadcast     Verdict = "broadcast"
	Documentation Verdict = "documentation"
	Benchmark     Verdict = "benchmarking"
	NAT64         Verdict = "NAT64"
	SixToFour     Verdict = "6to4"
	Teredo        Verdict = "Teredo and protocol assignments"
	Reserved      Verdict = "reserved"
	Own           Verdict = "callbackd itself"
	SingleLabel   Verdict = "named by one label, and not allowed by the operator"
)

// Rule is a special range and the source that reserves it.
type Rule struct {
	Prefix  netip.Prefix
	Verdict Verdict
	Source  string
}

func rule(prefix string, v Verdict, source string) Rule {
	return Rule{netip.MustParsePrefix(prefix), v, source}
}

// Rules holds every refused range, the most specific first where ranges overlap. IPv6
// addresses outside 2000::/3 are refused as well.
var Rules = []Rule{
	// Metadata services of clouds.
	rule("169.254.169.254/32", Metadata, "AWS, Azure, Google Cloud, OpenStack"),
	rule("169.254.170.2/32", Metadata, "AWS ECS"),
	rule("168.63.129.16/32", Metadata, "Azure WireServer"),
	rule("100.100.100.200/32", Metadata, "Alibaba Cloud"),
	rule("192.0.0.192/32", Metadata, "Oracle Cloud"),
	rule("fd00:ec2::254/128", Metadata, "AWS over IPv6"),
	rule("fd20:ce::254/128", Metadata, "Google Cloud over IPv6"),
	// IANA IPv4 Special-Purpose Address Registry.
	rule("0.0.0.0/32", Unspecified, "RFC 1122, 3.2.1.3"),
	rule("0.0.0.0/8", Reserved, "RFC 791, 3.2"),
	rule("10.0.0.0/8", Private, "RFC 1918"),
	rule("100.64.0.0/10", CGNAT, "RFC 6598"),
	rule("127.0.0.0/8", Loopback, "RFC 1122, 3.2.1.3"),
	rule("169.254.0.0/16", LinkLocal, "RFC 3927"),
	rule("172.16.0.0/12", Private, "RFC 1918"),
	rule("192.0.0.0/24", Reserved, "RFC 6890"),
	rule("192.0.2.0/24", Documentation, "RFC 5737"),
	rule("192.31.196.0/24", Reserved, "RFC 7535"),
	rule("192.52.193.0/24", Reserved, "RFC 7450"),
	rule("192.88.99.0/24", SixToFour, "RFC 7526"),
	rule("192.168.0.0/16", Private, "RFC 1918"),
	rule("192.175.48.0/24", Reserved, "RFC 7534"),
	rule("198.18.0.0/15", Benchmark, "RFC 2544"),
	rule("198.51.100.0/24", Documentation, "RFC 5737"),
	rule("203.0.113.0/24", Documentation, "RFC 5737"),
	rule("224.0.0.0/4", Multicast, "RFC 1112"),
	rule("255.255.255.255/32", Broadcast, "RFC 919"),
	rule("240.0.0.0/4", Reserved, "RFC 1112, 4"),
	// IANA IPv6 Special-Purpose Address Registry, and what precedes it.
	rule("::/128", Unspecified, "RFC 4291"),
	rule("::1/128", Loopback, "RFC 4291"),
	rule("64:ff9b::/96", NAT64, "RFC 6052"),
	rule("64:ff9b:1::/48", NAT64, "RFC 8215"),
	rule("::/8", Reserved, "RFC 4291: mapped, compatible, translated and unassigned"),
	rule("100::/64", Reserved, "RFC 6666"),
	rule("100:0:0:1::/64", Reserved, "RFC 9780"),
	rule("2001::/23", Teredo, "RFC 2928, RFC 4380"),
	rule("2001:db8::/32", Documentation, "RFC 3849"),
	rule("2002::/16", SixToFour, "RFC 3056"),
	rule("2620:4f:8000::/48", Reserved, "RFC 7534"),
	rule("3fff::/20", Documentation, "RFC 9637"),
	rule("5f00::/16", Reserved, "RFC 9602"),
	rule("fc00::/7", Private, "RFC 4193"),
	rule("fe80::/10", LinkLocal, "RFC 4291"),
	rule("fec0::/10", Private, "RFC 3879"),
	rule("ff00::/8", Multicast, "RFC 4291"),
}

var globalUnicast = netip.MustParsePrefix("2000::/3")

// Classify returns the class of an address. An IPv4 address that is mapped into IPv6
// has the class of the IPv4 address, because a socket connects to that one. An address
// with a zone is always link-local.
func Classify(a netip.Addr) Verdict {
	switch {
	case !a.IsValid():
		return Reserved
	case a.Zone() != "":
		return LinkLocal
	}
	a = a.Unmap()
	for _, r := range Rules {
		if r.Prefix.Contains(a) {
			return r.Verdict
		}
	}
	if a.Is4() || globalUnicast.Contains(a) {
		return Public
	}
	return Reserved
}

package egress_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"callbackd/internal/egress"
)

// names answers lookups from a table.
type names map[string][]netip.Addr

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	host = strings.TrimSuffix(host, ".")
	if host == "silent.example" {
		return nil, errors.New("the resolver does not answer")
	}
	addrs, ok := n[host]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return addrs, nil
}

// What will be refused is said early. Of a name it is not said whether it is
// unknown or leads inside: the words are the same, and the time is.
func TestRefusedTargetsAreReportedEarly(t *testing.T) {
	public, inside := netip.MustParseAddr("203.0.114.5"), netip.MustParseAddr("10.0.0.7")
	resolver := names{"public.example": {public}, "xn--bcher-kva.example": {public}, "inside.example": {inside}, "mixed.example": {public, inside}, "allowed.example": {netip.MustParseAddr("192.168.7.1")}}
	tr := egress.NewTransport(egress.Options{Policy: egress.NewPolicy([]netip.Prefix{netip.MustParsePrefix("192.168.7.0/24")}), Resolver: resolver})
	said := func(url string) (string, time.Duration) {
		begin := time.Now()
		return tr.Advise(t.Context(), url), time.Since(begin)
	}
	for _, url := range []string{"https://public.example/", "https://203.0.114.5/x", "http://192.168.7.9/", "http://allowed.example:8080/", "https://silent.example/", "https://b\u00fccher.example/100%|x"} {
		if s, _ := said(url); s != "" {
			t.Errorf("%s: %s", url, s)
		}
	}
	for _, url := range []string{"http://10.0.0.1/", "http://127.0.0.1:80/", "http://[::1]/", "http://[::ffff:10.0.0.1]/", "http://169.254.169.254/latest", "http://localhost:9/", "http://a.localhost/"} {
		if s, _ := said(url); !strings.Contains(s, "private or reserved") {
			t.Errorf("%s: %q", url, s)
		}
	}
	unknown, took := said("https://unknown.example/")
	for _, url := range []string{"https://inside.example/", "https://mixed.example/"} {
		s, also := said(url)
		if s == "" || s != unknown {
			t.Errorf("%s: %q, of an unknown name %q", url, s, unknown)
		}
		if also < time.Second || took < time.Second {
			t.Errorf("%s: after %v, of an unknown name after %v: not at the fixed time", url, also, took)
		}
	}
}

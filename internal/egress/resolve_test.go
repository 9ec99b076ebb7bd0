package egress_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"callbackd/internal/egress"

	"github.com/miekg/dns"
)

// answering starts a name server that answers every question with a code, and
// returns a resolver that asks it alone.
func answering(t *testing.T, code int) *net.Resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg).SetRcode(r, code)
		m.RecursionAvailable = true
		w.WriteMsg(m)
	})}
	started := make(chan struct{})
	srv.NotifyStartedFunc = func() { close(started) }
	go srv.ActivateAndServe()
	<-started
	t.Cleanup(func() { srv.Shutdown() })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

// A name server that answers "there is no such name" speaks of the receiver;
// one that is silent, fails or refuses is a fault of this machine.
func TestASilentNameServerIsOurs(t *testing.T) {
	nobody := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("nobody is there")
	}}
	for name, tt := range map[string]struct {
		resolver *net.Resolver
		ours     bool
	}{
		"no such name": {answering(t, dns.RcodeNameError), false},
		"no address":   {answering(t, dns.RcodeSuccess), false},
		"fails":        {answering(t, dns.RcodeServerFailure), true},
		"refuses":      {answering(t, dns.RcodeRefused), true},
		"cannot":       {answering(t, dns.RcodeNotImplemented), true},
		"nobody":       {nobody, true},
	} {
		tr := egress.NewTransport(egress.Options{Policy: egress.NewPolicy(nil), Resolver: tt.resolver})
		_, err := get(t, tr, "http://hook.example/")
		var local *egress.LocalError
		var unknown *net.DNSError
		ours := errors.As(err, &local) && local.Missing == egress.NoResolver
		if ours != tt.ours {
			t.Errorf("%s: the fault of the name server: %v, want %v: %v", name, ours, tt.ours, err)
		}
		if !ours && (!errors.As(err, &unknown) || !unknown.IsNotFound) {
			t.Errorf("%s: the error is %v; want that the name is not found", name, err)
		}
	}
}

// asked is a resolver that notes the names it is asked for.
type asked struct {
	mu    sync.Mutex
	names []string
	addrs map[string][]netip.Addr
}

func (a *asked) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.names = append(a.names, host)
	if addrs, ok := a.addrs[host]; ok {
		return append([]netip.Addr(nil), addrs...), nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// No search list completes a name to another one.
func TestNamesAreLookedUpAsAbsolute(t *testing.T) {
	r := &asked{}
	tr := egress.NewTransport(egress.Options{Policy: egress.NewPolicy(nil), Resolver: r})
	for _, host := range []string{"api.customer.example", "api.customer.example.", "single", "single."} {
		r.names = nil
		if _, err := get(t, tr, "http://"+host+":8080/"); err == nil {
			t.Error("answered")
		}
		want := strings.TrimSuffix(host, ".") + "."
		if !slices.Equal(r.names, []string{want, want}) { // for both families
			t.Errorf("%s: asked for %q, want %q twice", host, r.names, want)
		}
	}
}

// A name of one label is one of the operator's own network.
func TestASingleLabelLeadsOnlyToWhereTheOperatorLetsIt(t *testing.T) {
	srv, hits := trap(t)
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	public, here := netip.MustParseAddr("192.0.1.1"), netip.MustParseAddr("127.0.0.1")
	r := &asked{addrs: map[string][]netip.Addr{"intranet.": {public}, "here.": {here}}}
	for _, allow := range []string{"10.0.0.0/8", "127.0.0.0/8"} {
		tr := egress.NewTransport(egress.Options{Policy: egress.NewPolicy([]netip.Prefix{netip.MustParsePrefix(allow)}), Resolver: r})
		_, err := get(t, tr, "http://intranet/")
		wantRefused(t, err)
		_, err = get(t, tr, "http://here:"+port+"/")
		if allow == "127.0.0.0/8" {
			if err != nil || hits.Load() != 1 {
				t.Errorf("%v, %d hits", err, hits.Load())
			}
			continue
		}
		wantRefused(t, err)
	}
}

// The hosts file is asked for names of one label as well.
func TestTheHostsFileCounts(t *testing.T) {
	srv, _ := trap(t)
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	policy := egress.NewPolicy([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")})
	tr := egress.NewTransport(egress.Options{Policy: policy})
	for _, host := range []string{"localhost", "localhost."} {
		var trace egress.Trace
		u, _ := url.Parse("http://" + host + ":" + port + "/")
		resp, err := tr.Exchange(t.Context(), time.Time{}, &egress.Request{Method: "GET", URL: u}, &trace)
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		resp.Body.Close()
		if trace.Address != "127.0.0.1:"+port {
			t.Errorf("%s: connected to %s", host, trace.Address)
		}
	}
}

// Addresses of IPv4 that are mapped into IPv6 are what they map, towards the
// proxy and in ranges of the operator too.
func TestMappedAddressesAreUnmapped(t *testing.T) {
	target := httptest.NewServer(http.NotFoundHandler())
	defer target.Close()
	_, port, _ := net.SplitHostPort(target.Listener.Addr().String())
	var seen atomic.Value
	proxy := httptest.NewServer(proxyServer(t, &seen))
	defer proxy.Close()
	p, _ := url.Parse(proxy.URL)
	r := &asked{addrs: map[string][]netip.Addr{"mapped.test.": {netip.MustParseAddr("::ffff:127.0.0.1")}}}
	for _, allow := range []string{"127.0.0.0/8", "::ffff:127.0.0.0/104", "::ffff:127.0.0.1/128"} {
		for _, host := range []string{"mapped.test", "[::ffff:127.0.0.1]"} {
			for _, via := range []*url.URL{nil, p} {
				tr := egress.NewTransport(egress.Options{Policy: egress.NewPolicy([]netip.Prefix{netip.MustParsePrefix(allow)}), Resolver: r, Proxy: via})
				var trace egress.Trace
				u, _ := url.Parse("http://" + host + ":" + port + "/")
				resp, err := tr.Exchange(t.Context(), time.Time{}, &egress.Request{Method: "GET", URL: u}, &trace)
				if err != nil {
					t.Errorf("%s with %s: %v", host, allow, err)
					continue
				}
				resp.Body.Close()
				if trace.Address != "127.0.0.1:"+port {
					t.Errorf("connected to %s", trace.Address)
				}
				if via != nil && seen.Load() != "CONNECT 127.0.0.1:"+port+" " {
					t.Errorf("the proxy was asked %q", seen.Load())
				}
			}
		}
	}
	for allow, want := range map[string]bool{"::ffff:10.0.0.0/104": false, "::ffff:0:0/96": true, "::/0": false} {
		if _, ok := egress.NewPolicy([]netip.Prefix{netip.MustParsePrefix(allow)}).Judge(netip.MustParseAddrPort("127.0.0.1:80")); ok != want {
			t.Errorf("%s allows 127.0.0.1: %v", allow, ok)
		}
	}
}

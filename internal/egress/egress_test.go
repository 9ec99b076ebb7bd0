package egress_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"callbackd/internal/egress"

	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

var refusedAddrs = strings.Fields(`
0.0.0.0 0.1.2.3 10.0.0.0 10.255.255.255 100.64.0.0 100.100.100.200 100.127.255.255 127.0.0.1 127.0.0.2 127.255.255.255
169.254.0.1 169.254.169.254 169.254.170.2 168.63.129.16 172.16.0.1 172.31.255.255 192.0.0.0 192.0.0.8 192.0.0.192 192.0.2.1
192.88.99.1 192.168.0.1 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255
240.0.0.1 255.255.255.254 255.255.255.255 192.31.196.1 192.52.193.1 192.175.48.1
:: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:7f00:1 64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::1
100::1 100:0:0:1::1 2001::1 2001:0:7f00:1:: 2001:db8::1 2001:20::1 2002:7f00:1::1 2002:808:808::1 2620:4f:8000::1 3fff::1 5f00::1 4000::1
fc00::1 fd00:ec2::254 fd20:ce::254 fe80::1 fe80::1%eth0 2606:4700::1%eth0 fec0::1 ff02::1 1::1 e000::1`)

var publicAddrs = strings.Fields(`
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 168.63.129.15 169.253.255.255 169.255.0.0
172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255
::ffff:8.8.8.8 2001:200::1 2001:db7::1 2001:db9::1 2003::1 2606:4700:4700::1111 2a00:1450::1 3ffe::1 3fff:1000::1`)

func TestClassify(t *testing.T) {
	for _, s := range refusedAddrs {
		if v := egress.Classify(netip.MustParseAddr(s)); v == egress.Public {
			t.Errorf("%s is %s", s, v)
		}
	}
	for _, s := range publicAddrs {
		if v := egress.Classify(netip.MustParseAddr(s)); v != egress.Public {
			t.Errorf("%s is %s", s, v)
		}
	}
	if v := egress.Classify(netip.Addr{}); v == egress.Public {
		t.Error("the zero address is public")
	}
}

func TestEveryRuleHoldsFromItsFirstToItsLastAddress(t *testing.T) {
	for _, r := range egress.Rules {
		if r.Source == "" || r.Prefix != r.Prefix.Masked() {
			t.Errorf("%v has no source or host bits", r)
		}
		first, last := r.Prefix.Addr(), lastOf(r.Prefix)
		for _, a := range []netip.Addr{first, last} {
			if egress.Classify(a) == egress.Public {
				t.Errorf("%s of %s is public", a, r.Prefix)
			}
		}
		for _, a := range []netip.Addr{first.Prev(), last.Next()} {
			if !a.IsValid() || egress.Classify(a) == egress.Public {
				continue
			}
			covered := a.Is6() && !netip.MustParsePrefix("2000::/3").Contains(a)
			for _, o := range egress.Rules {
				covered = covered || o.Prefix.Contains(a)
			}
			if !covered {
				t.Errorf("%s, next to %s, is refused by no rule", a, r.Prefix)
			}
		}
	}
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func embeddings(v4 [4]byte) []netip.Addr {
	hex := func(prefix string, at int) netip.Addr {
		b := netip.MustParseAddr(prefix).As16()
		copy(b[at:], v4[:])
		return netip.AddrFrom16(b)
	}
	return []netip.Addr{hex("::", 12), hex("::ffff:0:0:0", 12), hex("64:ff9b::", 12), hex("64:ff9b:1::", 12), hex("2002::", 2), hex("2001::", 12), hex("2001::", 4), hex("fe80::", 12)}
}

func FuzzClassify(f *testing.F) {
	f.Add([]byte{127, 0, 0, 1})
	f.Add([]byte{8, 8, 8, 8})
	f.Add([]byte{169, 254, 169, 254})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 16 {
			a := netip.AddrFrom16([16]byte(b))
			if egress.Classify(a) == egress.Public && !a.Is4In6() && !netip.MustParsePrefix("2000::/3").Contains(a) {
				t.Errorf("%s is public", a)
			}
		}
		if len(b) != 4 {
			return
		}
		v4 := [4]byte(b)
		a := netip.AddrFrom4(v4)
		mapped := netip.AddrFrom16(a.As16())
		if egress.Classify(a) != egress.Classify(mapped) {
			t.Errorf("%s is %s, %s is %s", a, egress.Classify(a), mapped, egress.Classify(mapped))
		}
		for _, e := range embeddings(v4) {
			if egress.Classify(e) == egress.Public {
				t.Errorf("%s, which may carry %s, is public", e, a)
			}
		}
	})
}

func TestAllowIsTheOperatorsAndCoversMappedSpellings(t *testing.T) {
	p := egress.NewPolicy([]netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("127.0.0.0/8")})
	for s, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.0.1": false, "127.0.0.1": true, "::1": false, "8.8.8.8": true, "169.254.169.254": false} {
		if _, ok := p.Judge(netip.AddrPortFrom(netip.MustParseAddr(s), 80)); ok != want {
			t.Errorf("%s: %v, want %v", s, ok, want)
		}
	}
}

// An exam calls what it is told to, and no stranger.
func TestOnlyPolicyRefusesPublicAddresses(t *testing.T) {
	p := egress.OnlyPolicy([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("8.8.4.0/24")})
	for target, want := range map[string]bool{"127.0.0.1:80": true, "8.8.4.4:443": true, "[::ffff:8.8.4.4]:443": true, "8.8.8.8:443": false, "[2606:4700::1]:443": false, "10.0.0.1:80": false, "[::1]:80": false} {
		if _, ok := p.Judge(netip.MustParseAddrPort(target)); ok != want {
			t.Errorf("%s is allowed: %v, want %v", target, ok, want)
		}
	}
}

func TestOwnListenerIsRefusedWhateverIsAllowed(t *testing.T) {
	all := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	p := egress.NewPolicy(all)
	p.Guard(netip.MustParseAddrPort("127.0.0.1:8080"))
	any := egress.NewPolicy(all)
	any.Guard(netip.MustParseAddrPort("[::]:8080"))
	tests := []struct {
		p    *egress.Policy
		to   string
		want bool
	}{
		{p, "127.0.0.1:8080", false}, {p, "[::ffff:127.0.0.1]:8080", false}, {p, "0.0.0.0:8080", false}, {p, "127.0.0.1:8081", true}, {p, "127.0.0.2:8080", true},
		{any, "127.0.0.2:8080", false}, {any, "[::1]:8080", false}, {any, "8.8.8.8:8080", true}, {any, "127.0.0.1:9", true},
	}
	for _, tt := range tests {
		if _, ok := tt.p.Judge(netip.MustParseAddrPort(tt.to)); ok != tt.want {
			t.Errorf("%s: %v, want %v", tt.to, ok, tt.want)
		}
	}
}

var refusedURLs = []string{
	"", "example.com", "//example.com", "ftp://example.com/", "file:///etc/passwd", "gopher://x/", "javascript:alert(1)", "http:", "http://", "http:///x", "https:/x", "http:127.0.0.1/",
	"http://user@example.com/", "http://user:pw@example.com/", "http://@example.com/", "http://example.com#", "http://example.com/#x", "http://example.com\\@127.0.0.1/", `http:\\example.com`,
	"http://exa mple.com/", "http://example.com/a b", "http://example.com/\n", "\thttp://example.com/", "http://exam\x00ple.com/", "http://127.1/", "http://0x7f000001/", "http://2130706433/", "http://0177.0.0.1/",
	"http://127.0.0.1.5/", "http://1.2.3/", "http://example.0x1/", "http://%31%32%37.0.0.1/", "http://127.0.0.1%2f@example.com/", "http://[fe80::1%25eth0]/", "http://[::1", "http://::1/", "http://[127.0.0.1]/", "http://[example.com]/",
	"http://example.com:0/", "http://example.com:65536/", "http://example.com:/", "http://example.com:080/", "http://example.com:-1/", "http://example.com:8o/", "http://.example.com/", "http://exa_mple..com/", "http://a..b/", "http://localhost../", "http://localhost。/", "http://⑩.0.0.1/", "http://１２７.0.0.1/", "http://a;b.com/", "http://a,b.com/", "http://a~b/", "http://a*b/", "http://1.2.3.08/", "http://a.0x/", "http://123/", "http://xn--a/",
	"http://" + strings.Repeat("a", 64) + ".com/", "http://example.com/" + strings.Repeat("a", egress.MaxURL),
}

func TestParseURL(t *testing.T) {
	for _, s := range refusedURLs {
		if s == "http://⑩.0.0.1/" {
			continue // maps to 10.0.0.1: see below
		}
		if u, err := egress.ParseURL(s); err == nil {
			t.Errorf("%q reads as %s", s, u)
		}
	}
	for in, want := range map[string]string{
		"http://example.com": "http://example.com", "HTTPS://Example.COM:443/Hook?a=b": "https://example.com/Hook?a=b", "http://example.com:8080/x": "http://example.com:8080/x",
		"http://bücher.example/": "http://xn--bcher-kva.example/", "http://127.0.0.1:9/": "http://127.0.0.1:9/", "http://[::1]:9/": "http://[::1]:9/", "http://[2001:DB8:0::1]/": "http://[2001:db8::1]/", "http://example.com./": "http://example.com./", "http://example.com?x=1": "http://example.com?x=1",
	} {
		u, err := egress.ParseURL(in)
		if err != nil || u.String() != want {
			t.Errorf("%s reads as %v, %v; want %s", in, u, err, want)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, s := range refusedURLs {
		f.Add(s)
	}
	f.Add("HTTPS://Example.COM:443/Hook?a=b")
	f.Add("http://bücher.example/é?ü")
	f.Add("http://BÜCHER.Example.:80/%zz?%")
	f.Add("http://ｅxample.com:8080/ｅ")
	f.Add("https://faß.de/")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := egress.ParseURL(s)
		if err != nil {
			return
		}
		again, err := egress.ParseURL(u.String())
		if err != nil || again.String() != u.String() {
			t.Errorf("%q reads as %s, which reads as %v, %v", s, u, again, err)
		}
		kept, err := egress.KeepURL(s)
		if err != nil {
			t.Fatalf("%q reads as %s and is not kept: %v", s, u, err)
		}
		if again, err := egress.ParseURL(kept); err != nil || again.String() != u.String() {
			t.Errorf("%q is kept as %q, which reads as %v, %v, and not as %s", s, kept, again, err, u)
		}
		if u.User != nil {
			t.Errorf("%q reads with the user %v; want none", s, u.User)
		}
		if u.Host == "" {
			t.Errorf("%q reads without a host: %#v", s, u)
		}
		if u.Scheme != "http" && u.Scheme != "https" {
			t.Errorf("%q reads with the scheme %q; want http or https", s, u.Scheme)
		}
	})
}

// trap is a server that must not be reached.
func trap(t *testing.T) (*httptest.Server, *atomic.Int64) {
	var hits atomic.Int64
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			hits.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	return srv, &hits
}

func get(t *testing.T, tr *egress.Transport, target string) (*http.Response, error) {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.Exchange(t.Context(), time.Time{}, &egress.Request{Method: http.MethodGet, URL: u}, &egress.Trace{})
	if err == nil {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	return resp, err
}

func wantRefused(t *testing.T, err error) {
	t.Helper()
	var refused *egress.RefusedError
	if !errors.As(err, &refused) {
		t.Fatalf("not refused: %v", err)
	}
	if refused.Error() != "the target address is not allowed" || refused.Detail() == "" {
		t.Errorf("the refusal says %q and %q", refused.Error(), refused.Detail())
	}
}

// resolver starts a DNS server with the given answers and returns a resolver
// that asks it alone.
func resolver(t *testing.T, answer func(q dns.Question) []string) *net.Resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg).SetReply(r)
		m.RecursionAvailable = true
		for _, s := range answer(r.Question[0]) {
			if rr, err := dns.NewRR(s); err == nil {
				m.Answer = append(m.Answer, rr)
			}
		}
		w.WriteMsg(m)
	})}
	started := make(chan struct{})
	srv.NotifyStartedFunc = func() { close(started) }
	go srv.ActivateAndServe()
	<-started
	t.Cleanup(func() { srv.Shutdown() })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

func TestNamesAreJudgedByWhatTheyResolveTo(t *testing.T) {
	srv, hits := trap(t)
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	r := resolver(t, func(q dns.Question) []string {
		a := q.Qtype == dns.TypeA
		switch {
		case q.Name == "inside.test." && a:
			return []string{"inside.test. 0 A 127.0.0.1"}
		case q.Name == "mixed.test." && a:
			return []string{"mixed.test. 0 A 192.0.1.1", "mixed.test. 0 A 127.0.0.1"}
		case q.Name == "six.test." && !a:
			return []string{"six.test. 0 AAAA ::1"}
		case q.Name == "mapped.test." && !a:
			return []string{"mapped.test. 0 AAAA ::ffff:127.0.0.1"}
		case q.Name == "chain.test." && a:
			return []string{"chain.test. 0 CNAME link.test.", "link.test. 0 CNAME inside.test.", "inside.test. 0 A 127.0.0.1"}
		}
		return nil
	})
	tr := egress.NewTransport(egress.Options{Policy: egress.NewPolicy(nil), Resolver: r})
	for _, host := range []string{"inside.test", "mixed.test", "six.test", "chain.test", "127.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0"} {
		_, err := get(t, tr, "http://"+host+":"+port+"/")
		wantRefused(t, err)
	}
	// An address of IPv4 among those of IPv6 is none.
	var unknown *net.DNSError
	if _, err := get(t, tr, "http://mapped.test:"+port+"/"); !errors.As(err, &unknown) || !unknown.IsNotFound {
		t.Errorf("mapped.test: %v", err)
	}
	if n := hits.Load(); n != 0 {
		t.Errorf("%d connections reached the trap", n)
	}
}

func TestRebindingReachesNothing(t *testing.T) {
	srv, hits := trap(t)
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	var asked atomic.Int64
	r := resolver(t, func(q dns.Question) []string {
		if q.Qtype != dns.TypeA {
			return nil
		}
		// The public face is a documentation range that is allowed below, so
		// that no test leaves the machine: connecting to it fails at once.
		if asked.Add(1)%2 == 0 {
			return []string{"rebind.test. 0 A 127.0.0.1"}
		}
		return []string{"rebind.test. 0 A 127.0.0.2"}
	})
	tr := egress.NewTransport(egress.Options{Policy: egress.NewPolicy([]netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}), Resolver: r})
	refused := 0
	for range 1000 {
		var re *egress.RefusedError
		if _, err := get(t, tr, "http://rebind.test:"+port+"/"); errors.As(err, &re) {
			refused++
		}
	}
	if n := hits.Load(); n != 0 || refused < 400 {
		t.Errorf("%d connections reached the trap, %d of 1,000 were refused", n, refused)
	}
}

func TestTheEnvironmentsProxyIsNeverAsked(t *testing.T) {
	proxy, hits := trap(t)
	for _, v := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		t.Setenv(v, proxy.URL)
	}
	target := httptest.NewServer(http.NotFoundHandler())
	defer target.Close()
	tr := egress.NewTransport(egress.Options{Policy: egress.NewPolicy([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})})
	if resp, err := get(t, tr, target.URL); err != nil || resp.StatusCode != 404 {
		t.Errorf("%v, %v", resp, err)
	}
	if hits.Load() != 0 {
		t.Error("the environment's proxy was used")
	}
}

// proxyServer is a CONNECT proxy that notes what it was asked for.
func proxyServer(t *testing.T, asked *atomic.Value) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Method + " " + r.RequestURI + " " + r.Header.Get("Proxy-Authorization"))
		up, err := net.Dial("tcp", r.RequestURI)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.WriteHeader(http.StatusOK)
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		go func() { io.Copy(up, rw); up.Close() }()
		io.Copy(conn, up)
		conn.Close()
	}
}

func TestTheGuardHoldsBehindAProxy(t *testing.T) {
	var asked atomic.Value
	proxy := httptest.NewServer(proxyServer(t, &asked))
	defer proxy.Close()
	target := httptest.NewTLSServer(http.NotFoundHandler())
	defer target.Close()
	u, _ := url.Parse(proxy.URL)
	u.User = url.UserPassword("me", "pw")
	pool := target.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	inside := egress.NewTransport(egress.Options{Policy: egress.NewPolicy(nil), Proxy: u, Roots: pool})
	_, err := get(t, inside, target.URL)
	wantRefused(t, err)
	if asked.Load() != nil {
		t.Errorf("the proxy was asked for %v", asked.Load())
	}
	tr := egress.NewTransport(egress.Options{Policy: egress.NewPolicy([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}), Proxy: u, Roots: pool})
	if resp, err := get(t, tr, target.URL); err != nil || resp.StatusCode != 404 {
		t.Fatalf("%v, %v", resp, err)
	}
	if want := "CONNECT " + target.Listener.Addr().String() + " Basic bWU6cHc="; asked.Load() != want {
		t.Errorf("the proxy was asked %q, want %q", asked.Load(), want)
	}
	target.Close()
	tr.CloseIdleConnections()
	var pe *egress.ProxyError
	if _, err := get(t, tr, target.URL); !errors.As(err, &pe) {
		t.Errorf("a proxy that answers 502 gives %v", err)
	}
}

// The certificate of a proxy is always checked. No flag turns that off.
func TestSelfSignedProxyIsRefused(t *testing.T) {
	var asked atomic.Value
	proxy := httptest.NewTLSServer(proxyServer(t, &asked))
	proxy.Config.ErrorLog = nil
	defer proxy.Close()
	target, hits := trap(t)
	u, _ := url.Parse(proxy.URL)
	tr := egress.NewTransport(egress.Options{Policy: egress.NewPolicy([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}), Proxy: u})
	var pe *egress.ProxyError
	if _, err := get(t, tr, target.URL); !errors.As(err, &pe) {
		t.Errorf("got %v", err)
	}
	if hits.Load() != 0 || asked.Load() != nil {
		t.Error("the proxy was used")
	}
}

func TestTLSIsVerified(t *testing.T) {
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	defer srv.Close()
	policy := egress.NewPolicy([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	if _, err := get(t, egress.NewTransport(egress.Options{Policy: policy}), srv.URL); err == nil {
		t.Error("a certificate nobody vouches for is accepted")
	}
	roots := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	if _, err := get(t, egress.NewTransport(egress.Options{Policy: policy, Roots: roots}), srv.URL); err != nil {
		t.Errorf("with the root added: %v", err)
	}
	r := resolver(t, func(q dns.Question) []string {
		if q.Qtype == dns.TypeA {
			return []string{q.Name + " 0 A 127.0.0.1"}
		}
		return nil
	})
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	if _, err := get(t, egress.NewTransport(egress.Options{Policy: policy, Roots: roots, Resolver: r}), "https://other.test:"+port); err == nil {
		t.Error("a certificate for another name is accepted")
	}
}

func TestPropertyAllowNeverOpensMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "addr")
		a := netip.AddrFrom4([4]byte(b))
		bits := rapid.IntRange(8, 32).Draw(t, "bits")
		other, _ := netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "range"))).Prefix(bits)
		_, ok := egress.NewPolicy([]netip.Prefix{other}).Judge(netip.AddrPortFrom(a, 80))
		if want := egress.Classify(a) == egress.Public || other.Contains(a); ok != want {
			t.Fatalf("%s with %s allowed: %v", a, other, ok)
		}
	})
}

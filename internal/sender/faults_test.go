package sender_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/egress"
)

// names is a resolver that knows what it is told.
type names map[string][]netip.Addr

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a, ok := n[strings.TrimSuffix(host, ".")]; ok {
		return a, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// authority is a certificate authority made for one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// issue makes a certificate for 127.0.0.1, changed by change; a nil
// authority makes it vouch for itself.
func (a *authority) issue(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "receiver"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if change != nil {
		change(template)
	}
	parent, signer := template, key
	if a != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func tlsServer(t *testing.T, c *tls.Config) string {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.TLS = c
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL
}

// Certificates are always verified, with the operator's roots and never without.
func TestTLSFaults(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	with := func(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }
	old := with(ca.issue(t, nil))
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	weak := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}, MaxVersion: tls.VersionTLS12}
	plain := raw(t, func(c net.Conn, r *bufio.Reader) {
		r.ReadByte()
		io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		io.Copy(io.Discard, r)
	})
	for name, tt := range map[string]struct {
		url  string
		want callbackd.Fault
	}{
		"good":              {tlsServer(t, with(ca.issue(t, nil))), callbackd.NoFault},
		"TLS 1.2":           {tlsServer(t, weak), callbackd.NoFault},
		"TLS 1.1":           {tlsServer(t, old), callbackd.FaultTLS},
		"expired":           {tlsServer(t, with(ca.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }))), callbackd.FaultTLS},
		"not yet valid":     {tlsServer(t, with(ca.issue(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) }))), callbackd.FaultTLS},
		"another address":   {tlsServer(t, with(ca.issue(t, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 9)} }))), callbackd.FaultTLS},
		"a name":            {tlsServer(t, with(ca.issue(t, func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"127.0.0.1"} }))), callbackd.FaultTLS},
		"for clients":       {tlsServer(t, with(ca.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }))), callbackd.FaultTLS},
		"self-signed":       {tlsServer(t, with((*authority)(nil).issue(t, nil))), callbackd.FaultTLS},
		"unknown authority": {tlsServer(t, with(stranger.issue(t, nil))), callbackd.FaultTLS},
		"no TLS at all":     {"https" + strings.TrimPrefix(plain, "http"), callbackd.FaultTLS},
		"garbage in the hello": {"https" + strings.TrimPrefix(raw(t, func(c net.Conn, _ *bufio.Reader) {
			io.WriteString(c, "SSH-2.0-OpenSSH_9.9\r\n")
			io.Copy(io.Discard, c)
		}), "http"), callbackd.FaultTLS},
	} {
		s := newSender(t, egress.Options{Roots: ca.pool()})
		res := s.Send(t.Context(), callbackTo(tt.url), event(), 1)
		if res.Fault != tt.want {
			t.Errorf("%s: the fault is %q, want %q: %s", name, res.Fault, tt.want, res.Error)
		}
		if want := tt.want == callbackd.NoFault; res.Success() != want {
			t.Errorf("%s: success is %v, want %v", name, res.Success(), want)
		}
		if (res.Error == "") != res.Success() {
			t.Errorf("%s: the error is %q with success %v", name, res.Error, res.Success())
		}
		if res.Success() && res.Timings.TLS <= 0 {
			t.Errorf("%s: no time for TLS in %+v", name, res.Timings)
		}
		// Without the operator's roots none of them is trusted.
		if res := newSender(t, egress.Options{}).Send(t.Context(), callbackTo(tt.url), event(), 1); res.Fault != callbackd.FaultTLS {
			t.Errorf("%s without the roots: %s %s", name, res.Fault, res.Error)
		}
	}
}

// A machine without certificate authorities, as an image may be, trusts nobody:
// that is no fault of the receivers.
func TestNoAuthoritiesIsALocalFault(t *testing.T) {
	url := tlsServer(t, &tls.Config{Certificates: []tls.Certificate{newAuthority(t).issue(t, nil)}})
	res := newSender(t, egress.Options{Roots: x509.NewCertPool()}).Send(t.Context(), callbackTo(url), event(), 1)
	if res.Fault != callbackd.FaultLocal || !strings.Contains(res.Error, "certificate authorities") {
		t.Errorf("%s: %s", res.Fault, res.Error)
	}
}

// closedPort is an address nobody listens at.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestFaults(t *testing.T) {
	local := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	known := names{"gone.test": {}, "mixed.test": {local[0], netip.MustParseAddr("10.0.0.1")}, "here.test": local}
	closed := closedPort(t)
	_, port, _ := net.SplitHostPort(closed)
	for target, want := range map[string]callbackd.Fault{
		"http://nowhere.test/": callbackd.FaultDNS, "https://nowhere.test/": callbackd.FaultDNS, "http://gone.test/": callbackd.FaultDNS,
		"http://" + closed: callbackd.FaultConnect, "https://" + closed: callbackd.FaultConnect, "http://here.test:" + port: callbackd.FaultConnect,
		"http://10.0.0.1/": callbackd.FaultRefused, "http://mixed.test/": callbackd.FaultDNS, "http://[::1]/": callbackd.FaultRefused, "http://169.254.169.254/": callbackd.FaultRefused,
	} {
		res := newSender(t, egress.Options{Resolver: known}).Send(t.Context(), callbackTo(target), event(), 1)
		same(t, target+": the fault", res.Fault, want)
		same(t, target+": the status", res.Status, 0)
		same(t, target+": whether it succeeded", res.Success(), false)
		if res.Error == "" {
			t.Errorf("%s: the failure has no error", target)
		}
		within(t, &res)
	}
}

// A refused target gives one answer, whatever is there, and a name
// that is refused the same as one that does not exist.
func TestRefusedAttemptsSayNothingAboutTheNetwork(t *testing.T) {
	open := strings.TrimPrefix(answers(t, okWith("")), "http://")
	_, port, _ := net.SplitHostPort(open)
	inside := names{"in.test": {netip.MustParseAddr("127.0.0.1")}, "single": {netip.MustParseAddr("192.0.1.1")}, "empty.test": {}}
	want := callbackd.Result{Fault: callbackd.FaultRefused, Error: "the target address is not allowed"}
	name := callbackd.Result{Fault: callbackd.FaultDNS, Error: "the host name leads to no address that callbackd may send to"}
	for target, want := range map[string]callbackd.Result{"http://" + open: want, "https://" + open: want, "http://" + closedPort(t): want, "http://10.255.255.1/": want, "http://[fe80::1]/": want, "http://0.0.0.0:" + port: want,
		"http://in.test:" + port: name, "https://in.test/": name, "http://single:" + port: name, "http://unknown:" + port: name, "http://unknown.test:" + port: name, "http://empty.test:" + port: name} {
		res := newSender(t, egress.Options{Policy: egress.NewPolicy(nil), Resolver: inside}).Send(t.Context(), callbackTo(target), event(), 1)
		if res.StartedAt.IsZero() {
			t.Errorf("%s: no start", target)
		}
		res.StartedAt = time.Time{}
		same(t, target+": the fault", res.Fault, want.Fault)
		same(t, target+": the error", res.Error, want.Error)
		same(t, target+": the timings", res.Timings, want.Timings)
		same(t, target+": the address", res.Address, "")
		same(t, target+": whether a connection was reused", res.Reused, false)
	}
}

func TestStopEndsAnAttempt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	url := raw(t, func(c net.Conn, r *bufio.Reader) {
		if _, _, err := readRequest(r); err == nil {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
			cancel()
			io.Copy(io.Discard, r)
		}
	})
	s := newSender(t, egress.Options{})
	// The stop may be seen before the answer or in its body: then the answer counts.
	if res := s.Send(ctx, callbackTo(url), event(), 1); res.Success() != saysCut(&res) || !res.Success() && res.Fault != callbackd.FaultShutdown {
		t.Errorf("in the body: %+v", res)
	}
	if res := s.Send(ctx, callbackTo(url), event(), 1); res.Fault != callbackd.FaultShutdown || res.Success() {
		t.Errorf("before the start: %+v", res)
	}
}

// When the machine has no descriptors left, the attempt says so, and the fault is not the
// receiver's.
func TestNoDescriptorsIsALocalFault(t *testing.T) {
	target := answers(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	s := newSender(t, egress.Options{})
	if res := s.Send(t.Context(), callbackTo(target), event(), 1); !res.Success() {
		t.Fatalf("%+v", res)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	few := limit
	few.Cur = 1
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	res := s.Send(t.Context(), callbackTo(target), event(), 1)
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	if res.Fault != callbackd.FaultLocal || strings.Contains(res.Error, "files") {
		t.Errorf("%s %s", res.Fault, res.Error)
	}
	if res := s.Send(t.Context(), callbackTo(target), event(), 2); !res.Success() {
		t.Errorf("afterwards: %+v", res)
	}
}

func TestProxyFaultsDifferFromTheReceivers(t *testing.T) {
	target := answers(t, okWith(""))
	var answer string
	proxy := raw(t, func(c net.Conn, r *bufio.Reader) {
		if _, _, err := readRequest(r); err == nil {
			io.WriteString(c, answer)
		}
	})
	send := func(proxy string) callbackd.Result {
		u, _ := url.Parse(proxy)
		return newSender(t, egress.Options{Proxy: u}).Send(t.Context(), callbackTo(target), event(), 1)
	}
	for line, want := range map[string]callbackd.Fault{
		"407 Proxy Authentication Required": callbackd.FaultProxy, "403 Forbidden": callbackd.FaultProxy, "500 x": callbackd.FaultProxy, "302 x": callbackd.FaultProxy,
		"502 Bad Gateway": callbackd.FaultConnect, "503 Service Unavailable": callbackd.FaultConnect, "504 Gateway Timeout": callbackd.FaultConnect,
	} {
		answer = "HTTP/1.1 " + line + "\r\nContent-Length: 0\r\n\r\n"
		if res := send(proxy); res.Fault != want {
			t.Errorf("%s: %s %s", line, res.Fault, res.Error)
		}
	}
	for _, answer = range []string{"", "garbage\r\n\r\n", "HTTP/1.1 200 OK\r\n" + repeat("X: y\r\n", 2000) + "\r\n"} {
		if res := send(proxy); res.Fault != callbackd.FaultProxy {
			t.Errorf("%.20q: %s %s", answer, res.Fault, res.Error)
		}
	}
	if res := send("http://" + closedPort(t)); res.Fault != callbackd.FaultProxy {
		t.Errorf("no proxy there: %s %s", res.Fault, res.Error)
	}
}

package sender_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/egress"
)

// clientTLS is the text of a certificate as a callback has it.
func clientTLS(t *testing.T, cert tls.Certificate) *callbackd.ClientTLS {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return &callbackd.ClientTLS{Cert: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})),
		Key: callbackd.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))}
}

func (a *authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

func forClients(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }

func TestClientCertificates(t *testing.T) {
	ca, clients, strangers := newAuthority(t), newAuthority(t), newAuthority(t)
	good := func() *callbackd.ClientTLS { return clientTLS(t, clients.issue(t, forClients)) }
	with := func(change func(*callbackd.ClientTLS)) *callbackd.ClientTLS {
		c := good()
		c.CA = ca.pem()
		change(c)
		return c
	}
	named := ca.issue(t, func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"receiver.example"} })
	expired := clients.issue(t, func(c *x509.Certificate) { forClients(c); c.NotAfter = time.Now().Add(-time.Minute) })
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, c := range map[string]struct {
			server tls.Certificate
			tls    *callbackd.ClientTLS
			want   string // the error; empty for success
		}{
			"the right certificate": {ca.issue(t, nil), with(func(*callbackd.ClientTLS) {}), ""},
			"none":                  {ca.issue(t, nil), &callbackd.ClientTLS{CA: ca.pem()}, "the receiver refused the TLS connection|the TLS handshake failed"},
			"of another authority": {ca.issue(t, nil), func() *callbackd.ClientTLS {
				c := clientTLS(t, strangers.issue(t, forClients))
				c.CA = ca.pem()
				return c
			}(), "the receiver refused the TLS connection|the TLS handshake failed"},
			"expired":      {ca.issue(t, nil), func() *callbackd.ClientTLS { c := clientTLS(t, expired); c.CA = ca.pem(); return c }(), "the receiver refused the TLS connection|the TLS handshake failed"},
			"a wrong ca":   {ca.issue(t, nil), with(func(c *callbackd.ClientTLS) { c.CA = strangers.pem() }), "the receiver's certificate is not trusted"},
			"no ca":        {ca.issue(t, nil), good(), "the receiver's certificate is not trusted"},
			"another name": {named, with(func(*callbackd.ClientTLS) {}), "the receiver's certificate is not trusted"},
			"server_name":  {named, with(func(c *callbackd.ClientTLS) { c.ServerName = "receiver.example" }), ""},
		} {
			t.Run(fmt.Sprintf("%s %s", tls.VersionName(version), name), func(t *testing.T) {
				url := tlsServer(t, &tls.Config{Certificates: []tls.Certificate{c.server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients.pool(), MaxVersion: version})
				cb := callbackTo(url)
				cb.Policy.Auth = &callbackd.Auth{TLS: c.tls}
				s := newSender(t, egress.Options{})
				res, test := s.Send(t.Context(), cb, event(), 1), s.TestAuth(t.Context(), cb)
				if c.want == "" {
					if !res.Success() || !test.OK() || test.TLS == nil || test.TLS.CertEnds.IsZero() {
						t.Errorf("%+v; the test: %+v", res, test.TLS)
					}
					return
				}
				for _, text := range []string{res.Error, test.TLS.Error} {
					first, second, both := strings.Cut(c.want, "|")
					if !strings.HasPrefix(text, first) && (!both || !strings.HasPrefix(text, second)) {
						t.Errorf("%q, want %q", text, c.want)
					}
				}
				if res.Fault != callbackd.FaultTLS {
					t.Errorf("the fault is %q", res.Fault)
				}
			})
		}
	}
}

// A receiver that does not know a new client certificate yet refuses it in TLS. While the
// old one is in force, it is tried in the same attempt.
func TestAnOldClientCertificateIsTriedWhileItIsInForce(t *testing.T) {
	ca, clients, strangers := newAuthority(t), newAuthority(t), newAuthority(t)
	from := func(a *authority, change func(*x509.Certificate)) *callbackd.Auth {
		c := clientTLS(t, a.issue(t, func(c *x509.Certificate) { forClients(c); change(c) }))
		c.CA = ca.pem()
		return &callbackd.Auth{TLS: c}
	}
	as := func(*x509.Certificate) {}
	ended := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	known, unknown, expired, none := from(clients, as), from(strangers, as), from(clients, ended), &callbackd.Auth{TLS: &callbackd.ClientTLS{CA: ca.pem()}}
	untrusting := from(clients, as)
	untrusting.TLS.CA = strangers.pem()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, c := range map[string]struct {
			now, old *callbackd.Auth
			ends     time.Duration
			works    bool
			shakes   int32
		}{
			"the new one is unknown":     {unknown, known, time.Hour, true, 2},
			"the new one has expired":    {expired, known, time.Hour, true, 2},
			"there is no new one":        {none, known, time.Hour, true, 2},
			"the new one works":          {known, unknown, time.Hour, true, 1},
			"the old one has ended":      {unknown, known, -time.Hour, false, 1},
			"both are unknown":           {unknown, expired, time.Hour, false, 2},
			"the receiver is a fraud":    {untrusting, known, time.Hour, false, 1},
			"there never was an old one": {unknown, nil, time.Hour, false, 1},
		} {
			t.Run(tls.VersionName(version)+" "+name, func(t *testing.T) {
				var shakes atomic.Int32
				server := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients.pool(), MaxVersion: version}
				url := tlsServer(t, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { shakes.Add(1); return server, nil }})
				cb := callbackTo(url)
				cb.Policy.Auth, cb.OldAuth = c.now, callbackd.OldAuth{Auth: c.old, EndsAt: time.Now().Add(c.ends)}
				res := newSender(t, egress.Options{}).Send(t.Context(), cb, event(), 1)
				if res.Success() != c.works || shakes.Load() != c.shakes {
					t.Errorf("%+v after %d handshakes, want %v after %d", res, shakes.Load(), c.works, c.shakes)
				}
				if used := strings.HasPrefix(res.Error, "the new credentials of policy.auth were refused; the old ones, which end at "); used != (c.works && c.shakes == 2) {
					t.Errorf("the error is %q", res.Error)
				}
				if !c.works && res.Fault != callbackd.FaultTLS {
					t.Errorf("the fault is %q", res.Fault)
				}
			})
		}
	}
}

// A connection that one certificate opened is not used with another one, or without.
func TestConnectionsAreSharedByOneCertificateOnly(t *testing.T) {
	ca := newAuthority(t)
	url := tlsServer(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}, ClientAuth: tls.RequestClientCert})
	s := newSender(t, egress.Options{Roots: ca.pool()})
	one, two := clientTLS(t, ca.issue(t, forClients)), clientTLS(t, ca.issue(t, forClients))
	for i, c := range []struct {
		id     callbackd.CallbackID
		tls    *callbackd.ClientTLS
		reused bool
	}{{1, nil, false}, {2, one, false}, {3, two, false}, {4, nil, true}, {5, one, true}, {6, two, true}, {2, two, true}} {
		cb := callbackTo(url)
		cb.ID = c.id
		if c.tls != nil {
			cb.Policy.Auth = &callbackd.Auth{TLS: c.tls}
		}
		if res := s.Send(t.Context(), cb, event(), 1); !res.Success() || res.Reused != c.reused {
			t.Errorf("request %d: reused %v, want %v: %+v", i, res.Reused, c.reused, res)
		}
	}
}

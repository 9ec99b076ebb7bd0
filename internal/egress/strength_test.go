package egress_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"callbackd/internal/egress"
)

// A receiver whose key, or whose authority's, can be factored is not trusted. The size of
// a trusted authority's key is the matter of whoever trusts it.
func TestWeakKeysAreNotTrusted(t *testing.T) {
	strong, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		root, between, leaf crypto.Signer // nil for none
		want                string        // empty when it is trusted
	}{
		"elliptic curves":          {strong, strong, strong, ""},
		"2048 bits":                {strong, large, large, ""},
		"the receiver's":           {strong, strong, weak, `"CN=receiver" has 1024 bits; at least 2048 are needed`},
		"an authority's":           {strong, weak, strong, `"CN=between" has 1024 bits`},
		"a trusted authority's":    {weak, nil, strong, ""},
		"a trusted receiver's own": {nil, nil, weak, `"CN=receiver" has 1024 bits`},
	} {
		t.Run(name, func(t *testing.T) {
			srv, roots := serveChain(t, tt.root, tt.between, tt.leaf)
			policy := egress.NewPolicy([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
			_, err := get(t, egress.NewTransport(egress.Options{Policy: policy, Roots: roots}), srv.URL)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// serveChain serves with a certificate that has these keys above it. The certificate of
// the first key is trusted.
func serveChain(t *testing.T, keys ...crypto.Signer) (*httptest.Server, *x509.CertPool) {
	t.Helper()
	roots := x509.NewCertPool()
	cert := tls.Certificate{}
	var parent *x509.Certificate
	var parentKey crypto.Signer
	for i, key := range keys {
		if key == nil {
			continue
		}
		isLeaf := i == len(keys)-1
		c := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: []string{"root", "between", "receiver"}[i]},
			IsCA: !isLeaf, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
		if isLeaf {
			c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		}
		first := parent == nil
		if first {
			parent, parentKey = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), parentKey)
		if err != nil {
			t.Fatal(err)
		}
		if c, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		if first {
			roots.AddCert(c)
		}
		cert.Certificate, cert.PrivateKey = append([][]byte{der}, cert.Certificate...), key
		parent, parentKey = c, key
	}
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv, roots
}

package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
)

// newCertificate returns a certificate of 127.0.0.1 that ends after a while, which signs
// itself.
func newCertificate(t *testing.T, lasts time.Duration) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lasts),
		Subject: pkix.Name{CommonName: "receiver"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: c}
}

// A key is told that the certificate of its receiver ends soon, once, and that it was
// replaced, which callbackd finds when it next connects.
func TestAKeyIsToldOfACertificateThatEnds(t *testing.T) {
	ending, renewed := newCertificate(t, 5*24*time.Hour), newCertificate(t, 90*24*time.Hour)
	var shown atomic.Pointer[tls.Certificate]
	shown.Store(ending)
	receiver := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	// A client that connects to an address names no server. So the whole configuration is chosen.
	receiver.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{*shown.Load()}}, nil
	}}
	receiver.StartTLS()
	t.Cleanup(receiver.Close)

	c := config(t.TempDir())
	c.Roots = x509.NewCertPool()
	c.Roots.AddCert(ending.Leaf)
	c.Roots.AddCert(renewed.Leaf)
	mine := tellMe(t)
	w := startWatched(t, c)
	key, _ := w.client("acme")
	register(t, key, mine.URL, nil, nil, callbackd.NoticeCertificate)
	register(t, key, receiver.URL, nil, nil, callbackd.StatusChange)
	publish := func() {
		t.Helper()
		if _, err := key.Publish(t.Context(), client.NewEvent{Event: string(callbackd.StatusChange), SessionKey: "S"}); err != nil {
			t.Fatal(err)
		}
	}
	publish()
	first := w.next(mine)
	if first.Event != string(callbackd.NoticeCertificate) || first.State != "open" || first.Own || first.EndsAt == nil || !first.EndsAt.Equal(ending.Leaf.NotAfter) {
		t.Errorf("the notice is %+v", first)
	}
	shown.Store(renewed)
	receiver.CloseClientConnections()
	publish()
	if n := w.next(mine); n.Event != string(callbackd.NoticeCertificate) || n.State != "closed" || n.Incident != first.Incident {
		t.Errorf("the notice of the end is %+v", n)
	}
	if n := len(mine.got); n != 0 {
		t.Errorf("%d notices more, want none", n)
	}
}

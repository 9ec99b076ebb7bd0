package zoo

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"sync"
	"time"
)

// leaf says what is special about the certificate of an exhibit. The zero value is a good
// certificate.
type leaf struct {
	signer signer
	weak   bool // its RSA key has 1024 bits
	change func(t *x509.Certificate)
	copies int // of the authority's certificate, which are sent with it
}

// signer says who signs a certificate, and whether the handshake shows the signer too.
type signer int

const (
	byAuthority         signer = iota // the zoo's
	byItself                          //
	byStranger                        // an authority that no sender knows
	byHidden                          // an authority below the zoo's, which is not shown
	byNoAuthority                     // a certificate of the zoo's that is for no authority
	byAuthorityOfOthers               // an authority below the zoo's that may sign for another host only
)

// authority issues the certificates of a zoo.
type authority struct {
	pem     []byte
	host    string // that the zoo listens at, besides the loopback addresses
	issuers map[signer]issuer
}

// issuer is a certificate that signs others.
type issuer struct {
	cert  *x509.Certificate
	key   crypto.Signer
	shown bool
}

func newAuthority(host string) (*authority, error) {
	a := &authority{host: host, issuers: map[signer]issuer{}}
	for _, of := range []struct {
		signer signer
		name   string
		change func(t *x509.Certificate)
	}{
		{byAuthority, "zoo of callbackd", nil},
		{byStranger, "zoo of callbackd", nil},
		{byHidden, "authority that is not shown", nil},
		{byNoAuthority, "no authority", func(t *x509.Certificate) { t.IsCA, t.KeyUsage = false, x509.KeyUsageDigitalSignature }},
		{byAuthorityOfOthers, "authority of other.example", func(t *x509.Certificate) {
			t.PermittedDNSDomainsCritical, t.PermittedDNSDomains = true, []string{otherHost}
			t.PermittedIPRanges = []*net.IPNet{{IP: net.IPv4(192, 0, 2, 0), Mask: net.CIDRMask(24, 32)}}
		}},
	} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		t := &x509.Certificate{SerialNumber: big.NewInt(int64(of.signer) + 1), Subject: pkix.Name{CommonName: of.name}, IsCA: true, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour)}
		if of.change != nil {
			of.change(t)
		}
		by := issuer{cert: t, key: key}
		if of.signer > byStranger {
			by = a.issuers[byAuthority]
		}
		der, err := x509.CreateCertificate(rand.Reader, t, by.cert, key.Public(), by.key)
		if err != nil {
			return nil, err
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		a.issuers[of.signer] = issuer{cert, key, of.signer > byHidden}
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.issuers[byAuthority].cert.Raw})
	return a, nil
}

// weakKey is the only RSA key: to make one takes long.
var weakKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 1024) })

// issue makes a certificate with its key.
func (a *authority) issue(l leaf) (tls.Certificate, error) {
	var key crypto.Signer
	var err error
	if l.weak {
		key, err = weakKey()
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	t := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "exhibit"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}}
	if ip := net.ParseIP(a.host); ip != nil {
		t.IPAddresses = append(t.IPAddresses, ip)
	}
	if l.change != nil {
		l.change(t)
	}
	by, ok := a.issuers[l.signer]
	if !ok {
		by = issuer{cert: t, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, by.cert, key.Public(), by.key)
	chain := [][]byte{der}
	if by.shown {
		chain = append(chain, by.cert.Raw)
	}
	for range l.copies {
		chain = append(chain, a.issuers[byAuthority].cert.Raw)
	}
	return tls.Certificate{Certificate: chain, PrivateKey: key}, err
}

// otherHost is a host that the zoo is not.
const otherHost = "other.example"

// The changes of certificates.

func valid(from, until time.Duration) func(*x509.Certificate) {
	return func(t *x509.Certificate) { t.NotBefore, t.NotAfter = time.Now().Add(from), time.Now().Add(until) }
}

func forOtherHost(t *x509.Certificate) { t.DNSNames, t.IPAddresses = []string{otherHost}, nil }

func forClients(t *x509.Certificate) { t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }

func signedWithSHA1(t *x509.Certificate) { t.SignatureAlgorithm = x509.ECDSAWithSHA1 }

func namedInSubject(t *x509.Certificate) {
	t.Subject.CommonName, t.DNSNames, t.IPAddresses = t.IPAddresses[len(t.IPAddresses)-1].String(), nil, nil
}

// withUnknownExtension adds an extension with an object identifier for examples.
func withUnknownExtension(t *x509.Certificate) {
	t.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 999, 1}, Critical: true, Value: asn1.NullBytes}}
}

package zoo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"time"

	"callbackd"
)

// ofPorts are exhibits that act before they have read a request.
var ofPorts = []Exhibit{
	{Name: "close-on-accept", Does: "accepts the connection and closes it", Good: noAnswer, Fault: callbackd.FaultProtocol,
		port: &port{"http", func(_ *Zoo, c net.Conn) bool { return false }}},
	{Name: "reset-in-request", Does: "reads one byte of the request and resets the connection", Good: noAnswer, Fault: callbackd.FaultProtocol,
		port: &port{"http", func(_ *Zoo, c net.Conn) bool {
			// Not before: a reset that comes early is a connection that could not be opened.
			io.ReadFull(c, make([]byte, 1))
			reset(c)
			return false
		}}},
	{Name: "speaks-first", Does: "sends a frame of HTTP/2 before it has read anything, and closes its side of the connection", Good: noAnswer, Fault: callbackd.FaultProtocol,
		port: &port{"http", func(_ *Zoo, c net.Conn) bool {
			io.WriteString(c, "\x00\x00\x00\x04\x00\x00\x00\x00\x00") // SETTINGS
			closeWrite(c)
			return false
		}}},
	{Name: "tls-silence", Does: "accepts the connection and never answers the TLS handshake", Good: limitTime, Fault: callbackd.FaultTimeout,
		port: &port{"https", func(_ *Zoo, c net.Conn) bool { io.Copy(io.Discard, c); return false }}},
	{Name: "tls-garbage", Does: "answers the TLS handshake with what is no TLS", Good: distrust, Fault: callbackd.FaultTLS,
		port: &port{"https", func(_ *Zoo, c net.Conn) bool {
			io.WriteString(c, "220 mail.example ESMTP\r\n")
			io.Copy(io.Discard, io.LimitReader(c, maxRequest))
			return false
		}}},
	{Name: "tls-good", Does: "has good TLS and answers 200. When a sender does not deliver here, it does not trust the zoo's authority, and the other exhibits with TLS show nothing", Good: "delivers",
		port: &port{"https", func(z *Zoo, c net.Conn) bool { z.handshake(c, leaf{}, nil); return false }}},
}

// ofTLS are exhibits whose TLS is bad. A sender that sends them its request is caught.
var ofTLS = []Exhibit{
	badTLS("tls-expired", "has a certificate that has expired", leaf{from: -48 * time.Hour, until: -24 * time.Hour}, nil),
	badTLS("tls-not-yet-valid", "has a certificate that begins tomorrow", leaf{from: 24 * time.Hour, until: 48 * time.Hour}, nil),
	badTLS("tls-wrong-host", "has the certificate of another host", leaf{host: "other.example"}, nil),
	badTLS("tls-self-signed", "has a certificate that it signed itself", leaf{selfSigned: true}, nil),
	badTLS("tls-unknown-authority", "has a certificate of an authority that nobody knows", leaf{stranger: true}, nil),
	badTLS("tls-for-clients", "has a certificate that is for clients only", leaf{usage: x509.ExtKeyUsageClientAuth}, nil),
	badTLS("tls-sha1", "has a certificate that is signed with SHA-1", leaf{sha1: true}, nil),
	badTLS("tls-old-protocol", "speaks TLS 1.1 and older only", leaf{}, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }),
}

func badTLS(name, does string, l leaf, change func(*tls.Config)) Exhibit {
	return Exhibit{Name: name, Does: does, Good: distrust, Fault: callbackd.FaultTLS,
		port: &port{"https", func(z *Zoo, c net.Conn) bool { return z.handshake(c, l, change) }}}
}

// handshake makes a TLS handshake, reads a request, and answers 200. It reports whether it
// came so far.
func (z *Zoo) handshake(c net.Conn, l leaf, change func(*tls.Config)) bool {
	cert, err := z.authority.issue(l)
	if err != nil {
		return false
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{cert}}
	if change != nil {
		change(cfg)
	}
	tc := tls.Server(c, cfg)
	defer tc.Close()
	if _, err := readRequest(tc); err != nil {
		return false
	}
	answer(tc, "200 OK", "text/plain", "delivered\n")
	return true
}

// leaf says what is special about a certificate.
type leaf struct {
	from, until time.Duration // from now; zero for a day around it
	host        string        // empty for the zoo's own
	selfSigned  bool
	stranger    bool // an authority that no sender knows signs it
	sha1        bool
	usage       x509.ExtKeyUsage // zero for servers
}

// authority issues the certificates of a zoo.
type authority struct {
	pem      []byte
	host     string // that the zoo listens at, besides the loopback addresses
	own      issuer
	stranger issuer
}

// issuer is a certificate that signs others.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(host string) (*authority, error) {
	a := &authority{host: host}
	for _, to := range []*issuer{&a.own, &a.stranger} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "zoo of callbackd"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			return nil, err
		}
		to.key = key
		if to.cert, err = x509.ParseCertificate(der); err != nil {
			return nil, err
		}
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.own.cert.Raw})
	return a, nil
}

// issue makes a certificate with its key.
func (a *authority) issue(l leaf) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	t := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "exhibit"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour)}
	if l.until != 0 {
		t.NotBefore, t.NotAfter = now.Add(l.from), now.Add(l.until)
	}
	if l.usage != 0 {
		t.ExtKeyUsage = []x509.ExtKeyUsage{l.usage}
	}
	if l.host != "" {
		t.DNSNames = []string{l.host}
	} else {
		t.DNSNames, t.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
		if ip := net.ParseIP(a.host); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		}
	}
	by := a.own
	if l.stranger {
		by = a.stranger
	}
	if l.selfSigned {
		by = issuer{t, key}
	}
	if l.sha1 {
		t.SignatureAlgorithm = x509.ECDSAWithSHA1
	}
	der, err := x509.CreateCertificate(rand.Reader, t, by.cert, &key.PublicKey, by.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

package egress

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

// Identity is what requests to one receiver use in TLS instead of the transport's own
// settings. Connections are shared only by requests with the same identity.
type Identity struct {
	// Ends is when the client certificate expires; zero when there is none.
	Ends time.Time

	id    string // of all the texts
	certs *tls.Certificate
	roots *x509.CertPool
	name  string
}

// NewIdentity reads texts in PEM, of which each may be empty: a client certificate, its
// key, and the authorities to trust. name is the one in the receiver's certificate, when it
// is not the host of the URL. An error begins with cert, key or ca, and contains nothing of
// the text.
func NewIdentity(cert, key, ca, name string) (*Identity, error) {
	id := sha256.Sum256([]byte(strings.Join([]string{cert, key, ca, name}, "\x00")))
	out := &Identity{id: string(id[:]), name: name}
	switch {
	case cert != "" && key == "":
		return nil, errors.New("key is missing: a cert needs its key")
	case cert == "" && key != "":
		return nil, errors.New("cert is missing: a key needs its cert")
	case cert != "":
		first, err := certificates("cert", cert)
		if err != nil {
			return nil, err
		}
		out.Ends = first[0].NotAfter
		if strings.Contains(key, "ENCRYPTED") {
			return nil, errors.New("key is encrypted. Send it without a passphrase")
		}
		pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
		if err != nil && belongsToOther(first, key) {
			return nil, errors.New("cert must begin with the certificate of key, and the intermediate ones follow it")
		}
		if err != nil {
			return nil, fmt.Errorf("key does not belong to cert, or is no private key: %s", strings.TrimPrefix(err.Error(), "tls: "))
		}
		out.certs = &pair
	}
	if ca != "" {
		roots, err := certificates("ca", ca)
		if err != nil {
			return nil, err
		}
		out.roots = x509.NewCertPool()
		for _, root := range roots {
			out.roots.AddCert(root)
		}
	}
	return out, nil
}

// belongsToOther reports whether a key belongs to another certificate of a chain than the
// first.
func belongsToOther(chain []*x509.Certificate, key string) bool {
	return slices.ContainsFunc(chain[1:], func(c *x509.Certificate) bool {
		_, err := tls.X509KeyPair(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}), []byte(key))
		return err == nil
	})
}

// certificates reads the certificates in a PEM text, which has at least one.
func certificates(name, text string) (certs []*x509.Certificate, err error) {
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s has a certificate that cannot be read: %s", name, strings.TrimPrefix(err.Error(), "x509: "))
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("%s has no certificate in PEM (-----BEGIN CERTIFICATE-----)", name)
	}
	return certs, nil
}

// key returns what distinguishes the connections of an identity, which may be nil.
func (i *Identity) key() string {
	if i == nil {
		return ""
	}
	return i.id
}

// trusts reports whether the identity has authorities of its own.
func (i *Identity) trusts() bool { return i != nil && i.roots != nil }

// apply changes a configuration of TLS.
func (i *Identity) apply(cfg *tls.Config) {
	if i == nil {
		return
	}
	if i.certs != nil {
		// The certificate is sent to every receiver that asks for one. With
		// Config.Certificates it would be left out when the receiver's list of
		// authorities, which is often incomplete, does not have its issuer.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.certs, nil }
	}
	if i.roots != nil {
		cfg.RootCAs = i.roots
	}
	if i.name != "" {
		cfg.ServerName = i.name
	}
}

// tlsAnswerTime is how long Handshake waits for a receiver's refusal.
const tlsAnswerTime = time.Second

// Connect opens a connection to the receiver of a URL, with TLS if the URL is one of
// https. The caller writes [Request.Bytes] to it, reads the answer, and closes it.
func (t *Transport) Connect(ctx context.Context, req *Request, tr *Trace) (net.Conn, error) {
	*tr = Trace{}
	c, err := t.open(ctx, poolKey{scheme: req.URL.Scheme, addr: hostPort(req.URL)}, req, tr)
	if err != nil {
		return nil, err
	}
	return c.Conn, nil
}

// Handshake connects to the receiver of a URL and makes the TLS handshake, if the URL is
// one of https. It waits a moment for a refusal: since TLS 1.3 a receiver judges the
// client certificate only after the handshake.
func (t *Transport) Handshake(ctx context.Context, req *Request, tr *Trace) error {
	c, err := t.Connect(ctx, req, tr)
	if err != nil {
		return err
	}
	defer c.Close()
	if req.URL.Scheme != "https" {
		return nil
	}
	c.SetReadDeadline(time.Now().Add(tlsAnswerTime))
	if _, err := c.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	return nil
}

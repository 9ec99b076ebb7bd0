package egress

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// minRSABits is the size of the smallest RSA key that a receiver's certificate may have,
// and that the authorities between it and a trusted one may have. RFC 9325, section
// 4.5, demands it of servers.
const minRSABits = 2048

// strongKeys refuses a receiver all of whose verified chains have a weak key: crypto/tls
// accepts RSA keys of 1024 bits and more. The key of a trusted authority is not examined:
// whoever trusts it decides that.
func strongKeys(s tls.ConnectionState) error {
	var weak error
	for _, chain := range s.VerifiedChains {
		if weak = weakKey(chain); weak == nil {
			return nil
		}
	}
	if weak != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: weak}
	}
	return nil
}

// weakKey returns an error when a certificate of a chain has a weak key. The last one of a
// longer chain is a trusted authority.
func weakKey(chain []*x509.Certificate) error {
	for _, c := range chain[:max(1, len(chain)-1)] {
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < minRSABits {
			return fmt.Errorf("the RSA key of %q has %d bits; at least %d are needed", c.Subject, key.N.BitLen(), minRSABits)
		}
	}
	return nil
}

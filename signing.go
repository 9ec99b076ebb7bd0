package callbackd

import (
	"slices"
	"strings"
)

// SigningScheme is a way to sign a request: which header has the signature, and how it
// is made. Every scheme uses HMAC-SHA256.
type SigningScheme string

const (
	// SignStandard is Standard Webhooks 1.0.0. It signs the id, the timestamp and the
	// body, with each secret that is in force.
	SignStandard SigningScheme = "standard"
	// SignGitHub signs the body as GitHub does: X-Hub-Signature-256 is "sha256=" and the
	// digest in hex.
	SignGitHub SigningScheme = "github"
	// hmacHex, before the name of a header, signs the body: the header is the digest in
	// hex.
	hmacHex = "hmac-hex:"
)

// MaxSigningSchemes is how many schemes a callback may have.
const MaxSigningSchemes = 4

// Header returns the name of the header that has the scheme's signature. It returns ""
// when there is no such scheme.
func (s SigningScheme) Header() string {
	switch s {
	case SignStandard:
		return "webhook-signature"
	case SignGitHub:
		return "X-Hub-Signature-256"
	}
	name, _ := strings.CutPrefix(string(s), hmacHex)
	if name == string(s) {
		return ""
	}
	return name
}

// Prefix returns the text before the digest.
func (s SigningScheme) Prefix() string {
	if s == SignGitHub {
		return "sha256="
	}
	return ""
}

// SignsBy reports whether the callback's requests are signed by a scheme.
func (p Policy) SignsBy(s SigningScheme) bool {
	return slices.Contains(p.WithDefaults().Signing, s)
}

// Sizes of the text of a signing secret that a client gives, in bytes.
const (
	MinSecretText = 8
	MaxSecretText = 256
)

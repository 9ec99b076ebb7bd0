package callbackd

import (
	"encoding/base64"
	"reflect"
	"time"
)

// Auth is how callbackd signs in at a receiver. At most one of OAuth2, Basic and Bearer is
// set: it makes the header Authorization. TLS may be set beside it or alone.
type Auth struct {
	OAuth2 *OAuth2
	Basic  *BasicAuth
	Bearer *BearerAuth
	TLS    *ClientTLS
}

// OAuth2 fetches access tokens with the client credentials grant (RFC 6749, section 4.4).
// Callbacks with equal settings share their tokens.
type OAuth2 struct {
	TokenURL     string // as given by the client: absolute, http or https
	ClientID     string
	ClientSecret Secret
	Scope        string // empty for none; several are separated by spaces
	Audience     string // empty for none; a parameter that some providers need
	Style        AuthStyle
}

// AuthStyle says where a token request has the client's id and secret.
type AuthStyle string

// The styles. StyleBasic is the default.
const (
	StyleBasic AuthStyle = "basic" // in the header Authorization
	StyleBody  AuthStyle = "body"  // among the parameters
)

// AuthStyles lists the styles.
var AuthStyles = []AuthStyle{StyleBasic, StyleBody}

// BasicAuth is a name and a password (RFC 7617).
type BasicAuth struct {
	Username string
	Password Secret
}

// Header returns the value of the header Authorization.
func (b *BasicAuth) Header() Secret {
	pair := b.Username + ":" + b.Password.Reveal()
	return Secret("Basic " + base64.StdEncoding.EncodeToString([]byte(pair)))
}

// BearerAuth is a token that does not change (RFC 6750).
type BearerAuth struct{ Token Secret }

// Header returns the value of the header Authorization.
func (b *BearerAuth) Header() Secret { return "Bearer " + b.Token }

// ClientTLS is what a callback sets for the TLS connections to its receiver. All texts but
// ServerName are PEM. A member that is empty is not set.
type ClientTLS struct {
	Cert       string // the client certificate, and the intermediate ones behind it
	Key        Secret // of Cert
	CA         string // the authorities to trust instead of the machine's
	ServerName string // the name in the receiver's certificate, instead of the URL's host
}

// Sizes of the texts of an [Auth], in bytes.
const (
	MaxAuthText  = 1 << 10 // of a name, a secret, a scope
	MaxAuthToken = 8 << 10
	MaxAuthPEM   = 32 << 10
)

// AuthSecret is one of the secrets of an [Auth].
type AuthSecret struct {
	Name  string // of the member, such as "oauth2.client_secret"
	Value *Secret
}

// Secrets returns the secrets of a in a fixed order. There are none when a is nil.
func (a *Auth) Secrets() (out []AuthSecret) {
	if a == nil {
		return nil
	}
	if a.OAuth2 != nil {
		out = append(out, AuthSecret{"oauth2.client_secret", &a.OAuth2.ClientSecret})
	}
	if a.Basic != nil {
		out = append(out, AuthSecret{"basic.password", &a.Basic.Password})
	}
	if a.Bearer != nil {
		out = append(out, AuthSecret{"bearer.token", &a.Bearer.Token})
	}
	if a.TLS != nil && a.TLS.Key != "" {
		out = append(out, AuthSecret{"tls.key", &a.TLS.Key})
	}
	return out
}

// Authorizes reports whether a makes the header Authorization.
func (a *Auth) Authorizes() bool {
	return a != nil && (a.OAuth2 != nil || a.Basic != nil || a.Bearer != nil)
}

// Same reports whether a and b sign in alike.
func (a *Auth) Same(b *Auth) bool { return a == b || reflect.DeepEqual(a, b) }

// Clone returns a copy of a. It is nil when a is nil.
func (a *Auth) Clone() *Auth {
	if a == nil {
		return nil
	}
	return &Auth{OAuth2: clone(a.OAuth2), Basic: clone(a.Basic), Bearer: clone(a.Bearer), TLS: clone(a.TLS)}
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// OldAuth holds the credentials that a callback had before its present ones. Until they
// end, an attempt whose new credentials are refused is made with them.
type OldAuth struct {
	Auth   *Auth // nil for none
	EndsAt time.Time
}

// InForce reports whether the credentials may be used at a time.
func (o *OldAuth) InForce(at time.Time) bool { return o.Auth != nil && at.Before(o.EndsAt) }

// DefaultKeep is how long old signing secrets and credentials are valid beside new ones.
const DefaultKeep = 24 * time.Hour

// RotateAuth gives c other credentials, or none. The present ones are kept until keep, which
// is not after at when they end at once.
func (c *Callback) RotateAuth(next *Auth, keep, at time.Time) {
	if c.Policy.Auth.Same(next) {
		return
	}
	c.OldAuth = OldAuth{}
	if c.Policy.Auth != nil && next != nil && keep.After(at) {
		c.OldAuth = OldAuth{Auth: c.Policy.Auth, EndsAt: keep}
	}
	c.Policy.Auth = next
	c.UpdatedAt = at
	c.release(at)
}

// AuthTest is what came back when callbackd tried to sign in. A part is nil when there is
// nothing to try.
type AuthTest struct {
	Token *TokenTest
	TLS   *TLSTest
}

// OK reports whether nothing failed.
func (t *AuthTest) OK() bool {
	return (t.Token == nil || t.Token.Error == "") && (t.TLS == nil || t.TLS.Error == "")
}

// TokenTest is what a provider of access tokens answered, without the token.
type TokenTest struct {
	Status int    // 0 when there was no answer
	Error  string // a sentence; empty when there was a token
	Type   string
	Life   time.Duration // 0 when the answer did not say
	Scope  string
}

// TLSTest is how the TLS handshake with a receiver ended.
type TLSTest struct {
	Error    string
	CertEnds time.Time // of the receiver's certificate
}

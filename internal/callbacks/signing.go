package callbacks

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"callbackd"
	"callbackd/internal/request"
	"callbackd/internal/signature"

	"golang.org/x/net/http/httpguts"
)

// signingField reads a scheme, or an array of them.
func signingField(name string, to *[]callbackd.SigningScheme) request.Field {
	array := request.Array(name, to, 1, callbackd.MaxSigningSchemes, "standard, github, hmac-hex: and the name of a header, or an array of them", schemeField)
	read := array.Read
	array.Read = func(v request.Value) error {
		if _, isText := v.JSON.Text(); isText {
			*to = make([]callbackd.SigningScheme, 1)
			return schemeField(name, &(*to)[0]).Read(v)
		}
		return read(v)
	}
	return array.Optional().Check(func(name string) error {
		for i, scheme := range *to {
			same := func(other callbackd.SigningScheme) bool { return strings.EqualFold(other.Header(), scheme.Header()) }
			if slices.ContainsFunc((*to)[:i], same) {
				return callbackd.Invalid("%s names the header %s twice.", name, scheme.Header())
			}
		}
		return nil
	})
}

func schemeField(name string, to *callbackd.SigningScheme) request.Field {
	return request.Text(name, to, callbackd.MaxHeaderBytes).Check(func(name string) error {
		header := to.Header()
		switch {
		case header == "":
			return callbackd.Invalid("%s must be standard, github, or hmac-hex: and the name of a header, such as hmac-hex:X-Signature; not %q.", name, callbackd.Clip(string(*to), 60))
		case *to == callbackd.SignStandard:
			return nil
		case !httpguts.ValidHeaderFieldName(header) || len(header) > maxSignatureHeader:
			return callbackd.Invalid("%s has a name %q that HTTP does not allow for a header (RFC 9110, section 5.1), or one of more than %d bytes.", name, callbackd.Clip(header, 60), maxSignatureHeader)
		case isReserved(header) || slices.Contains(notForSignatures, strings.ToLower(header)):
			return callbackd.Invalid("%s must not use the header %s, which has another meaning. Use one such as X-Signature.", name, header)
		}
		return nil
	})
}

// maxSignatureHeader bounds the name of a header with a signature, in bytes.
const maxSignatureHeader = 64

// notForSignatures lists headers that a callback may set, but that cannot have a
// signature. callbackd sends some of them itself.
var notForSignatures = []string{"accept", "authorization", "content-encoding", "content-type", "cookie", "traceparent", "tracestate", "user-agent"}

// SecretField reads a signing secret that a client brings along, as a text.
func SecretField(name string, to *callbackd.Secret) request.Field {
	return request.Field{Name: name, Read: func(v request.Value) error {
		text, ok := v.JSON.Text()
		if !ok || len(text) < callbackd.MinSecretText || len(text) > callbackd.MaxSecretText || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			return callbackd.Invalid("%s must be a text of %d to %d bytes without control characters: the signing secret that the receiver knows already.", v.Name, callbackd.MinSecretText, callbackd.MaxSecretText)
		}
		*to = callbackd.Secret(text)
		return nil
	}}
}

// CheckSigning returns an error when the requests of a callback cannot be signed as its
// policy says: its newest secret is the mask, or not one of Standard Webhooks, or one of its
// headers is that of a signature. The secret of one for a session must always be of Standard
// Webhooks, because it may be given again with another policy.
func CheckSigning(cb *callbackd.Callback) error {
	for _, scheme := range cb.Policy.WithDefaults().Signing {
		if slices.ContainsFunc(cb.Headers, func(h callbackd.Header) bool { return strings.EqualFold(h.Name, scheme.Header()) }) {
			return callbackd.Invalid("headers must not set %s: policy.signing makes it the header of the signature.", scheme.Header())
		}
	}
	if cb.Secrets[0].Value == callbackd.Mask {
		return callbackd.Invalid("secret is masked, but no value is stored for it. Send the value itself, or leave it out for a new one.")
	}
	if !cb.Policy.SignsBy(callbackd.SignStandard) && !cb.OfSession() {
		return nil
	}
	if _, err := signature.ParseSecret(cb.Secrets[0].Value.Reveal()); err != nil {
		return callbackd.Invalid("The secret cannot sign by Standard Webhooks: %v. Give another one, or set policy.signing to what the receiver verifies, such as github.", err)
	}
	return nil
}

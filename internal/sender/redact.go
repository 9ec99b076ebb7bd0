package sender

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"callbackd"
	"callbackd/internal/strictjson"
)

const (
	minSecret    = 6 // bytes; shorter values are too common to mask
	minCutSecret = 4 // bytes of a secret at a cut; fewer reveal nothing
	// minTokenPart is the shortest part of a token with dots that is masked.
	// Shorter parts between dots are ordinary words.
	minTokenPart = 16
)

// publicHeaders are headers whose values are not secret and occur in many answers.
var publicHeaders = []string{"Accept", "Accept-Charset", "Accept-Language", "Cache-Control", "Content-Type", "User-Agent"}

// redactor masks the callback's own secrets in what the receiver sends back: whole or
// in parts, in the spellings of common frameworks and debug pages.
type redactor struct {
	secrets  []string          // longest first: one may be part of another
	shortest int               // bytes of the shortest secret
	mask     *strings.Replacer // masks all of them at once
}

// newRedactor makes the redactor of a callback. It also masks the values of headers with
// which a request signed in.
func newRedactor(cb *callbackd.Callback, signIn ...callbackd.Secret) *redactor {
	r := &redactor{}
	for _, h := range cb.Headers {
		if slices.ContainsFunc(publicHeaders, func(name string) bool { return strings.EqualFold(name, h.Name) }) {
			continue
		}
		v := h.Value.Reveal()
		r.add(v)
		r.addParts(v)
	}
	for _, v := range signIn {
		r.add(v.Reveal())
		r.addParts(v.Reveal())
	}
	r.addAuth(cb.Policy.Auth)
	r.addAuth(cb.OldAuth.Auth)
	for _, s := range cb.Secrets {
		r.secrets = append(r.secrets, s.Value.Reveal(), strings.TrimPrefix(s.Value.Reveal(), "whsec_"))
	}
	slices.SortFunc(r.secrets, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b)) })
	r.secrets = slices.Compact(r.secrets)
	pairs := make([]string, 0, 2*len(r.secrets))
	for _, secret := range r.secrets {
		if secret != "" {
			pairs = append(pairs, secret, callbackd.Mask)
			r.shortest = len(secret)
		}
	}
	r.mask = strings.NewReplacer(pairs...)
	return r
}

// addAuth adds the secrets with which a callback signs in. The name of a user or client is
// not secret.
func (r *redactor) addAuth(a *callbackd.Auth) {
	for _, secret := range a.Secrets() {
		r.add(secret.Value.Reveal())
	}
	if a == nil {
		return
	}
	if a.Bearer != nil {
		r.addParts(a.Bearer.Header().Reveal())
	}
	addBasic := func(header callbackd.Secret) {
		_, pair, _ := strings.Cut(header.Reveal(), " ")
		r.add(pair)
		r.add(strings.TrimRight(pair, "="))
	}
	if a.Basic != nil {
		addBasic(a.Basic.Header())
	}
	if a.OAuth2 != nil {
		addBasic(clientHeader(a.OAuth2))
	}
}

// addParts adds the parts of a header's value that frameworks split it into: the
// credentials after a scheme, the values of cookies and parameters, the texts before
// and after a colon, the parts of a token with dots. It also adds each part decoded
// from base64 or percent-encoding. Names and the scheme are not secret.
func (r *redactor) addParts(v string) {
	if scheme, credentials, ok := strings.Cut(v, " "); ok && isToken(scheme) {
		v = strings.TrimLeft(credentials, " ")
		r.add(v)
	}
	for _, field := range strings.FieldsFunc(v, func(c rune) bool { return strings.ContainsRune(" \t,;&", c) }) {
		if name, value, ok := strings.Cut(field, "="); ok && isToken(name) && strings.Trim(value, "=") != "" {
			field = value
		}
		field = strings.Trim(field, `"'`)
		r.addField(field)
		if plain, ok := decoded(field); ok {
			r.addField(plain)
		}
		if plain, err := url.QueryUnescape(field); err == nil && plain != field {
			r.addField(plain)
		}
	}
}

// addField adds a value, and its pieces between brackets, quotes, colons and equals
// signs. A piece before an equals sign, or a quoted piece before a colon, is a name
// and is not added.
func (r *redactor) addField(v string) {
	r.add(v)
	r.add(strings.TrimRight(v, "="))            // base64 is also echoed without its padding
	if _, rest, ok := strings.Cut(v, ":"); ok { // a password may contain colons
		r.add(rest)
	}
	start := 0
	for i := range len(v) + 1 {
		if i < len(v) && strings.IndexByte(`"'{}[]()<>:=|`, v[i]) < 0 {
			continue
		}
		piece, after := v[start:i], v[i:]
		start = i + 1
		if !strings.HasPrefix(after, "=") && !strings.HasPrefix(after, `":`) && !strings.HasPrefix(after, `':`) {
			r.add(piece)
		}
	}
	if strings.Contains(v, ".") {
		for part := range strings.SplitSeq(v, ".") {
			if len(part) >= minTokenPart {
				r.add(part)
			}
		}
	}
}

// decoded decodes base64, if the result is text.
func decoded(s string) (string, bool) {
	bare := strings.TrimRight(s, "=")
	for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := e.DecodeString(bare); err == nil && utf8.Valid(b) && !bytes.ContainsFunc(b, unicode.IsControl) {
			return string(b), true
		}
	}
	return "", false
}

// isToken reports whether s is a name as HTTP has them (RFC 9110, section 5.6.2).
func isToken(s string) bool { return httpguts.ValidHeaderFieldName(s) }

// add adds a secret and its spellings in JSON, URLs and HTML.
func (r *redactor) add(secret string) {
	if len(secret) < minSecret || slices.Contains(r.secrets, secret) {
		return
	}
	r.secrets = append(r.secrets, secret)
	if strings.Trim(secret, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") == "" {
		return // these have one spelling only
	}
	plain := strings.Trim(string(strictjson.AppendString(nil, secret)), `"`)
	escaped, err := json.Marshal(secret)
	if err != nil {
		escaped = nil
	}
	query, path, page := url.QueryEscape(secret), url.PathEscape(secret), html.EscapeString(secret)
	for _, form := range []string{
		plain, strings.Trim(string(escaped), `"`), strings.ReplaceAll(plain, "/", `\/`), ascii(plain), strings.ReplaceAll(ascii(plain), "/", `\/`),
		query, path, lowerEscapes(secret), lowerEscapes(query), lowerEscapes(path),
		page, strings.NewReplacer("&#34;", "&quot;", "&#39;", "&#039;").Replace(page), strings.NewReplacer("&#34;", "&quot;", "&#39;", "&#x27;").Replace(page),
	} {
		if len(form) >= minSecret && !slices.Contains(r.secrets, form) {
			r.secrets = append(r.secrets, form)
		}
	}
}

// ascii writes other characters as JSON escapes, as the encoders of most languages
// do.
func ascii(s string) string {
	if strings.IndexFunc(s, func(c rune) bool { return c >= utf8.RuneSelf }) < 0 {
		return s
	}
	var b strings.Builder
	for _, c := range s {
		switch {
		case c < utf8.RuneSelf:
			b.WriteRune(c)
		case c > 0xffff:
			high, low := utf16.EncodeRune(c)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, c)
		}
	}
	return b.String()
}

// lowerEscapes writes the digits of percent-encoding in lower case.
func lowerEscapes(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:], bytes.ToLower(b[i+1:i+3]))
			i += 2
		}
	}
	return string(b)
}

// masked masks every secret in s.
func (r *redactor) masked(s string) string {
	if len(s) < r.shortest { // most header lines; Replace copies what it does not change
		return s
	}
	return r.mask.Replace(s)
}

// text masks every secret in s, and makes s valid UTF-8 without control characters.
func (r *redactor) text(s string) string {
	s = r.masked(s)
	if isPlain(s) {
		return s
	}
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return utf8.RuneError
		}
		return c // bytes that are not UTF-8 are RuneError already
	}, s)
}

// isPlain reports whether s is ASCII without control characters, as nearly all header
// lines are.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// body masks every secret in b. With cut it also masks the beginning of a secret at
// the end of b, whose rest was cut off. The result has at most MaxResponseKept bytes.
func (r *redactor) body(b []byte, cut bool) []byte {
	if len(b) > 0 {
		b = []byte(r.masked(string(b)))
	}
	if cut {
		if n := r.cutSecret(b); n > 0 {
			b = append(b[:len(b)-n], callbackd.Mask...)
		}
	}
	return b[:min(len(b), callbackd.MaxResponseKept)]
}

// cutSecret returns the length of the longest beginning of a secret at the end of b.
func (r *redactor) cutSecret(b []byte) int {
	longest := 0
	for _, secret := range r.secrets {
		for n := min(len(secret)-1, len(b)); n >= max(minCutSecret, longest+1); n-- {
			if string(b[len(b)-n:]) == secret[:n] {
				longest = n
				break
			}
		}
	}
	return longest
}

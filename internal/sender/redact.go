package sender

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"callbackd"
	"callbackd/internal/strictjson"
)

const (
	minSecret = 6 // bytes; shorter values are words, not secrets
	minTail   = 4 // bytes of a secret that was cut off; fewer betray nothing
)

// spoken are headers whose values are no secrets and are rightly part of
// many an answer.
var spoken = []string{"Accept", "Accept-Charset", "Accept-Language", "Cache-Control", "Content-Type", "User-Agent"}

// redactor removes what the receiver echoes of the callback's own secrets,
// in the spellings that frameworks and debugging pages echo them in.
type redactor struct {
	secrets []string // longest first: one may be part of another
}

func newRedactor(cb *callbackd.Callback) redactor {
	var r redactor
	for _, h := range cb.Headers {
		if slices.Contains(spoken, http.CanonicalHeaderKey(h.Name)) {
			continue
		}
		v := h.Value.Reveal()
		r.add(v)
		scheme, credentials, ok := strings.Cut(v, " ")
		if !ok {
			continue
		}
		r.add(credentials)
		if raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(credentials)); err == nil && strings.EqualFold(scheme, "Basic") {
			r.add(string(raw))
			_, password, _ := strings.Cut(string(raw), ":")
			r.add(password)
		}
	}
	for _, s := range cb.Secrets {
		r.secrets = append(r.secrets, s.Value.Reveal())
	}
	slices.SortFunc(r.secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return r
}

// add takes a secret and its spellings in JSON, URLs and HTML.
func (r *redactor) add(secret string) {
	if len(secret) < minSecret {
		return
	}
	r.secrets = append(r.secrets, secret)
	if strings.Trim(secret, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") == "" {
		return // spelled the same everywhere
	}
	plain := string(strictjson.AppendString(nil, secret))
	escaped, err := json.Marshal(secret)
	if err != nil {
		escaped = nil
	}
	for _, form := range []string{
		strings.Trim(plain, `"`), strings.Trim(string(escaped), `"`), strings.ReplaceAll(strings.Trim(plain, `"`), "/", `\/`),
		url.QueryEscape(secret), url.PathEscape(secret), html.EscapeString(secret),
	} {
		if len(form) >= minSecret && !slices.Contains(r.secrets, form) {
			r.secrets = append(r.secrets, form)
		}
	}
}

// text masks every secret in s and makes it text that can be kept: valid
// UTF-8 without control characters.
func (r redactor) text(s string) string {
	for _, secret := range r.secrets {
		s = strings.ReplaceAll(s, secret, callbackd.Mask)
	}
	return printable(s)
}

// body masks every secret in b; with cut also the beginning of one that b
// ends with, because what followed was not kept. The result is no longer
// than MaxResponseKept.
func (r redactor) body(b []byte, cut bool) []byte {
	for _, secret := range r.secrets {
		if bytes.Contains(b, []byte(secret)) {
			b = bytes.ReplaceAll(b, []byte(secret), []byte(callbackd.Mask))
		}
	}
	if n := r.tail(b); cut && n > 0 {
		b = append(b[:len(b)-n], callbackd.Mask...)
	}
	return b[:min(len(b), callbackd.MaxResponseKept)]
}

// tail is the length of the longest beginning of a secret that b ends with.
func (r redactor) tail(b []byte) int {
	longest := 0
	for _, secret := range r.secrets {
		for n := min(len(secret)-1, len(b)); n >= max(minTail, longest+1); n-- {
			if string(b[len(b)-n:]) == secret[:n] {
				longest = n
				break
			}
		}
	}
	return longest
}

func printable(s string) string {
	ascii := true
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f {
			ascii = false
			break
		}
	}
	if ascii {
		return s
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f && c < 0xa0 {
			return utf8.RuneError
		}
		return c // what is not UTF-8 reads as RuneError already
	}, s)
}

func clip(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

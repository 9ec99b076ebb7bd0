package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// MaxURL is the longest URL of a callback, in bytes.
const MaxURL = 2048

// hostProfile maps names as WHATWG's URL standard says, with the lengths of
// DNS. Which characters a name may have is checked afterwards.
var hostProfile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckHyphens(false), idna.CheckJoiners(true), idna.StrictDomainName(false), idna.Transitional(false), idna.VerifyDNSLength(true))

// ParseURL reads a callback's URL and returns it as it goes over the wire:
// path and query as they were given, with an escape for each character that
// RFC 3986 does not allow there; scheme and host in lower case; international
// names as A-labels. It refuses a URL that two parsers could read differently,
// because one of them might check it and the other one dial it. The errors are
// sentences about "url".
func ParseURL(s string) (*url.URL, error) {
	if err := checkText(s); err != nil {
		return nil, err
	}
	u, err := url.Parse(escaped(s))
	if err != nil {
		return nil, errors.New("url is malformed; it must be an absolute http or https URL")
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https": // url.Parse has lowered it
		return nil, errors.New("url must begin with http:// or https://")
	case u.Opaque != "" || u.Host == "":
		return nil, errors.New("url has no host; it must be an absolute http or https URL")
	case u.User != nil || strings.Contains(authority(s), "@"):
		return nil, errors.New("url must not contain a user or password; put credentials into headers")
	case u.Fragment != "" || strings.Contains(s, "#"):
		return nil, errors.New("url must not contain a fragment (#)")
	}
	host, err := normalHost(u, authority(s))
	if err != nil {
		return nil, err
	}
	u.Host = host
	if len(u.String()) > MaxURL {
		return nil, fmt.Errorf("url is longer than %d bytes once it is percent-encoded", MaxURL)
	}
	return u, nil
}

// checkText checks the length and the characters of a URL.
func checkText(s string) error {
	if len(s) > MaxURL {
		return fmt.Errorf("url is longer than %d bytes", MaxURL)
	}
	if !utf8.ValidString(s) {
		return errors.New("url is not valid UTF-8; percent-encode other bytes")
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f || c == '\\' {
			return errors.New("url must not contain spaces, control characters or backslashes; percent-encode them")
		}
	}
	return nil
}

// KeepURL checks a callback's URL and returns the text to store and show: the URL as it
// was given. Only a host in characters that stand for others (full-width letters) is
// normalized, so that a name has one spelling.
func KeepURL(s string) (string, error) {
	u, err := ParseURL(s)
	if err != nil {
		return "", err
	}
	given := authority(s)
	if isASCII(given) {
		return s, nil
	}
	name, err := hostProfile.ToUnicode(u.Hostname())
	if err != nil {
		return "", errHostName
	}
	spelled, _, _ := strings.Cut(given, ":")
	if strings.ToLower(spelled) == name {
		return s, nil
	}
	return strings.Replace(s, spelled, name, 1), nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// What RFC 3986, sections 3.3 and 3.4, allows in a path and in a query,
// besides letters, digits and escapes.
const (
	pathMarks  = "-._~!$&'()*+,;=:@/"
	queryMarks = pathMarks + "?"
)

// escaped returns s with an escape for each byte that is not allowed in its path or
// query. That includes a percent sign that does not begin an escape.
func escaped(s string) string {
	scheme, _, ok := strings.Cut(s, "//")
	if !ok {
		return s
	}
	at := len(scheme) + len("//") + len(authority(s))
	path, query, asked := strings.Cut(s[at:], "?")
	if isAllowed(path, pathMarks) && isAllowed(query, queryMarks) {
		return s
	}
	b := append(make([]byte, 0, 2*len(s)), s[:at]...)
	b = appendEscaped(b, path, pathMarks)
	if asked {
		b = appendEscaped(append(b, '?'), query, queryMarks)
	}
	return string(b)
}

func isAllowed(s, marks string) bool {
	for i := range len(s) {
		if !isAllowedAt(s, i, marks) {
			return false
		}
	}
	return true
}

// isAllowedAt reports whether byte i of s needs no escape.
func isAllowedAt(s string, i int, marks string) bool {
	c := s[i]
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	case c == '%':
		return i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2])
	case c == '#': // refused by ParseURL
		return true
	}
	return strings.IndexByte(marks, c) >= 0
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func appendEscaped(b []byte, s, marks string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		if isAllowedAt(s, i, marks) {
			b = append(b, s[i])
			continue
		}
		b = append(b, '%', digits[s[i]>>4], digits[s[i]&15])
	}
	return b
}

// authority returns the text between "//" and the path, as it was spelled.
func authority(s string) string {
	_, rest, _ := strings.Cut(s, "//")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

func normalHost(u *url.URL, spelled string) (string, error) {
	if strings.Contains(spelled, "%") {
		return "", errors.New("url must not percent-encode its host or name a zone")
	}
	name, port := u.Hostname(), u.Port()
	if strings.HasSuffix(u.Host, ":") {
		return "", errors.New("url has a colon without a port")
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return "", errors.New("url has a port that is not a number from 1 to 65535")
		}
		if u.Scheme == "http" && n == 80 || u.Scheme == "https" && n == 443 {
			port = ""
		}
	}
	name, err := normalName(name, strings.HasPrefix(u.Host, "["))
	if err != nil {
		return "", err
	}
	if port != "" {
		name += ":" + port
	}
	return name, nil
}

var errHostName = errors.New("url has a host that is not a valid domain name")

func normalName(name string, bracketed bool) (string, error) {
	if addr, err := netip.ParseAddr(name); err == nil {
		if addr.Zone() != "" || addr.Is6() != bracketed {
			return "", errors.New("url has an address that is not spelled canonically")
		}
		if addr.Is4() {
			return addr.String(), nil
		}
		return "[" + addr.String() + "]", nil
	}
	if bracketed {
		return "", errors.New("url has brackets around something that is not an IPv6 address")
	}
	dot := ""
	if strings.HasSuffix(name, ".") {
		name, dot = strings.TrimSuffix(name, "."), "."
	}
	ascii, err := hostProfile.ToASCII(name)
	if err != nil || ascii == "" || strings.HasSuffix(ascii, ".") { // of two dots at the end, or one in another script
		return "", errHostName
	}
	// A second pass must not change or refuse the name.
	if ascii != name {
		if again, err := hostProfile.ToASCII(ascii); err != nil || again != ascii {
			return "", errHostName
		}
	}
	if strings.Trim(ascii, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return "", errHostName
	}
	if endsInNumber(ascii) {
		return "", errors.New("url has a host that looks like a number; write an IPv4 address as four decimal numbers")
	}
	return ascii + dot, nil
}

// endsInNumber reports whether the last label is a number. WHATWG parsers read such a host
// as an IPv4 address in an old spelling, and others look it up.
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

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

var hostProfile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckHyphens(true), idna.CheckJoiners(true), idna.StrictDomainName(true), idna.Transitional(false), idna.VerifyDNSLength(true))

// ParseURL reads a callback's URL and normalises it: scheme and host in lower
// case, international names in their ASCII form. What two parsers could
// understand differently is refused, because one of them would check what
// the other one dials. The errors are sentences about "url".
func ParseURL(s string) (*url.URL, error) {
	if len(s) > MaxURL {
		return nil, fmt.Errorf("url is longer than %d bytes", MaxURL)
	}
	if !utf8.ValidString(s) {
		return nil, errors.New("url is not valid UTF-8; percent-encode other bytes")
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f || c == '\\' {
			return nil, errors.New("url must not contain spaces, control characters or backslashes; percent-encode them")
		}
	}
	u, err := url.Parse(s)
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

// authority is what stands between "//" and the path, as it was spelled.
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

var errNoName = errors.New("url has a host that is not a valid domain name")

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
		return "", errors.New("url has brackets around something that is no IPv6 address")
	}
	ascii, err := hostProfile.ToASCII(strings.TrimSuffix(name, "."))
	if err != nil || ascii == "" || strings.HasSuffix(ascii, ".") { // of two dots at the end, or one in another script
		return "", errNoName
	}
	// A name that another pass would change or refuse is no name to keep.
	if again, err := hostProfile.ToASCII(ascii); err != nil || again != ascii {
		return "", errNoName
	}
	// WHATWG readers take a name whose last label is a number for an IPv4
	// address in some old spelling; others look it up.
	last := ascii[strings.LastIndexByte(ascii, '.')+1:]
	if last[0] >= '0' && last[0] <= '9' {
		return "", errors.New("url has a host that looks like a number; write an IPv4 address as four decimal numbers")
	}
	return ascii, nil
}

package front

import (
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func TestAddressOfAClient(t *testing.T) {
	f := New(Options{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}})
	for name, c := range map[string]struct {
		peer    string
		headers []string
		client  string
		secure  bool
	}{
		"no proxy":                       {"192.0.2.7:1", nil, "192.0.2.7", false},
		"nobody trusted is believed":     {"192.0.2.7:1", []string{"X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: https"}, "192.0.2.7", false},
		"a proxy":                        {"10.0.0.1:1", []string{"X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: https"}, "198.51.100.1", true},
		"what a client wrote":            {"10.0.0.1:1", []string{"X-Forwarded-For: 203.0.113.9, 198.51.100.1"}, "198.51.100.1", false},
		"in a header of its own":         {"10.0.0.1:1", []string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 198.51.100.1"}, "198.51.100.1", false},
		"two proxies":                    {"10.0.0.1:1", []string{"X-Forwarded-For: 203.0.113.9, 198.51.100.1, 10.9.9.9"}, "198.51.100.1", false},
		"only proxies":                   {"10.0.0.1:1", []string{"X-Forwarded-For: 10.2.2.2, 10.3.3.3"}, "10.2.2.2", false},
		"an IPv6 client":                 {"10.0.0.1:1", []string{"X-Forwarded-For: 2001:4860::1"}, "2001:4860::1", false},
		"an IPv6 client with a port":     {"10.0.0.1:1", []string{"X-Forwarded-For: [2001:4860::1]:443"}, "2001:4860::1", false},
		"a client with a port":           {"10.0.0.1:1", []string{"X-Forwarded-For: 198.51.100.1:5555"}, "198.51.100.1", false},
		"an IPv6 proxy":                  {"[2001:db8::5]:1", []string{"X-Forwarded-For: 198.51.100.1"}, "198.51.100.1", false},
		"a mapped proxy":                 {"[::ffff:10.0.0.1]:1", []string{"X-Forwarded-For: ::ffff:198.51.100.1"}, "198.51.100.1", false},
		"something that is no address":   {"10.0.0.1:1", []string{"X-Forwarded-For: 203.0.113.9, unknown"}, "10.0.0.1", false},
		"nothing":                        {"10.0.0.1:1", nil, "10.0.0.1", false},
		"Forwarded":                      {"10.0.0.1:1", []string{`Forwarded: for=203.0.113.9, for="[2001:4860::1]:80";proto=https;by=10.0.0.1`}, "2001:4860::1", true},
		"Forwarded beside the other":     {"10.0.0.1:1", []string{`Forwarded: for=203.0.113.9;proto=https`, "X-Forwarded-For: 198.51.100.1"}, "198.51.100.1", false},
		"the nearest protocol":           {"10.0.0.1:1", []string{"X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: https, http"}, "198.51.100.1", false},
		"a protocol that a client wrote": {"10.0.0.1:1", []string{"X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: https", "X-Forwarded-Proto: http"}, "198.51.100.1", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.peer
			for _, h := range c.headers {
				name, value, _ := strings.Cut(h, ": ")
				r.Header.Add(name, value)
			}
			client, secure := f.clientOf(r, parseAddr(r.RemoteAddr))
			if client.String() != c.client || secure != c.secure {
				t.Errorf("%v %v, want %v %v", client, secure, c.client, c.secure)
			}
		})
	}
}

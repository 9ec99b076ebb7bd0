package cli

import "testing"

// The public URL is written as browsers write an origin, in small letters and without
// the scheme's default port, because the origin of forms is compared with it. A URL that
// no browser could send is refused.
func TestThePublicURLIsAnOrigin(t *testing.T) {
	for text, want := range map[string]string{
		"https://example.com":               "https://example.com",
		"https://Example.COM:443/callbackd": "https://example.com/callbackd",
		"http://example.com:80/":            "http://example.com/",
		"http://example.com:443":            "http://example.com:443",
		"https://example.com:":              "https://example.com",
		"https://[::1]:443":                 "https://[::1]",
		"https://example.com:8443/a/b":      "https://example.com:8443/a/b",
		"https://example.com:0":             "",
		"https://example.com:99999":         "",
		"https://example.com/a%20b":         "",
		"https://example.com/a//b":          "",
		"https://example.com/../a":          "",
		"https://example.com/%2e%2e/":       "",
		"https://example.com/?a":            "",
		"https://example.com/#a":            "",
		"https://u:p@example.com":           "",
		"https://[fe80::1%25eth0]":          "",
		"https://bücher.example":            "",
		"https://:443":                      "",
		"ftp://example.com":                 "",
		"example.com":                       "",
	} {
		u, err := publicURL(text)
		got := ""
		if err == nil {
			got = u.String()
		}
		if got != want {
			t.Errorf("%s is read as %q, %v, want %q", text, got, err, want)
		}
	}
}

package cli

import "testing"

// Forms are accepted from the public URL when browsers send its origin: in
// small letters, and without the scheme's own port. What no browser could send
// is refused at the start.
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
		switch {
		case want == "" && err == nil:
			t.Errorf("%s is taken as %s", text, u)
		case want != "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want != "" && u.String() != want:
			t.Errorf("%s is %s, not %s", text, u, want)
		}
	}
}

package callbackd_test

import (
	"testing"

	"callbackd"
)

func TestOrigin(t *testing.T) {
	for url, want := range map[string]string{
		"https://example.com/hook?x=1": "https://example.com", "HTTPS://Example.COM:443": "https://example.com", "http://example.com.:80/": "http://example.com",
		"http://example.com:443/": "http://example.com:443", "http://example.com:8080?x": "http://example.com:8080", "https://[2001:db8::1]:443/": "https://[2001:db8::1]",
		"http://[::1]/": "http://[::1]", "http://a_b./": "http://a_b", "http://b\u00dccher.example/%zz": "http://b\u00fccher.example", "": "", "/x": "", "http://": "", "http:///x": "",
	} {
		if got := callbackd.Origin(url); got != want {
			t.Errorf("%q speaks to %q, want %q", url, got, want)
		}
	}
}

package egress_test

import (
	"net/http"
	"strings"
	"testing"

	"callbackd/internal/egress"
)

// What is escaped stays as it is, and what RFC 3986 does not allow is escaped,
// in the path and in the query.
func TestAURLIsCalledAsItWasGiven(t *testing.T) {
	for given, want := range map[string]string{
		"":                                "/",
		"?a=1":                            "/?a=1",
		"/?":                              "/?",
		"/p/grp%2Fprj/|x":                 "/p/grp%2Fprj/%7Cx",
		"/p/grp%2fprj/{id}":               "/p/grp%2fprj/%7Bid%7D",
		"/p/grp%2Fprj/caf\u00e9":          "/p/grp%2Fprj/caf%C3%A9",
		"/q?name=caf\u00e9&b=\"<>^`{|}":   "/q?name=caf%C3%A9&b=%22%3C%3E%5E%60%7B%7C%7D",
		"/%41%7e/%61?%41%7e=%61":          "/%41%7e/%61?%41%7e=%61",
		"/a//b/../c/./d;v=1,2":            "/a//b/../c/./d;v=1,2",
		"//a":                             "//a",
		"/*":                              "/*",
		"/!$&'()*+,;=:@-._~":              "/!$&'()*+,;=:@-._~",
		"/x?!$&'()*+,;=:@-._~/?":          "/x?!$&'()*+,;=:@-._~/?",
		"/x[1]?a[]=1":                     "/x%5B1%5D?a%5B%5D=1",
		"/100%?of=100%&and=%z1%4":         "/100%25?of=100%25&and=%25z1%254",
		"/a+b?c+d":                        "/a+b?c+d",
		"/%00%0d%0a?%00":                  "/%00%0d%0a?%00",
		"/\u65e5\u672c?\U0001f697":        "/%E6%97%A5%E6%9C%AC?%F0%9F%9A%97",
		"/x?y=http://other.example/?z%23": "/x?y=http://other.example/?z%23",
	} {
		u, err := egress.ParseURL("http://example.com" + given)
		if err != nil {
			t.Errorf("%s: %v", given, err)
			continue
		}
		req := &http.Request{URL: u}
		if got := req.URL.RequestURI(); got != want {
			t.Errorf("%s is called as %s, want %s", given, got, want)
		}
		if kept, err := egress.KeepURL("http://example.com" + given); err != nil || kept != "http://example.com"+given {
			t.Errorf("%s is kept as %s, %v", given, kept, err)
		}
	}
}

// Hosts are those of WHATWG's URL standard that DNS can have: underscores,
// hyphens anywhere, and labels that are numbers, but for the last one.
func TestHostsAreThoseOfBrowsers(t *testing.T) {
	for given, want := range map[string]string{
		"your_sms_callback_url": "your_sms_callback_url", "foo_bar.example.com": "foo_bar.example.com", "_dmarc.example.com": "_dmarc.example.com",
		"qa--mysite.netlify.app": "qa--mysite.netlify.app", "r3---sn-abc.googlevideo.com": "r3---sn-abc.googlevideo.com", "ab--cd.example.com": "ab--cd.example.com",
		"-a.example.com": "-a.example.com", "a-.example.com": "a-.example.com", "a.b-": "a.b-",
		"4f5e6a7b8c9d": "4f5e6a7b8c9d", "app.3com": "app.3com", "1.2.3.4.example.com": "1.2.3.4.example.com", "0xab.example": "0xab.example", "1e3": "1e3", "0xg": "0xg", "3com": "3com",
		"Example.COM": "example.com", "example.com.": "example.com.", "localhost": "localhost",
		"b\u00fccher.example": "xn--bcher-kva.example", "B\u00dcCHER.example": "xn--bcher-kva.example", "xn--bcher-kva.example": "xn--bcher-kva.example", "fa\u00df.de": "xn--fa-hia.de", "\u4f8b\u3048.\u30c6\u30b9\u30c8": "xn--r8jz45g.xn--zckzah",
	} {
		u, err := egress.ParseURL("http://" + given + ":8080/hook")
		if err != nil || u.Host != want+":8080" {
			t.Errorf("%s reads as %v, %v; want %s", given, u, err, want)
			continue
		}
		if kept, err := egress.KeepURL("http://" + given + ":8080/hook"); err != nil || kept != "http://"+given+":8080/hook" {
			t.Errorf("%s is kept as %s, %v", given, kept, err)
		}
	}
}

// A name has no spellings that only a mapping tells to be the same: limits of
// a receiver go by its name.
func TestANameIsKeptInOneSpelling(t *testing.T) {
	for given, want := range map[string]string{
		"\uff45xample.com": "example.com", "exam\u00adple.com": "example.com", "bu\u0308cher.example": "b\u00fccher.example", "example\u3002com": "example.com",
	} {
		kept, err := egress.KeepURL("https://" + given + "/" + given)
		if err != nil || kept != "https://"+want+"/"+given {
			t.Errorf("%q is kept as %q, %v", given, kept, err)
		}
	}
}

func TestALongURLCountsAsItGoesOut(t *testing.T) {
	long := "http://example.com/" + strings.Repeat("\u00e9", 400)
	if _, err := egress.ParseURL(long); err == nil || !strings.Contains(err.Error(), "percent-encoded") {
		t.Errorf("%v", err)
	}
}

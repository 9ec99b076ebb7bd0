package callbackd_test

import (
	"strings"
	"testing"

	"callbackd"
)

func TestCaptureTemplatesMakeLinks(t *testing.T) {
	for template, want := range map[string]string{
		"https://{account}.capture.example/{session_key}":       "https://acme.capture.example/ACM-0123456789",
		"http://127.0.0.1:8000/{account}/{session_key}?lang=en": "http://127.0.0.1:8000/acme/ACM-0123456789?lang=en",
		"https://a_b.example/#/go/{session_key}/{session_key}":  "https://a_b.example/#/go/ACM-0123456789/ACM-0123456789",
		"https://[::1]/c?s={session_key}&a={account}":           "https://[::1]/c?s=ACM-0123456789&a=acme",
		"HTTPS://x.example/%7B{session_key}":                    "HTTPS://x.example/%7BACM-0123456789",
	} {
		parsed, err := callbackd.ParseCaptureTemplate(template)
		if err != nil || string(parsed) != template {
			t.Errorf("%s is read as %q, %v", template, parsed, err)
		}
		if got := parsed.Link("acme", "ACM-0123456789"); got != want {
			t.Errorf("%s: the link is %q, want %q", template, got, want)
		}
	}
	if got := callbackd.CaptureTemplate("").Link("acme", "ACM-0123456789"); got != "" {
		t.Errorf("without a template: %q", got)
	}
}

// A setting that cannot be stops the start: nobody sends a dead link by SMS.
func TestCaptureTemplatesThatCannotBeAreRefused(t *testing.T) {
	for template, says := range map[string]string{
		"":                                      "is no absolute",
		"capture":                               "is no absolute",
		"/{session_key}":                        "is no absolute",
		"//x.example/{session_key}":             "is no absolute",
		"ftp://x.example/{session_key}":         "is no absolute",
		"javascript:{session_key}":              "is no absolute",
		"myapp://{session_key}":                 "is no absolute",
		"https:///{session_key}":                "is no absolute",
		"https://x..example/{session_key}":      "is no absolute",
		"https://x.example:port/{session_key}":  "is no absolute",
		"https://x.example:70000/{session_key}": "is no absolute",
		"https://x.example/ {session_key}":      "is no absolute",
		"https://x.example/\"{session_key}":     "is no absolute",
		"https://x.example/%zz{session_key}":    "is no absolute",
		"https://é.example/{session_key}":       "is no absolute",
		"https://x.example/":                    "lacks {session_key}",
		"https://{account}.x.example/":          "lacks {session_key}",
		"https://{session_key}.x.example/":      "in the host",
		"https://u:p@x.example/{session_key}":   "a user or a password",
		"https://x.example/{session}":           "has braces",
		"https://x.example/{session_key":        "has braces",
		"https://x.example/{{session_key}}":     "has braces",
		"https://x.example/{SESSION_KEY}":       "has braces",
		"https://x.example/{session_key}" + strings.Repeat("x", callbackd.MaxURL): "is longer than",
	} {
		if _, err := callbackd.ParseCaptureTemplate(template); callbackd.KindOf(err) != callbackd.KindInvalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%.80s: %v, want %q", template, err, says)
		}
	}
}

// An account may be any text; only one that can be part of a host name stands
// in one. Elsewhere it is escaped.
func TestAccountsAreInLinksWherePossible(t *testing.T) {
	host, path := callbackd.CaptureTemplate("https://{account}.x.example/{session_key}"), callbackd.CaptureTemplate("https://x.example/{account}/{session_key}?a={account}")
	for account, want := range map[string]string{"acme": "acme", "Acme-2": "Acme-2", "a_b": "a_b", "a/b": "a%2Fb", "evil.example/": "evil.example%2F", "a.b": "a.b", "-a": "-a", "é&x": "%C3%A9%26x", "a?b#c": "a%3Fb%23c"} {
		if got := path.Link(account, "ACM-0123456789"); got != "https://x.example/"+want+"/ACM-0123456789?a="+want {
			t.Errorf("%s in the path: %s", account, got)
		}
		label := want == account && !strings.ContainsAny(account, ".") && account[0] != '-'
		want = ""
		if label {
			want = "https://" + account + ".x.example/ACM-0123456789"
		}
		if got := host.Link(account, "ACM-0123456789"); got != want {
			t.Errorf("%s in the host: the link is %q, want %q", account, got, want)
		}
		if fits := host.Fits(account); fits != label {
			t.Errorf("%s in the host: Fits is %v, want %v", account, fits, label)
		}
	}
}

func TestTheKeysTemplateGoesBeforeTheServers(t *testing.T) {
	k := &callbackd.Key{Account: "acme"}
	if got := k.CaptureLink("", "A"); got != "" {
		t.Errorf("without any: %q", got)
	}
	if got := k.CaptureLink("https://server.example/{session_key}", "A"); got != "https://server.example/A" {
		t.Errorf("by the server's: %q", got)
	}
	k.CaptureURL = "https://key.example/{session_key}"
	if got := k.CaptureLink("https://server.example/{session_key}", "A"); got != "https://key.example/A" {
		t.Errorf("by the key's: %q", got)
	}
}

package sender_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"

	"callbackd"
	"callbackd/internal/egress"
)

const password = `p@ss/w"o<rd>&+é`

// planted is a callback with secrets of every kind, and the texts that must
// not be kept of it.
func planted(url string) (*callbackd.Callback, []string) {
	basic := base64.StdEncoding.EncodeToString([]byte("user:" + password))
	cb := callbackTo(url)
	cb.Headers = []callbackd.Header{{Name: "Authorization", Value: callbackd.Secret("Basic " + basic)}, {Name: "X-Short", Value: "canary-key"}, {Name: "X-Long", Value: "canary-key-and-more"},
		{Name: "X-Token", Value: "Bearer tok+en/12=="}, {Name: "Accept", Value: "application/json"}, {Name: "X-Word", Value: "yes"}}
	return cb, []string{basic, password, "canary-key", "canary-key-and-more", "tok+en/12==", secretText}
}

func clean(t *testing.T, res *callbackd.Result, secrets ...string) {
	t.Helper()
	all := fmt.Sprintf("%s\n%s\n%s\n%s\n%s\n%s", res.Error, res.Headers, res.Location, res.RetryAfter, res.Address, res.Body)
	for _, s := range secrets {
		if strings.Contains(all, s) {
			t.Errorf("%q is kept in\n%.2000s", s, all)
		}
	}
}

func TestEchoedSecretsAreMaskedEverywhere(t *testing.T) {
	s := newSender(t, egress.Options{})
	_, secrets := planted("")
	for _, secret := range secrets {
		for where, response := range map[string]string{
			"body":        okWith("before " + secret + " after " + secret),
			"header":      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Echo: before " + secret + "\r\n\r\n",
			"location":    "HTTP/1.1 302 x\r\nContent-Length: 0\r\nLocation: /?" + secret + "\r\n\r\n",
			"retry-after": "HTTP/1.1 503 x\r\nContent-Length: 0\r\nRetry-After: " + secret + "\r\n\r\n",
			"status line": "HTTP/1.1 " + secret + "\r\n\r\n",
			"protocol":    secret + "\r\n\r\n",
			"bad header":  "HTTP/1.1 200 OK\r\n" + strings.ReplaceAll(secret, ":", "") + "\r\n\r\n",
		} {
			cb, _ := planted(raw(t, func(c net.Conn, r *bufio.Reader) {
				if _, _, err := readRequest(r); err == nil {
					io.WriteString(c, response)
				}
			}))
			res := s.Send(t.Context(), cb, event(), 1)
			if res.Fault == callbackd.FaultLocal {
				t.Fatalf("%+v", res)
			}
			clean(t, &res, secret)
			kept := res.Error + res.Headers + res.Location + res.RetryAfter + string(res.Body)
			if where != "status line" && !strings.Contains(kept, callbackd.Mask) {
				t.Errorf("%s: no mask in %q", where, kept)
			}
		}
	}
}

func TestSecretsAreMaskedInEverySpelling(t *testing.T) {
	s := newSender(t, egress.Options{})
	plain, _ := json.Marshal(password)
	for name, spelled := range map[string]string{
		"JSON": strings.Trim(string(plain), `"`), "JSON with slashes": strings.ReplaceAll(strings.ReplaceAll(password, `"`, `\"`), "/", `\/`),
		"query": url.QueryEscape(password), "path": url.PathEscape(password), "HTML": html.EscapeString(password),
	} {
		cb, _ := planted(answers(t, okWith("x"+spelled+"y")))
		if res := s.Send(t.Context(), cb, event(), 1); string(res.Body) != "x"+callbackd.Mask+"y" {
			t.Errorf("%s: kept %q", name, res.Body)
		}
	}
}

// Frameworks and debugging pages show headers in parts, and with their encoding
// undone: a part that is a secret is masked as well.
func TestPartsOfSecretsAreMasked(t *testing.T) {
	base := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for value, parts := range map[string][]string{
		"sid=COOKIE-SECRET-1; b=2; theme=a%2Fb%3Dc%20d9":                                 {"COOKIE-SECRET-1", "a%2Fb%3Dc%20d9", "a%2fb%3dc%20d9", "a/b=c d9"},
		"session=token=abc123def; x=1":                                                   {"token=abc123def", "abc123def"},
		"ApiKey id=5, secret=PART-SECRET-22":                                             {"PART-SECRET-22", "id=5, secret=PART-SECRET-22"},
		`Digest username="mallory7", response="0a1b2c3d4e5f"`:                            {"mallory7", "0a1b2c3d4e5f"},
		"id5:KEY-SECRET-333":                                                             {"KEY-SECRET-333"},
		"Basic " + base("user77:pass:word8"):                                             {base("user77:pass:word8"), strings.TrimRight(base("user77:pass:word8"), "="), "user77:pass:word8", "user77", "pass:word8"},
		"Token " + base("only-a-secret-9"):                                               {"only-a-secret-9"},
		base64.RawURLEncoding.EncodeToString([]byte("??id:>>pw99")):                      {"??id:>>pw99", ">>pw99"},
		"Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N": {"dozjgNryP4J3jVmNHl0w5N", "eyJzdWIiOiIxMjM0NTY3ODkwIn0"},
		`{"user":"u","key":"JSON-SECRET-4"}`:                                             {"JSON-SECRET-4"},
		"Bearer  two-spaces-5":                                                           {"two-spaces-5"},
		"a1b2c3d4,e5f6g7h8":                                                              {"a1b2c3d4", "e5f6g7h8"},
		"Basic " + base("u:p\u00e4ssw\u00f6rt"):                                          {"p\u00e4ssw\u00f6rt", `p\u00e4ssw\u00f6rt`, "p%C3%A4ssw%C3%B6rt", "p%c3%a4ssw%c3%b6rt"},
		"Basic " + base(`u:a'b"c&d<e`):                                                   {`a'b"c&d<e`, `a'b\"c&d<e`, "a&#39;b&#34;c&amp;d&lt;e", "a&#039;b&quot;c&amp;d&lt;e", "a&#x27;b&quot;c&amp;d&lt;e"},
	} {
		for _, part := range parts {
			cb := callbackTo(answers(t, okWith("<"+part+">")))
			cb.Headers = []callbackd.Header{{Name: "X-Given", Value: callbackd.Secret(value)}}
			if res := newSender(t, egress.Options{}).Send(t.Context(), cb, event(), 1); string(res.Body) != "<"+callbackd.Mask+">" {
				t.Errorf("of %s is kept %q", value, res.Body)
			}
		}
	}
	cb := callbackTo(answers(t, okWith("session username password Bearer ApiKey secret example")))
	cb.Headers = []callbackd.Header{{Name: "Cookie", Value: "session=1234567"}, {Name: "Authorization", Value: `ApiKey secret="7654321", username=a, password="b"`}, {Name: "X-Url", Value: "https://hooks.example.com/x"}}
	if res := newSender(t, egress.Options{}).Send(t.Context(), cb, event(), 1); strings.Contains(string(res.Body), callbackd.Mask) {
		t.Errorf("words are masked: %q", res.Body)
	}
}

func TestALongerSecretIsMaskedWhole(t *testing.T) {
	cb, _ := planted(answers(t, okWith("canary-key-and-more, canary-key")))
	if res := newSender(t, egress.Options{}).Send(t.Context(), cb, event(), 1); string(res.Body) != callbackd.Mask+", "+callbackd.Mask {
		t.Errorf("kept %q", res.Body)
	}
}

func TestWordsAndContentTypesStayReadable(t *testing.T) {
	cb, _ := planted(answers(t, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\nyes"))
	if res := newSender(t, egress.Options{}).Send(t.Context(), cb, event(), 1); string(res.Body) != "yes" || !strings.Contains(res.Headers, "Content-Type: application/json") {
		t.Errorf("%q %q", res.Headers, res.Body)
	}
}

// A limit that goes through a secret must not leave its beginning behind,
// wherever it cuts.
func TestSecretsCutByALimit(t *testing.T) {
	const secret = "canary-key-and-more"
	s := newSender(t, egress.Options{})
	for cut := range len(secret) + 1 {
		fill := repeat("f", callbackd.MaxResponseKept-cut)
		for name, response := range map[string]string{
			"kept":    okWith(fill + secret + " and more"),
			"reset":   "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + secret[:cut],
			"read up": okWith(repeat("f", callbackd.MaxResponseRead-cut) + secret),
		} {
			cb, _ := planted(raw(t, func(c net.Conn, r *bufio.Reader) {
				if _, _, err := readRequest(r); err == nil {
					io.WriteString(c, response)
				}
			}))
			res := s.Send(t.Context(), cb, event(), 1)
			clean(t, &res, "cana")
			within(t, &res)
			if name == "kept" && !strings.HasPrefix(string(res.Body), fill[:len(fill)-len(callbackd.Mask)]) {
				t.Errorf("cut after %d: what is no secret is lost", cut)
			}
		}
	}
	for n := range 60 {
		for _, name := range []string{"Location", "Retry-After", "X-Echo"} {
			limit := map[string]int{"Location": 1 << 10, "Retry-After": 128, "X-Echo": 4 << 10}[name]
			cb, _ := planted(answers(t, "HTTP/1.1 302 x\r\nContent-Length: 0\r\n"+name+": "+repeat("f", limit-n)+secret+"\r\n\r\n"))
			res := s.Send(t.Context(), cb, event(), 1)
			clean(t, &res, "canary")
			within(t, &res)
		}
	}
	for n := range 250 {
		cb, _ := planted(answers(t, repeat("f", 300-n)+secret+"\r\n\r\n"))
		res := s.Send(t.Context(), cb, event(), 1)
		clean(t, &res, "canary")
		within(t, &res)
	}
}

func TestMasksDoNotGrowABodyOverItsLimit(t *testing.T) {
	cb := callbackTo(answers(t, okWith(repeat("secret", 4000)+".")))
	cb.Headers = []callbackd.Header{{Name: "X-Key", Value: "secret"}}
	res := newSender(t, egress.Options{}).Send(t.Context(), cb, event(), 1)
	clean(t, &res, "secret")
	within(t, &res)
}

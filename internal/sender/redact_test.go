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

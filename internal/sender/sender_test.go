package sender_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/egress"
	"callbackd/internal/sender"
	"callbackd/internal/signature"
)

var secretText = "whsec_" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))

// loopback is a policy that lets attempts stay on this machine.
var loopback = egress.NewPolicy([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})

func senderOn(tr *egress.Transport) *sender.Sender {
	return sender.New(tr, "9.9", slog.New(slog.DiscardHandler))
}

// newSender is a sender that may speak to loopback.
func newSender(t testing.TB, o egress.Options) *sender.Sender {
	if o.Policy == nil {
		o.Policy = loopback
	}
	tr := egress.NewTransport(o)
	t.Cleanup(tr.CloseIdleConnections)
	return senderOn(tr)
}

func callbackTo(url string) *callbackd.Callback {
	return &callbackd.Callback{ID: 7, Version: 1, Event: callbackd.Complete, Name: callbackd.DefaultName, URL: url, Method: "POST", Payload: []byte("{}"),
		Secrets: []callbackd.SigningSecret{{Value: callbackd.Secret(secretText)}}, Policy: callbackd.Policy{Timeout: 10 * time.Second}}
}

func event() *callbackd.Event {
	return &callbackd.Event{ID: callbackd.FirstEventID(time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)) + 5, Type: callbackd.Complete, Session: "ABC-0123456789", Sequence: 42,
		Data: []byte(`{"z":1.50,"a":{"b":[1e2,"é"]},"event":"own"}`)}
}

// raw starts a TCP server that hands every connection to f, and returns its
// URL. Whatever f does, a connection ends with the test.
func raw(t testing.TB, f func(c net.Conn, r *bufio.Reader)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		mu    sync.Mutex
		conns []net.Conn
		work  sync.WaitGroup
	)
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			work.Go(func() {
				defer c.Close()
				f(c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		work.Wait()
	})
	return "http://" + l.Addr().String()
}

// readRequest reads one request as it came: its head with the empty line,
// and the body that its Content-Length announces.
func readRequest(r *bufio.Reader) (head, body string, err error) {
	length := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return head, "", err
		}
		head += line
		if v, ok := strings.CutPrefix(strings.ToLower(line), "content-length:"); ok {
			length, _ = strconv.Atoi(strings.TrimSpace(v))
		}
		if line == "\r\n" {
			break
		}
	}
	b := make([]byte, length)
	_, err = io.ReadFull(r, b)
	return head, string(b), err
}

// answers is a receiver that answers every request with the same bytes.
func answers(t testing.TB, response string) string {
	return raw(t, func(c net.Conn, r *bufio.Reader) {
		for {
			if _, _, err := readRequest(r); err != nil {
				return
			}
			if _, err := io.WriteString(c, response); err != nil {
				return
			}
		}
	})
}

// captured sends once and returns what went out.
func captured(t *testing.T, change func(cb *callbackd.Callback, ev *callbackd.Event)) (head []string, body string, cb *callbackd.Callback, res callbackd.Result) {
	t.Helper()
	type request struct{ head, body string }
	got := make(chan request, 1)
	cb = callbackTo(raw(t, func(c net.Conn, r *bufio.Reader) {
		head, body, err := readRequest(r)
		if err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		rest, _ := io.ReadAll(r) // until the connection is closed: nothing may follow
		got <- request{head, body + string(rest)}
	}) + "/hook?x=1")
	ev := event()
	if change != nil {
		change(cb, ev)
	}
	tr := egress.NewTransport(egress.Options{Policy: loopback})
	res = senderOn(tr).Send(t.Context(), cb, ev, 3)
	tr.CloseIdleConnections()
	if !res.Success() {
		t.Fatalf("%+v", res)
	}
	q := <-got
	return strings.Split(strings.TrimSuffix(q.head, "\r\n\r\n"), "\r\n"), q.body, cb, res
}

func value(head []string, name string) string {
	for _, line := range head[1:] {
		if n, v, _ := strings.Cut(line, ": "); n == name {
			return v
		}
	}
	return ""
}

const wantBody = `{"event":"SESSION:COMPLETE","session_key":"ABC-0123456789","z":1.50,"a":{"b":[1e2,"é"]},"more":[1]}`

func TestWhatGoesOut(t *testing.T) {
	head, body, cb, res := captured(t, func(cb *callbackd.Callback, _ *callbackd.Event) {
		cb.Payload = []byte(`{"more":[1],"z":"the event's own wins"}`)
	})
	if head[0] != "POST /hook?x=1 HTTP/1.1" || body != wantBody {
		t.Errorf("sent %q with %s", head[0], body)
	}
	stamp := strconv.FormatInt(res.StartedAt.Unix(), 10)
	id := event().ID.String()
	want := []string{
		"Host: " + strings.TrimSuffix(strings.TrimPrefix(cb.URL, "http://"), "/hook?x=1"), "User-Agent: callbackd/9.9", "Content-Length: " + strconv.Itoa(len(wantBody)),
		"Accept: */*", "Accept-Encoding: identity", "Content-Type: application/json", "callback-attempt: 3", "callback-sequence: 42",
		"webhook-id: " + id, "webhook-timestamp: " + stamp, "webhook-signature: " + signature.Sign(id, res.StartedAt.Unix(), []byte(wantBody), signature.NewKey([]byte("0123456789abcdef0123456789abcdef"))),
	}
	got := slices.Sorted(slices.Values(head[1:]))
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("sent\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestEveryAttemptSendsTheSameBytes(t *testing.T) {
	_, first, _, _ := captured(t, nil)
	_, second, _, _ := captured(t, nil)
	if first != second {
		t.Errorf("%s\n%s", first, second)
	}
}

func TestEveryMethodThatHasABody(t *testing.T) {
	for _, method := range []string{"POST", "PUT", "PATCH"} {
		head, body, _, _ := captured(t, func(cb *callbackd.Callback, _ *callbackd.Event) { cb.Method = method })
		if !strings.HasPrefix(head[0], method+" ") || body == "" {
			t.Errorf("%s sent %q with %q", method, head[0], body)
		}
	}
}

func TestGetAndDeleteCarryTheMembersInTheQuery(t *testing.T) {
	for _, method := range []string{"GET", "DELETE"} {
		head, body, _, res := captured(t, func(cb *callbackd.Callback, ev *callbackd.Event) {
			cb.Method = method
			ev.Data = []byte(`{"text":"a&b=c é","n":1.50,"deep":{"x":[true,null]},"none":null}`)
		})
		want := method + " /hook?x=1&event=SESSION%3ACOMPLETE&session_key=ABC-0123456789&text=a%26b%3Dc+%C3%A9&n=1.50&deep=%7B%22x%22%3A%5Btrue%2Cnull%5D%7D&none=null HTTP/1.1"
		if head[0] != want || body != "" {
			t.Errorf("sent\n%s with %q, want\n%s", head[0], body, want)
		}
		for _, name := range []string{"Content-Type", "Content-Length", "Transfer-Encoding"} {
			if v := value(head, name); v != "" {
				t.Errorf("%s has %s: %s", method, name, v)
			}
		}
		if got, want := value(head, "webhook-signature"), signature.Sign(event().ID.String(), res.StartedAt.Unix(), nil, signature.NewKey([]byte("0123456789abcdef0123456789abcdef"))); got != want {
			t.Errorf("signed %s, want %s over an empty body", got, want)
		}
	}
}

func TestQueryFollowsAnAddressWithoutOne(t *testing.T) {
	head, _, _, _ := captured(t, func(cb *callbackd.Callback, _ *callbackd.Event) {
		cb.Method, cb.URL = "GET", strings.TrimSuffix(cb.URL, "/hook?x=1")
	})
	if !strings.HasPrefix(head[0], "GET /?event=SESSION%3ACOMPLETE&") {
		t.Error(head[0])
	}
}

func TestRotationSignsWithEverySecretInForce(t *testing.T) {
	other := signature.NewSecret()
	head, body, _, res := captured(t, func(cb *callbackd.Callback, _ *callbackd.Event) {
		cb.Secrets = []callbackd.SigningSecret{{Value: callbackd.Secret(other)}, {Value: callbackd.Secret(secretText), ExpiresAt: time.Now().Add(time.Hour)},
			{Value: callbackd.Secret(signature.NewSecret()), ExpiresAt: time.Now().Add(-time.Second)}}
	})
	h := http.Header{}
	for _, line := range head[1:] {
		name, v, _ := strings.Cut(line, ": ")
		h.Add(name, v)
	}
	for _, secret := range []string{other, secretText} {
		key, _ := signature.ParseSecret(secret)
		if err := signature.Verify(key, h, []byte(body), res.StartedAt); err != nil {
			t.Error(err)
		}
	}
	if n := len(strings.Fields(h.Get("webhook-signature"))); n != 2 {
		t.Errorf("%d signatures, want 2", n)
	}
}

func TestOwnHeadersWinOverDefaultsAndNotOverOurs(t *testing.T) {
	head, _, _, _ := captured(t, func(cb *callbackd.Callback, ev *callbackd.Event) {
		ev.Test = true
		cb.Headers = []callbackd.Header{{Name: "content-type", Value: "application/vnd.x+json"}, {Name: "User-Agent", Value: "theirs"}, {Name: "authorization", Value: "Bearer abc"},
			{Name: "x-two", Value: "1"}, {Name: "X-Two", Value: "2"}, {Name: "webhook-id", Value: "forged"}, {Name: "Callback-Attempt", Value: "99"}}
	})
	for name, want := range map[string]string{"content-type": "application/vnd.x+json", "User-Agent": "theirs", "authorization": "Bearer abc", "webhook-id": event().ID.String(), "callback-attempt": "3", "callback-test": "true"} {
		if got := value(head, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	joined := strings.Join(head, "\n")
	if strings.Contains(joined, "forged") {
		t.Errorf("a header of the callback replaces callbackd's own:\n%s", joined)
	}
	for _, name := range []string{"callback-attempt", "content-type"} {
		if n := strings.Count(strings.ToLower(joined), name); n != 1 {
			t.Errorf("%s is sent %d times, want once:\n%s", name, n, joined)
		}
	}
	if !strings.Contains(joined, "x-two: 1\nX-Two: 2") {
		t.Errorf("headers do not keep their spelling and order:\n%s", joined)
	}
}

// What must not be stored cannot break out if it is.
func TestHeadersCannotInjectOrFrame(t *testing.T) {
	for _, h := range []callbackd.Header{
		{Name: "X-A", Value: "1\r\nX-Evil: 1"}, {Name: "X-A", Value: "1\nX-Evil: 1"}, {Name: "X-A\r\nX-Evil", Value: "1"}, {Name: "X-A: 1\r\nX-Evil", Value: "1"},
		{Name: "X-A", Value: "1\r\n\r\nGET /x-evil HTTP/1.1"}, {Name: "X-A\x00", Value: "X-Evil"}, {Name: "X-A", Value: "\x00X-Evil"}, {Name: "", Value: "X-Evil"},
		{Name: "Host", Value: "x-evil"}, {Name: "Content-Length", Value: "1"}, {Name: "Transfer-Encoding", Value: "x-evil"}, {Name: "Trailer", Value: "X-Evil"},
	} {
		got := make(chan string, 1)
		cb := callbackTo(raw(t, func(c net.Conn, r *bufio.Reader) {
			head, body, err := readRequest(r)
			if err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			rest, _ := io.ReadAll(r)
			if body += string(rest); body != `{"event":"SESSION:COMPLETE","session_key":"ABC-0123456789","z":1.50,"a":{"b":[1e2,"é"]}}` {
				head += body
			}
			got <- head
		}))
		cb.Headers = []callbackd.Header{h}
		res := newSender(t, egress.Options{}).Send(t.Context(), cb, event(), 1)
		if !res.Success() { // the transport refused to send it
			if res.Fault != callbackd.FaultLocal || len(got) > 0 {
				t.Errorf("%q: %+v", h.Name+": "+h.Value.Reveal(), res)
			}
			continue
		}
		if head := <-got; strings.Contains(strings.ToLower(head), "evil") || strings.Count(head, "Content-Length") != 1 {
			t.Errorf("%q: sent %q", h.Name+": "+h.Value.Reveal(), head)
		}
	}
}

type panicking struct{}

func (panicking) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	panic("poison")
}

// Nothing that goes wrong in an attempt ends the process.
func TestPanicsAreContained(t *testing.T) {
	s := newSender(t, egress.Options{Resolver: panicking{}})
	if res := s.Send(t.Context(), callbackTo("http://panics.test/"), event(), 1); res.Fault != callbackd.FaultLocal || res.Success() {
		t.Errorf("%+v", res)
	}
}

func TestARequestThatCannotBeBuiltIsNotTheReceiversFault(t *testing.T) {
	s := newSender(t, egress.Options{})
	for name, change := range map[string]func(*callbackd.Callback, *callbackd.Event){
		"secret":  func(cb *callbackd.Callback, _ *callbackd.Event) { cb.Secrets[0].Value = "whsec_!" },
		"payload": func(cb *callbackd.Callback, _ *callbackd.Event) { cb.Payload = []byte(`{"a":`) },
		"data":    func(_ *callbackd.Callback, ev *callbackd.Event) { ev.Data = []byte(`{"event":1,`) },
		"header": func(cb *callbackd.Callback, _ *callbackd.Event) {
			cb.Headers = []callbackd.Header{{Name: "Host", Value: "x"}}
		},
		"url":    func(cb *callbackd.Callback, _ *callbackd.Event) { cb.URL = "http://[::1" },
		"method": func(cb *callbackd.Callback, _ *callbackd.Event) { cb.Method = "NO WAY" },
	} {
		cb, ev := callbackTo("http://127.0.0.1:1"), event()
		change(cb, ev)
		if res := s.Send(t.Context(), cb, ev, 1); res.Fault != callbackd.FaultLocal || strings.Contains(res.Error, "whsec") {
			t.Errorf("%s: %+v", name, res)
		}
	}
}

func okWith(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func repeat(s string, n int) string { return string(bytes.Repeat([]byte(s), n)) }

// same fails the test unless got is what is wanted of the named thing.
func same[T comparable](t *testing.T, name string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, want %v", name, got, want)
	}
}

// What a receiver asks for in its answer is read from one header or several.
func TestAnAnswerCanAskForControl(t *testing.T) {
	for header, want := range map[string]callbackd.Control{
		"":                                  {},
		"callback-control: stop\r\n":        {Stop: true},
		"Callback-Control: Pause, stop\r\n": {Stop: true, Pause: true},
		"callback-control: pause\r\nCALLBACK-CONTROL: stop\r\n": {Stop: true, Pause: true},
	} {
		url := answers(t, "HTTP/1.1 422 x\r\nContent-Length: 0\r\n"+header+"\r\n")
		if res := newSender(t, egress.Options{}).Send(t.Context(), callbackTo(url), event(), 1); res.Control != want {
			t.Errorf("%q asks for %+v, want %+v", header, res.Control, want)
		}
	}
}

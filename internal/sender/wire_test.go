package sender_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/egress"
	"callbackd/internal/signature"
)

// secured is [raw] with TLS, when secure is set, and a sender that trusts it.
func secured(t *testing.T, secure bool, f func(c net.Conn, r *bufio.Reader)) (string, egress.Options) {
	if !secure {
		return raw(t, f), egress.Options{}
	}
	ca := newAuthority(t)
	cert := ca.issue(t, nil)
	url := raw(t, func(c net.Conn, _ *bufio.Reader) {
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
		f(s, bufio.NewReader(s))
		s.CloseWrite()
	})
	return "https" + strings.TrimPrefix(url, "http"), egress.Options{Roots: ca.pool()}
}

func bigEvent(n int) *callbackd.Event {
	ev := event()
	ev.Data = []byte(`{"big":"` + repeat("x", n) + `"}`)
	return ev
}

// A request that may have been read is never sent a second time within an
// attempt: the receiver may be at work on it.
func TestARequestThatMayHaveBeenReadIsNotRepeated(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, size := range []int{10, 100_000} {
			for how, end := range map[string]func(c net.Conn, r *bufio.Reader){
				"read whole":   func(_ net.Conn, r *bufio.Reader) { readRequest(r) },
				"read in part": func(_ net.Conn, r *bufio.Reader) { r.ReadByte() },
				"reset":        func(c net.Conn, r *bufio.Reader) { readRequest(r); reset(c) },
				"read, and an answer that is none": func(c net.Conn, r *bufio.Reader) {
					readRequest(r)
					io.WriteString(c, "H")
				},
			} {
				var mu sync.Mutex
				began := 0
				url, o := secured(t, secure, func(c net.Conn, r *bufio.Reader) {
					for {
						if _, err := r.Peek(1); err != nil {
							return
						}
						mu.Lock()
						began++
						n := began
						mu.Unlock()
						if n > 1 {
							end(c, r)
							return
						}
						readRequest(r)
						io.WriteString(c, okWith("ok"))
					}
				})
				s := newSender(t, o)
				if res := s.Send(t.Context(), callbackTo(url), event(), 1); !res.Success() {
					t.Fatalf("%+v", res)
				}
				res := s.Send(t.Context(), callbackTo(url), bigEvent(size), 1)
				if res.Fault != callbackd.FaultProtocol || !res.Reused {
					t.Errorf("TLS %v, %d bytes, %s: %+v", secure, size, how, res)
				}
				mu.Lock()
				if began != 2 {
					t.Errorf("TLS %v, %d bytes, %s: %d requests for two attempts", secure, size, how, began)
				}
				mu.Unlock()
			}
		}
	}
}

// reset makes the end of a connection a reset.
func reset(c net.Conn) {
	if s, ok := c.(*tls.Conn); ok {
		c = s.NetConn()
	}
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// An answer counts although the request was not read whole, and ends the
// writing.
func TestAnAnswerThatComesEarlyCounts(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for name, answer := range map[string]string{
			"success": okWith("early"), "interim first": "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + okWith("early"),
			"refusal": "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nearly",
		} {
			done := make(chan struct{})
			url, o := secured(t, secure, func(c net.Conn, r *bufio.Reader) {
				for { // the head, and no more
					line, err := r.ReadString('\n')
					if err != nil || line == "\r\n" {
						break
					}
				}
				io.WriteString(c, answer)
				<-done
			})
			res := newSender(t, o).Send(t.Context(), callbackTo(url), bigEvent(32<<20), 1)
			close(done)
			if string(res.Body) != "early" || res.Success() == (name == "refusal") {
				t.Errorf("TLS %v, %s: %+v", secure, name, res)
			}
		}
	}
}

// What is left of a request that was answered early is not taken for the next.
func TestAConnectionThatWasAnsweredEarlyIsNotUsedAgain(t *testing.T) {
	var conns atomic.Int64
	release := make(chan struct{})
	url := raw(t, func(c net.Conn, r *bufio.Reader) {
		if conns.Add(1) > 1 {
			readRequest(r)
			io.WriteString(c, okWith("second"))
			return
		}
		io.WriteString(c, okWith("first"))
		<-release
	})
	s := newSender(t, egress.Options{})
	if res := s.Send(t.Context(), callbackTo(url), bigEvent(32<<20), 1); string(res.Body) != "first" {
		t.Errorf("%+v", res)
	}
	if res := s.Send(t.Context(), callbackTo(url), event(), 1); string(res.Body) != "second" || res.Reused {
		t.Errorf("%+v", res)
	}
	close(release)
}

// Connections are opened again now and then, so that a name that has moved is noticed.
func TestABusyConnectionHasAnAgeAndALimitOfUses(t *testing.T) {
	for name, tt := range map[string]struct {
		o    egress.Options
		want int64
	}{
		"uses": {egress.Options{MaxUses: 3}, 4}, "age": {egress.Options{MaxAge: time.Nanosecond}, 10}, "neither": {egress.Options{}, 1},
	} {
		url, conns := counted(t, okWith("ok"))
		s := newSender(t, tt.o)
		for range 10 {
			if res := s.Send(t.Context(), callbackTo(url), event(), 1); !res.Success() {
				t.Fatalf("%+v", res)
			}
		}
		if n := conns.Load(); n != tt.want {
			t.Errorf("%s: %d connections for 10 attempts, want %d", name, n, tt.want)
		}
	}
	if egress.DefaultMaxAge > 2*time.Minute || egress.DefaultMaxUses > 1000 {
		t.Error("the limits are beyond what servers and balancers have")
	}
}

func TestAReceiverCanHaveAConnectionForEachRequest(t *testing.T) {
	url, conns := counted(t, okWith("ok"))
	s := newSender(t, egress.Options{})
	kept, alone := callbackTo(url), callbackTo(url)
	alone.Policy.NoKeepAlive = true
	s.Send(t.Context(), kept, event(), 1)
	for range 3 {
		if res := s.Send(t.Context(), alone, event(), 1); !res.Success() || res.Reused {
			t.Errorf("%+v", res)
		}
	}
	if n := conns.Load(); n != 4 {
		t.Errorf("%d connections", n)
	}
	head, _, _, _ := captured(t, func(cb *callbackd.Callback, _ *callbackd.Event) { cb.Policy.NoKeepAlive = true })
	if value(head, "Connection") != "close" {
		t.Errorf("sent %q", head)
	}
}

// A stop ends idle connections as TLS wants it, so that receivers do not log
// a truncation.
func TestIdleConnectionsEndWithTheGoodbyeOfTLS(t *testing.T) {
	ended := make(chan error, 1)
	url, o := secured(t, true, func(c net.Conn, r *bufio.Reader) {
		if _, _, err := readRequest(r); err != nil {
			return
		}
		io.WriteString(c, okWith("ok"))
		_, err := r.ReadByte()
		ended <- err
	})
	o.Policy = loopback
	tr := egress.NewTransport(o)
	cb := callbackTo(url)
	cb.Policy.Timeout = time.Second
	if res := senderOn(tr).Send(t.Context(), cb, event(), 1); !res.Success() {
		t.Fatalf("%+v", res)
	}
	tr.CloseIdleConnections()
	if err := <-ended; !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the receiver sees %v", err)
	}
}

// Names are in the order and spelling of the wire, where it counts: a
// receiver may know "SOAPAction" and no other.
func TestHeaderNamesGoOutAsGiven(t *testing.T) {
	head, _, cb, _ := captured(t, func(cb *callbackd.Callback, _ *callbackd.Event) {
		cb.Headers = []callbackd.Header{{Name: "SOAPAction", Value: "urn:x"}, {Name: "x-lower", Value: "a"}, {Name: "X-API-KEY", Value: "key-value"}, {Name: "accept", Value: "text/plain"}}
	})
	var sent []string
	for _, line := range head[1:] {
		name, _, _ := strings.Cut(line, ":")
		sent = append(sent, name)
	}
	want := []string{"Host", "User-Agent", "Accept-Encoding", "Content-Type", "SOAPAction", "x-lower", "X-API-KEY", "accept", "webhook-id", "webhook-timestamp", "webhook-signature", "callback-attempt", "callback-sequence", "Content-Length"}
	if !slices.Equal(sent, want) {
		t.Errorf("sent %v, want %v", sent, want)
	}
	req, err := newSender(t, egress.Options{}).Request(cb, event(), 3, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	for _, h := range req.Headers {
		shown = append(shown, h.Name)
	}
	if !slices.Equal(shown, want[1:len(want)-1]) {
		t.Errorf("shown %v", shown)
	}
}

// The members of a GET or DELETE are signed in a header of their own.
func TestTheQueryIsSigned(t *testing.T) {
	other := signature.NewSecret()
	for _, method := range []string{"GET", "DELETE"} {
		head, _, _, res := captured(t, func(cb *callbackd.Callback, _ *callbackd.Event) {
			cb.Method = method
			cb.Secrets = append(cb.Secrets, callbackd.SigningSecret{Value: callbackd.Secret(other), ExpiresAt: time.Now().Add(time.Hour)})
		})
		_, query, _ := strings.Cut(strings.Fields(head[0])[1], "?")
		one, _ := signature.ParseSecret(secretText)
		two, _ := signature.ParseSecret(other)
		if got, want := value(head, "callback-query-signature"), signature.Sign(event().ID.String(), res.StartedAt.Unix(), []byte(query), signature.NewKey(one), signature.NewKey(two)); got != want || !strings.HasPrefix(query, "x=1&event=") {
			t.Errorf("%s over %s: %s, want %s", method, query, got, want)
		}
	}
	if head, _, _, _ := captured(t, nil); value(head, "callback-query-signature") != "" {
		t.Error("a POST has a signature of its query")
	}
}

// A query that servers refuse is not sent, and not tried again.
func TestALongQueryEndsTheDelivery(t *testing.T) {
	url, conns := counted(t, okWith("ok"))
	s := newSender(t, egress.Options{})
	for _, method := range []string{"GET", "DELETE"} {
		cb := callbackTo(url)
		cb.Method = method
		size := func(n int) int {
			req, err := s.Request(cb, bigEvent(n), 1, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			return len(req.URL.RawQuery)
		}
		fits := callbackd.MaxQuery - size(0)
		if res := s.Send(t.Context(), cb, bigEvent(fits), 1); !res.Success() {
			t.Errorf("%+v", res)
		}
		before := conns.Load()
		res := s.Send(t.Context(), cb, bigEvent(fits+1), 1)
		same(t, "the fault", res.Fault, callbackd.FaultQuery)
		if !strings.Contains(res.Error, "8193 bytes") {
			t.Errorf("the error is %q, want one with the length of the query", res.Error)
		}
		same(t, "the number of connections", conns.Load(), before)
		if d := callbackd.Decide(callbackd.Delivery{}, &res, callbackd.Policy{}, time.Now(), 0.5); d.State != callbackd.Failed || !strings.Contains(d.Why, "POST") {
			t.Errorf("%+v", d)
		}
		if h := (callbackd.Health{}).After(&res, time.Now(), 0.5); h != (callbackd.Health{}) {
			t.Errorf("the receiver is blamed: %+v", h)
		}
	}
}

// The whole timeout is the receiver's, and what was not connected in it is
// "connect"; a handshake that is not over is "timeout", for it was connected.
func TestFaultsGoByThePhase(t *testing.T) {
	silent := raw(t, func(_ net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) })
	for target, want := range map[string]struct {
		fault callbackd.Fault
		text  string
	}{
		silent: {callbackd.FaultTimeout, "the receiver did not answer within 1"},
		"https" + strings.TrimPrefix(silent, "http"): {callbackd.FaultTimeout, "the TLS handshake was not complete within 1"},
		"http://" + closedPort(t):                    {callbackd.FaultConnect, "the receiver refused the connection after "},
	} {
		cb := callbackTo(target)
		cb.Policy.Timeout = time.Second
		if res := newSender(t, egress.Options{}).Send(t.Context(), cb, event(), 1); res.Fault != want.fault || !strings.HasPrefix(res.Error, want.text) {
			t.Errorf("%s: %s, %s; want %s, %s", target, res.Fault, res.Error, want.fault, want.text)
		}
	}
}

// Other schemes sign the body, or the query when there is no body, with the newest secret
// as it is. Alone, they leave no signature of Standard Webhooks.
func TestRequestsAreSignedByOtherSchemes(t *testing.T) {
	hex := func(content string) string { return signature.NewKey([]byte("known already")).Hex([]byte(content)) }
	for _, method := range []string{"POST", "GET"} {
		head, body, _, _ := captured(t, func(cb *callbackd.Callback, _ *callbackd.Event) {
			cb.Method = method
			cb.Secrets = []callbackd.SigningSecret{{Value: "known already"}, {Value: callbackd.Secret(secretText), ExpiresAt: time.Now().Add(time.Hour)}}
			cb.Policy.Signing = []callbackd.SigningScheme{callbackd.SignGitHub, "hmac-hex:X-Sum"}
		})
		signed := body
		if method == "GET" {
			_, signed, _ = strings.Cut(strings.Fields(head[0])[1], "?")
		}
		for name, want := range map[string]string{
			"X-Hub-Signature-256": "sha256=" + hex(signed), "X-Sum": hex(signed), "webhook-signature": "", "callback-query-signature": "",
		} {
			if got := value(head, name); got != want {
				t.Errorf("%s: %s is %q, want %q", method, name, got, want)
			}
		}
	}
}

// After a rotation to a secret of Standard Webhooks, an older one of another scheme does
// not sign, and does no harm.
func TestAnOlderSecretOfAnotherSchemeDoesNotSign(t *testing.T) {
	head, body, _, res := captured(t, func(cb *callbackd.Callback, _ *callbackd.Event) {
		cb.Secrets = append(cb.Secrets, callbackd.SigningSecret{Value: "known already", ExpiresAt: time.Now().Add(time.Hour)})
	})
	key, _ := signature.ParseSecret(secretText)
	want := signature.Sign(event().ID.String(), res.StartedAt.Unix(), []byte(body), signature.NewKey(key))
	if got := value(head, "webhook-signature"); got != want {
		t.Errorf("webhook-signature is %q, want %q", got, want)
	}
}

// What a callback does not get of the data is neither in the body nor in the query, and
// the signature is of what is sent. What callbackd adds, and the extra payload, stay.
func TestFieldsAreCutBeforeSigning(t *testing.T) {
	fields, err := callbackd.ParseFields("fields", []byte(`{"only":["grade","event"]}`))
	if err != nil {
		t.Fatal(err)
	}
	for method, want := range map[string]string{
		"POST": `{"event":"SESSION:COMPLETE","session_key":"S","grade":2.50,"vin":"payload"}`,
		"GET":  "x=1&event=SESSION%3ACOMPLETE&session_key=S&grade=2.50&vin=payload",
	} {
		head, body, _, res := captured(t, func(cb *callbackd.Callback, ev *callbackd.Event) {
			cb.Method, cb.Policy.Fields, cb.Payload = method, fields, []byte(`{"vin":"payload"}`)
			ev.Type, ev.Session, ev.Data = callbackd.Complete, "S", []byte(`{"vin":"1FM", "grade":2.50, "vehicle":{"make":"Nissan"}}`)
		})
		signed, sent := "webhook-signature", body
		if method == "GET" {
			signed = "callback-query-signature"
			_, sent, _ = strings.Cut(strings.Fields(head[0])[1], "?")
		}
		if sent != want {
			t.Errorf("%s sends %s, want %s", method, sent, want)
		}
		key, _ := signature.ParseSecret(secretText)
		if got, want := value(head, signed), signature.Sign(event().ID.String(), res.StartedAt.Unix(), []byte(sent), signature.NewKey(key)); got != want {
			t.Errorf("%s: %s is %q, want %q", method, signed, got, want)
		}
	}
}

// A message for people is signed as it is sent, with the extra attributes.
func TestAMessageForPeopleIsSignedAsSent(t *testing.T) {
	head, body, _, _ := captured(t, func(cb *callbackd.Callback, ev *callbackd.Event) {
		cb.Event, ev.Type = callbackd.NoticeDisk, callbackd.NoticeDisk
		ev.Data = []byte(`{"text":"Low <on> space.","state":"open"}`)
		cb.Payload = []byte(`{"channel":"#ops","text":"another"}`)
		cb.Policy.Format, cb.Policy.Signing = callbackd.FormatSlack, []callbackd.SigningScheme{callbackd.SignGitHub}
	})
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("the body is %q: %v", body, err)
	}
	if want := map[string]any{"text": "DISK:LOW\nLow &lt;on&gt; space.", "mrkdwn": false, "channel": "#ops"}; !reflect.DeepEqual(got, want) {
		t.Errorf("the body is %v, want %v", got, want)
	}
	if sum := signature.NewKey([]byte(secretText)).Hex([]byte(body)); value(head, "X-Hub-Signature-256") != "sha256="+sum {
		t.Errorf("the signature of %q is %q", body, value(head, "X-Hub-Signature-256"))
	}
}

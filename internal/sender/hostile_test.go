package sender_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/egress"
	"callbackd/internal/zoo"
)

// flood writes chunk until the other side has had enough, but no more than
// limit bytes, and returns how many it could write.
func flood(w io.Writer, chunk []byte, limit int64) (n int64) {
	for n < limit {
		m, err := w.Write(chunk)
		n += int64(m)
		if err != nil {
			break
		}
	}
	return n
}

// Of a huge body no more than the limit is read, not the whole of it first.
func TestHugeBodyIsReadToALimit(t *testing.T) {
	const huge = 10 << 30
	for _, head := range []string{"Content-Length: " + strconv.Itoa(huge), "X-A: until the end", "Transfer-Encoding: chunked"} {
		written := make(chan int64, 1)
		chunk := bytes.Repeat([]byte("A"), 64<<10)
		if strings.HasSuffix(head, "chunked") {
			chunk = fmt.Appendf(nil, "%x\r\n%s\r\n", len(chunk), chunk)
		}
		cb := callbackTo(raw(t, func(c net.Conn, r *bufio.Reader) {
			if _, _, err := readRequest(r); err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\n"+head+"\r\n\r\n")
			written <- flood(c, chunk, huge)
		}))
		s := newSender(t, egress.Options{})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		res := s.Send(t.Context(), cb, event(), 1)
		n := <-written // ends because the connection was closed
		runtime.ReadMemStats(&after)
		same(t, head+": whether it succeeded", res.Success(), true)
		same(t, head+": the bytes that are kept", len(res.Body), callbackd.MaxResponseKept)
		same(t, head+": the bytes that were read", res.BodySize, callbackd.MaxResponseRead)
		same(t, head+": whether the body is cut", res.Truncated, true)
		if allocated := after.TotalAlloc - before.TotalAlloc; n > 64<<20 || allocated > 2<<20 {
			t.Errorf("%s: the receiver got rid of %d bytes, %d bytes were allocated", head, n, allocated)
		}
	}
}

func TestBodiesAroundTheLimits(t *testing.T) {
	s := newSender(t, egress.Options{})
	for _, n := range []int{0, 1, callbackd.MaxResponseKept - 1, callbackd.MaxResponseKept, callbackd.MaxResponseKept + 1, callbackd.MaxResponseRead - 1, callbackd.MaxResponseRead, callbackd.MaxResponseRead + 1} {
		body := repeat("b", n)
		res := s.Send(t.Context(), callbackTo(answers(t, okWith(body))), event(), 1)
		kept, read := min(n, callbackd.MaxResponseKept), min(n, callbackd.MaxResponseRead)
		name := fmt.Sprintf("%d bytes: ", n)
		same(t, name+"whether it succeeded", res.Success(), true)
		same(t, name+"the bytes that were read", res.BodySize, int64(read))
		same(t, name+"whether the body is cut", res.Truncated, n > kept)
		if string(res.Body) != body[:kept] {
			t.Errorf("%s%d bytes are kept, want the first %d", name, len(res.Body), kept)
		}
	}
}

// A compressed body is not unpacked, so the limit holds for what is stored.
func TestGzipBombIsKeptAsItCame(t *testing.T) {
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	zeros := make([]byte, 1<<20)
	for range 15 {
		w.Write(zeros)
	}
	w.Close()
	packed := bomb.Bytes()
	if len(packed) > callbackd.MaxResponseKept {
		t.Fatalf("%d bytes", len(packed))
	}
	url := answers(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(packed), packed))
	for _, asks := range []string{"", "gzip"} {
		cb := callbackTo(url)
		if asks != "" {
			cb.Headers = []callbackd.Header{{Name: "Accept-Encoding", Value: callbackd.Secret(asks)}}
		}
		res := newSender(t, egress.Options{}).Send(t.Context(), cb, event(), 1)
		if !res.Success() {
			t.Errorf("%q: no success: %s", asks, res.Error)
		}
		if !bytes.Equal(res.Body, packed) {
			t.Errorf("%q: %d bytes kept of %d, or others", asks, len(res.Body), len(packed))
		}
		if want := "Content-Encoding: gzip"; !strings.Contains(res.Headers, want) {
			t.Errorf("%q: the headers have no %q: %s", asks, want, res.Headers)
		}
	}
}

// A receiver may say as often as it likes that it is at work.
func TestAnyNumberOfInterimAnswersMayComeFirst(t *testing.T) {
	for _, interim := range []string{"100 Continue", "102 Processing", "103 Early Hints\r\nLink: </x>"} {
		res := newSender(t, egress.Options{}).Send(t.Context(), callbackTo(answers(t, repeat("HTTP/1.1 "+interim+"\r\n\r\n", 60)+"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")), event(), 1)
		if !res.Success() || string(res.Body) != "ok" {
			t.Errorf("after 60 times %q: status %d, body %q, error %q", interim, res.Status, res.Body, res.Error)
		}
	}
}

// saysCut reports whether the attempt says that the body of the answer was cut.
func saysCut(res *callbackd.Result) bool {
	return strings.Contains(res.Error, "the body of the answer is incomplete: ")
}

// within checks every limit of what is kept.
func within(t testing.TB, res *callbackd.Result) {
	t.Helper()
	for _, kept := range []struct {
		what       string
		size, most int64
	}{
		{"the body", int64(len(res.Body)), callbackd.MaxResponseKept}, {"the body that was read", int64(res.BodySize), callbackd.MaxResponseRead},
		{"the headers", int64(len(res.Headers)), 4 << 10}, {"the location", int64(len(res.Location)), 1<<10 + 3},
		{"Retry-After", int64(len(res.RetryAfter)), 131}, {"the error", int64(len(res.Error)), 303},
	} {
		if kept.size > kept.most {
			t.Errorf("%s has %d bytes, want %d at most", kept.what, kept.size, kept.most)
		}
	}
	tm := res.Timings
	for name, d := range map[string]time.Duration{
		"DNS": tm.DNS, "connect": tm.Connect, "TLS": tm.TLS, "first byte": tm.FirstByte,
		"total minus first byte": tm.Total - tm.FirstByte, "total minus connect": tm.Total - tm.Connect,
	} {
		if d < 0 {
			t.Errorf("the time of %s is %v, want 0 or more", name, d)
		}
	}
}

func TestStatusLines(t *testing.T) {
	s := newSender(t, egress.Options{})
	for line, want := range map[string]int{
		"HTTP/1.1 200 OK": 200, "HTTP/1.1 200": 200, "HTTP/1.0 204 No Content": 204, "HTTP/1.1 299 \xff\xfe": 299, "HTTP/1.1 500 x": 500, "HTTP/1.1 999 x": 999,
		"": 0, "200 OK": 0, "HTTP/1.1": 0, "HTTP/1.1 ": 0, "HTTP/1.1 20 OK": 0, "HTTP/1.1 2000 OK": 0, "HTTP/1.1 +20 OK": 0, "HTTP/1.1 -20 OK": 0, "HTTP/1.1 2x0 OK": 0,
		"HTTP/1.1  200 OK": 0, "HTTP/1.1 099 x": 0, "http/1.1 200 OK": 0, "HTTP/ 200 OK": 0, "HTTP/a.b 200 OK": 0, "HTTP/2.0 200 OK": 0, "HTTP/1.2 200 OK": 0, "HTTP/9.9 200 OK": 0, "HTTP/0.9 200 OK": 0, "HTTP/1.10 200 OK": 0, "ICY 200 OK": 0, "SSH-2.0-OpenSSH_9.9": 0, "\x16\x03\x01\x02": 0, "HTTP/1.1 200 OK\r\nNo colon": 0, "HTTP/1.1 200 OK\r\n: 1": 0,
	} {
		res := s.Send(t.Context(), callbackTo(raw(t, func(c net.Conn, r *bufio.Reader) {
			if _, _, err := readRequest(r); err == nil {
				io.WriteString(c, line+"\r\nContent-Length: 0\r\n\r\n")
			}
		})), event(), 1)
		if res.Status != want {
			t.Errorf("%q: the status is %d, want %d", line, res.Status, want)
		}
		if success := want/100 == 2; res.Success() != success {
			t.Errorf("%q: success is %v, want %v", line, res.Success(), success)
		}
		if (want == 0) != (res.Fault == callbackd.FaultProtocol) {
			t.Errorf("%q: the fault is %q with the status %d: %s", line, res.Fault, want, res.Error)
		}
	}
}

func TestTheDeadlineCoversAReceiverThatDoesNotRead(t *testing.T) {
	cb, ev := callbackTo(raw(t, func(c net.Conn, r *bufio.Reader) {
		c.(*net.TCPConn).SetReadBuffer(1)
		<-t.Context().Done()
	})), event()
	ev.Data = []byte(`{"big":"` + repeat("x", 16<<20) + `"}`)
	cb.Policy.Timeout = 5 * time.Second // a slow machine needs one to build the body
	if res := newSender(t, egress.Options{}).Send(t.Context(), cb, ev, 1); res.Fault != callbackd.FaultTimeout {
		t.Errorf("%s %s", res.Fault, res.Error)
	}
}

func fds(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// A hostile receiver uses a slot until the deadline, and nothing afterwards.
func TestHostileReceiversLeakNothing(t *testing.T) {
	t.Run("attempts", func(t *testing.T) {
		var turn atomic.Int64
		hostile := slices.DeleteFunc(zoo.OfRequests(), func(x zoo.Exhibit) bool { return slices.Contains(wholeBody, x.Name) })
		url := raw(t, func(c net.Conn, r *bufio.Reader) {
			if _, _, err := readRequest(r); err != nil {
				return
			}
			hostile[int(turn.Add(1))%len(hostile)].Serve(c)
		})
		tr := egress.NewTransport(egress.Options{Policy: loopback})
		s := senderOn(tr)
		warm := callbackTo(url)
		warm.Policy.Timeout = time.Second
		s.Send(t.Context(), warm, event(), 1)
		goroutines, files := runtime.NumGoroutine(), fds(t)
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() {
				if res := s.Send(t.Context(), warm, event(), 1); res.Success() && !saysCut(&res) && !res.Truncated {
					t.Errorf("%+v", res)
				}
			})
		}
		all.Wait()
		tr.CloseIdleConnections()
		// Both ends need a moment to see the other one's close.
		settled := func() bool { return runtime.NumGoroutine() <= goroutines+2 && fds(t) <= files+2 }
		for end := time.Now().Add(10 * time.Second); !settled(); runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatalf("%d goroutines and %d files, %d and %d before", runtime.NumGoroutine(), fds(t), goroutines, files)
			}
		}
	})
}

// A redirect is a failure. The attempt says where it leads, and nothing is sent there.
func TestRedirectsAreNotFollowed(t *testing.T) {
	var visited atomic.Int64
	target := raw(t, func(net.Conn, *bufio.Reader) { visited.Add(1) })
	s := newSender(t, egress.Options{})
	for code := 300; code <= 308; code++ {
		for _, method := range []string{"POST", "GET", "DELETE"} {
			for _, body := range []string{"", "<html>moved</html>"} {
				length := "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
				if code == 304 {
					length, body = "", ""
				}
				cb := callbackTo(answers(t, fmt.Sprintf("HTTP/1.1 %d x\r\nLocation: %s/inside\r\n%s\r\n%s", code, target, length, body)))
				cb.Method = method
				res := s.Send(t.Context(), cb, event(), 1)
				name := fmt.Sprintf("%s, %d: ", method, code)
				same(t, name+"the fault", res.Fault, callbackd.FaultStatus)
				same(t, name+"the status", res.Status, code)
				same(t, name+"the location", res.Location, target+"/inside")
				if !strings.Contains(res.Error, "redirects are not followed") {
					t.Errorf("%sthe error is %q, want that redirects are not followed", name, res.Error)
				}
			}
		}
	}
	if n := visited.Load(); n != 0 {
		t.Errorf("%d connections reached the target", n)
	}
}

func TestOnlyA2xxIsSuccess(t *testing.T) {
	s := newSender(t, egress.Options{})
	for code := 200; code <= 599; code++ {
		head := fmt.Sprintf("HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n", code)
		res := s.Send(t.Context(), callbackTo(answers(t, head)), event(), 1)
		success := code <= 299
		name := fmt.Sprintf("%d: ", code)
		same(t, name+"whether it succeeded", res.Success(), success)
		same(t, name+"the status", res.Status, code)
		same(t, name+"whether the fault is the status", res.Fault == callbackd.FaultStatus, !success)
		same(t, name+"whether there is an error", res.Error != "", !success)
	}
}

func TestLongLocationIsCut(t *testing.T) {
	res := newSender(t, egress.Options{}).Send(t.Context(), callbackTo(answers(t, "HTTP/1.1 302 x\r\nContent-Length: 0\r\nRetry-After: "+repeat("9", 9000)+"\r\nLocation: /"+repeat("é", 9000)+"\r\n\r\n")), event(), 1)
	if len(res.Location) < 1000 || len(res.RetryAfter) < 100 {
		t.Errorf("%d and %d", len(res.Location), len(res.RetryAfter))
	}
	within(t, &res)
}

// What is kept of an answer is text.
func TestStoredHeadersAreText(t *testing.T) {
	res := newSender(t, egress.Options{}).Send(t.Context(), callbackTo(answers(t, "HTTP/1.1 302 x\r\nContent-Length: 0\r\nX-A: \xff\xfe\x1b[31m\x7f\r\nLocation: /\xc3\x28\r\nSet-Cookie: session=abc\r\nRetry-After: \xff\r\n\r\n")), event(), 1)
	if res.Fault == callbackd.FaultProtocol { // the transport may refuse it instead
		return
	}
	same(t, "the headers", res.Headers, "Content-Length: 0\nLocation: /\ufffd(\nRetry-After: \ufffd\nSet-Cookie: [redacted]\nX-A: \ufffd\ufffd\ufffd[31m\ufffd\n")
	same(t, "the location", res.Location, "/\ufffd(")
	same(t, "Retry-After", res.RetryAfter, "\ufffd")
}

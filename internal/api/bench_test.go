package api_test

import (
	"bufio"
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/api"
	"callbackd/internal/front"
	"callbackd/internal/signature"
	"callbackd/internal/store"
)

// acceptsAll is a store that accepts events and keeps nothing.
type acceptsAll struct {
	store.Store
	key      callbackd.Key
	accepted []*callbackd.Event
}

func (s *acceptsAll) Key(context.Context, string) (*callbackd.Key, error) { return &s.key, nil }
func (s *acceptsAll) Accept(context.Context, store.Batch) ([]*callbackd.Event, error) {
	return s.accepted, nil
}

// BenchmarkPublish measures POST /v1/events without the store: a signed call with an
// event of 1 KiB, through the server and all limits. The client allocates nothing.
func BenchmarkPublish(b *testing.B) {
	s := &acceptsAll{key: callbackd.Key{ID: 1, Account: "bench", APIKey: "bench-key", Secret: "bench-secret"},
		accepted: []*callbackd.Event{{ID: callbackd.FirstEventID(time.Now()), Type: callbackd.Complete, Session: "BEN-0000000001", Sequence: 1}}}
	a := api.New(api.Options{Store: s, Log: slog.New(slog.DiscardHandler), Metrics: http.NotFoundHandler(), Accepted: func(int) {}})
	f := front.New(front.Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := api.Server(f.Handler(a, func(*http.Request) bool { return false }), slog.New(slog.DiscardHandler))
	server.ConnContext = front.ConnContext
	go server.Serve(api.Listener(f.Listen(l)))
	defer server.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	request, r := publishRequest(s.key), bufio.NewReader(c)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(request); err != nil {
			b.Fatal(err)
		}
		if status := readAnswer(b, r); status != http.StatusAccepted {
			b.Fatalf("the status is %d", status)
		}
	}
}

func publishRequest(k callbackd.Key) []byte {
	body := `{"event":"SESSION:STATUS_CHANGE","session_key":"BEN-0000000001","data":{"status":"PROCESS","previous_status":"STARTED","pad":"` + strings.Repeat("x", 850) + `"}}`
	h := http.Header{"Content-Type": {"application/json"}, "Content-Length": {strconv.Itoa(len(body))}, "User-Agent": {"bench"}}
	signature.SetHeaders(h, k.Account, k.APIKey, k.Secret.Reveal(), time.Now())
	var b bytes.Buffer
	b.WriteString("POST /v1/events HTTP/1.1\r\nHost: localhost\r\n")
	h.Write(&b)
	b.WriteString("\r\n" + body)
	return b.Bytes()
}

// readAnswer reads one answer and returns its status.
func readAnswer(b *testing.B, r *bufio.Reader) (status int) {
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			b.Fatal(err)
		}
		if len(line) == 2 {
			break
		}
		if text, ok := bytes.CutPrefix(line, []byte("HTTP/1.1 ")); ok {
			status, _ = strconv.Atoi(string(text[:3]))
		}
		if text, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(text)))
		}
	}
	if _, err := r.Discard(length); err != nil {
		b.Fatal(err)
	}
	return status
}

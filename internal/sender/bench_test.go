package sender_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"callbackd/internal/egress"
)

// BenchmarkSend measures an attempt on a connection that is used again: an event of
// 1 KiB to a receiver that answers 200 as net/http does. The receiver allocates nothing.
func BenchmarkSend(b *testing.B) {
	s := newSender(b, egress.Options{MaxUses: 1 << 30})
	cb := callbackTo(raw(b, alwaysOK))
	ev := event()
	ev.Data = []byte(`{"status":"PROCESS","previous_status":"STARTED","pad":"` + strings.Repeat("x", 900) + `"}`)
	b.ReportAllocs()
	for b.Loop() {
		if res := s.Send(b.Context(), cb, ev, 1); !res.Success() {
			b.Fatalf("%+v", res)
		}
	}
}

// alwaysOK answers every request of a connection.
func alwaysOK(c net.Conn, r *bufio.Reader) {
	answer := []byte("HTTP/1.1 200 OK\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nContent-Length: 0\r\n\r\n")
	for {
		length := 0
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) == 2 {
				break
			}
			if text, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
				length, _ = strconv.Atoi(string(bytes.TrimSpace(text)))
			}
		}
		io.CopyN(io.Discard, r, int64(length))
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

package front

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// The context of a request ends when its client goes away, except that of an unwatched
// one.
func TestAnUnwatchedRequestDoesNotEndWithItsConnection(t *testing.T) {
	entered := make(chan *http.Request)
	release := make(chan struct{})
	s := start(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/unwatched" {
			Unwatched(r)
		}
		ReadBody(w, r, 100)
		entered <- r
		<-release
	})
	defer close(release)
	var requests []*http.Request
	for _, path := range []string{"/unwatched", "/watched"} {
		c := s.dial()
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", path)
		requests = append(requests, <-entered)
		c.Close()
	}
	<-requests[1].Context().Done()
	if err := requests[0].Context().Err(); err != nil {
		t.Errorf("the unwatched request has ended: %v", err)
	}
}

// A connection serves requests after unwatched ones, also when they are sent together and
// when the handler did not read the body.
func TestAConnectionServesRequestsAfterUnwatchedOnes(t *testing.T) {
	s := start(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/watched" {
			Unwatched(r)
		}
		if r.URL.Path != "/unread" {
			body, err := ReadBody(w, r, 100)
			fmt.Fprintf(w, "%s %v", body, err)
		}
	})
	c := s.dial()
	var all strings.Builder
	var want []string
	for i, path := range strings.Fields(strings.Repeat("/unwatched /watched /unread /unwatched /chunked ", 20)) {
		body := fmt.Sprintf("%05d", i)
		if path == "/chunked" {
			fmt.Fprintf(&all, "POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n%s\r\n0\r\n\r\n", path, body)
		} else {
			fmt.Fprintf(&all, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n%s", path, body)
		}
		if path == "/unread" {
			want = append(want, "")
		} else {
			want = append(want, body+" <nil>")
		}
	}
	text := all.String()
	br := bufio.NewReader(c)
	read := func(want string) {
		t.Helper()
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(res.Body); err != nil || string(got) != want {
			t.Fatalf("%q, %v, want %q", got, err, want)
		}
	}
	go io.WriteString(c, text) // all together
	for _, w := range want {
		read(w)
	}
	for i := range text { // byte by byte
		if _, err := io.WriteString(c, text[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range want {
		read(w)
	}
}

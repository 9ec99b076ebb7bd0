package api_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// hit is one request that a receiver got.
type hit struct {
	method, uri string
	header      http.Header
	body        string
}

// receiver is a real HTTP server for callbacks. It answers 200 unless a test
// sets answer.
type receiver struct {
	t    *testing.T
	url  string
	hits chan hit
}

func listen(t *testing.T, answer func(w http.ResponseWriter, n int)) *receiver {
	t.Helper()
	r := &receiver{t: t, hits: make(chan hit, 4096)}
	var mu sync.Mutex
	n := 0
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		mu.Lock()
		n++
		mine := n
		mu.Unlock()
		r.hits <- hit{req.Method, req.RequestURI, req.Header.Clone(), string(body)}
		if answer != nil {
			answer(w, mine)
		}
	}))
	t.Cleanup(web.Close)
	r.url = web.URL
	return r
}

func (r *receiver) next() hit {
	r.t.Helper()
	select {
	case h := <-r.hits:
		return h
	case <-time.After(patience):
		r.t.Fatal("the receiver got nothing")
		return hit{}
	}
}

// closedPort is an address where nothing listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

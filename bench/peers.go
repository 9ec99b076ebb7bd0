package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// sink is a receiver that answers 200. It records how long each event took to arrive:
// "at" in the body is the time of its publishing, in nanoseconds.
type sink struct {
	mu              sync.Mutex
	taken, repeated int
	seen            map[string]bool // by host and webhook-id
	delay           []time.Duration
	hanging         int           // requests
	answer          chan struct{} // closed when they are answered; nil: nothing hangs
}

var atField = []byte(`"at":`)

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		s.report(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	now := time.Now().UnixNano()
	if err != nil {
		return
	}
	s.mu.Lock()
	s.taken++
	if id := r.Host + " " + r.Header.Get("webhook-id"); s.seen[id] {
		s.repeated++
	} else if r.Header.Get("webhook-id") != "" {
		if s.seen == nil {
			s.seen = map[string]bool{}
		}
		s.seen[id] = true
	}
	if i := bytes.Index(body, atField); i >= 0 {
		rest := body[i+len(atField):]
		n := 0
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			n++
		}
		if at, err := strconv.ParseInt(string(rest[:n]), 10, 64); err == nil {
			s.delay = append(s.delay, time.Duration(now-at))
		}
	}
	answer := s.answer
	if answer != nil {
		s.hanging++
	}
	s.mu.Unlock()
	if answer == nil {
		return
	}
	select {
	case <-answer:
	case <-r.Context().Done():
	}
	s.mu.Lock()
	s.hanging--
	s.mu.Unlock()
}

// arrived is the report of a sink at GET /. GET /?reset=1 sets the counts to zero and
// answers the requests that hang. With hang=1 in addition, later requests hang.
type arrived struct {
	Taken, Repeated, Hanging int
	P50, P99                 time.Duration
}

func (s *sink) report(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := arrived{Taken: s.taken, Repeated: s.repeated, Hanging: s.hanging}
	if r.URL.Query().Get("full") != "" {
		out.P50, out.P99 = percentiles(slices.Clone(s.delay))
	}
	if r.URL.Query().Get("reset") != "" {
		s.taken, s.repeated, s.seen, s.delay = 0, 0, nil, nil
		if s.answer != nil {
			close(s.answer)
			s.answer = nil
		}
		if r.URL.Query().Get("hang") != "" {
			s.answer = make(chan struct{})
		}
	}
	json.NewEncoder(w).Encode(out)
}

func sinkCommand(fs *flag.FlagSet) func() error {
	addr := fs.String("listen", "127.0.0.1:0", "address on loopback")
	hosts := fs.Int("hosts", 0, "further loopback addresses to listen on, from 127.0.1.0 on, with the same port")
	return func() error {
		l, err := net.Listen("tcp", *addr)
		if err != nil {
			return err
		}
		s := &sink{}
		base := "http://" + l.Addr().String()
		for i := range *hosts {
			other, err := net.Listen("tcp", strings.TrimPrefix(hostURL(base, i), "http://"))
			if err != nil {
				return err
			}
			go http.Serve(other, s)
		}
		fmt.Println("listening on " + base)
		return http.Serve(l, s)
	}
}

// hostURL returns the URL of the further loopback address i of a sink.
func hostURL(sinkURL string, i int) string {
	return fmt.Sprintf("http://127.0.%d.%d:%s", 1+i/250, i%250, sinkURL[strings.LastIndexByte(sinkURL, ':')+1:])
}

// relayCommand runs a server that forwards each POST and stores nothing: the least that
// a delivery can cost with net/http.
func relayCommand(fs *flag.FlagSet) func() error {
	addr := fs.String("listen", "127.0.0.1:0", "address on loopback")
	to := fs.String("to", "", "URL to forward to")
	return func() error {
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}}
		l, err := net.Listen("tcp", *addr)
		if err != nil {
			return err
		}
		fmt.Println("listening on http://" + l.Addr().String())
		return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			resp, err := client.Post(*to, "application/json", bytes.NewReader(body))
			if err != nil {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			w.WriteHeader(http.StatusAccepted)
		}))
	}
}

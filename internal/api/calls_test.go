package api

import (
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"

	"callbackd"
	"callbackd/internal/front"
)

// HEAD makes the whole page as GET does, and throws it away: it counts among
// the calls of its key that read.
func TestAHeadCountsAsAGet(t *testing.T) {
	f := front.New(front.Options{})
	var held, asked sync.WaitGroup
	asked.Add(front.MaxReads)
	enough := make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			if err := front.BeginCall(r, "a", front.Read); err != nil {
				t.Error(err)
			}
			asked.Done()
			<-enough
			return
		}
		if err := beginCall(r, &callbackd.Key{APIKey: "a"}); err != nil {
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := Server(f.Handler(h, func(*http.Request) bool { return true }), slog.New(slog.DiscardHandler))
	s.ConnContext = front.ConnContext
	go s.Serve(f.Listen(l))
	t.Cleanup(func() { s.Close() })
	ask := func(method, path string) int {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+l.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			return 0
		}
		res.Body.Close()
		return res.StatusCode
	}
	for range front.MaxReads {
		held.Go(func() { ask("GET", "/held") })
	}
	asked.Wait()
	for method, want := range map[string]int{"HEAD": 429, "GET": 429, "POST": 200} {
		if got := ask(method, "/"); got != want {
			t.Errorf("%s while as many calls read as the limit allows: %d, want %d", method, got, want)
		}
	}
	close(enough)
	held.Wait()
}

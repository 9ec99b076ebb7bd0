package front

import (
	"net/http"
	"testing"
)

func TestActiveCallsOfAKeyAreLimited(t *testing.T) {
	g := newGate()
	s := start(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if err := BeginCall(r, r.Header.Get("Key"), Read); err != nil {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		g.ServeHTTP(w, r)
	})
	statuses := make(chan int, MaxReads)
	for range MaxReads {
		c := s.dial()
		go func() {
			status, _ := ask(c, "/held", "Key: a")
			statuses <- status
		}()
		<-g.entered
	}
	if got := s.ask("/", "Key: a"); got != http.StatusTooManyRequests {
		t.Errorf("one more call of the key: %d", got)
	}
	if got := s.ask("/", "Key: b"); got != http.StatusNoContent {
		t.Errorf("a call of another key: %d", got)
	}
	close(g.open)
	for range MaxReads {
		if got := <-statuses; got != http.StatusNoContent {
			t.Errorf("status %d", got)
		}
	}
	if got := s.ask("/", "Key: a"); got != http.StatusNoContent {
		t.Errorf("a call of the key afterwards: %d", got)
	}
}

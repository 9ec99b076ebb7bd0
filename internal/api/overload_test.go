package api_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/front"
	"callbackd/internal/store"
)

// blockedStore holds Accept until it is opened.
type blockedStore struct {
	store.Store
	open chan struct{}
}

func (s *blockedStore) Accept(ctx context.Context, b store.Batch) ([]*callbackd.Event, error) {
	<-s.open
	return s.Store.Accept(ctx, b)
}

// While the store hangs, calls are refused with 503 before they are read, and other pages are
// answered. What was accepted is delivered, and then calls are accepted again.
func TestOverloadIsRefusedAndPasses(t *testing.T) {
	onBothStores(t, func(t *testing.T, on func(*setup)) {
		blocked := &blockedStore{open: make(chan struct{})}
		open := sync.OnceFunc(func() { close(blocked.open) })
		defer open()
		var mu sync.Mutex
		counted := map[callbackd.Limit]int{}
		s := start(t, on, func(c *setup) {
			c.wrap = func(st store.Store) store.Store { blocked.Store = st; return blocked }
			c.api.Limited = func(l callbackd.Limit) { mu.Lock(); counted[l]++; mu.Unlock() }
		})
		r := listen(t, func(w http.ResponseWriter, _ int) {})
		s.register("SESSION:COMPLETE", r.url, "")
		publish := func(key callbackd.Key, i int) reply {
			return s.as(key).call("POST", "/v1/events", fmt.Sprintf(`{"event":"SESSION:COMPLETE","session_key":"S%d","data":{}}`, i))
		}
		replies := make(chan reply)
		var work sync.WaitGroup
		var refused reply
		n := 0
		for refused.status == 0 { // one more call at a time, until one is answered
			i := n
			work.Go(func() { replies <- publish(s.key, i) })
			n++
			for waiting := true; waiting && refused.status == 0; {
				select {
				case refused = <-replies:
				case <-time.After(time.Millisecond):
					accepting, _, _ := s.api.Overload.Figures()
					waiting = accepting < n
				}
			}
		}
		if n <= front.MinAccepting {
			t.Errorf("call %d is refused already", n)
		}
		refused.says(503, "More events come than callbackd can store in time")
		if wait, err := strconv.Atoi(refused.header.Get("Retry-After")); err != nil || wait < 1 || wait > 3 {
			t.Errorf("Retry-After is %q", refused.header.Get("Retry-After"))
		}
		// It is refused before it is authenticated: that would cost more than it is worth.
		s.call("POST", "/v1/events", "{}", func(r *http.Request) { r.Header.Set("API-Token", "wrong") }).ok(503)
		s.call("GET", "/v1/events", "").ok(200)
		s.call("GET", "/healthz", "").ok(200)
		s.call("POST", "/v1/callbacks/SESSION:COMPLETE/pause", "").ok(200)
		s.call("POST", "/v1/callbacks/SESSION:COMPLETE/resume", "").ok(200)
		other := s.newKey("other", false) // has its share
		work.Go(func() { replies <- publish(other, 0) })
		open()
		for range n {
			(<-replies).ok(202)
		}
		work.Wait()
		publish(s.key, n).ok(202)
		s.until("the delivery of everything that was accepted", func() bool { return len(r.hits) == n })
		mu.Lock()
		defer mu.Unlock()
		if counted[callbackd.LimitOverload] != 2 {
			t.Errorf("%v refused calls were counted, want 2", counted)
		}
	})
}

// In an overload an array is read and waits, and is accepted when there is room.
func TestArraysWaitInAnOverload(t *testing.T) {
	blocked := &blockedStore{open: make(chan struct{})}
	open := sync.OnceFunc(func() { close(blocked.open) })
	defer open()
	s := start(t, func(c *setup) {
		c.wrap = func(st store.Store) store.Store { blocked.Store = st; return blocked }
	})
	const event = `{"event":"SESSION:COMPLETE","session_key":"S","data":{}}`
	array := func(n int) string { return " [" + strings.Repeat(event+",", n-1) + event + "]" }
	const arrays = front.MinCalls + 2 // two of them wait
	replies := make(chan reply, arrays)
	var work sync.WaitGroup
	for i := range arrays {
		work.Go(func() { replies <- s.call("POST", "/v1/events", array(1000)) })
		s.until("the array is accepted, or waits", func() bool {
			accepting, _, waiting := s.api.Overload.Figures()
			return accepting == 1000*min(i+1, front.MinCalls) && waiting == max(0, i+1-front.MinCalls)
		})
	}
	s.call("POST", "/v1/events", event).ok(503)
	open()
	work.Wait()
	for range arrays {
		(<-replies).ok(202)
	}
}

// How long publishes take is told of those that are accepted.
func TestHowLongPublishesTake(t *testing.T) {
	s := start(t)
	s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"S","data":{}}`).ok(202)
	s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE"}`).ok(400)
	if n := s.metric("callbackd_publish_seconds_count"); n != "1" {
		t.Errorf("of one accepted and one refused publish %s are counted", n)
	}
}

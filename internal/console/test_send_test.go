package console_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"callbackd"
	"callbackd/client"
)

// pausedCallback makes a callback that has delivered and is paused now.
func (v *visitor) pausedCallback(receiver string) string {
	v.t.Helper()
	s := v.site
	callback := s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", URL: receiver})
	event := s.Publish(s.Key, callbackd.Complete, "ACM-0123456789", map[string]any{"x": 1})
	v.awaitPage(deliveryPath(event, callback), "Delivered")
	v.post("/console/callbacks/"+callback+"/pause", nil)
	return callback
}

// aTestSendIgnoresAPause sends a test to a paused callback. The browser waits for its
// result.
func aTestSendIgnoresAPause(t *testing.T, s *site) {
	v := s.visitor(t).signIn(s.Key)
	path := "/console/callbacks/" + v.pausedCallback(newReceiver(t).URL) + "/test"
	v.says(path, "A test is sent all the same")
	v.says(v.post(path, nil), "Delivered with 1 attempt")
}

// aTestSendUnderWaySaysSo looks at a test-send whose receiver has not answered yet.
func aTestSendUnderWaySaysSo(t *testing.T, s *site) {
	recv := newReceiver(t)
	v := s.visitor(t).signIn(s.Key)
	v.pausedCallback(recv.URL)
	release := make(chan struct{})
	var released atomic.Bool
	recv.Answers(func(int, http.ResponseWriter, *http.Request) {
		if !released.Load() {
			<-release
		}
	})
	ended := make(chan error)
	go func() {
		ended <- s.Client(s.Key).Do(context.Background(), "POST", "/v1/callbacks/SESSION:COMPLETE/test", nil, nil)
	}()
	var page string
	s.Await(func() bool {
		for _, href := range linksSaying(t, v.get("/console/deliveries?state=pending"), "COMPLETE") {
			page = href
		}
		return page != ""
	})
	a := v.get(page)
	v.says(page, "The test is being sent. A test-send waits for nothing", "Waiting for the receiver's answer")
	if got := words(t, a); strings.Contains(got, "paused") {
		t.Errorf("the page says that the test waits for the pause: %s", got)
	}
	if !strings.Contains(a.body, `<noscript><meta http-equiv="refresh"`) {
		t.Error("without JavaScript the page does not update itself")
	}
	released.Store(true)
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	v.awaitPage(page, "Delivered with 1 attempt")
}

// testSendsAreLimited sends more tests at once than a key may.
func testSendsAreLimited(t *testing.T, s *site) {
	path := "/console/callbacks/" + s.fill(s.Key, newReceiver(t).URL)["callback"] + "/test"
	v := s.visitor(t).signIn(s.Key)
	answers := map[int]int{}
	for range 12 {
		a := v.do("POST", path, url.Values{})
		answers[a.StatusCode]++
		if to := a.Header.Get("Location"); a.StatusCode == http.StatusSeeOther && !strings.HasPrefix(to, "/console/deliveries/dlv_") {
			t.Errorf("a test leads to %q, want its delivery", to)
		}
	}
	if answers[http.StatusTooManyRequests] == 0 || answers[http.StatusSeeOther]+answers[http.StatusTooManyRequests] != 12 {
		t.Errorf("12 tests at once are answered with %v (status: times), want some 303 and the others 429", answers)
	}
}

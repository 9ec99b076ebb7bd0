package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"callbackd"
	"callbackd/client"
)

// publishUntilOpen publishes as many events as open the breaker of a receiver that
// fails, and one more. It returns the last one.
func (s *site) publishUntilOpen() (last string) {
	s.T.Helper()
	for i := range callbackd.BreakerThreshold + 1 {
		last = s.Publish(s.Key, callbackd.Complete, fmt.Sprintf("ACM-00000000%02d", i), map[string]any{"x": 1})
	}
	return last
}

// pagesSayWhyNothingArrived looks for the reason of a failure on the pages of the
// session, the callback and the delivery, and in lists.
func pagesSayWhyNothingArrived(t *testing.T, s *site) {
	recv := newReceiver(t)
	recv.Answers(func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	id := s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", Name: "crm", URL: recv.URL, Retry: []string{"0s", "5h"}, Order: "0s"})
	callback := "/console/callbacks/" + id
	last := s.publishUntilOpen()
	v := s.visitor(t).signIn(s.Key)
	v.awaitPage(callback, "Last error")

	const answered = "the receiver answered 500 Internal Server Error"
	v.says(callback, "Last error: "+answered, "Next probe", "nothing is sent before")
	v.says("/console/callbacks", answered)
	v.says("/console/", answered)
	v.says("/console/sessions/ACM-0000000000", "Summary retrying COMPLETE #1: not yet delivered to crm, "+answered+", next attempt")
	v.says("/console/deliveries", "crm", "retrying", "500 attempt 1")

	waiting := deliveryPath(last, id)
	const probe = "before a probe at"
	v.says(waiting, answered, "Nothing is sent to it "+probe, "Event (webhook-id) "+last, "Delivery dlv_")
	explained := s.explain(t, strings.TrimPrefix(waiting, "/console/deliveries/"))
	for _, want := range []string{answered, probe} {
		if !strings.Contains(explained, want) {
			t.Errorf("explain does not say %q: %s", want, explained)
		}
	}

	v.post(callback+"/pause", nil)
	v.says(waiting, "The callback has been paused since", "starts as soon as the callback is resumed", "Resume the callback")
}

// explain returns what the API explains of a delivery.
func (s *site) explain(t *testing.T, delivery string) string {
	t.Helper()
	e, err := s.Client(s.Key).ExplainDelivery(context.Background(), delivery)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// A URL that nothing can be delivered to is accepted with a warning. It is the same
// for an unknown host and for a forbidden address.
func TestACallbackThatCannotBeReachedIsCreatedWithAWarning(t *testing.T) {
	s := startSite(t)
	v := s.visitor(t).signIn(s.Key)
	for address, warned := range map[string]bool{
		"http://10.0.0.1/":             true,
		"http://no-such-host.invalid/": true,
		"http://127.0.0.1:9/":          false,
	} {
		t.Run(address, func(t *testing.T) {
			name := strings.Trim(address[len("http://"):], "/")
			form := url.Values{"event": {"SESSION:COMPLETE"}, "method": {"POST"}, "name": {strings.ReplaceAll(name, ":", "-")}, "url": {address}}
			got := words(t, v.get(v.post("/console/callbacks/new", form)))
			if !strings.Contains(got, "The callback was created.") {
				t.Errorf("the page does not say that the callback was created: %s", got)
			}
			if warns := strings.Contains(got, "nothing can be delivered to its URL now"); warns != warned {
				t.Errorf("the page warns: %v, want %v: %s", warns, warned, got)
			}
		})
	}
}

// aButtonReplaysAnEvent sends one event to a callback that is newer than the event.
func aButtonReplaysAnEvent(t *testing.T, s *site) {
	event := s.Publish(s.Key, callbackd.Complete, "ACM-0123456789", map[string]any{"x": 1})
	s.Publish(s.Key, callbackd.Complete, "ACM-OTHER00001", map[string]any{"x": 1})
	accepted, ok := callbackd.ParseEventID(event)
	if !ok {
		t.Fatalf("%q is not the ID of an event", event)
	}
	s.Await(func() bool { return time.Now().UnixMilli() > accepted.Time().UnixMilli() })
	callback := s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", URL: newReceiver(t).URL})
	v := s.visitor(t).signIn(s.Key)
	v.says("/console/events/"+event, "after the event was accepted", "Replay to it")
	replay := v.post("/console/events/"+event+"/replay", url.Values{"callback": {callback}})
	v.awaitPage(replay, "100 % of 1 delivery")
	v.awaitPage(deliveryPath(event, callback), "Delivered with 1 attempt")
}

// silentReceiver answers nothing until the test ends, and counts its requests.
func silentReceiver(t *testing.T) (address string, requests *atomic.Int64) {
	t.Helper()
	requests = &atomic.Int64{}
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		select {
		case <-ended:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() {
		close(ended)
		server.Close()
	})
	return server.URL, requests
}

// Of many callbacks at a host at which none has succeeded, those that wait for others
// say so, and a deleted one says why nothing was sent.
func TestACallbackThatWaitsForOthersAndADeletedOneSayWhy(t *testing.T) {
	s := startSite(t)
	address, requests := silentReceiver(t)
	var callbacks []string
	for i := range callbackd.RampStart + 1 {
		callbacks = append(callbacks, s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", Name: fmt.Sprint("n", i), URL: address, Timeout: "60s"}))
	}
	const session = "/console/sessions/ACM-0000000001"
	s.Publish(s.Key, callbackd.Complete, "ACM-0000000001", map[string]any{"x": 1})
	s.Await(func() bool { return requests.Load() == callbackd.RampStart })
	v := s.visitor(t).signIn(s.Key)
	const turn = "it takes turns with other callbacks that have not succeeded at its host yet"
	v.says(session, turn)
	for _, id := range callbacks { // no further attempt may start to any of them
		v.says("/console/callbacks/"+id, "Deliveries wait: "+turn)
	}
	v.post("/console/callbacks/"+callbacks[len(callbacks)-1]+"/delete", nil)
	v.says(session, "no attempt · the callback was deleted")
}

// A delivery that waits for a host with a forbidden address says what the operator
// can do, whether it was tried or not.
func TestADeliveryToAForbiddenAddressSaysWhatToDo(t *testing.T) {
	s := startSite(t)
	callback := s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", URL: "http://10.1.2.3/hook", Retry: []string{"0s", "5h"}, Order: "0s"})
	delivery := strings.TrimPrefix(deliveryPath(s.publishUntilOpen(), callback), "/console/deliveries/")
	s.Await(func() bool { return strings.Contains(s.explain(t, delivery), "--allow-target") })
}

// A delivery that waits until the time that a receiver asked for says when that is.
func TestADeliveryThatWaitsForRetryAfterSaysUntilWhen(t *testing.T) {
	s := startSite(t)
	recv := newReceiver(t)
	recv.Answers(func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	callback := s.register(s.Key, client.NewCallback{Event: "SESSION:COMPLETE", URL: recv.URL})
	v := s.visitor(t).signIn(s.Key)
	s.Publish(s.Key, callbackd.Complete, "ACM-0000000001", map[string]any{"x": 1})
	v.awaitPage("/console/callbacks/"+callback, "Next probe")
	event := s.Publish(s.Key, callbackd.Complete, "ACM-0000000002", map[string]any{"x": 1})
	v.says(deliveryPath(event, callback), "nothing is sent to it before", "UTC, as the receiver asked")
}

func TestAnEmptyListSaysThatNothingMatches(t *testing.T) {
	s := startSite(t)
	s.fill(s.Key, newReceiver(t).URL)
	s.visitor(t).signIn(s.Key).says("/console/deliveries?state=canceled", "No delivery matches the filter.")
}

// Keys with the same account and name are shown with the beginning of the API key.
func TestKeysWithTheSameNameAreToldApart(t *testing.T) {
	s := startSite(t)
	ids := s.fill(s.Key, newReceiver(t).URL)
	twin := s.NewKey(s.Key.Account, s.Key.Name)
	op := s.visitor(t).operator()
	mine, theirs := "("+s.Key.APIKey[:8], "("+twin.APIKey[:8]
	op.says("/console/deliveries?key="+twin.APIKey, "No delivery matches the filter.", theirs)
	op.says("/console/callbacks", mine)
	op.says("/console/callbacks/"+ids["callback"], "API key "+s.Key.Account+" / "+s.Key.Name+" "+mine)
}

func TestADeletedCallbackShowsNeitherHealthNorSecret(t *testing.T) {
	s := startSite(t)
	path := "/console/callbacks/" + s.fill(s.Key, newReceiver(t).URL)["callback"]
	v := s.visitor(t).signIn(s.Key)
	v.post(path+"/delete", nil)
	v.says(path, "The callback was deleted at")
	page := v.get(path)
	for _, unwanted := range []string{"Failing since", "/secret"} {
		if strings.Contains(page.body, unwanted) {
			t.Errorf("the page of the deleted callback has %q", unwanted)
		}
	}
}

func TestEveryFaultHasWordsInTheFilter(t *testing.T) {
	s := startSite(t)
	page := words(t, s.visitor(t).signIn(s.Key).get("/console/deliveries"))
	for _, fault := range callbackd.Faults {
		text := callbackd.FailureText(fault, 0)
		if strings.HasPrefix(text, "it failed") {
			t.Errorf("%s has no words of its own: %q", fault, text)
		}
		if want := string(fault) + ": " + text; !strings.Contains(page, want) {
			t.Errorf("the filter lacks %q", want)
		}
	}
}

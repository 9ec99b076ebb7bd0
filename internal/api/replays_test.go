package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"callbackd/wire"
)

// failing is a server with n deliveries that failed, to a receiver that is
// well from now on.
func failing(t *testing.T, n int, on func(*setup)) (*server, *receiver) {
	s := start(t, on)
	recv := listen(t, func(w http.ResponseWriter, i int) {
		if i <= n {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	s.register("SESSION:COMPLETE", recv.url, `,"retry":[0],"order":0,"concurrency":1`)
	for i := range n {
		s.publish("SESSION:COMPLETE", fmt.Sprint("S", i), `{}`)
		recv.next()
	}
	s.until("the failures", func() bool {
		return len(decode[wire.DeliveryList](s.call("GET", "/v1/deliveries?state=failed", "").ok(200)).Data) == n
	})
	return s, recv
}

func TestAReplaySendsWhatFailedOnce(t *testing.T) { onBothStores(t, aReplaySendsWhatFailedOnce) }

func aReplaySendsWhatFailedOnce(t *testing.T, on func(*setup)) {
	const n = 6
	s, recv := failing(t, n, on)
	if got := decode[wire.ReplayCount](s.call("POST", "/v1/replays", `{"dry_run":true,"callback":1}`).ok(200)).Total; got != n {
		t.Errorf("counted %d", got)
	}
	r := decode[wire.Replay](s.call("POST", "/v1/replays", `{"callback":"default","event":"SESSION:COMPLETE","rate":1000}`).ok(202))
	equal(t, "the state of the replay", r.State, "running")
	equal(t, "its total", r.Total, int64(n))
	equal(t, "its callback", r.Callback, int64(1))
	equal(t, "its states", r.States, []string{"failed"})
	for range n {
		if h := recv.next().header.Get("callback-attempt"); h != "2" {
			t.Errorf("attempt %s", h)
		}
	}
	s.until("the end of the replay", func() bool {
		r = decode[wire.Replay](s.call("GET", "/v1/replays/"+r.ID, "").ok(200))
		return r.Delivered == n
	})
	equal(t, "how many were made due", r.Due, int64(n))
	equal(t, "how many failed", r.Failed, int64(0))
	equal(t, "how many are pending", r.Pending, int64(0))
	if got := decode[wire.ReplayCount](s.call("POST", "/v1/replays", `{"dry_run":true}`).ok(200)).Total; got != 0 {
		t.Errorf("%d deliveries are failed after the replay, want 0", got)
	}
	list := decode[wire.ReplayList](s.call("GET", "/v1/replays?limit=1", "").ok(200))
	if len(list.Data) != 1 {
		t.Fatalf("%d replays are listed, want 1", len(list.Data))
	}
	equal(t, "the replay that is listed", list.Data[0].ID, r.ID)
	equal(t, "the next page", list.Next, (*string)(nil))
}

func TestEventsGoToACallbackThatWasMadeLater(t *testing.T) {
	onBothStores(t, eventsGoToACallbackThatWasMadeLater)
}

func eventsGoToACallbackThatWasMadeLater(t *testing.T, on func(*setup)) {
	s := start(t, on)
	ev := s.publish("SESSION:COMPLETE", "S", `{"a":1}`)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, `,"name":"late"`)
	why := decode[wire.EventExplanation](s.call("GET", "/v1/events/"+ev.ID+"/explain?callback=late", "").ok(200)).Data[0]
	equal(t, "the first reason", why.Reasons[0].Code, "not_registered_yet")
	equal(t, "the delivery before the replay", why.Delivery, (*string)(nil))
	contains(t, "the advice", why.Next, "target 1")
	r := decode[wire.Replay](s.call("POST", "/v1/replays", `{"target":"late","event":"SESSION:COMPLETE"}`).ok(202))
	h := recv.next()
	equal(t, "the webhook-id", h.header.Get("webhook-id"), ev.ID)
	contains(t, "the body", h.body, `"a":1`)
	s.until("its record", func() bool {
		return decode[wire.Replay](s.call("GET", "/v1/replays/"+r.ID, "").ok(200)).Delivered == 1
	})
	if got := decode[wire.Event](s.call("GET", "/v1/events/"+ev.ID, "").ok(200)).Deliveries; len(got) != 1 || !strings.HasSuffix(got[0], "-1") {
		t.Errorf("deliveries %v", got)
	}
	why = decode[wire.EventExplanation](s.call("GET", "/v1/events/"+ev.ID+"/explain", "").ok(200)).Data[0]
	equal(t, "the state after the replay", why.State, "delivered")
	equal(t, "the first reason after the replay", why.Reasons[0].Code, "delivered")
}

func TestAReplaySendsOnlyWhatIsMissing(t *testing.T) {
	onBothStores(t, aReplaySendsOnlyWhatIsMissing)
}

// aReplaySendsOnlyWhatIsMissing has a receiver that gets the second event when it is
// published, and the first one, from before its callback was created, by the replay.
func aReplaySendsOnlyWhatIsMissing(t *testing.T, on func(*setup)) {
	s := start(t, on)
	first := s.publish("SESSION:COMPLETE", "S", `{"a":1}`)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, "")
	second := s.publish("SESSION:COMPLETE", "S", `{"a":2}`)
	equal(t, "the event that arrives", recv.next().header.Get("webhook-id"), second.ID)
	missing := func() int64 {
		return decode[wire.ReplayCount](s.call("POST", "/v1/replays", `{"missing":true,"dry_run":true}`).ok(200)).Total
	}
	s.until("one event is missing", func() bool { return missing() == 1 })
	r := decode[wire.Replay](s.call("POST", "/v1/replays", `{"missing":true}`).ok(202))
	equal(t, "missing of the replay", r.Missing, true)
	equal(t, "the states of the replay", len(r.States), 0)
	equal(t, "the event that is replayed", recv.next().header.Get("webhook-id"), first.ID)
	s.until("its record", func() bool {
		return decode[wire.Replay](s.call("GET", "/v1/replays/"+r.ID, "").ok(200)).Delivered == 1
	})
	equal(t, "what is missing then", missing(), int64(0))
}

func TestReplaysArePausedResumedAndCanceled(t *testing.T) {
	onBothStores(t, replaysArePausedResumedAndCanceled)
}

func replaysArePausedResumedAndCanceled(t *testing.T, on func(*setup)) {
	s, _ := failing(t, 3, on)
	r := decode[wire.Replay](s.call("POST", "/v1/replays", `{"rate":0.001}`).ok(202))
	at := "/v1/replays/" + r.ID
	for _, step := range []struct{ method, path, state string }{
		{"POST", at + "/pause", "paused"}, {"POST", at + "/pause", "paused"}, {"POST", at + "/resume", "running"}, {"DELETE", at, "canceled"}, {"DELETE", at, "canceled"},
	} {
		if got := decode[wire.Replay](s.call(step.method, step.path, "").ok(200)); got.State != step.state {
			t.Errorf("%s %s: %s", step.method, step.path, got.State)
		}
	}
	s.call("POST", at+"/resume", "").says(409, "is canceled", "start another")
	other := s.as(s.newKey("other", false))
	for _, step := range []struct{ method, path string }{{"GET", at}, {"DELETE", at}, {"POST", at + "/pause"}, {"POST", at + "/resume"}, {"GET", "/v1/replays/x"}} {
		other.call(step.method, step.path, "").says(404, "There is no replay")
	}
	other.call("POST", "/v1/replays", `{"target":1}`).says(400, "not a callback of this API key")
	other.call("POST", "/v1/replays", `{"callback":1}`).says(400, "not a callback of this API key")
}

func TestFaultsOfAReplay(t *testing.T) {
	s := start(t)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, "")
	for body, says := range map[string]string{
		`{"state":"failed"}`:                          `Unknown member "state". A replay has states,`,
		`{"states":"failed"}`:                         "states must be an array",
		`{"states":[]}`:                               "states must be an array",
		`{"states":["done"]}`:                         `states "done" is not supported`,
		`{"event":"x"}`:                               `event "x" is not supported`,
		`{"event":7}`:                                 "event",
		`{"callback":"default"}`:                      "needs the member event as well",
		`{"callback":"x","event":"SESSION:COMPLETE"}`: `"x" is not a callback`,
		`{"callback":0}`:                              "callback must be",
		`{"callback":99}`:                             "callback 99 is not",
		`{"callback":{}}`:                             "callback must be",
		`{"target":1,"event":"SESSION:NOTE_INSERT"}`:  "is registered for SESSION:COMPLETE and gets no SESSION:NOTE_INSERT",
		`{"since":"yesterday"}`:                       "since must be a time",
		`{"since":"2027"}`:                            "since must be a time",
		`{"since":"2026-01-02T00:00:00Z","until":"2026-01-01T00:00:00Z"}`: "until 2026-01-01T00:00:00Z is not after since",
		`{"until":7}`:                          "until must be a",
		`{"rate":-1}`:                          "rate must be a number",
		`{"rate":10001}`:                       "rate must be a number",
		`{"missing":"yes"}`:                    "missing must be true or false",
		`{"missing":true,"states":["failed"]}`: "leave out the states, or name a target",
		`{"dry_run":1}`:                        "dry_run must be true or false",
		`{"session_key":"a b"}`:                "session_key must be",
		`[1]`:                                  "The body",
		``:                                     "The body is empty",
		`null`:                                 "The body is empty",
	} {
		s.call("POST", "/v1/replays", body).says(400, says)
	}
	s.call("GET", "/v1/replays?cursor=x", "").says(400, "Invalid cursor")
}

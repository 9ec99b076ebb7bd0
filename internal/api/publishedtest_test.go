package api_test

import (
	"fmt"
	"strings"
	"testing"

	"callbackd/internal/callbacks"
	"callbackd/wire"
)

func TestAPublishedTestGoesWhereRealEventsGo(t *testing.T) {
	onBothStores(t, aPublishedTestGoesWhereRealEventsGo)
}

// aPublishedTestGoesWhereRealEventsGo publishes tests to two callbacks, one with a filter.
// They arrive with their mark and signed, and an explanation says what holds them.
func aPublishedTestGoesWhereRealEventsGo(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, `,"payload":{"test":"mine"}`)
	s.register("SESSION:COMPLETE", recv.url, `,"name":"low","policy":{"filter":{"data.grade":{"lt":3}}}`)
	accepted := decode[wire.Accepted](s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"S","test":true,"data":{"grade":4}}`).ok(202))
	equal(t, "deliveries", accepted.Deliveries, 1)
	got := recv.next()
	equal(t, "the body", got.body, `{"event":"SESSION:COMPLETE","session_key":"S","test":true,"grade":4}`)
	equal(t, "callback-test", got.header.Get("callback-test"), "true")
	if got.header.Get("webhook-signature") == "" {
		t.Error("the test is not signed")
	}
	ev := decode[wire.Event](s.call("GET", "/v1/events/"+accepted.ID, "").ok(200))
	equal(t, "the mark", ev.Test, true)
	equal(t, "from whom it was withheld", ev.Withheld, []wire.Withheld{{Callback: 2, Term: "data.grade lt 3"}})
	s.until("the end", func() bool { return s.delivery(ev.Deliveries[0]).State == "delivered" })
	equal(t, "the mark of the delivery", s.delivery(ev.Deliveries[0]).Test, true)
	why := func(id, callback string) wire.Explanation {
		t.Helper()
		return decode[wire.EventExplanation](s.call("GET", "/v1/events/"+id+"/explain?callback="+callback, "").ok(200)).Data[0]
	}
	e := why(accepted.ID, "2")
	has(t, e, "filtered", "data.grade lt 3")
	contains(t, "the advice", e.Next, "Publish another test")
	s.register("SESSION:COMPLETE", recv.url, `,"name":"later"`)
	has(t, why(accepted.ID, "3"), "not_registered_yet")
	equal(t, "what a replay would send", decode[wire.ReplayCount](s.call("POST", "/v1/replays", `{"missing":true,"dry_run":true}`).ok(200)).Total, int64(0))

	s.call("POST", "/v1/callbacks/SESSION:COMPLETE/pause", "").ok(200)
	waits := decode[wire.Accepted](s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"S","test":true,"data":{"grade":4}}`).ok(202))
	e = why(waits.ID, "1")
	has(t, e, "paused")
	has(t, e, "expires", "ends as expired")
	s.call("POST", "/v1/callbacks/SESSION:COMPLETE/resume", "").ok(200)
	arrived := map[string]bool{recv.next().header.Get("webhook-id"): true, recv.next().header.Get("webhook-id"): true}
	equal(t, "what arrives at both callbacks without a filter", arrived, map[string]bool{waits.ID: true})
}

// A test that fails is sent once, and does not make its callback fail.
func TestAPublishedTestThatFailsChangesNothing(t *testing.T) {
	s := start(t)
	s.register("SESSION:COMPLETE", "http://"+closedPort(t), "")
	ev := decode[wire.Accepted](s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"S","test":true}`).ok(202))
	id := decode[wire.Event](s.call("GET", "/v1/events/"+ev.ID, "").ok(200)).Deliveries[0]
	s.until("the end", func() bool { return s.delivery(id).State == "failed" })
	equal(t, "the reason", onlyAttempt(t, s.delivery(id)).Why, "a test is sent once")
	stats := decode[wire.CallbackStats](s.call("GET", "/v1/callbacks/SESSION:COMPLETE/stats", "").ok(200))
	equal(t, "that the callback fails", stats.Failing, false)
	equal(t, "attempts of the last hour", stats.Hour.Attempts, int64(0))
}

func TestTheMarkOfATestIsABoolean(t *testing.T) {
	s := start(t)
	for _, value := range []string{`"yes"`, "1", "{}"} {
		s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"S","test":`+value+`}`).says(400, "test must be true or false")
	}
}

// Tests are limited in number; real events are not.
func TestPublishedTestsAreLimited(t *testing.T) {
	s := start(t)
	batch := func(n int, test bool) string {
		one := fmt.Sprintf(`{"event":"SESSION:COMPLETE","session_key":"S","test":%t}`, test)
		return "[" + strings.Repeat(one+",", n-1) + one + "]"
	}
	const much = callbacks.PublishedTestBurst
	s.call("POST", "/v1/events", batch(much+1, true)).says(429, "Published tests are limited to 100 at once and 10 a second")
	s.call("POST", "/v1/events", batch(much, true)).ok(202)
	s.call("POST", "/v1/events", batch(much, true)).ok(429)
	s.call("POST", "/v1/events", batch(much+1, false)).ok(202)
	s.as(s.newKey("acme", false)).call("POST", "/v1/events", batch(much, true)).ok(202)
}

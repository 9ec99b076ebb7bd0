package api_test

import (
	"testing"

	"callbackd/wire"
)

func TestAFilterWithholdsAndAReplaySends(t *testing.T) {
	onBothStores(t, aFilterWithholdsAndAReplaySends)
}

// aFilterWithholdsAndAReplaySends has a callback that wants low grades. The events that
// it does not get are explained; a replay to it sends one, and a replay of what is missing
// the other.
func aFilterWithholdsAndAReplaySends(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	const filter = `{"data.grade":{"lt":3}}`
	s.register("SESSION:COMPLETE", recv.url, `,"policy":{"filter":`+filter+`}`)
	equal(t, "the filter that is shown", string(decode[wire.Policy](s.call("GET", "/v1/callbacks/SESSION:COMPLETE/policy", "").ok(200)).Filter), filter)
	first, second := s.publish("SESSION:COMPLETE", "A", `{"grade":4}`), s.publish("SESSION:COMPLETE", "B", `{"grade":5}`)
	low := s.publish("SESSION:COMPLETE", "A", `{"grade":2.9}`)
	equal(t, "the event that arrives", recv.next().header.Get("webhook-id"), low.ID)
	why := func(ev published) wire.Explanation {
		t.Helper()
		return decode[wire.EventExplanation](s.call("GET", "/v1/events/"+ev.ID+"/explain", "").ok(200)).Data[0]
	}
	e := why(first)
	equal(t, "the delivery", e.Delivery, (*string)(nil))
	has(t, e, "filtered", "The callback's filter did not match the event", ": data.grade lt 3.")
	contains(t, "the advice", e.Next, "POST /v1/replays with target 1 and session_key A; or with missing true")
	s.call("POST", "/v1/replays", `{"target":1,"session_key":"A","missing":true}`).ok(202)
	equal(t, "the event of the replay to a target", recv.next().header.Get("webhook-id"), first.ID)
	s.until("the first event's end", func() bool { return why(first).State == "delivered" && why(low).State == "delivered" })
	equal(t, "what is missing", decode[wire.ReplayCount](s.call("POST", "/v1/replays", `{"missing":true,"dry_run":true}`).ok(200)).Total, int64(1))
	s.call("POST", "/v1/replays", `{"missing":true}`).ok(202)
	equal(t, "the event of the replay of what is missing", recv.next().header.Get("webhook-id"), second.ID)
}

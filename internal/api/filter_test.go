package api_test

import (
	"encoding/json"
	"net/http"
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
	withheld := []wire.Withheld{{Callback: 1, Term: "data.grade lt 3"}}
	equal(t, "from whom it was withheld", decode[wire.Event](s.call("GET", "/v1/events/"+first.ID, "").ok(200)).Withheld, withheld)
	equal(t, "from whom the other was withheld", decode[wire.Event](s.call("GET", "/v1/events/"+low.ID, "").ok(200)).Withheld, []wire.Withheld{})
	for query, want := range map[string][]string{"true": {second.ID, first.ID}, "1": {second.ID, first.ID}, "2": nil, "true&session_key=A": {first.ID}} {
		var got []string
		for _, ev := range decode[wire.EventList](s.call("GET", "/v1/events?withheld="+query, "").ok(200)).Data {
			got = append(got, ev.ID)
			equal(t, "from whom a listed event was withheld", ev.Withheld, withheld)
		}
		equal(t, "the events of withheld="+query, got, want)
	}
	for _, query := range []string{"false", "0", "-1", "x", "1e3"} {
		s.call("GET", "/v1/events?withheld="+query, "").says(400, "withheld must be true, or the ID of a callback")
	}
	s.call("GET", "/v1/events?after=start&withheld=true", "").says(400, "withheld")
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

// A test of a filter judges the latest events and shows what would be sent of them. It
// stores nothing, and other keys see their own events only.
func TestAFilterIsTriedWithTheLatestEvents(t *testing.T) {
	onBothStores(t, aFilterIsTriedWithTheLatestEvents)
}

func aFilterIsTriedWithTheLatestEvents(t *testing.T, on func(*setup)) {
	const path = "/v1/callbacks/filter/test"
	s := start(t, on)
	low, high := s.publish("SESSION:COMPLETE", "A", `{"grade":2,"vin":"1FM"}`), s.publish("SESSION:COMPLETE", "B", `{"grade": 4.0,"vin":"1FN"}`)
	s.publish("SESSION:NOTE_INSERT", "B", `{"grade":1}`)
	got := decode[wire.FilterTest](s.call("POST", path, `{"event":"SESSION:COMPLETE","filter":{"data.grade":{"lt":3}},"fields":{"except":["vin"]}}`).ok(200))
	equal(t, "how many match", got.Matching, 1)
	for i, want := range []wire.FilteredEvent{
		{ID: high.ID, Event: "SESSION:COMPLETE", SessionKey: "B", Failed: "data.grade lt 3", Data: json.RawMessage(`{"grade":4.0}`)},
		{ID: low.ID, Event: "SESSION:COMPLETE", SessionKey: "A", Matches: true, Data: json.RawMessage(`{"grade":2}`)},
	} {
		want.AcceptedAt = got.Data[i].AcceptedAt
		equal(t, "an event", got.Data[i], want)
	}
	equal(t, "events of all types", len(decode[wire.FilterTest](s.call("POST", path, `{}`).ok(200)).Data), 3)
	for body, says := range map[string]string{
		`{"filters":{}}`:                   `Unknown member "filters". A test of a filter has event, filter and fields.`,
		`{"filter":{"data.a":{"like":1}}}`: "filter.data.a.like is not an operator.",
		`{"fields":{"only":"a"}}`:          "fields must have one member",
		`{"event":"SESSION:NOTHING"}`:      `event "SESSION:NOTHING" is not supported.`,
	} {
		s.call("POST", path, body).says(400, says)
	}
}

// A filter by the session is tried with the sessions as they are now.
func TestAFilterOfSessionsIsTried(t *testing.T) {
	s := start(t)
	created := decode[wire.Session](s.call("POST", "/v1/sessions", `{"options":{"client_id":"c-7"}}`).ok(http.StatusOK))
	s.publish("SESSION:COMPLETE", created.SessionKey, `{}`)
	s.publish("SESSION:COMPLETE", "none", `{}`)
	got := decode[wire.FilterTest](s.call("POST", "/v1/callbacks/filter/test", `{"filter":{"session.options.client_id":{"eq":"c-7"},"session.status":{"eq":"IDLE"}}}`).ok(200))
	equal(t, "how many match", got.Matching, 1)
	equal(t, "the term that failed without a session", got.Data[0].Failed, `session.options.client_id eq "c-7" (missing)`)
}

func TestEachCallbackThatAnEventDidNotGoToIsExplained(t *testing.T) {
	onBothStores(t, eachCallbackThatAnEventDidNotGoToIsExplained)
}

// eachCallbackThatAnEventDidNotGoToIsExplained explains an event for the callbacks of its session
// too, and for one that was deleted after it had withheld the event.
func eachCallbackThatAnEventDidNotGoToIsExplained(t *testing.T, on func(*setup)) {
	s := start(t, on)
	s.register("SESSION:COMPLETE", "https://a.example/", `,"policy":{"filter":{"data.grade":{"lt":3}}}`)
	ev := decode[wire.Accepted](s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"S","data":{"grade":4},
		"callback":{"url":"https://b.example/","policy":{"filter":{"data.grade":{"gt":5}}}}}`).ok(202))
	s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"S","data":{"grade":1},
		"callback":{"url":"https://c.example/","events":["SESSION:COMPLETE"]}}`).ok(202)
	s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"S","data":{"grade":1},
		"callback":{"url":"https://c.example/","events":["SESSION:STATUS_CHANGE"]}}`).ok(202)
	explained := func() (out []string) {
		for _, e := range decode[wire.EventExplanation](s.call("GET", "/v1/events/"+ev.ID+"/explain", "").ok(200)).Data {
			out = append(out, e.Reasons[0].Code+" "+e.CallbackName)
		}
		return out
	}
	want := []string{"filtered default", "filtered 2", "not_registered_yet 3"}
	equal(t, "the explanations", explained(), want)
	s.call("DELETE", "/v1/callbacks/2", "").ok(200)
	s.call("DELETE", "/v1/callbacks/SESSION:COMPLETE", "").ok(200)
	equal(t, "the explanations after a deletion", explained(), want)
}

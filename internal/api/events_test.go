package api_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/wire"
)

func TestPublishAnswersInItsOrder(t *testing.T) { onBothStores(t, publishAnswersInItsOrder) }

func publishAnswersInItsOrder(t *testing.T, on func(*setup)) {
	s := start(t, on)
	s.register("SESSION:COMPLETE", "http://"+closedPort(t), `,"retry":["0s","1h"]`)
	s.register("SESSION:COMPLETE", "http://"+closedPort(t), `,"retry":["0s","1h"],"order":"0s","name":"b"`)
	r := s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"ACM-0123456789","data":{"a":1}}`).ok(202)
	want := regexp.MustCompile(`^\{"id":"evt_[0-9a-z]{13}","event":"SESSION:COMPLETE","session_key":"ACM-0123456789","sequence":1,"deliveries":2\}\n$`)
	if !want.MatchString(r.body) {
		t.Error(r.body)
	}
	r = s.call("POST", "/v1/events", ` [{"event":"SESSION:NOTE_INSERT","session_key":"ACM-0123456789"}, {"session_key":"a/b \"q\"!","event":"SESSION:COMPLETE"},{"event":"SESSION:COMPLETE","session_key":"ACM-0123456789","data":null}]`)
	r.says(400, "Event 2 of the array: session_key must be 1 to 64 visible ASCII characters without spaces.")
	r = s.call("POST", "/v1/events", ` [{"event":"SESSION:NOTE_INSERT","session_key":"ACM-0123456789"}, {"session_key":"a/\"b!","event":"SESSION:COMPLETE"},{"event":"SESSION:COMPLETE","session_key":"ACM-0123456789","data":null}]`).ok(202)
	got := decode[[]wire.Accepted](r)
	for i := range got {
		got[i].ID = ""
	}
	equal(t, "the events of the array", got, []wire.Accepted{
		{Event: "SESSION:NOTE_INSERT", SessionKey: "ACM-0123456789", Sequence: 2},
		{Event: "SESSION:COMPLETE", SessionKey: `a/"b!`, Sequence: 1, Deliveries: 2},
		{Event: "SESSION:COMPLETE", SessionKey: "ACM-0123456789", Sequence: 3, Deliveries: 2},
	})
}

func TestABatchIsAllOrNothing(t *testing.T) { onBothStores(t, aBatchIsAllOrNothing) }

func aBatchIsAllOrNothing(t *testing.T, on func(*setup)) {
	s := start(t, on)
	good := `{"event":"SESSION:COMPLETE","session_key":"ACM-0123456789"}`
	for bad, says := range map[string]string{
		`{"event":"SESSION:COMPLETE"}`:                            "Event 3 of the array: Missing required fields.",
		`{"event":"SESSION:DONE","session_key":"A"}`:              `Event 3 of the array: event "SESSION:DONE" is not supported`,
		`{"event":"SESSION:COMPLETE","session_key":"A","data":7}`: "Event 3 of the array: data must be a JSON object.",
		`{"event":"SESSION:COMPLETE","session_key":"A","id":7}`:   "Event 3 of the array: id must be a string, not 7.",
		`"x"`: "Event 3 of the array must be a JSON object.",
		`{"event":"SESSION:COMPLETE","session_key":"` + strings.Repeat("x", 65) + `"}`: "Event 3 of the array: session_key",
	} {
		s.call("POST", "/v1/events", `[`+good+`,`+good+`,`+bad+`]`).says(400, says)
	}
	// Also when only the store finds out: an id that was used otherwise.
	s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"B","id":"one"}`).ok(202)
	s.call("POST", "/v1/events", `[`+good+`,{"event":"SESSION:COMPLETE","session_key":"C","id":"one"}]`).says(409, "This idempotency key was used with another body")
	if l := decode[wire.EventList](s.call("GET", "/v1/events?session_key=ACM-0123456789", "").ok(200)); len(l.Data) != 0 {
		t.Errorf("%d events of refused batches are stored", len(l.Data))
	}
	many := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(good+",", n), ",") + "]" }
	s.call("POST", "/v1/events", many(callbackd.MaxBatch+1)).says(400, "The array has 1,001 events; 1 to 1,000 are allowed.")
	s.call("POST", "/v1/events", `[]`).says(400, "The array has 0 events; 1 to 1,000 are allowed.")
	all := decode[[]wire.Accepted](s.call("POST", "/v1/events", many(callbackd.MaxBatch)).ok(202))
	if len(all) != callbackd.MaxBatch {
		t.Fatalf("%d events are accepted, want %d", len(all), callbackd.MaxBatch)
	}
	equal(t, "the sequence number of the last event", all[999].Sequence, int64(1000))
}

func TestIdempotency(t *testing.T) { onBothStores(t, idempotency) }

func idempotency(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, "")
	const body = `{"event":"SESSION:COMPLETE","session_key":"ACM-0123456789","data":{"a":1}}`
	first := s.call("POST", "/v1/events", body, set("Idempotency-Key", "k1")).ok(202)
	for range 2 {
		s.call("POST", "/v1/events", body, set("Idempotency-Key", "k1")).is(202, strings.TrimSuffix(first.body, "\n"))
	}
	conflict := func(r reply) {
		t.Helper()
		r.is(409, `{"message":"This idempotency key was used with another body; use a new key for a new event."}`)
	}
	conflict(s.call("POST", "/v1/events", strings.Replace(body, "1", "2", 1), set("Idempotency-Key", "k1")))
	conflict(s.call("POST", "/v1/events", "["+body+"]", set("Idempotency-Key", "k1")))

	withID := strings.TrimSuffix(body, "}") + `,"id":"k1"}` // a member's key is another key
	second := s.call("POST", "/v1/events", withID).ok(202)
	if second.body == first.body {
		t.Error("the header's key answers for the member's")
	}
	s.call("POST", "/v1/events", withID).is(202, strings.TrimSuffix(second.body, "\n"))
	conflict(s.call("POST", "/v1/events", strings.Replace(withID, `{"a":1}`, `{"a":1.0}`, 1)))
	conflict(s.call("POST", "/v1/events", strings.Replace(withID, "0123456789", "0123456780", 1)))

	const batch = `[{"event":"SESSION:COMPLETE","session_key":"B","id":"x"},{"event":"SESSION:COMPLETE","session_key":"B","id":"y"}]`
	third := s.call("POST", "/v1/events", batch, set("Idempotency-Key", "k2")).ok(202)
	s.call("POST", "/v1/events", batch, set("Idempotency-Key", "k2")).is(202, strings.TrimSuffix(third.body, "\n"))
	s.call("POST", "/v1/events", batch).is(202, strings.TrimSuffix(third.body, "\n"))

	// Keys are the API key's own.
	other := s.as(s.newKey("acme", false))
	if r := other.call("POST", "/v1/events", body, set("Idempotency-Key", "k1")).ok(202); r.body == first.body {
		t.Error("another API key got the first one's answer")
	}
	s.call("POST", "/v1/events", body, set("Idempotency-Key", strings.Repeat("k", callbackd.MaxIdempotency))).ok(202)
	s.call("POST", "/v1/events", body, set("Idempotency-Key", strings.Repeat("k", callbackd.MaxIdempotency+1))).says(400, "Idempotency-Key is longer than 255 bytes.")
	s.call("POST", "/v1/events", strings.TrimSuffix(body, "}")+`,"id":"`+strings.Repeat("k", callbackd.MaxIdempotency+1)+`"}`).says(400, "id is longer than 255 bytes.")

	// k1, its member twin, two of a batch and the long one: five deliveries.
	var ids []string
	for range 5 {
		ids = append(ids, recv.next().header.Get("webhook-id"))
	}
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != 5 {
		t.Errorf("%d different events were sent", n)
	}
	if l := s.deliveries(""); len(l.Data) != 5 {
		t.Errorf("%d deliveries", len(l.Data))
	}
}

// An event that matches no callback is stored like any other.
func TestAnUnmatchedEventIsStored(t *testing.T) {
	onBothStores(t, anUnmatchedEventIsStored)
}

func anUnmatchedEventIsStored(t *testing.T, on func(*setup)) {
	s := start(t, on)
	ev := s.publish("SESSION:COMPLETE", "ACM-0123456789", `{"a":1.0}`)
	equal(t, "the deliveries of the event", ev.Deliveries, 0)
	equal(t, "the sequence number of the event", ev.Sequence, int64(1))
	got := decode[wire.Event](s.call("GET", "/v1/events/"+ev.ID, "").ok(200))
	equal(t, "the ID that is stored", got.ID, ev.ID)
	equal(t, "the data that is stored", string(got.Data), `{"a":1.0}`)
	equal(t, "the deliveries that are stored", got.Deliveries, []string{})
	if age := time.Since(got.AcceptedAt); age.Abs() > time.Minute {
		t.Errorf("the event was accepted %v ago", age)
	}
	l := decode[wire.EventList](s.call("GET", "/v1/events", "").ok(200))
	if len(l.Data) != 1 {
		t.Fatalf("%d events are listed, want 1", len(l.Data))
	}
	equal(t, "the event that is listed", l.Data[0].ID, ev.ID)
}

// Lists are newest first, in a stable order, whole over their pages, and take
// every filter.
func TestListsOfEventsAndDeliveries(t *testing.T) { onBothStores(t, listsOfEventsAndDeliveries) }

func listsOfEventsAndDeliveries(t *testing.T, on func(*setup)) {
	s := start(t, on)
	s.register("SESSION:COMPLETE", "http://"+closedPort(t), `,"retry":["0s"]`)
	s.register("SESSION:COMPLETE", "http://"+closedPort(t), `,"retry":["0s","1h"],"order":"0s","name":"b"`)
	var events, deliveries []string // oldest first
	for i := range 7 {
		typ := "SESSION:COMPLETE"
		if i%3 == 2 {
			typ = "SESSION:NOTE_INSERT"
		}
		ev := s.publish(typ, fmt.Sprintf("S%d", i%2), `{}`)
		events = append(events, ev.ID)
		if typ == "SESSION:COMPLETE" {
			deliveries = append(deliveries, strings.Replace(ev.ID, "evt_", "dlv_", 1)+"-1", strings.Replace(ev.ID, "evt_", "dlv_", 1)+"-2")
		}
	}
	slices.Reverse(events)
	slices.Reverse(deliveries)
	s.until("all first attempts", func() bool {
		return len(s.deliveries("?state=failed").Data) == 5 && !slices.ContainsFunc(s.deliveries("").Data, func(d wire.Delivery) bool { return d.Attempts == 0 })
	})
	for limit := 1; limit <= 8; limit++ {
		if got := s.pages("/v1/events", limit, ""); !slices.Equal(got, events) {
			t.Errorf("events by %d: %v, want %v", limit, got, events)
		}
		if got := s.pages("/v1/deliveries", limit, ""); !slices.Equal(got, deliveries) {
			t.Errorf("deliveries by %d: %v, want %v", limit, got, deliveries)
		}
		for state, suffix := range map[string]string{"failed": "-1", "pending": "-2"} {
			want := slices.DeleteFunc(slices.Clone(deliveries), func(id string) bool { return !strings.HasSuffix(id, suffix) })
			if got := s.pages("/v1/deliveries", limit, "&state="+state); !slices.Equal(got, want) {
				t.Errorf("%s by %d: %v, want %v", state, limit, got, want)
			}
		}
	}
	for query, want := range map[string]int{
		"event=SESSION:COMPLETE": 10, "event=SESSION%3ANOTE_INSERT": 0, "session_key=S0": 6, "session_key=S1": 4, "callback=1": 5, "callback=2": 5, "callback=3": 0,
		"session_key=S0&state=failed&callback=1": 3, "state=delivered": 0, "state=canceled": 0, "session_key=none": 0,
		"since=2020-01-01T00:00:00Z": 10, "until=2020-01-01T00:00:00Z": 0, "since=4102444800": 0, "until=" + escape("Fri, 01 Jan 2100 00:00:00 GMT"): 10,
	} {
		if got := s.pages("/v1/deliveries", 3, "&"+query); len(got) != want {
			t.Errorf("deliveries?%s: %d, want %d", query, len(got), want)
		}
	}
	for query, want := range map[string]int{"event=SESSION:NOTE_INSERT": 2, "session_key=S0": 4, "since=4102444800": 0, "until=1577836800": 0, "session_key=S1&event=SESSION:COMPLETE": 2} {
		if got := s.pages("/v1/events", 3, "&"+query); len(got) != want {
			t.Errorf("events?%s: %d, want %d", query, len(got), want)
		}
	}
}

// pages reads a list to its end and returns the ids.
func (s *server) pages(path string, limit int, query string) (ids []string) {
	s.t.Helper()
	cursor := ""
	for range 100 {
		r := s.call("GET", fmt.Sprintf("%s?limit=%d%s%s", path, limit, query, cursor), "").ok(200)
		page := decode[struct {
			Data []struct{ ID string }
			Next *string
		}](r)
		if len(page.Data) > limit {
			s.t.Fatalf("%d on a page of %d", len(page.Data), limit)
		}
		for _, d := range page.Data {
			ids = append(ids, d.ID)
		}
		if page.Next == nil {
			return ids
		}
		cursor = "&cursor=" + *page.Next
	}
	s.t.Fatal("a list without an end")
	return nil
}

// What was accepted while somebody reads does not move the pages.
func TestPagesAreStableWhileEventsArrive(t *testing.T) {
	onBothStores(t, pagesAreStableWhileEventsArrive)
}

func pagesAreStableWhileEventsArrive(t *testing.T, on func(*setup)) {
	s := start(t, on)
	for range 4 {
		s.publish("SESSION:COMPLETE", "S", `{}`)
	}
	want := s.pages("/v1/events", 200, "")
	first := decode[wire.EventList](s.call("GET", "/v1/events?limit=2", "").ok(200))
	s.publish("SESSION:COMPLETE", "S", `{}`)
	second := decode[wire.EventList](s.call("GET", "/v1/events?limit=2&cursor="+*first.Next, "").ok(200))
	got := []string{first.Data[0].ID, first.Data[1].ID, second.Data[0].ID, second.Data[1].ID}
	if !slices.Equal(got, want) || second.Next != nil {
		t.Errorf("%v, want %v; next %v", got, want, second.Next)
	}
}

// A page of large events ends early and loses none.
func TestPagesAreBoundedInBytes(t *testing.T) {
	s := start(t)
	data := `{"x":"` + strings.Repeat("x", callbackd.MaxEventData-8) + `"}`
	const n = 9 // two pages of four, and one that is not full
	for range n {
		s.publish("SESSION:COMPLETE", "S", data)
	}
	l := decode[wire.EventList](s.call("GET", "/v1/events?limit=200", "").ok(200))
	if len(l.Data) != 4 || l.Next == nil {
		t.Errorf("%d events on the first page, next %v", len(l.Data), l.Next)
	}
	if got := s.pages("/v1/events", 200, ""); len(got) != n {
		t.Errorf("%d events in all", len(got))
	}
	if got := s.pages("/v1/sessions/S/events", 200, ""); len(got) != n {
		t.Errorf("%d events of the session in all", len(got))
	}
}

func TestFaultsOfAQuery(t *testing.T) {
	s := start(t)
	for query, says := range map[string][]string{
		"state=done":                 {`state "done" is not supported. Use pending, delivered, failed, canceled or expired.`},
		"event=x":                    {`event "x" is not supported`},
		"limit=0":                    {`limit must be a whole number from 1 to 200, not "0".`},
		"limit=201":                  {`limit must be a whole number from 1 to 200, not "201".`},
		"limit=x":                    {"limit must be"},
		"since=yesterday":            {`since must be a time such as 2026-01-02T15:04:05Z, or Unix seconds, not "yesterday".`},
		"until=1900-01-01":           {"until must be a time"},
		"callback=0":                 {"callback must be the ID of a callback"},
		"callback=x":                 {"callback must be"},
		"cursor=x":                   {"Invalid cursor. Omit it to start from the first page."},
		"cursor=dlv_0000000000000-1": {"Invalid cursor"},
		"cursor=evt_0000000000001":   {"Invalid cursor"},
		"states=failed":              {`Unknown parameter "states". This call takes state, callback, status, fault, event, session_key, since, until, limit and cursor.`},
		"state=failed&state=pending": {"state is given twice."},
		"state=%zz":                  {"The query is malformed"},
		"a;b":                        {"The query is malformed"},
	} {
		s.call("GET", "/v1/deliveries?"+query, "").says(400, says...)
	}
	s.call("GET", "/v1/events?state=failed", "").says(400, `Unknown parameter "state". This call takes after, wait, event, session_key, since, until, withheld, limit and cursor.`)
	s.call("GET", "/v1/events?cursor=evt_0000000000000", "").says(400, "Invalid cursor")
	s.call("GET", "/v1/events?cursor=dlv_0000000000001-1", "").says(400, "Invalid cursor")
	for _, id := range []string{"x", "evt_0000000000001", "evt_", "evt_000000000000u", "dlv_0000000000001-1"} {
		s.call("GET", "/v1/events/"+id, "").says(404, "There is no event "+id)
		s.call("GET", "/v1/deliveries/"+id, "").says(404, "There is no delivery "+id)
		s.call("POST", "/v1/deliveries/"+id+"/retry", "").says(404, "There is no delivery "+id)
	}
}

func TestClientsMaySendAnyContentType(t *testing.T) {
	s := start(t)
	for _, ct := range []string{"", "application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-8"} {
		s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"S"}`, func(r *http.Request) { r.Header.Set("Content-Type", ct) }).ok(202)
	}
}

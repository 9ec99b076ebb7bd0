package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"callbackd"
	"callbackd/internal/api"
	"callbackd/internal/eventtypes"
	"callbackd/internal/store"
	"callbackd/wire"
)

// owning gives the platform types of its own. Those of stored are stored too.
func owning(t *testing.T, stored []callbackd.EventType, mode eventtypes.Mode, files ...string) func(*setup) {
	t.Helper()
	kinds, err := api.EventKinds()
	if err != nil {
		t.Fatal(err)
	}
	kinds = slices.Clone(kinds)
	for _, text := range files {
		k, err := eventtypes.ParseOwn([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, k)
	}
	events, err := eventtypes.New(kinds, mode)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *setup) {
		c.api.Events = events
		c.wrap = func(s store.Store) store.Store {
			if err := s.AddEventTypes(t.Context(), stored); err != nil {
				t.Fatal(err)
			}
			return s
		}
	}
}

const ownFile = `{"name":"VEHICLE:ARRIVED","description":"A vehicle came to a yard.","schema":{"properties":{"vin":{"type":"string"}},"required":["vin"]},"sample":{"vin":"1HGCM82633A004352"}}`

func TestAPlatformsOwnType(t *testing.T) { onBothStores(t, ownType) }

func ownType(t *testing.T, on func(*setup)) {
	s := start(t, on, owning(t, []callbackd.EventType{"VEHICLE:ARRIVED", "VEHICLE:GONE"}, eventtypes.Refuse, ownFile))
	kind := decode[wire.EventKind](s.call("GET", "/v1/event-types/VEHICLE:ARRIVED", "").ok(200))
	if kind.Group != "own" || kind.Description != "A vehicle came to a yard." || !strings.Contains(string(kind.Schema), `"const":"VEHICLE:ARRIVED"`) {
		t.Errorf("the catalogue has %+v", kind)
	}
	recv := listen(t, nil)
	s.register("VEHICLE:ARRIVED", recv.url, "")
	one := s.publish("VEHICLE:ARRIVED", "ACM-1", `{"vin":"2"}`)
	equal(t, "deliveries of the event", one.Deliveries, 1)
	if got := recv.next(); got.body != `{"event":"VEHICLE:ARRIVED","session_key":"ACM-1","vin":"2"}` {
		t.Errorf("the receiver got %s", got.body)
	}
	s.call("POST", "/v1/callbacks/VEHICLE:ARRIVED/test", "").ok(200)
	if got := recv.next(); !strings.Contains(got.body, `"vin":"1HGCM82633A004352"`) || !strings.Contains(got.body, `"test":true`) {
		t.Errorf("a test sends %s", got.body)
	}
	for path, want := range map[string]int{"/v1/events?event=VEHICLE:ARRIVED": 2, "/v1/deliveries?event=VEHICLE:ARRIVED": 2, "/v1/events?event=VEHICLE:NEVER": 0, "/v1/deliveries?event=SESSION:COMPLETE": 0} {
		if list := decode[struct{ Data []any }](s.call("GET", path, "").ok(200)); len(list.Data) != want {
			t.Errorf("%s has %d, want %d", path, len(list.Data), want)
		}
	}
	if got := s.call("GET", "/v1/callbacks/VEHICLE:ARRIVED", "").ok(200).body; !strings.Contains(got, recv.url) {
		t.Errorf("the callback is %s", got)
	}
	s.call("GET", "/v1/callbacks/VEHICLE:GONE", "").ok(404)
	s.call("POST", "/v1/events", `{"event":"VEHICLE:ARRIVED","session_key":"ACM-1","data":{}}`).says(400, "The data does not fit the schema of VEHICLE:ARRIVED, which GET /v1/event-types/VEHICLE:ARRIVED shows. /: missing property 'vin'.")
	// VEHICLE:GONE was one, VEHICLE:NEVER was not.
	for _, name := range []string{"VEHICLE:GONE", "VEHICLE:NEVER"} {
		want := "There is no event " + name + ". GET /v1/event-types lists all of them."
		s.call("POST", "/v1/events", `{"event":"`+name+`","session_key":"A","data":{}}`).says(400, want)
		s.call("POST", "/v1/events", `[{"event":"VEHICLE:ARRIVED","session_key":"A","data":{"vin":"1"}},{"event":"`+name+`","session_key":"A"}]`).says(400, "Event 2 of the array: "+want)
		s.call("POST", "/v1/callbacks", `{"event":"`+name+`","url":"`+recv.url+`"}`).says(400, want)
	}
	if got := s.call("POST", "/v1/callbacks", `{"event":"SESSION:ARCHIVED","url":"`+recv.url+`"}`).ok(400).body; !strings.Contains(got, `event \"SESSION:ARCHIVED\" is not supported. Use SESSION:SMS_PROCESS`) {
		t.Errorf("a misspelled type of callbackd's gets %s", got)
	}
	s.call("DELETE", "/v1/callbacks/VEHICLE:ARRIVED", "").ok(200)
}

func TestACallbackForOneSessionGetsOwnTypes(t *testing.T) { onBothStores(t, sessionCallbackOfOwnTypes) }

func sessionCallbackOfOwnTypes(t *testing.T, on func(*setup)) {
	s := start(t, on, owning(t, []callbackd.EventType{"VEHICLE:ARRIVED", "VEHICLE:GONE"}, eventtypes.Off, ownFile))
	recv := listen(t, nil)
	given := func(events string) string { return `"callback":{"url":"` + recv.url + `","events":` + events + `}` }
	const arrived = `{"event":"VEHICLE:ARRIVED","session_key":"A","data":{"vin":"1"}`
	first := decode[wire.Accepted](s.call("POST", "/v1/events", arrived+","+given(`["VEHICLE:ARRIVED","SESSION:COMPLETE"]`)+"}").ok(202))
	equal(t, "the events of the callback", strings.Join(first.Callback.Events, " "), "SESSION:COMPLETE VEHICLE:ARRIVED")
	contains(t, "the request", recv.next().body, `{"event":"VEHICLE:ARRIVED"`)
	again := decode[wire.Accepted](s.call("POST", "/v1/events", arrived+","+given(`["SESSION:COMPLETE","VEHICLE:ARRIVED"]`)+"}").ok(202))
	equal(t, "the callback that is given again", again.Callback.ID, first.Callback.ID)
	equal(t, "deliveries of another session", s.publish("VEHICLE:ARRIVED", "B", `{}`).Deliveries, 0)
	all := decode[wire.Accepted](s.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"C","callback":{"url":"`+recv.url+`"}}`).ok(202))
	equal(t, "own types of a callback that names no events", strings.Contains(strings.Join(all.Callback.Events, " "), "VEHICLE"), false)
	at := fmt.Sprint("/v1/callbacks/", first.Callback.ID)
	s.call("PUT", at, `{"url":"`+recv.url+`","events":["VEHICLE:ARRIVED"]}`).ok(200)
	contains(t, "the callback", s.call("GET", at, "").ok(200).body, `"events":["VEHICLE:ARRIVED"]`)
	equal(t, "deliveries of the type that was taken away", s.publish("SESSION:COMPLETE", "A", `{}`).Deliveries, 0)
	s.call("POST", at+"/test", "").ok(200)
	const none = "There is no event VEHICLE:GONE. GET /v1/event-types lists all of them."
	s.call("POST", "/v1/events", arrived+","+given(`["VEHICLE:GONE"]`)+"}").says(400, none)
	s.call("POST", "/v1/sessions", "{"+given(`["VEHICLE:GONE"]`)+"}").says(400, none)
	s.call("PUT", at, `{"url":"`+recv.url+`","events":["VEHICLE:GONE"]}`).says(400, none)
	contains(t, "the answer to a notice", s.call("POST", "/v1/events", arrived+","+given(`["DISK:LOW"]`)+"}").ok(400).body, "DISK:LOW")
	many := make([]string, callbackd.MaxSessionTypes+1)
	for i := range many {
		many[i] = fmt.Sprintf(`"TYPE:N%d"`, i)
	}
	contains(t, "the answer to many events", s.call("POST", "/v1/events", arrived+","+given("["+strings.Join(many, ",")+"]")+"}").ok(400).body, "an array of 1 to 100 events of sessions")
}

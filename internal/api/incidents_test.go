package api_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/wire"
)

// incident opens an incident about a callback of the server's key.
func (s *server) incident(cb callbackd.CallbackID) callbackd.IncidentID {
	s.t.Helper()
	i, err := s.store.OpenIncident(s.t.Context(), &callbackd.Condition{Kind: callbackd.NoticePaused, Key: s.key.ID, Name: strconv.Itoa(int(cb)), Callback: cb,
		Facts: callbackd.IncidentFacts{Event: callbackd.Complete, Name: "default", Origin: "https://a.example", Pause: callbackd.PausedGone}}, time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	return i.ID
}

func TestIncidentsAreListedAcknowledgedAndMuted(t *testing.T) {
	onBothStores(t, func(t *testing.T, on func(*setup)) {
		s := start(t, on)
		first, second := s.incident(1).String(), s.incident(2).String()
		equal(t, "all, newest first", s.pages("/v1/incidents", 1, ""), []string{second, first})
		i := decode[wire.Incident](s.call("GET", "/v1/incidents/"+first, "").ok(200))
		equal(t, "the text", i.Text, "The callback default for SESSION:COMPLETE to https://a.example is paused, because the receiver answered 410 Gone. Its deliveries wait until a person resumes it.")
		equal(t, "its state", i.State, "open")

		i = decode[wire.Incident](s.call("POST", "/v1/incidents/"+first+"/acknowledge", "").ok(200))
		equal(t, "who acknowledged it", i.AcknowledgedBy, callbackd.ByKey(s.key.ID))
		i = decode[wire.Incident](s.call("POST", "/v1/incidents/"+first+"/mute", `{"for":"1h"}`).ok(200))
		if i.MutedUntil == nil || time.Until(*i.MutedUntil) < 59*time.Minute {
			t.Errorf("muted until %v, want in an hour", i.MutedUntil)
		}
		i = decode[wire.Incident](s.call("POST", "/v1/incidents/"+first+"/mute", `{"for":"0s"}`).ok(200))
		equal(t, "whether it is muted after the end of the mute", i.MutedUntil != nil, false)

		if _, err := s.store.ChangeIncident(t.Context(), s.key.ID, s.incident(2), func(i *callbackd.Incident) error {
			i.Miss(time.Now(), callbackd.EndedDeleted)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		equal(t, "the open ones", s.pages("/v1/incidents", 1, "&state=open"), []string{first})
	})
}

func TestFaultsOfIncidents(t *testing.T) {
	s := start(t)
	id := s.incident(1).String()
	s.call("POST", "/v1/incidents/"+id+"/mute", `{"for":"31d"}`).says(400, "for must be a duration from 0s to 30d")
	s.call("POST", "/v1/incidents/"+id+"/mute", `{}`).says(400, "for")
	s.call("POST", "/v1/incidents/"+id+"/mute", `{"for":"1h","until":"x"}`).says(400, "until")
	s.call("GET", "/v1/incidents?state=closed", "").says(400, `state "closed" is not supported`)
	s.call("GET", "/v1/incidents/inc_0", "").says(404, "There is no incident inc_0.")
	other := s.as(s.newKey("other", true))
	for _, call := range []string{"GET /v1/incidents/" + id, "POST /v1/incidents/" + id + "/acknowledge"} {
		method, path, _ := strings.Cut(call, " ")
		other.call(method, path, "").says(404, "There is no incident "+id)
	}
	equal(t, "what another key sees", len(decode[wire.IncidentList](other.call("GET", "/v1/incidents", "").ok(200)).Data), 0)
}

// callbackd alone fires notices; a test-send of one is complete and marked.
func TestNoticesAreNotPublished(t *testing.T) {
	s := start(t)
	recv := listen(t, nil)
	for i, typ := range callbackd.NoticeTypes {
		s.call("POST", "/v1/events", `{"event":"`+string(typ)+`","session_key":"S"}`).says(400, `is not supported. Use SESSION:SMS_PROCESS`)
		if i%2 == 1 { // a key may make a few test-sends at once only
			continue
		}
		s.register(string(typ), recv.url, "")
		s.call("POST", "/v1/callbacks/"+string(typ)+"/test", "").ok(200)
		var body struct {
			Event string
			Test  bool
			wire.Notice
		}
		if err := json.Unmarshal([]byte(recv.next().body), &body); err != nil {
			t.Fatal(err)
		}
		if body.Event != string(typ) || !body.Test || body.Text == "" || body.Incident == "" {
			t.Errorf("the test-send of %s is %+v", typ, body)
		}
	}
}

// What is expected is a member of the policy of callbacks for events of sessions, and of those
// for SILENCE.
func TestWhatACallbackExpects(t *testing.T) {
	s := start(t)
	s.register("SESSION:COMPLETE", "https://a.example/", `,"policy":{"expect":"2h"}`)
	s.register("SILENCE", "https://a.example/", `,"policy":{"expect":"1h"}`)
	for event, want := range map[string]string{"SESSION:COMPLETE": "2h", "SILENCE": "1h"} {
		equal(t, "the expect of "+event, decode[wire.Policy](s.call("GET", "/v1/callbacks/"+event+"/policy", "").ok(200)).Expect, want)
	}
	s.call("POST", "/v1/callbacks", `{"event":"DISK:LOW","url":"https://a.example/","policy":{"expect":"1h"}}`).says(400, "policy.expect is for events of sessions, and for SILENCE")
}

// What the body of a notice is like is a member of the policy of callbacks for notices.
func TestTheFormatOfNotices(t *testing.T) {
	s := start(t)
	s.register("CALLBACK:FAILING", "https://hooks.example/", `,"policy":{"format":"slack"}`)
	s.register("DISK:LOW", "https://hooks.example/", `,"policy":{"format":"json"}`)
	for event, want := range map[string]string{"CALLBACK:FAILING": "slack", "DISK:LOW": "json"} {
		equal(t, "the format of "+event, decode[wire.Policy](s.call("GET", "/v1/callbacks/"+event+"/policy", "").ok(200)).Format, want)
	}
	for body, says := range map[string]string{
		`{"event":"SILENCE","url":"https://a.example/","method":"GET","policy":{"format":"teams"}}`:             "policy.format teams needs a body, which GET requests do not have",
		`{"event":"SILENCE","url":"https://a.example/","policy":{"format":"teams","fields":{"only":["text"]}}}`: "policy.fields chooses members of the data, and policy.format teams sends a text",
		`{"event":"SESSION:COMPLETE","url":"https://a.example/","policy":{"format":"teams"}}`:                   "policy.format teams is for callbacks for notices",
		`{"event":"SILENCE","url":"https://a.example/","policy":{"format":["slack"]}}`:                          "policy.format",
	} {
		s.call("POST", "/v1/callbacks", body).says(400, says)
	}
}

// The operator sees the incidents of all keys and of the server, and acts on them.
func TestTheOperatorSeesAllIncidents(t *testing.T) {
	onBothStores(t, func(t *testing.T, on func(*setup)) {
		s := start(t, on)
		own := s.incident(1).String()
		server, err := s.store.OpenIncident(t.Context(), &callbackd.Condition{Kind: callbackd.NoticeNodeLost, Name: "b", Facts: callbackd.IncidentFacts{Node: "b"}}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		s.call("GET", "/v1/incidents/"+server.ID.String(), "").ok(404)
		s.call("POST", "/v1/incidents/"+server.ID.String()+"/acknowledge", "").ok(404)
		list := decode[wire.IncidentList](s.call("GET", "/v1/admin/incidents?state=open", "").ok(200)).Data
		equal(t, "all of them", []string{list[0].ID, list[1].ID}, []string{server.ID.String(), own})
		equal(t, "their keys", []string{list[0].APIKey, list[1].APIKey, list[1].Account}, []string{"", s.key.APIKey, s.key.Account})
		list = decode[wire.IncidentList](s.call("GET", "/v1/admin/incidents?key="+s.key.APIKey, "").ok(200)).Data
		equal(t, "those of the key", len(list), 1)
		i := decode[wire.Incident](s.call("POST", "/v1/admin/incidents/"+own+"/acknowledge", "").ok(200))
		equal(t, "who acknowledged it", []string{i.AcknowledgedBy, i.APIKey}, []string{callbackd.ByOperator, s.key.APIKey})
		i = decode[wire.Incident](s.call("POST", "/v1/admin/incidents/"+server.ID.String()+"/mute", `{"for":"1h"}`).ok(200))
		equal(t, "whether it is muted", i.MutedUntil != nil, true)
		equal(t, "one", decode[wire.Incident](s.call("GET", "/v1/admin/incidents/"+server.ID.String(), "").ok(200)).Node, "b")
		s.call("GET", "/v1/admin/incidents?key=none", "").ok(404)
		s.call("GET", "/v1/admin/incidents/inc_0", "").ok(404)
	})
}

package api_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"callbackd/wire"
)

// eraseDone waits for the end of an erasure.
func (s *server) eraseDone(e wire.Erase) wire.Erase {
	s.t.Helper()
	s.until("the end of the erasure", func() bool {
		e = decode[wire.Erase](s.call("GET", "/v1/erases/"+e.ID, "").ok(200))
		return e.State == "done"
	})
	return e
}

func TestASessionIsErased(t *testing.T) { onBothStores(t, sessionIsErased) }

func sessionIsErased(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	s.register("SESSION:COMPLETE", recv.url, "")
	const name = "Marker Person"
	x := decode[wire.Session](s.call("POST", "/v1/sessions", `{"options":{"contact":{"first_name":"`+name+`"},"sms":{"to":"+15555550177"},"reference":{"lead":"L-4711"}}}`).ok(200))
	sent := s.publish("SESSION:COMPLETE", x.SessionKey, `{"name":"`+name+`"}`).delivery(1)
	recv.next()
	s.ended(sent, "delivered")
	s.call("POST", "/v1/callbacks/SESSION:COMPLETE/pause", "").ok(200)
	waiting := s.publish("SESSION:COMPLETE", x.SessionKey, `{"name":"`+name+`"}`).delivery(1)

	dry := s.eraseDone(decode[wire.Erase](s.call("DELETE", "/v1/sessions/"+x.SessionKey+"/data?dry_run=true", "").ok(202)))
	equal(t, "what a dry run counts", []int64{dry.Counts.Canceled, dry.Counts.Attempts, dry.Counts.SessionRecords}, []int64{1, 1, 1})
	equal(t, "the state after a dry run", s.delivery(waiting).State, "pending")

	e := s.eraseDone(decode[wire.Erase](s.call("DELETE", "/v1/sessions/"+x.SessionKey+"/data", "").ok(202)))
	equal(t, "the events that were erased", e.Counts.Events, dry.Counts.Events)
	raw := s.call("GET", "/v1/erases/"+e.ID, "").ok(200)
	sum := sha256.Sum256(e.Receipt)
	equal(t, "the hash of the receipt", e.ReceiptSHA256, hex.EncodeToString(sum[:]))
	contains(t, "the answer", string(raw.body), string(e.Receipt))

	d := s.delivery(waiting)
	equal(t, "the state of what was pending", d.State, "canceled")
	equal(t, "why", d.Cancellation.Why, "erased")
	a := s.delivery(sent).History[0]
	equal(t, "the capture", a.Capture, "erased")
	equal(t, "the body of the request", a.Request.Body, "")
	equal(t, "the status of the answer", a.Response.Status, 200)
	got := s.explain(sent)
	has(t, got, "erased", "The data of the event was erased at")
	contains(t, "the advice", got.Next, "Nothing is left to send")
	contains(t, "the answer to a retry", string(s.call("POST", "/v1/deliveries/"+sent+"/retry", "").ok(409).body), "was erased")

	for _, path := range []string{"", "/events", "/photos", "/notes"} {
		body := string(s.call("GET", "/v1/sessions/"+x.SessionKey+path, "").ok(200).body)
		if strings.Contains(body, "Marker") || strings.Contains(body, "+1555") {
			t.Errorf("%s still has the person: %s", path, body)
		}
	}
	again := decode[wire.Session](s.call("GET", "/v1/sessions/"+x.SessionKey, "").ok(200))
	equal(t, "the name", *again.Options.Contact.FirstName, "erased")
	s.call("DELETE", "/v1/sessions/ACM-0000000000/data", "").ok(404)
	equal(t, "the erasures", len(decode[wire.EraseList](s.call("GET", "/v1/erases", "").ok(200)).Data), 2)
}

func TestErasuresLookForValues(t *testing.T) { onBothStores(t, erasuresLookForValues) }

func erasuresLookForValues(t *testing.T, on func(*setup)) {
	s := start(t, on)
	s.publish("SESSION:COMPLETE", "published", `{"vehicle":{"vin":"1MARKERMARKER0001"},"phone":"+1 (555) 555-0177","ref":"L-4711"}`)
	for body, want := range map[string]int64{
		`{"vin":"1markermarker0001","dry_run":true}`: 1,
		`{"phone":"001 555 5550177","dry_run":true}`: 1,
		`{"reference":"l-4711","dry_run":true}`:      1,
		`{"session_key":"published","dry_run":true}`: 1,
		`{"vin":"1MARKERMARKER0002","dry_run":true}`: 0,
	} {
		e := s.eraseDone(decode[wire.Erase](s.call("POST", "/v1/erases", body).ok(202)))
		equal(t, "sessions for "+body, e.Counts.Sessions, want)
	}
	of := "/v1/admin/keys/" + s.key.APIKey + "/erases"
	made := decode[wire.Erase](s.call("POST", of, `{"phone":"+1 555 555 0177"}`).ok(202))
	equal(t, "the API key of the operator's erasure", made.APIKey, s.key.APIKey)
	s.eraseDone(made)
	equal(t, "the events that it erased", decode[wire.Erase](s.call("GET", "/v1/admin/erases/"+made.ID, "").ok(200)).Counts.Events, int64(1))
	equal(t, "the erasures of all keys", len(decode[wire.EraseList](s.call("GET", "/v1/admin/erases", "").ok(200)).Data), 6)
	s.eraseOverKeys()
	for body, want := range map[string]string{
		``:   "body",
		`{}`: "needs one of",
		`{"vin":"1MARKERMARKER0001","phone":"123456"}`: "not both",
		`{"vin":"short"}`:          "17 letters",
		`{"phone":"call me"}`:      "6 digits",
		`{"name":"Jane"}`:          "name",
		`{"reference":["L-4711"]}`: "reference",
	} {
		contains(t, fmt.Sprintf("the answer to %s", body), string(s.call("POST", "/v1/erases", body).ok(400).body), want)
	}
	// The log of calls keeps messages, so none has a person's value.
	for _, by := range []string{"phone", "vin", "reference"} {
		for _, value := range []string{`"Jane Doe 15555550199"`, `15555550199`} {
			if by == "reference" && value[0] == '"' {
				continue // which it can be
			}
			if message := string(s.call("POST", "/v1/erases", `{"`+by+`":`+value+`}`).ok(400).body); strings.Contains(message, "0199") {
				t.Errorf("the answer to a wrong %s has it: %s", by, message)
			}
		}
	}
	s.call("GET", "/v1/erases/ers_0", "").ok(404)
}

// eraseOverKeys erases a person in all API keys with one call.
func (s *server) eraseOverKeys() {
	t := s.t
	t.Helper()
	other := s.as(s.newKey("other", true))
	ids, of := map[string]string{}, map[string]*server{s.key.APIKey: s, other.key.APIKey: other}
	for _, one := range of {
		ids[one.key.APIKey] = one.publish("SESSION:COMPLETE", "P", `{"phone":"+1 555 555 0199"}`).ID
	}
	other.publish("SESSION:COMPLETE", "only-there", `{"phone":"+1 555 555 0188"}`)
	const path, body = "/v1/admin/erases", `{"phone":"+15555550199"}`
	ended := func(g wire.EraseGroup) wire.EraseGroup {
		t.Helper()
		s.until("the end of the erasure over all keys", func() bool {
			g = decode[wire.EraseGroup](s.call("GET", "/v1/admin/erase-groups/"+g.ID, "").ok(200))
			return g.State == "done"
		})
		return g
	}
	dry := ended(decode[wire.EraseGroup](s.call("POST", path, `{"phone":"+15555550199","dry_run":true}`).ok(202)))
	equal(t, "the keys of a dry run", dry.Keys, 2)
	equal(t, "the sessions of a dry run", dry.Counts.Sessions, int64(2))
	again := func(r *http.Request) { r.Header.Set("Idempotency-Key", "over all keys") }
	first := s.call("POST", path, body, again).ok(202)
	done := ended(decode[wire.EraseGroup](first))
	equal(t, "the events in all keys", done.Counts.Events, int64(2))
	receipt := string(done.Receipt)
	for _, e := range done.Data {
		equal(t, "the erased events in "+e.APIKey, e.Counts.Events, int64(1))
		equal(t, "the group of the erasure in "+e.APIKey, e.Group, done.ID)
		contains(t, "the receipt", receipt, `{"api_key":"`+e.APIKey+`","id":"`+e.ID+`","receipt_sha256":"`+e.ReceiptSHA256+`"}`)
		id := ids[e.APIKey]
		contains(t, "the erased event", s.call("GET", "/v1/admin/events/"+id, "").ok(200).body, `"data":{}`)
		equal(t, "the group in the view of the key", decode[wire.Erase](of[e.APIKey].call("GET", "/v1/erases/"+e.ID, "").ok(200)).Group, "")
	}
	sum := sha256.Sum256(done.Receipt)
	equal(t, "the hash of the receipt", done.ReceiptSHA256, hex.EncodeToString(sum[:]))
	if strings.Contains(receipt, "0199") {
		t.Errorf("the receipt has the phone number: %s", receipt)
	}
	equal(t, "the answer to a repeat", s.call("POST", path, body, again).ok(202).body, first.body)
	list := decode[wire.EraseGroupList](s.call("GET", "/v1/admin/erase-groups?limit=1", "").ok(200))
	equal(t, "the first group of the list", list.Data[0], done)
	equal(t, "the next one", list.Next != nil, true)
	list = decode[wire.EraseGroupList](s.call("GET", "/v1/admin/erase-groups?limit=1&cursor="+*list.Next, "").ok(200))
	equal(t, "the groups of the second page", len(list.Data), 1)
	s.call("GET", "/v1/admin/erase-groups?cursor=x", "").says(400, "cursor")
	s.call("GET", "/v1/admin/erase-groups/"+done.Data[0].ID, "").says(404, "There is no erasure over all API keys")
	s.call("GET", "/v1/admin/erase-groups/erg_1jzv8q00m0000", "").says(404, "There is no erasure over all API keys")
	found := decode[wire.EraseGroup](s.call("POST", path, `{"session_key":"only-there"}`).ok(202))
	if len(found.Data) != 1 || found.Data[0].APIKey != other.key.APIKey {
		t.Errorf("a session that one key has is erased in %+v", found.Data)
	}
	s.call("POST", path, `{"session_key":"nowhere"}`).says(404, "no API key with such a session")
	s.call("POST", path, `{}`).says(400, "needs one of")
	s.call("POST", path, "").says(400)
}

package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/session"
)

func triggered(t *testing.T, what string, set ...string) (events []string, data []map[string]any, err error) {
	t.Helper()
	c := triggerCmd{What: what, Set: set}
	if err := c.known(); err != nil {
		return nil, nil, err
	}
	out, err := c.events("TST-1", session.Inspection("TST-1", time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)))
	for _, ev := range out {
		if !ev.Test || ev.SessionKey != "TST-1" {
			t.Errorf("%s is of session %s, test %t", ev.Event, ev.SessionKey, ev.Test)
		}
		var m map[string]any
		if err := json.Unmarshal(ev.Data.(json.RawMessage), &m); err != nil {
			t.Errorf("%s: %v", ev.Event, err)
		}
		events, data = append(events, ev.Event), append(data, m)
	}
	return events, data, err
}

// Each event has the members of its sample in the catalogue, and only session and times
// differ.
func TestTriggerHasTheSampleOfEachEvent(t *testing.T) {
	for _, typ := range callbackd.SessionEvents {
		events, data, err := triggered(t, string(typ))
		if err != nil || len(events) != 1 || events[0] != string(typ) {
			t.Fatalf("%s makes %v: %v", typ, events, err)
		}
		var sample map[string]any
		if err := json.Unmarshal(session.Sample(typ), &sample); err != nil {
			t.Fatal(err)
		}
		for name := range sample {
			if _, ok := data[0][name]; !ok {
				t.Errorf("%s has no %s", typ, name)
			}
		}
		if len(data[0]) != len(sample) {
			t.Errorf("%s has %d members, want %d", typ, len(data[0]), len(sample))
		}
	}
	events, _, err := triggered(t, "inspection")
	if err != nil || len(events) < 15 || events[0] != "SESSION:SMS_REQUESTED" || events[len(events)-1] != "SESSION:COMPLETE" {
		t.Errorf("an inspection is %v: %v", events, err)
	}
}

func TestTriggerSetsMembers(t *testing.T) {
	_, data, err := triggered(t, "SESSION:COMPLETE", "vehicle.vin=WVWZZZ1JZXW000001", "vehicle.year=2020", `vehicle.model="7"`, "photos.0.photo_code=99", "disclosures={\"a\":[1]}", "landing_page=")
	if err != nil {
		t.Fatal(err)
	}
	vehicle := data[0]["vehicle"].(map[string]any)
	photo := data[0]["photos"].([]any)[0].(map[string]any)
	for name, c := range map[string]struct{ got, want any }{
		"a text": {vehicle["vin"], "WVWZZZ1JZXW000001"}, "a number": {vehicle["year"], 2020.0}, "a text of digits": {vehicle["model"], "7"}, "what is beside them": {vehicle["make"], "Honda"},
		"a member of an array": {photo["photo_code"], 99.0}, "an empty text": {data[0]["landing_page"], ""},
	} {
		if c.got != c.want {
			t.Errorf("%s is %v, want %v", name, c.got, c.want)
		}
	}
	if m, ok := data[0]["disclosures"].(map[string]any); !ok || len(m) != 1 {
		t.Errorf("an object is %v", data[0]["disclosures"])
	}
	_, all, err := triggered(t, "inspection", "photo_status=REJECTED")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, m := range all {
		if m["photo_status"] == "REJECTED" {
			n++
		}
	}
	if n != len(callbackd.PhotoSteps) {
		t.Errorf("%d events of the inspection have the member that was set, want %d", n, len(callbackd.PhotoSteps))
	}
}

func TestTriggerSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ what, set, want string }{
		{"SESSION:COMPLETED", "", `there is no event "SESSION:COMPLETED"; give inspection, one of SESSION:SMS_PROCESS`},
		{"CALLBACK:FAILING", "", "is a notice, which only callbackd publishes; `callbackd callbacks test CALLBACK:FAILING`"},
		{"SESSION:COMPLETE", "vehicle.vim=1", "SESSION:COMPLETE has no vehicle.vim: there is vehicle.id, vehicle.vin,"},
		{"SESSION:COMPLETE", "vehcle.vin=1", "has no vehcle.vin: there is session, photos, vehicle,"},
		{"SESSION:COMPLETE", "photos.99.url=1", "there is photos.0, photos.1"},
		{"SESSION:COMPLETE", "disclosures.x=1", "disclosures is null, and has no members; set it as a whole"},
		{"SESSION:COMPLETE", "vehicle.vin.x=1", "and has no members"},
		{"SESSION:COMPLETE", "vehicle.=1", "has no vehicle.:"},
		{"SESSION:COMPLETE", "vehicle.vin", "has no path and value"},
		{"SESSION:COMPLETE", "=1", "has no path and value"},
		{"inspection", "nothing=1", "has no nothing"},
	} {
		var set []string
		if c.set != "" {
			set = []string{c.set}
		}
		_, _, err := triggered(t, c.what, set...)
		if err == nil || !strings.Contains(err.Error(), c.want) || exitCode(err) != exitSetting {
			t.Errorf("%s --set %s: %v, want %s", c.what, c.set, err, c.want)
		}
	}
}

package session_test

import (
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/session"
	"callbackd/internal/strictjson"
)

// The sample inspection has the key and the times that it is given, whatever characters the
// key has, and its last event of each type is the sample.
func TestTheInspectionHasItsKeyAndTimes(t *testing.T) {
	const key = "a\"b\\c"
	at := time.Date(2027, 2, 3, 4, 5, 6, 0, time.UTC)
	evs := session.Inspection(key, at)
	seen := map[callbackd.EventType]bool{}
	for _, ev := range evs {
		seen[ev.Type] = true
		if _, err := strictjson.Object(ev.Data); err != nil {
			t.Errorf("%s: %v", ev.Type, err)
		}
		for _, other := range []string{session.SampleKey, "2026-01-02"} {
			if strings.Contains(string(ev.Data), other) {
				t.Errorf("%s has %s: %s", ev.Type, other, ev.Data)
			}
		}
	}
	if len(seen) != len(callbackd.SessionEvents) {
		t.Errorf("the inspection has the types %v", seen)
	}
	last := evs[len(evs)-1]
	if last.Type != callbackd.Complete || !strings.Contains(string(last.Data), `"session_key":"a\"b\\c"`) || !strings.Contains(string(last.Data), at.Format("2006-01-02")) {
		t.Errorf("the last event is %s: %s", last.Type, last.Data)
	}
}

// A sample has every member that a receiver may read.
func TestSamplesAreWhole(t *testing.T) {
	members := map[callbackd.EventType]string{
		callbackd.SMSProcess:   "phone status message",
		callbackd.StageChange:  "photo_url photo_status photo_code photo_label",
		callbackd.StatusChange: "status timestamp previous_status",
		callbackd.Complete:     "session photos vehicle location disclosures announcements inspection condition_report landing_page",
		callbackd.NoteInsert:   "note",
		callbackd.SMSRequested: "phone name link",
	}
	for _, typ := range callbackd.SessionEvents {
		got, err := strictjson.Object(session.Sample(typ))
		if err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		var names []string
		for _, m := range got {
			names = append(names, m.Name)
		}
		if strings.Join(names, " ") != members[typ] {
			t.Errorf("%s has the members %v, want %s", typ, names, members[typ])
		}
	}
	complete := string(session.Sample(callbackd.Complete))
	if n := strings.Count(complete, `"photo_label":`); n != len(callbackd.PhotoSteps) {
		t.Errorf("COMPLETE has %d photos", n)
	}
	nulls := strings.Count(complete, "null")
	for _, absent := range []string{`"vrm":null`, `"disclosures":null`, `"announcements":null`, `"case_details":null`} {
		if strings.Contains(complete, absent) {
			nulls--
		}
	}
	if nulls != 0 {
		t.Errorf("COMPLETE lacks something: %s", complete)
	}
}

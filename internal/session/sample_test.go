package session_test

import (
	"strings"
	"testing"

	"callbackd"
	"callbackd/internal/session"
	"callbackd/internal/strictjson"
)

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

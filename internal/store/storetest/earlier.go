package storetest

import (
	"strings"
	"testing"

	"callbackd"
	"callbackd/internal/session"
	"callbackd/internal/store"
)

// EarlierResults checks a store with rows that an earlier version wrote for key 1. That
// version stored all results inside the session. whole is a session with results, bare
// one without.
func EarlierResults(t *testing.T, st store.Store, whole, bare string) {
	t.Helper()
	s := &suite{T: t, Store: st, at: used}
	if k := s.newKey("k"); k.ID != 1 {
		s.Fatalf("the first key is number %d", k.ID)
	}
	results := func(key string) string {
		x, err := st.Session(s.ctx(), 1, key)
		s.must(err)
		body, err := session.Results(x)
		s.must(err)
		return string(body)
	}
	const (
		vehicle = `"year":null,"make":%s,"model":null,"body_type":null,"trim":null,"transmission":null,"drivetrain":null,"engine_type":null,"fuel_type":null,"ext_col":null,"int_col":null,"odom_reading":null,"odom_unit":null`
		none    = `"location":null,"disclosures":null,"announcements":null,`
	)
	got := results(whole)
	for _, part := range []string{
		`{"event":"SESSION:COMPLETE","session_key":"` + whole + `","session":{"session_key":"` + whole + `","theme":"PRO","active":true,"status":"COMPLETE",`,
		`"language":"FR","options":{`, `"user_account":{"username":"jane","first_name":null,"last_name":null,"email":null,"phone":null},"source":{`,
		`"vehicle":{"id":77,"session_key":"` + whole + `","vrm":null,"vin":"1HGCM82633A004352",` + strings.Replace(vehicle, "%s", `"Honda"`, 1) + `}},"photos":[{"photo_code":2,`,
		`],"vehicle":{"id":77,"vin":"1HGCM82633A004352",` + strings.Replace(vehicle, "%s", `"Honda"`, 1) + `,"own":[1e0]},` + none + `"inspection":{"grade":4.50},"condition_report":null,"landing_page":"https://l.example","grade":4.50}`,
	} {
		if !strings.Contains(got, part) {
			s.Errorf("the results lack %s:\n%s", part, got)
		}
	}
	got = results(bare)
	if want := `],"vehicle":{"id":null,"vin":null,` + strings.Replace(vehicle, "%s", "null", 1) + `},` + none + `"inspection":null,"condition_report":null,"landing_page":null}`; !strings.HasSuffix(got, want) {
		s.Errorf("without results: %s, want %s", got, want)
	}
	// An event never changes after it was accepted.
	for key, sequence := range map[string]int64{whole: 18, bare: 19} {
		story, err := st.SessionEvents(s.ctx(), store.SessionEventQuery{Key: 1, Session: key, Limit: 5})
		s.must(err)
		if len(story) != 1 {
			s.Fatalf("session %s has %d events, want 1", key, len(story))
		}
		s.equal("the event's sequence", story[0].Sequence, sequence)
		s.equal("the event's type", story[0].Type, callbackd.Complete)
		data := string(story[0].Data)
		if !strings.HasPrefix(data, `{"session":{"session_key":"`+key+`",`) || !strings.Contains(data, `,"photos":[`) {
			s.Errorf("the event's data was changed: %s", data)
		}
	}
}

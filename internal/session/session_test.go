package session_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/session"
	"callbackd/internal/store"
)

// one is a store of one session.
type one struct {
	store.Sessions
	s *callbackd.Session
}

func (o *one) ChangeSession(_ context.Context, _ callbackd.KeyID, _ string, _ time.Time, change func(*callbackd.Session) (store.SessionChange, error)) (*callbackd.Session, []*callbackd.Event, error) {
	after := *o.s
	c, err := change(&after)
	if err != nil {
		return nil, nil, err
	}
	var events []*callbackd.Event
	for _, ev := range c.Events {
		events = append(events, &callbackd.Event{Type: ev.Type, Data: ev.Data})
	}
	o.s = &after
	return &after, events, nil
}

// largest is a session in CONFIRM with everything as long as it may be.
func largest(text string) *callbackd.Session {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	fill := func(n int) string { return strings.Repeat(text, n/len(text)) }
	s := session.New(&callbackd.Key{Account: "acme"}, now)
	s.Status, s.StartedAt, s.CapturedAt = callbackd.StatusConfirm, now, now
	short := fill(callbackd.MaxSessionText)
	s.RedirectURL, s.ClientID, s.FirstName, s.LastName = fill(callbackd.MaxURL), short, short, short
	s.SMS = callbackd.SMS{To: short, ToName: short, From: short, By: short}
	s.Vehicle = callbackd.Vehicle{Make: short, Model: short, BodyType: short, Trim: short, Transmission: short, Drivetrain: short, EngineType: short, FuelType: short, ExteriorCol: short, InteriorCol: short, OdomReading: short, OdomUnit: short}
	s.Reference = []byte(`"` + strings.Repeat("x", callbackd.MaxReference-2) + `"`)
	s.SourceProperties = []byte(`{"x":"` + strings.Repeat("x", callbackd.MaxReference-8) + `"}`)
	s.Results = []byte(`{"x":"` + strings.Repeat("x", callbackd.MaxResults-8) + `"}`)
	for _, step := range callbackd.PhotoSteps {
		s.Photos = append(s.Photos, callbackd.Photo{Code: step.Code, URL: fill(callbackd.MaxURL), Approved: true, CreatedAt: now, UpdatedAt: now})
	}
	return s
}

func complete(s *callbackd.Session) ([]*callbackd.Event, error) {
	now := s.CreatedAt
	_, events, err := session.Change(context.Background(), &one{s: s}, 1, s.SessionKey, now, func(s *callbackd.Session) ([]callbackd.Fired, error) { return s.Complete(now) })
	return events, err
}

// Every session that the limits allow can be completed.
func TestTheLargestSessionCanBeCompleted(t *testing.T) {
	events, err := complete(largest("x"))
	if err != nil || len(events) != 2 {
		t.Fatalf("%d events, %v; want 2", len(events), err)
	}
	if n := len(events[1].Data); n < 200<<10 || n > callbackd.MaxEventData {
		t.Errorf("COMPLETE has %d bytes, want %d to %d", n, 200<<10, callbackd.MaxEventData)
	}
}

// And one that JSON makes larger still is refused with what to do, and is as
// it was.
func TestWhatJSONMakesTooLargeIsRefused(t *testing.T) {
	s := largest("\x01")
	_, err := complete(s)
	if callbackd.KindOf(err) != callbackd.KindTooLarge || !strings.Contains(err.Error(), "Put smaller results") {
		t.Errorf("the error is %v; want that it is too large and what to do", err)
	}
	if s.Status != callbackd.StatusConfirm {
		t.Errorf("the status is %s, want CONFIRM as before", s.Status)
	}
}

// What results say of the vehicle joins what is known of it: a VIN that was
// typed is not lost to the one who gets COMPLETE. What is null says nothing.
func TestResultsKeepWhatIsKnownOfTheVehicle(t *testing.T) {
	const vin = `"vin":"JN1CV6AR9BM123456"`
	rest := func(from string) string {
		all := `"vin","year","make","model","body_type","trim","transmission","drivetrain","engine_type","fuel_type","ext_col","int_col","odom_reading","odom_unit"`
		_, all, _ = strings.Cut(all, from+`",`)
		return strings.ReplaceAll(all, ",", ":null,") + ":null"
	}
	for results, want := range map[string]string{
		`{}`:                                  `"vehicle":{"id":null,` + vin + `,` + rest("vin") + `}`,
		`{"vehicle":null}`:                    `"vehicle":{"id":null,` + vin + `,` + rest("vin") + `}`,
		`{"vehicle":[]}`:                      `"vehicle":{"id":null,` + vin + `,` + rest("vin") + `}`,
		`{"vehicle":{ }}`:                     `"vehicle":{"id":null,` + vin + `,` + rest("vin") + `}`,
		`{"vehicle":{"vin":null,"vrm":null}}`: `"vehicle":{"id":null,` + vin + `,` + rest("vin") + `,"vrm":null}`,
		`{"vehicle":{"make": "Kia","own":[1e0]}}`:                                   `"vehicle":{"id":null,` + vin + `,"year":null,"make":"Kia",` + rest("make") + `,"own":[1e0]}`,
		`{"vehicle":{"vin":"other"}, "grade":1}`:                                    `"vehicle":{"id":null,"vin":"other",` + rest("vin") + `}`,
		`{"vehicle":{"vin":"","make":""}}`:                                          `"vehicle":{"id":null,` + vin + `,` + rest("vin") + `}`,
		`{"vehicle":{"vehicle_id":7,"id":8}}`:                                       `"vehicle":{"id":8,` + vin + `,` + rest("vin") + `}`,
		`{"session":{"vehicle":{"make":"Kia"}}}`:                                    `"vehicle":{"id":null,` + vin + `,"year":null,"make":"Kia",` + rest("make") + `}`,
		`{"vehicle":{"make":"VW"},"session":{"vehicle":{"make":"Kia","trim":"S"}}}`: `"vehicle":{"id":null,` + vin + `,"year":null,"make":"VW","model":null,"body_type":null,"trim":"S",` + rest("trim") + `}`,
	} {
		s := completeWith(t, results)
		got, err := session.Results(s)
		if err != nil || !strings.Contains(string(got), `,`+want+`,"location"`) {
			t.Errorf("%s: %v, %s, want %s", results, err, got, want)
		}
		if string(s.Results) != results {
			t.Errorf("the results are changed to %s", s.Results)
		}
	}
}

// completeWith is a small completed session with results.
func completeWith(t *testing.T, results string) *callbackd.Session {
	t.Helper()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &callbackd.Session{
		SessionKey: "ACM-0123456789", Status: callbackd.StatusComplete, Theme: "PRO", Language: "en", SourceType: "api", Vehicle: callbackd.Vehicle{VIN: "JN1CV6AR9BM123456"},
		Photos:    []callbackd.Photo{{Code: 4, URL: "https://photos.example/4.jpg", Approved: true, CreatedAt: at, UpdatedAt: at}},
		CreatedAt: at, StartedAt: at.Add(time.Minute), CapturedAt: at.Add(3 * time.Minute), EndedAt: at.Add(5 * time.Minute), UpdatedAt: at.Add(5 * time.Minute),
		Results: []byte(results),
	}
}

// PAVE sends photos, vehicle and the results beside the session, each there
// whether it was put or not; the session has its own members only.
func TestResultsAreBesideTheSession(t *testing.T) {
	const (
		vehicle = `"vin":"JN1CV6AR9BM123456","year":null,"make":null,"model":null,"body_type":null,"trim":null,"transmission":null,"drivetrain":null,"engine_type":null,"fuel_type":null,"ext_col":null,"int_col":null,"odom_reading":null,"odom_unit":null}`
		account = `{"username":null,"first_name":null,"last_name":null,"email":null,"phone":null}`
		begin   = `{"event":"SESSION:COMPLETE","session_key":"ACM-0123456789","session":{"session_key":"ACM-0123456789","theme":"PRO","active":true,"status":"COMPLETE","redirect_url":null,` +
			`"inspect_started_at":"2026-01-02T03:05:05+00:00","inspect_ended_at":"2026-01-02T03:09:05+00:00","created_at":"2026-01-02T03:04:05+00:00","updated_at":"2026-01-02T03:09:05+00:00","language":"en",` +
			`"options":{"client_id":null,"sms":{"to":null,"to_name":null,"from":null,"by":null},"contact":{"first_name":null,"last_name":null},"reference":null},"user_account":`
		source = `,"source":{"type":"api","properties":{}},"capture_duration":120,"inspect_duration":240,"vehicle":{"id":null,"session_key":"ACM-0123456789","vrm":null,` + vehicle
		photos = `},"photos":[{"photo_code":4,"photo_label":"Left","url":"https://photos.example/4.jpg","approved":true,"approved_message":"ACCEPTED","created_at":"2026-01-02T03:04:05+00:00","updated_at":"2026-01-02T03:04:05+00:00"}],"vehicle":{"id":null,` + vehicle
		none   = `,"location":null,"disclosures":null,"announcements":null,"inspection":null,"condition_report":null,"landing_page":null`
	)
	for results, want := range map[string]string{
		``:                            account + source + photos + none + `}`,
		`{}`:                          account + source + photos + none + `}`,
		`{"session":null}`:            account + source + photos + none + `}`,
		`{"session":"x","vehicle":7}`: account + source + photos + none + `}`,
		`{"session":"{\"landing_page\":\"l\"}","vehicle":"[]"}`:                       account + source + photos + strings.Replace(none, `"landing_page":null`, `"landing_page":"l"`, 1) + `}`,
		`{"session":[],"photos":[]}`:                                                  account + source + photos + none + `}`,
		`{"event":"x","session_key":"y","grade":4.50,"status":"mine","tags":[ 1e0 ]}`: account + source + photos + none + `,"grade":4.50,"status":"mine","tags":[ 1e0 ]}`,
		`{"landing_page":"https://l.example","inspection":{"grading":{"standard_A":3.0}},"location":{"city":"Toronto"}}`: account + source + photos +
			`,"location":{"city":"Toronto"},"disclosures":null,"announcements":null,"inspection":{"grading":{"standard_A":3.0}},"condition_report":null,"landing_page":"https://l.example"}`,
		// The session that a platform puts joins the session; it says nothing about what is known.
		`{"session":{"user_account":{"email":"a@b.example","id":7},"status":"IDLE","session_key":"no","active":false,"redirect_url":"javascript:alert(1)","shift":"early","source":{"properties":{"tablet":3}}}}`: strings.NewReplacer(
			`"email":null`, `"email":"a@b.example"`, `"phone":null}`, `"phone":null,"id":7}`).Replace(account) +
			strings.Replace(source, `"properties":{}`, `"properties":{"tablet":3}`, 1) + `,"shift":"early"` + photos + none + `}`,
		// These members are beside the session wherever they were put; those at the top count.
		`{"session":{"location":{"city":"A"},"inspection":{"x":1}},"location":{"city":"B"}}`: account + source + photos +
			`,"location":{"city":"B"},"disclosures":null,"announcements":null,"inspection":{"x":1},"condition_report":null,"landing_page":null}`,
		// As results were put when all of them joined the session.
		`{"user_account":{"username":"jane"}}`:                                               strings.Replace(account, `"username":null`, `"username":"jane"`, 1) + source + photos + none + `}`,
		`{"user_account":{"username":"jane"},"session":{"user_account":{"username":"joe"}}}`: strings.Replace(account, `"username":null`, `"username":"joe"`, 1) + source + photos + none + `}`,
	} {
		s := completeWith(t, results)
		if results == "" {
			s.Results = nil
		}
		got, err := session.Results(s)
		if err != nil || string(got) != begin+want {
			t.Errorf("%s: %v\n%s\nwant\n%s", results, err, got, begin+want)
		}
		data, err := session.Data(s, &callbackd.Fired{Type: callbackd.Complete})
		if err != nil || strings.Replace(string(data), `{`, `{"event":"SESSION:COMPLETE","session_key":"ACM-0123456789",`, 1) != string(got) {
			t.Errorf("%s: the event's data is %s, %v", results, data, err)
		}
	}
}

// Photos that the platform puts stand in the place of those that are known.
func TestPhotosOfResultsReplaceKnownOnes(t *testing.T) {
	got, err := session.Results(completeWith(t, `{"photos":[{"photo_code":4,"angle":1.0}]}`))
	if err != nil || !strings.Contains(string(got), `},"photos":[{"photo_code":4,"angle":1.0}],"vehicle":`) {
		t.Errorf("%v, %s", err, got)
	}
}

// Results of any allowed size can be completed, wherever their bulk is.
func TestLargeResultsAreInTheEventOnce(t *testing.T) {
	for _, form := range []string{`{"vehicle":{"x":"%s"}}`, `{"session":{"vehicle":{"x":"%s"}}}`, `{"session":{"x":"%s"}}`, `{"photos":["%s"]}`, `{"user_account":"%s"}`, `{"user_account":{"x":"%s"}}`} {
		s := largest("x")
		s.Results = []byte(strings.Replace(form, "%s", strings.Repeat("x", callbackd.MaxResults-len(form)+2), 1))
		if _, err := complete(s); err != nil {
			t.Errorf("%s: %v", form, err)
		}
	}
}

package session_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/session"
	"callbackd/internal/store"
	"callbackd/internal/strictjson"
)

// one is a store of one session.
type one struct {
	store.Sessions
	s *callbackd.Session
}

func (o *one) ChangeSession(_ context.Context, _ callbackd.KeyNo, _ string, _ time.Time, change func(*callbackd.Session) (store.SessionChange, error)) (*callbackd.Session, []*callbackd.Event, error) {
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
	if err != nil || len(events) != 2 || len(events[1].Data) < 200<<10 || len(events[1].Data) > callbackd.MaxEventData {
		t.Errorf("%d events, %v", len(events), err)
	}
}

// And one that JSON makes larger still is refused with what to do, and is as
// it was.
func TestWhatJSONMakesTooLargeIsRefused(t *testing.T) {
	s := largest("\x01")
	_, err := complete(s)
	if callbackd.KindOf(err) != callbackd.KindTooLarge || !strings.Contains(err.Error(), "put smaller results") || s.Status != callbackd.StatusConfirm {
		t.Errorf("%v, %s", err, s.Status)
	}
}

// What results say of the vehicle joins what is known of it: a VIN that was
// typed is not lost to the one who gets COMPLETE.
func TestResultsKeepWhatIsKnownOfTheVehicle(t *testing.T) {
	for results, want := range map[string]string{
		`{}`:               `"vehicle":{"vehicle_id":null,"vin":"JN1CV6AR9BM123456",`,
		`{"vehicle":null}`: `"vehicle":{"vehicle_id":null,"vin":"JN1CV6AR9BM123456",`,
		`{"vehicle":{ }}`:  `"vehicle":{ "vehicle_id":null,"vin":"JN1CV6AR9BM123456",`,
		`{"vehicle":{"make": "Kia","own":[1e0]}}`: `"vehicle":{"make": "Kia","own":[1e0],"vehicle_id":null,"vin":"JN1CV6AR9BM123456",`,
		`{"vehicle":{"vin":"other"}, "grade":1}`:  `"vehicle":{"vin":"other","vehicle_id":null,"year":null,`,
	} {
		s := largest("x")
		s.Vehicle = callbackd.Vehicle{VIN: "JN1CV6AR9BM123456"}
		s.Results = []byte(results)
		got, err := session.Results(s)
		if err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s: %v, %.2500s", results, err, got[max(0, strings.Index(string(got), `"vehicle"`)):])
		}
		if _, err := strictjson.Object(got); err != nil {
			t.Errorf("%s: %v", results, err)
		}
		if string(s.Results) != results {
			t.Errorf("the results are changed to %s", s.Results)
		}
	}
}

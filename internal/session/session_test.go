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

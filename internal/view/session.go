package view

import (
	"time"

	"callbackd"
	"callbackd/internal/store"
	"callbackd/wire"
)

// Session returns a session. link leads to its capture pages, and is empty when there is
// none.
func Session(s *callbackd.Session, link string) wire.Session {
	out := wire.Session{
		SessionKey: s.SessionKey, Theme: s.Theme, Active: s.Active(), Status: string(s.Status), RedirectURL: OrNull(s.RedirectURL),
		InspectStartedAt: wire.Timestamp(s.StartedAt), CreatedAt: wire.Timestamp(s.CreatedAt), UpdatedAt: wire.Timestamp(s.UpdatedAt), Language: s.Language, CaptureURL: OrNull(link),
		Options: wire.SessionOptions{
			ClientID:  OrNull(s.ClientID),
			SMS:       wire.SessionSMS{To: OrNull(s.SMS.To), ToName: OrNull(s.SMS.ToName), From: OrNull(s.SMS.From), By: OrNull(s.SMS.By)},
			Contact:   wire.SessionContact{FirstName: OrNull(s.FirstName), LastName: OrNull(s.LastName)},
			Reference: s.Reference,
		},
		Source: wire.SessionSource{Type: s.SourceType, Properties: s.SourceProperties},
	}
	out.ErasedAt = timeOrNull(s.ErasedAt)
	if s.Status == callbackd.StatusComplete {
		out.InspectEndedAt = wire.Timestamp(s.EndedAt)
	}
	if out.Source.Properties == nil {
		out.Source.Properties = []byte("{}")
	}
	if s.Vehicle != (callbackd.Vehicle{}) {
		out.Vehicle = Vehicle(&s.Vehicle)
	}
	return out
}

// Vehicle returns a vehicle. Unknown members are null.
func Vehicle(v *callbackd.Vehicle) *wire.Vehicle {
	return &wire.Vehicle{VehicleID: OrNull(v.ID), VIN: OrNull(v.VIN), Year: OrNull(v.Year), Make: OrNull(v.Make), Model: OrNull(v.Model),
		BodyType: OrNull(v.BodyType), Trim: OrNull(v.Trim), Transmission: OrNull(v.Transmission), Drivetrain: OrNull(v.Drivetrain),
		EngineType: OrNull(v.EngineType), FuelType: OrNull(v.FuelType), ExtCol: OrNull(v.ExteriorCol), IntCol: OrNull(v.InteriorCol),
		OdomReading: OrNull(v.OdomReading), OdomUnit: OrNull(v.OdomUnit)}
}

// OrNull returns a pointer to v, or nil for the zero value, which is null in JSON.
func OrNull[T comparable](v T) *T {
	if v == *new(T) {
		return nil
	}
	return &v
}

// Photos returns the latest capture of each step, in capture order.
func Photos(s *callbackd.Session) []wire.Photo {
	out := make([]wire.Photo, 0, len(s.Photos))
	for i := range s.Photos {
		p := &s.Photos[i]
		step, _ := callbackd.StepOf(p.Code)
		out = append(out, wire.Photo{PhotoCode: p.Code, PhotoLabel: step.Label, URL: p.URL, Approved: p.Approved, ApprovedMessage: p.Verdict(),
			CreatedAt: wire.Timestamp(p.CreatedAt), UpdatedAt: wire.Timestamp(p.UpdatedAt)})
	}
	return out
}

// Note returns a note.
func Note(n callbackd.Note) wire.Note {
	return wire.Note{Title: n.Title, Description: n.Description, InsertedBy: n.InsertedBy, InsertedAt: wire.Timestamp(n.InsertedAt)}
}

// SessionEvent returns an event of a session with its deliveries.
func SessionEvent(ev *store.SessionEvent) wire.SessionEvent {
	out := wire.SessionEvent{ID: ev.ID.String(), Event: string(ev.Type), Sequence: ev.Sequence, AcceptedAt: ev.Accepted(), Data: ev.Data, Deliveries: []wire.SessionDelivery{}, ErasedAt: timeOrNull(ev.ErasedAt)}
	for _, d := range ev.Deliveries {
		out.Deliveries = append(out.Deliveries, wire.SessionDelivery{ID: d.ID.String(), Callback: int64(d.ID.Callback), CallbackName: d.Callback.Name,
			State: string(d.State), Attempts: d.Attempts, NextAttempt: timeOrNull(d.Due)})
	}
	return out
}

// Resent returns the answer to a request for another SMS.
func Resent(s *callbackd.Session, now time.Time) wire.Resent {
	const day = 24 * time.Hour
	return wire.Resent{Status: "success", Message: "SMS resend has been processed", SessionKey: s.SessionKey, Phone: s.SMS.To,
		SessionAgeDays: int(now.Sub(s.CreatedAt) / day), DaysRemaining: int(max(0, s.ExpiresAt.Sub(now)+day-1) / day)}
}

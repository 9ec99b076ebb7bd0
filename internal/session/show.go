package session

import (
	"callbackd"
	"callbackd/wire"
)

// Show is a session as its key sees it. link is that to its capture pages; empty
// when there is none.
func Show(s *callbackd.Session, link string) wire.Session {
	out := wire.Session{
		SessionKey: s.SessionKey, Theme: s.Theme, Active: s.Active(), Status: string(s.Status), RedirectURL: orNull(s.RedirectURL),
		InspectStartedAt: wire.Timestamp(s.StartedAt), CreatedAt: wire.Timestamp(s.CreatedAt), UpdatedAt: wire.Timestamp(s.UpdatedAt), Language: s.Language, CaptureURL: orNull(link),
		Options: wire.SessionOptions{
			ClientID:  orNull(s.ClientID),
			SMS:       wire.SessionSMS{To: orNull(s.SMS.To), ToName: orNull(s.SMS.ToName), From: orNull(s.SMS.From), By: orNull(s.SMS.By)},
			Contact:   wire.SessionContact{FirstName: orNull(s.FirstName), LastName: orNull(s.LastName)},
			Reference: s.Reference,
		},
		Source: wire.SessionSource{Type: s.SourceType, Properties: s.SourceProperties},
	}
	if s.Status == callbackd.StatusComplete {
		out.InspectEndedAt = wire.Timestamp(s.EndedAt)
	}
	if out.Source.Properties == nil {
		out.Source.Properties = []byte("{}")
	}
	if s.Vehicle != (callbackd.Vehicle{}) {
		out.Vehicle = showVehicle(&s.Vehicle)
	}
	return out
}

func showVehicle(v *callbackd.Vehicle) *wire.Vehicle {
	return &wire.Vehicle{VehicleID: orNull(v.ID), VIN: orNull(v.VIN), Year: orNull(v.Year), Make: orNull(v.Make), Model: orNull(v.Model),
		BodyType: orNull(v.BodyType), Trim: orNull(v.Trim), Transmission: orNull(v.Transmission), Drivetrain: orNull(v.Drivetrain),
		EngineType: orNull(v.EngineType), FuelType: orNull(v.FuelType), ExtCol: orNull(v.ExteriorCol), IntCol: orNull(v.InteriorCol),
		OdomReading: orNull(v.OdomReading), OdomUnit: orNull(v.OdomUnit)}
}

func orNull[T comparable](v T) *T {
	if v == *new(T) {
		return nil
	}
	return &v
}

// ShowPhotos is the latest capture of each step, in capture order.
func ShowPhotos(s *callbackd.Session) []wire.Photo {
	out := make([]wire.Photo, 0, len(s.Photos))
	for i := range s.Photos {
		p := &s.Photos[i]
		step, _ := callbackd.StepOf(p.Code)
		out = append(out, wire.Photo{PhotoCode: p.Code, PhotoLabel: step.Label, URL: p.URL, Approved: p.Approved, ApprovedMessage: p.Verdict(),
			CreatedAt: wire.Timestamp(p.CreatedAt), UpdatedAt: wire.Timestamp(p.UpdatedAt)})
	}
	return out
}

// ShowNote is a note as its key sees it.
func ShowNote(n callbackd.Note) wire.Note {
	return wire.Note{Title: n.Title, Description: n.Description, InsertedBy: n.InsertedBy, InsertedAt: wire.Timestamp(n.InsertedAt)}
}

package session

import (
	"sync"
	"time"

	"callbackd"
)

// SampleKey is the session key of all samples.
const SampleKey = "TST-0000000000"

// Sample returns sample data for an event of the type, or nil for an unknown type. The
// data comes from an inspection that is played here by the domain's rules, so it has
// everything that real data has.
func Sample(t callbackd.EventType) []byte { return samples()[t] }

// samples returns the data of the last event of each type in a played inspection.
var samples = sync.OnceValue(func() map[callbackd.EventType][]byte {
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	next := func(d time.Duration) time.Time { at = at.Add(d); return at }
	s := &callbackd.Session{
		SessionKey: SampleKey, Status: callbackd.StatusIdle, Theme: callbackd.DefaultTheme, Language: callbackd.DefaultLanguage, RedirectURL: "https://example.com/inspection/done",
		ClientID: "customer-1001", SMS: callbackd.SMS{To: "+15555550100", ToName: "Jane Smith", From: "+15555550101", By: "Example Motors", State: callbackd.SMSWaiting},
		FirstName: "Jane", LastName: "Smith", Reference: []byte(`{"lead":"L-2041"}`), SourceType: callbackd.DefaultSource, SourceProperties: []byte(`{"api_name":"sample"}`),
		Vehicle: callbackd.Vehicle{ID: 48151, VIN: "1HGCM82633A004352", Year: 2017, Make: "Honda", Model: "Accord", BodyType: "Sedan", Trim: "EX", Transmission: "Automatic",
			Drivetrain: "FWD", EngineType: "4 cyl 2.4 L", FuelType: "Gasoline", ExteriorCol: "Silver", InteriorCol: "Black", OdomReading: "100,945", OdomUnit: "km"},
		CreatedAt: at, UpdatedAt: at, ExpiresAt: at.Add(callbackd.DefaultTimeFrame),
	}
	out := map[callbackd.EventType][]byte{}
	take := func(fired []callbackd.Fired, err error) {
		for i := range fired {
			if err == nil {
				out[fired[i].Type], err = Data(s, &fired[i])
			}
		}
		if err != nil {
			panic(err) // the rules refuse the sample's inspection
		}
	}
	take(s.Created("https://example.com/capture/"+SampleKey), nil)
	take(s.ReportSMS(callbackd.SMSReport{State: callbackd.SMSSuccess, Message: "Delivered"}, next(6*time.Second)))
	take(s.Start(next(2 * time.Minute)))
	for _, step := range callbackd.PhotoSteps {
		take(s.AddPhoto(callbackd.Photo{Code: step.Code, URL: "https://example.com/photos/" + SampleKey + "/" + step.Label + ".jpg", Approved: true}, next(15*time.Second)))
	}
	take(s.AddNote(callbackd.Note{Title: "Scratch", Description: "On the left rear door, 4 cm", InsertedBy: "jane.smith"}, next(5*time.Second)))
	take(s.PutResults([]byte(sampleResults), nil, next(time.Minute)))
	take(s.Complete(next(40 * time.Second)))
	return out
})

const sampleResults = `{"session":{"user_account":{"username":"jane.smith","first_name":"Jane","last_name":"Smith","email":"jane.smith@example.com","phone":"+15555550100"}},` +
	`"location":{"address":"1 Main St","city":"Toronto","region":"ON","country":"CA","postal_code":"M5V 2T6","latitude":43.6426,"longitude":-79.3871},` +
	`"disclosures":null,"announcements":null,` +
	`"inspection":{"damages_overview":{"total":1,"exterior":1,"interior":0},` +
	`"detected_damages":[{"photo_code":4,"component":"Left Rear Door","damage":"Scratch","severity":"minor","coordinates":{"x":812,"y":440}}],` +
	`"detected_status":"DAMAGED","grading":{"standard_A":3},"annotated_images":[{"photo_code":4,"url":"https://example.com/photos/` + SampleKey + `/Left-annotated.jpg"}],"case_details":null},` +
	`"condition_report":"https://example.com/reports/` + SampleKey + `","landing_page":"https://example.com/sessions/` + SampleKey + `"}`

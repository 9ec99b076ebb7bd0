package session

import (
	"strings"
	"sync"
	"time"

	"callbackd"
	"callbackd/internal/strictjson"
)

// SampleKey is the session key of all samples.
const SampleKey = "TST-0000000000"

// Sample returns sample data for an event of the type, or nil for an unknown type: that of
// the last such event of the sample inspection.
func Sample(t callbackd.EventType) []byte { return samples()[t] }

// samples returns the data of the last event of each type in the sample inspection.
var samples = sync.OnceValue(func() map[callbackd.EventType][]byte {
	out := map[callbackd.EventType][]byte{}
	for _, ev := range Inspection(SampleKey, time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)) {
		out[ev.Type] = ev.Data
	}
	return out
})

// InspectionTime is the most that the sample inspection takes.
const InspectionTime = 10 * time.Minute

// SampleEvent is an event of the sample inspection.
type SampleEvent struct {
	Type callbackd.EventType
	Data []byte // a JSON object
}

// Inspection returns all events of the sample inspection, in order, with a session key and
// a time of its start. The inspection is played by the domain's rules, so its events have
// everything that real ones have.
func Inspection(key string, at time.Time) (out []SampleEvent) {
	at = Time(at)
	next := func(d time.Duration) time.Time { at = at.Add(d); return at }
	s := &callbackd.Session{
		SessionKey: key, Status: callbackd.StatusIdle, Theme: callbackd.DefaultTheme, Language: callbackd.DefaultLanguage, RedirectURL: "https://example.com/inspection/done",
		ClientID: "customer-1001", SMS: callbackd.SMS{To: "+15555550100", ToName: "Jane Smith", From: "+15555550101", By: "Example Motors", State: callbackd.SMSWaiting},
		FirstName: "Jane", LastName: "Smith", Reference: []byte(`{"lead":"L-2041"}`), SourceType: callbackd.DefaultSource, SourceProperties: []byte(`{"api_name":"sample"}`),
		Vehicle: callbackd.Vehicle{ID: 48151, VIN: "1HGCM82633A004352", Year: 2017, Make: "Honda", Model: "Accord", BodyType: "Sedan", Trim: "EX", Transmission: "Automatic",
			Drivetrain: "FWD", EngineType: "4 cyl 2.4 L", FuelType: "Gasoline", ExteriorCol: "Silver", InteriorCol: "Black", OdomReading: "100,945", OdomUnit: "km"},
		CreatedAt: at, UpdatedAt: at, ExpiresAt: at.Add(callbackd.DefaultTimeFrame),
	}
	take := func(fired []callbackd.Fired, err error) {
		for i := range fired {
			if err == nil {
				var data []byte
				data, err = Data(s, &fired[i])
				out = append(out, SampleEvent{fired[i].Type, data})
			}
		}
		if err != nil {
			panic(err) // the rules refuse the sample's inspection
		}
	}
	take(s.Created("https://example.com/capture/"+key), nil)
	take(s.ReportSMS(callbackd.SMSReport{State: callbackd.SMSSuccess, Message: "Delivered"}, next(6*time.Second)))
	take(s.Start(next(2 * time.Minute)))
	for _, step := range callbackd.PhotoSteps {
		take(s.AddPhoto(callbackd.Photo{Code: step.Code, URL: "https://example.com/photos/" + key + "/" + step.Label + ".jpg", Approved: true}, next(15*time.Second)))
	}
	take(s.AddNote(callbackd.Note{Title: "Scratch", Description: "On the left rear door, 4 cm", InsertedBy: "jane.smith"}, next(5*time.Second)))
	quoted := string(strictjson.AppendString(nil, key))
	results := strings.ReplaceAll(sampleResults, SampleKey, quoted[1:len(quoted)-1])
	take(s.PutResults([]byte(results), nil, next(time.Minute)))
	take(s.Complete(next(40 * time.Second)))
	return out
}

const sampleResults = `{"session":{"user_account":{"username":"jane.smith","first_name":"Jane","last_name":"Smith","email":"jane.smith@example.com","phone":"+15555550100"}},` +
	`"location":{"address":"1 Main St","city":"Toronto","region":"ON","country":"CA","postal_code":"M5V 2T6","latitude":43.6426,"longitude":-79.3871},` +
	`"disclosures":null,"announcements":null,` +
	`"inspection":{"damages_overview":{"total":1,"exterior":1,"interior":0},` +
	`"detected_damages":[{"photo_code":4,"component":"Left Rear Door","damage":"Scratch","severity":"minor","coordinates":{"x":812,"y":440}}],` +
	`"detected_status":"DAMAGED","grading":{"standard_A":3},"annotated_images":[{"photo_code":4,"url":"https://example.com/photos/` + SampleKey + `/Left-annotated.jpg"}],"case_details":null},` +
	`"condition_report":"https://example.com/reports/` + SampleKey + `","landing_page":"https://example.com/sessions/` + SampleKey + `"}`

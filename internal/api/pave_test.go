package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/signature"
	"callbackd/wire"
)

// sample is one request of PAVE's documentation: its facts, not its words.
// CODE in a path is the session; want is a pattern of the whole answer, in
// which KEY and CODE stand for what they are.
type sample struct {
	name, method, path, body string
	status                   int
	want                     string
}

const (
	sampleSession = `\{"session_key":"CODE","theme":"PRO","active":true,"status":"IDLE","redirect_url":null,"inspect_started_at":null,"inspect_ended_at":null,"created_at":` + stamp + `,"updated_at":` + stamp +
		`,"language":"EN","capture_url":null,"options":\{"client_id":null,"sms":\{[^}]*\},"contact":\{[^}]*\},"reference":null\},"source":\{"type":"api",[^}]*\}\}(,"vehicle":\{[^}]*\})?\}`
	sampleVehicle = `"vehicle":\{"vehicle_id":null,"vin":"JN1CV6AR9BMXXXXXX","year":null,"make":null,"model":null,"body_type":null,"trim":null,"transmission":null,"drivetrain":null,"engine_type":null,"fuel_type":null,"ext_col":null,"int_col":null,"odom_reading":null,"odom_unit":null\}`
)

// callbackSamples lists the samples of the callbacks pages in their order.
var callbackSamples = []sample{
	{"POST Create New Callback", "POST", "/v1/callbacks", `{"event":"SESSION:STATUS_CHANGE","url":"https://receiver.example/status","method":"POST","headers":{"Authorization":"Bearer x"},"payload":{"group":"a"}}`,
		200, `\{"api_key":"KEY","event":"SESSION:STATUS_CHANGE","url":"https://receiver.example/status","method":"POST","headers":\{"Authorization":"Bearer x"\},"payload":\{"group":"a"\}\}`},
	{"POST Create New Callback, fields missing", "POST", "/v1/callbacks", `{"event":"SESSION:STATUS_CHANGE"}`, 400, `\{"message":"Missing required fields."\}`},
	{"GET All Callbacks", "GET", "/v1/callbacks", "", 200, `\{"api_key":"KEY","data":\[\{"event":"SESSION:STATUS_CHANGE","url":"https://receiver.example/status","method":"POST","headers":\{"Authorization":"Bearer x"\},"payload":\{"group":"a"\}\}\]\}`},
	{"GET View a Callback", "GET", "/v1/callbacks/SESSION:STATUS_CHANGE", "", 200, `\{"api_key":"KEY","data":\{"event":"SESSION:STATUS_CHANGE",.*\}\}`},
	{"GET View a Callback, none", "GET", "/v1/callbacks/SESSION:COMPLETE", "", 404, `\{"api_key":"KEY","message":"Your API Key does not have callback setting for the event SESSION:COMPLETE."\}`},
	{"PUT Update a Callback", "PUT", "/v1/callbacks/SESSION:STATUS_CHANGE", `{"url":"https://receiver.example/other","method":"PUT"}`,
		200, `\{"api_key":"KEY","event":"SESSION:STATUS_CHANGE","url":"https://receiver.example/other","method":"PUT","headers":\{\},"payload":\{\}\}`},
	{"PUT Update a Callback, fields missing", "PUT", "/v1/callbacks/SESSION:STATUS_CHANGE", `{"method":"PUT"}`, 400, `\{"message":"Missing required fields."\}`},
	{"PUT Update a Callback, none", "PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"https://receiver.example/"}`, 404, `\{"api_key":"KEY","message":"Your API Key does not have callback setting for the event SESSION:COMPLETE."\}`},
	{"DELETE a Callback", "DELETE", "/v1/callbacks/SESSION:STATUS_CHANGE", "", 200, `\{"api_key":"KEY","message":"Callback setting SESSION:STATUS_CHANGE has been successfully removed."\}`},
	{"DELETE a Callback, none", "DELETE", "/v1/callbacks/SESSION:STATUS_CHANGE", "", 404, `\{"api_key":"KEY","message":"Your API Key does not have callback setting for the event SESSION:STATUS_CHANGE."\}`},
}

// sessionSamples of the sessions pages, on a session that was created with a
// VIN.
var sessionSamples = []sample{
	{"GET Session Data", "GET", "/v1/sessions/CODE", "", 200, sampleSession},
	{"GET Session Data, the vehicle", "GET", "/v1/sessions/CODE", "", 200, `.*,` + sampleVehicle + `\}`},
	{"GET Session Photos", "GET", "/v1/sessions/CODE/photos", "", 200, `\[\]`},
	{"GET Session Notes", "GET", "/v1/sessions/CODE/notes", "", 200, `\[\]`},
	{"GET Session Results, too early", "GET", "/v1/sessions/CODE/results", "", 400, `\{"message":"Session is not yet completed."\}`},
	{"PUT Update Session", "PUT", "/v1/sessions/CODE", `{"redirect_url":"https://dealer.example/","language":"EN","theme":"LITE"}`, 200, `\{"session_key":"CODE","theme":"LITE",.*"redirect_url":"https://dealer.example/",.*\}`},
	{"DELETE Session", "DELETE", "/v1/sessions/CODE", "", 200, `\{"message":"Session CODE has been successfully removed."\}`},
	{"GET Session Data, none", "GET", "/v1/sessions/CODE", "", 404, `\{"message":"Session CODE cannot be found."\}`},
	{"GET Session Photos, none", "GET", "/v1/sessions/CODE/photos", "", 404, `\{"message":"Session CODE cannot be found."\}`},
	{"GET Session Notes, none", "GET", "/v1/sessions/CODE/notes", "", 404, `\{"message":"Session CODE cannot be found."\}`},
	{"GET Session Results, none", "GET", "/v1/sessions/CODE/results", "", 404, `\{"message":"Session CODE cannot be found."\}`},
	{"PUT Update Session, none", "PUT", "/v1/sessions/CODE", `{"language":"EN"}`, 404, `\{"message":"Session CODE cannot be found."\}`},
	{"DELETE Session, none", "DELETE", "/v1/sessions/CODE", "", 404, `\{"message":"Session CODE cannot be found."\}`},
}

// asCurl sends the headers of PAVE's samples, in their spelling: the HTTP
// client of a sample, with the timestamp its token was made for.
func (s *server) asCurl(spelling func(time.Time) string) func(*http.Request) {
	return func(r *http.Request) {
		now := spelling(time.Now().UTC())
		r.Header = http.Header{"Accept": {"application/json"}, "Content-Type": {"application/json"}, "Api-Key": {s.key.APIKey}, "Api-Timestamp": {now},
			"Api-Token": {signature.Token(s.key.Account, s.key.APIKey, now, s.key.Secret.Reveal())}}
	}
}

func (s *server) play(t *testing.T, code string, samples []sample) {
	spellings := []func(time.Time) string{
		func(t time.Time) string { return t.Format("2006-01-02T15:04:05Z") },
		func(t time.Time) string { return itoa(int(t.Unix())) },
		func(t time.Time) string { return t.Format(http.TimeFormat) },
	}
	for i, p := range samples {
		t.Run(p.name, func(t *testing.T) {
			here := *s
			here.t = t
			fill := strings.NewReplacer("CODE", code, "KEY", s.key.APIKey)
			here.call(p.method, fill.Replace(p.path), p.body, s.asCurl(spellings[i%3])).matches(p.status, fill.Replace(p.want))
		})
	}
}

// Every request of PAVE's pages works as it is printed there.
func TestPAVESamples(t *testing.T) {
	s := start(t)
	s.play(t, "", callbackSamples)
	// POST Create Session, at the path of the sample and at that of the text.
	for _, path := range []string{"/v1/session", "/v1/sessions"} {
		code := s.createAt(path, `{"vehicle":{"vin":"JN1CV6AR9BMXXXXXX"}}`)
		s.play(t, code, sessionSamples)
	}
	code := s.create(`{"vehicle":{"vin":"JN1CV6AR9BMXXXXXX"},"sms":{"to":"647-455-0100","to_name":"Jane","from":"647-422-0100","by":"dealer"}}`)
	s.play(t, code, []sample{{"PUT Update Session, sms frozen", "PUT", "/v1/sessions/CODE", `{"sms":{"to":"647-455-0101"}}`, 400, `\{"message":"sms.to is frozen.*"\}`}})
	s.step("POST", code, "start", "", callbackd.StatusStarted, "STATUS_CHANGE")
	s.play(t, code, []sample{
		{"PUT Update Session, theme frozen", "PUT", "/v1/sessions/CODE", `{"theme":"CAPT"}`, 400, `\{"message":"theme is frozen.*"\}`},
		{"DELETE Session, started", "DELETE", "/v1/sessions/CODE", "", 400, `\{"message":"Session CODE has been started and cannot be deleted."\}`},
	})
	for i, step := range callbackd.PhotoSteps[1:] {
		if i == 0 {
			s.call("POST", "/v1/sessions/"+code+"/photos", `{"photo_code":2,"url":"https://photos.example/2.jpg","approved":false,"approved_message":"REJECTED: Wrong View"}`).ok(200)
			s.play(t, code, []sample{{"GET Session Photos, rejected", "GET", "/v1/sessions/CODE/photos", "", 200,
				`\[\{"photo_code":2,"photo_label":"Interior","url":"https://photos.example/2.jpg","approved":false,"approved_message":"REJECTED: Wrong View","created_at":` + stamp + `,"updated_at":` + stamp + `\}\]`}})
		}
		s.call("POST", "/v1/sessions/"+code+"/photos", photoBody(step.Code)).ok(200)
	}
	s.step("POST", code, "notes", `{"title":"Scratch","description":"door","inserted_by":"me"}`, callbackd.StatusQCPassed, "NOTE_INSERT")
	s.step("PUT", code, "results", `{"inspection":{"total":0}}`, callbackd.StatusConfirm, "STATUS_CHANGE")
	s.step("POST", code, "complete", "", callbackd.StatusComplete, "STATUS_CHANGE", "COMPLETE")
	s.play(t, code, []sample{
		{"GET Session Photos, all", "GET", "/v1/sessions/CODE/photos", "", 200, `\[(\{"photo_code":\d+,"photo_label":"\w+","url":"[^"]+","approved":true,"approved_message":"ACCEPTED","created_at":` + stamp + `,"updated_at":` + stamp + `\},?){12}\]`},
		{"GET Session Notes, one", "GET", "/v1/sessions/CODE/notes", "", 200, `\[\{"title":"Scratch","description":"door","inserted_by":"me","inserted_at":` + stamp + `\}\]`},
		{"GET Session Results", "GET", "/v1/sessions/CODE/results", "", 200, `\{"event":"SESSION:COMPLETE","session_key":"CODE","session":\{"session_key":"CODE","theme":"PRO","active":true,"status":"COMPLETE",.*"user_account":\{.*\},"source":\{.*\},"capture_duration":\d+,"inspect_duration":\d+,` +
			`"vehicle":\{"id":null,"session_key":"CODE","vrm":null,"vin":.*\}\},"photos":\[.*\],` + strings.Replace(sampleVehicle, `"vehicle_id"`, `"id"`, 1) +
			`,"location":null,"disclosures":null,"announcements":null,"inspection":\{"total":0\},"condition_report":null,"landing_page":null\}`},
		{"PUT Update Session, completed", "PUT", "/v1/sessions/CODE", `{"language":"FR"}`, 400, `\{"message":"language is frozen.*"\}`},
	})
}

func (s *server) createAt(path, body string) string {
	s.t.Helper()
	return decode[wire.Session](s.call("POST", path, body).ok(200)).SessionKey
}

// resendWith makes the v2 call, which knows one header.
func (s *server) resendWith(apiKey, code, body string) reply {
	s.t.Helper()
	return s.call("POST", "/v2/capture/sessions/"+code+"/resend", body, func(r *http.Request) {
		r.Header = http.Header{"Api-Access-Token": {apiKey}}
	})
}

func TestPAVEResend(t *testing.T) {
	s := start(t)
	code := s.create(`{"sms":{"to":"+15555550100"}}`)
	refused := func(message, status string) string {
		return `{"status":"error","message":"` + message + `","session_key":"` + code + `"` + status + `}`
	}
	s.resendWith("nonsense", code, "").is(401, refused("The header API-Access-Token must hold an API key.", ""))
	s.resendWith("", code, "").is(401, refused("The header API-Access-Token must hold an API key.", ""))
	s.resendWith(s.newKey("acme", false).APIKey, code, "").is(404, refused("Session not found", ""))
	s.resendWith(s.key.APIKey, code, `[1]`).is(400, refused("The body must be a JSON object.", ""))
	s.resendWith(s.key.APIKey, code, `{"phone":["x"]}`).is(400, refused("phone must be a string.", `,"session_status":"IDLE"`))
	s.resendWith(s.key.APIKey, code, "").is(200, `{"status":"success","message":"SMS resend has been processed","session_key":"`+code+`","phone":"+15555550100","session_age_days":0,"days_remaining":7}`)
	s.resendWith(s.key.APIKey, code, "").is(400, refused("SMS has already been resent", `,"session_status":"IDLE"`))
	var asked []string
	for _, ev := range decode[wire.SessionEventList](s.call("GET", "/v1/sessions/"+code+"/events", "").ok(200)).Data {
		asked = append(asked, ev.Event)
	}
	equal(t, "the events of the creation and one resend", asked, []string{"SESSION:SMS_REQUESTED", "SESSION:SMS_REQUESTED"})
	code = s.create("")
	s.resendWith(s.key.APIKey, code, "").is(400, refused("phone is missing, and the session has no number to use instead", `,"session_status":"IDLE"`))
	s.resendWith(s.key.APIKey, code, `{"phone":"+2"}`).says(200, "SMS resend has been processed")
	s.call("GET", "/v1/sessions/"+code, "").matches(200, `.*"to":"\+2".*`)
	code = s.create(`{"sms":{"to":"+1"}}`)
	s.confirm(code)
	s.step("POST", code, "complete", "", callbackd.StatusComplete, "STATUS_CHANGE", "COMPLETE")
	s.resendWith(s.key.APIKey, code, "").is(400, refused("Session is already finalized and cannot be resent", `,"session_status":"COMPLETE"`))
	k, err := s.store.CreateKey(t.Context(), callbackd.Key{Account: "acme", APIKey: "short", Secret: "s", TimeFrame: time.Millisecond, CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	code = s.as(k).create(`{"sms":{"to":"+1"}}`)
	expired := time.Now().Add(time.Millisecond) // the loop that expires sessions does not run here
	for time.Now().Before(expired) {
		s.call("GET", "/healthz", "")
	}
	s.resendWith(k.APIKey, code, "").is(400, refused("Session has expired and cannot be resent", `,"session_status":"EXPIRED"`))
}

// Each row is what a real client does that the documentation does not say.
func TestClientQuirks(t *testing.T) {
	s := start(t)
	recv := listen(t, nil)
	for _, ev := range callbackd.EventTypes {
		s.register(string(ev), recv.url, "")
	}
	quirk := func(name string, f func(t *testing.T, s *server)) {
		t.Run(name, func(t *testing.T) { here := *s; here.t = t; f(t, &here) })
	}
	quirk("a session without body and content type", func(t *testing.T, s *server) {
		s.call("POST", "/v1/session", "", func(r *http.Request) { r.Body, r.ContentLength = http.NoBody, 0; r.Header.Del("Content-Type") }).ok(200)
	})
	quirk("a body without a content type", func(t *testing.T, s *server) {
		s.call("POST", "/v1/sessions", `{"vin":"JN1CV6AR9BM123456"}`, func(r *http.Request) { r.Header.Del("Content-Type") }).matches(200, `.*"vin":"JN1CV6AR9BM123456".*`)
	})
	quirk("members flat instead of nested", func(t *testing.T, s *server) {
		s.call("POST", "/v1/sessions", `{"vin":"JN1CV6AR9BM123456","make":"Nissan","client_id":"C","to":"+1"}`).matches(200, `.*"client_id":"C","sms":\{"to":"\+1".*"vin":"JN1CV6AR9BM123456","year":null,"make":"Nissan".*`)
	})
	quirk("the year as a string", func(t *testing.T, s *server) {
		s.call("POST", "/v1/sessions", `{"vehicle":{"year":"2017"}}`).matches(200, `.*"year":2017,.*`)
	})
	quirk("unknown members", func(t *testing.T, s *server) {
		s.call("POST", "/v1/sessions", `{"vehicle":{"colour":{"a":[]}},"settings":[1]}`).ok(200)
	})
	quirk("the key alone, for v2", func(t *testing.T, s *server) {
		s.resendWith(s.key.APIKey, s.create(`{"to":"+1"}`), "").ok(200)
	})
	quirk("a receiver that needs event and session_key at the top, and the members clients read", func(t *testing.T, s *server) {
		code := s.create("")
		s.step("POST", code, "start", "", callbackd.StatusStarted, "STATUS_CHANGE")
		s.step("POST", code, "photos", photoBody(4), callbackd.StatusProcess, "STAGE_CHANGE", "STATUS_CHANGE")
		s.step("POST", code, "notes", `{"note":{"title":"n","description":"d","inserted_by":"i"}}`, callbackd.StatusProcess, "NOTE_INSERT")
		for range 4 {
			body := recv.next().body
			for event, members := range map[string][]string{"STATUS_CHANGE": {`"status":"`}, "STAGE_CHANGE": {`"photo_url":"`, `"photo_status":"ACCEPTED"`, `"photo_code":4`, `"photo_label":"Left"`},
				"NOTE_INSERT": {`"note":{"title":"n","description":"d","inserted_by":"i","inserted_at":"`}} {
				if !strings.HasPrefix(body, `{"event":"SESSION:`+event+`","session_key":"`+code+`",`) {
					continue
				}
				for _, m := range members {
					if !strings.Contains(body, m) {
						t.Errorf("%s lacks %s: %s", event, m, body)
					}
				}
			}
		}
	})
	// Of the others, each has its test: TestTimestampsInEverySpellingThatClientsSend,
	// TestTheKnownMistakeGetsHelp, TestHeadersAndPayloadAsObjectOrAsString,
	// TestTheEventInAPathMayBePercentEncoded, TestEveryEventOfTheTableCanBeRegistered.
}

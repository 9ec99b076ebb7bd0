package api_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"callbackd"
	"callbackd/internal/session"
	"callbackd/wire"
)

// create makes a session and returns its key.
func (s *server) create(body string) string {
	s.t.Helper()
	return decode[wire.Session](s.call("POST", "/v1/sessions", body).ok(200)).SessionKey
}

// step makes one call of the platform's side and returns what it fired.
func (s *server) step(method, key, path, body string, status callbackd.SessionStatus, fired ...string) {
	s.t.Helper()
	c := decode[wire.SessionChange](s.call(method, "/v1/sessions/"+key+"/"+path, body).ok(200))
	var got []string
	for _, ev := range c.Events {
		got = append(got, strings.TrimPrefix(ev.Event, "SESSION:"))
		equal(s.t, path+": the session of the event", ev.SessionKey, key)
		if ev.Sequence < 1 {
			s.t.Errorf("%s: the event has the sequence number %d, want 1 or more", path, ev.Sequence)
		}
		if ev.ID == "" {
			s.t.Errorf("%s: the event has no id", path)
		}
	}
	equal(s.t, path+": the session", c.SessionKey, key)
	equal(s.t, path+": the status", c.Status, string(status))
	equal(s.t, path+": the events", got, fired)
}

func photoBody(code int) string {
	return fmt.Sprintf(`{"photo_code":%d,"url":"https://photos.example/%d.jpg","approved":true}`, code, code)
}

// capture adds an accepted photo of every step that is missing.
func (s *server) capture(key string) {
	s.t.Helper()
	for i, step := range callbackd.PhotoSteps {
		switch i {
		case 0:
			s.step("POST", key, "photos", photoBody(step.Code), callbackd.StatusProcess, "STAGE_CHANGE", "STATUS_CHANGE")
		case len(callbackd.PhotoSteps) - 1:
			s.step("POST", key, "photos", photoBody(step.Code), callbackd.StatusQCPassed, "STAGE_CHANGE", "STATUS_CHANGE")
		default:
			s.step("POST", key, "photos", photoBody(step.Code), callbackd.StatusProcess, "STAGE_CHANGE")
		}
	}
}

// confirm leads a session to CONFIRM.
func (s *server) confirm(key string) {
	s.t.Helper()
	s.step("POST", key, "start", "", callbackd.StatusStarted, "STATUS_CHANGE")
	s.capture(key)
	s.step("PUT", key, "results", `{"grade":4.50}`, callbackd.StatusConfirm, "STATUS_CHANGE")
}

const stamp = `"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"`

// matches compares a body with a pattern of the whole of it.
func (r reply) matches(status int, pattern string) {
	r.t.Helper()
	if r.status != status || !regexp.MustCompile("^"+pattern+"\n$").MatchString(r.body) {
		r.t.Errorf("%d %s\nwant %d %s", r.status, r.body, status, pattern)
	}
}

func TestAnInspectionFiresItsEventsInOrder(t *testing.T) {
	onBothStores(t, anInspectionFiresItsEventsInOrder)
}

func anInspectionFiresItsEventsInOrder(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	for _, ev := range callbackd.EventTypes {
		s.register(string(ev), recv.url, `,"payload":{"source":"t"}`)
	}
	key := s.create(`{"vehicle":{"vin":"jn1cv6ar9bm123456"},"options":{"reference":{"lead":17.50}}}`)
	s.step("POST", key, "sms", `{"status":"success","phone":"+15555550100","message":"sent"}`, callbackd.StatusIdle, "SMS_PROCESS")
	s.step("POST", key, "start", "", callbackd.StatusStarted, "STATUS_CHANGE")
	s.step("POST", key, "photos", `{"photo_code":"4","url":"https://photos.example/a.jpg","approved":false,"approved_message":"Wrong View"}`, callbackd.StatusProcess, "STAGE_CHANGE", "STATUS_CHANGE")
	s.step("POST", key, "photos", photoBody(4), callbackd.StatusProcess, "STAGE_CHANGE")
	s.step("POST", key, "photos", `{"photo_code":3,"typed":"100,945"}`, callbackd.StatusProcess, "STAGE_CHANGE")
	s.step("POST", key, "notes", `{"title":"Scratch","description":"4 cm <b>","inserted_by":"inspector"}`, callbackd.StatusProcess, "NOTE_INSERT")
	for _, step := range callbackd.PhotoSteps {
		if !slices.Contains([]int{1, 3, 4, 6}, step.Code) { // the VIN was given at the start
			s.step("POST", key, "photos", photoBody(step.Code), callbackd.StatusProcess, "STAGE_CHANGE")
		}
	}
	s.step("POST", key, "photos", photoBody(6), callbackd.StatusQCPassed, "STAGE_CHANGE", "STATUS_CHANGE")
	s.step("PUT", key, "results", `{"grade":4.50,"vehicle":{"make":"Nissan","extra":[1e400]},"status":"mine"}`, callbackd.StatusConfirm, "STATUS_CHANGE")
	s.step("PUT", key, "results", `{"grade":4.50,"vehicle":{"make":"Nissan","extra":[1e400]},"status":"mine"}`, callbackd.StatusConfirm)
	s.step("POST", key, "complete", "", callbackd.StatusComplete, "STATUS_CHANGE", "COMPLETE")
	var bodies []string
	for range 21 {
		body := regexp.MustCompile(`"timestamp":`+stamp).ReplaceAllString(recv.next().body, `"timestamp":"…"`)
		bodies = append(bodies, body)
	}
	body := func(event, data string) string {
		return `{"event":"SESSION:` + event + `","session_key":"` + key + `",` + data + `,"source":"t"}`
	}
	for _, want := range []string{
		body("SMS_PROCESS", `"phone":"+15555550100","status":"success","message":"sent"`),
		body("STATUS_CHANGE", `"status":"STARTED","timestamp":"…","previous_status":"IDLE"`),
		body("STATUS_CHANGE", `"status":"COMPLETE","timestamp":"…","previous_status":"CONFIRM"`),
		body("STAGE_CHANGE", `"photo_url":"https://photos.example/a.jpg","photo_status":"REJECTED: Wrong View","photo_code":4,"photo_label":"Left"`),
		body("STAGE_CHANGE", `"photo_url":"https://photos.example/4.jpg","photo_status":"ACCEPTED","photo_code":4,"photo_label":"Left"`),
		body("STAGE_CHANGE", `"photo_url":"","photo_status":"ACCEPTED","message":"100,945","photo_code":3,"photo_label":"Cluster"`),
	} {
		if !slices.Contains(bodies, want) {
			t.Errorf("%s did not arrive, but\n%s", want, strings.Join(bodies, "\n"))
		}
	}
	results := strings.TrimSuffix(s.call("GET", "/v1/sessions/"+key+"/results", "").ok(200).body, "\n")
	if want := strings.TrimSuffix(results, "}") + `,"source":"t"}`; !slices.Contains(bodies, want) {
		t.Errorf("COMPLETE is not the body of the results:\n%s", want)
	}
	for _, part := range []string{`"status":"COMPLETE"`, `"active":true,"status":"COMPLETE"`, `},"photos":[{"photo_code":2,`,
		`],"vehicle":{"id":null,"vin":"JN1CV6AR9BM123456","year":null,"make":"Nissan",`, `"odom_unit":null,"extra":[1e400]},"location":null`, `"landing_page":null,"grade":4.50,"status":"mine"}`, `"reference":{"lead":17.50}`} {
		if !strings.Contains(results, part) {
			t.Errorf("the results lack %s: %s", part, results)
		}
	}
	s.call("GET", "/v1/sessions/"+key, "").matches(200, `\{"session_key":"`+key+`","theme":"PRO","active":true,"status":"COMPLETE","redirect_url":null,"inspect_started_at":`+stamp+`,"inspect_ended_at":`+stamp+
		`,"created_at":`+stamp+`,"updated_at":`+stamp+`,"language":"EN","capture_url":null,"options":\{"client_id":null,"sms":\{"to":"\+15555550100","to_name":null,"from":null,"by":null\},"contact":\{"first_name":null,"last_name":null\},"reference":\{"lead":17.50\}\},`+
		`"source":\{"type":"api","properties":\{"api_name":""\}\},"vehicle":\{"vehicle_id":null,"vin":"JN1CV6AR9BM123456","year":null,"make":"Nissan",.*"odom_reading":"100,945","odom_unit":null\}\}`)
	s.call("GET", "/v1/sessions/"+key+"/notes", "").matches(200, `\[\{"title":"Scratch","description":"4 cm <b>","inserted_by":"inspector","inserted_at":`+stamp+`\}\]`)
	photos := decode[[]wire.Photo](s.call("GET", "/v1/sessions/"+key+"/photos", "").ok(200))
	if len(photos) != 12 {
		t.Fatalf("%d photos, want 12", len(photos))
	}
	equal(t, "the label of photo 0", photos[0].PhotoLabel, "Interior")
	equal(t, "the URL of photo 1", photos[1].URL, "")
	equal(t, "the message of photo 2", photos[2].ApprovedMessage, "ACCEPTED")
	equal(t, "the code of photo 11", photos[11].PhotoCode, 6)
}

func TestCreateToleratesWhatClientsSend(t *testing.T) {
	s := start(t)
	none := func(r *http.Request) { r.Body, r.ContentLength = http.NoBody, 0 }
	first := s.call("POST", "/v1/sessions", "", none)
	first.matches(200, `\{"session_key":"ACM-[A-Z0-9]{10}","theme":"PRO","active":true,"status":"IDLE","redirect_url":null,"inspect_started_at":null,"inspect_ended_at":null,"created_at":`+stamp+`,"updated_at":`+stamp+
		`,"language":"EN","capture_url":null,"options":\{"client_id":null,"sms":\{"to":null,"to_name":null,"from":null,"by":null\},"contact":\{"first_name":null,"last_name":null\},"reference":null\},"source":\{"type":"api","properties":\{"api_name":""\}\}\}`)
	nested := `{"session":{"theme":"capt","language":"fr","redirect_url":"https://a.example/x"},"vehicle":{"vin":"JN1CV6AR9BMXXXXXX","year":"2017","make":"Nissan","odom_reading":100945,"options":["sunroof"]},
		"sms":{"to":"647-455-0100","to_name":"Jane","from":null,"by":"dealer"},"options":{"client_id":"S1","contact":{"first_name":"Jane","last_name":"Smith"},"reference":[1,"x"]},"unknown":{"a":1}}`
	flat := `{"theme":"CAPT","language":"fr","redirect_url":"https://a.example/x","vin":"jn1cv6ar9bmxxxxxx","year":2017,"make":"Nissan","odom_reading":"100945","to":"647-455-0100","to_name":"Jane","by":"dealer",
		"client_id":"S1","first_name":"Jane","last_name":"Smith","reference":[1,"x"],"more":1,"vehicle":[]}`
	deep := `{"session":{"theme":"CAPT","language":"fr","redirect_url":"https://a.example/x","vehicle":{"vin":"JN1CV6AR9BMXXXXXX","year":2017,"make":"Nissan","odom_reading":"100945"},
		"options":{"client_id":"S1","sms":{"to":"647-455-0100","to_name":"Jane","by":"dealer"},"contact":{"first_name":"Jane","last_name":"Smith"},"reference":[1,"x"]}}}`
	var shown []string
	for _, body := range []string{nested, flat, deep} {
		for _, path := range []string{"/v1/sessions", "/v1/session"} {
			r := s.call("POST", path, body).ok(200)
			shown = append(shown, regexp.MustCompile(`ACM-[A-Z0-9]{10}|\d{4}-\d\d-\d\dT[0-9:+]+`).ReplaceAllString(r.body, "…"))
		}
	}
	for i, b := range shown {
		if b != shown[0] {
			t.Errorf("%d gives\n%snot\n%s", i, b, shown[0])
		}
	}
	for _, part := range []string{`"theme":"CAPT"`, `"language":"fr"`, `"vin":"JN1CV6AR9BMXXXXXX"`, `"year":2017`, `"reference":[1,"x"]`, `"odom_reading":"100945"`} {
		if !strings.Contains(shown[0], part) {
			t.Errorf("%s lacks %s", shown[0], part)
		}
	}
	s.call("POST", "/v1/sessions", `{"source":{"type":"embedded_widget","properties":{"widget":7}},"options":null,"vehicle":{"year":null,"vin":""}}`).matches(200, `.*"source":\{"type":"embedded_widget","properties":\{"widget":7\}\}\}`)
}

// Who asks for the SMS with the link tells the platform, which sends it: an
// event says so, accepted with the change that asks.
func TestAskingForTheSMSTellsThePlatform(t *testing.T) {
	onBothStores(t, askingForTheSMSTellsThePlatform)
}

func askingForTheSMSTellsThePlatform(t *testing.T, on func(*setup)) {
	s := start(t, on, func(c *setup) { c.api.CaptureURL = "https://{account}.capture.example/{session_key}" })
	story := func(key string) (out []string) {
		for _, ev := range decode[wire.SessionEventList](s.call("GET", "/v1/sessions/"+key+"/events", "").ok(200)).Data {
			out = append(out, strings.TrimPrefix(ev.Event, "SESSION:")+string(ev.Data))
		}
		return out
	}
	requested := func(key, phone, name string) string {
		return `SMS_REQUESTED{"phone":"` + phone + `","name":` + name + `,"link":"https://acme.capture.example/` + key + `"}`
	}
	resend := func(key, body string, status int) {
		t.Helper()
		s.call("POST", "/v2/capture/sessions/"+key+"/resend", body, func(r *http.Request) {
			r.Header = http.Header{"Api-Access-Token": {s.key.APIKey}}
		}).ok(status)
	}
	// Nobody has registered for it: it is stored like every event, and can be
	// replayed.
	key := s.create(`{"sms":{"to":"+1","to_name":"Jane <b>"}}`)
	s.step("POST", key, "sms", `{"status":"error"}`, callbackd.StatusIdle, "SMS_PROCESS")
	recv := listen(t, nil)
	s.register("SESSION:SMS_REQUESTED", recv.url, "")
	s.call("PUT", "/v1/sessions/"+key, `{"sms":{"to":"+1"},"language":"FR"}`).ok(200) // the same number asks for nothing
	s.call("PUT", "/v1/sessions/"+key, `{"sms":{"to":"+2"}}`).ok(200)
	s.call("PUT", "/v1/sessions/"+key, `{"sms":{"to":"+3"}}`).says(400, "sms.to is frozen")
	resend(key, `{"phone":"+3"}`, 200)
	resend(key, `{"phone":"+4"}`, 400)
	want := []string{requested(key, "+1", `"Jane <b>"`), `SMS_PROCESS{"phone":"+1","status":"error"}`, requested(key, "+2", `"Jane <b>"`), requested(key, "+3", `"Jane <b>"`)}
	if got := story(key); !slices.Equal(got, want) {
		t.Errorf("the events are %s, want %s", got, want)
	}
	for i, phone := range []string{"+2", "+3"} {
		h, seq := recv.next(), fmt.Sprint(3+i)
		if want := `{"event":"SESSION:SMS_REQUESTED","session_key":"` + key + `","phone":"` + phone + `","name":"Jane <b>","link":"https://acme.capture.example/` + key + `"}`; h.body != want || h.header.Get("callback-sequence") != seq {
			t.Errorf("#%s is %s, want %s", h.header.Get("callback-sequence"), h.body, want)
		}
	}
	// A new number brings the name of whom it belongs to along.
	key = s.create(`{"sms":{"to":"+1","to_name":"Jane"}}`)
	s.step("POST", key, "sms", `{"status":"error"}`, callbackd.StatusIdle, "SMS_PROCESS")
	s.call("PUT", "/v1/sessions/"+key, `{"sms":{"to":"+2","to_name":"Ann"}}`).ok(200)
	if got, want := story(key)[2:], []string{requested(key, "+2", `"Ann"`)}; !slices.Equal(got, want) {
		t.Errorf("the number of somebody else fired %s, want %s", got, want)
	}
	recv.next()
	recv.next()
	// Without a number there is nothing to send, and the contact gives a name.
	key = s.create("")
	if got := story(key); len(got) != 0 {
		t.Errorf("fired %s", got)
	}
	resend(key, "", 400)
	resend(key, `{"phone":"+5"}`, 200)
	if got := story(key); !slices.Equal(got, []string{requested(key, "+5", "null")}) {
		t.Errorf("fired %s", got)
	}
	key = s.create(`{"to":6475550100,"first_name":"Jane","last_name":"Smith"}`)
	if got := story(key); !slices.Equal(got, []string{requested(key, "6475550100", `"Jane Smith"`)}) {
		t.Errorf("fired %s", got)
	}
	recv.next()
	recv.next()
}

// The link to a session's capture pages comes from the key's template or else
// the server's.
func TestSessionsShowTheirCaptureLink(t *testing.T) { onBothStores(t, sessionsShowTheirCaptureLink) }

func sessionsShowTheirCaptureLink(t *testing.T, on func(*setup)) {
	s := start(t, on, func(c *setup) { c.api.CaptureURL = "https://{account}.capture.example/{session_key}" })
	check := func(s *server, key, link string) {
		t.Helper()
		want := `.*"language":"EN","capture_url":` + strings.NewReplacer("KEY", key, "?", `\?`).Replace(link) + `,"options":.*`
		s.call("GET", "/v1/sessions/"+key, "").matches(200, want)
		s.call("PUT", "/v1/sessions/"+key, "{}").matches(200, want)
		s.call("GET", "/v1/sessions?q="+key, "").matches(200, want)
	}
	created := s.call("POST", "/v1/sessions", "").ok(200)
	key := decode[wire.Session](created).SessionKey
	created.matches(200, `\{"session_key":"`+key+`",.*"capture_url":"https://acme.capture.example/`+key+`",.*`)
	check(s, key, `"https://acme.capture.example/KEY"`)
	if err := s.store.ChangeKey(t.Context(), s.key.APIKey, func(k *callbackd.Key) error {
		k.CaptureURL = "https://own.example/?s={session_key}"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	check(s, key, `"https://own.example/?s=KEY"`)
	other := s.as(s.newKey("a.b", false)) // cannot stand in a host name
	check(other, other.create(""), `null`)
	bare := start(t, on)
	check(bare, bare.create(`{"capture_url":"https://mine.example/"}`), `null`)
}

// PHP writes an empty object as an empty array, axios a missing body as null,
// and a public client sends its own name as the source.
func TestSessionBodiesOfRealClients(t *testing.T) {
	s := start(t).loosely()
	for _, body := range []string{`null`, ` null `, `[]`, "[ \n]", `"[]"`, `{"session":[]}`, `{"vehicle":[],"sms":[],"options":[],"contact":[]}`, `{"options":"[]"}`,
		`{"options":{"sms":[],"contact":[],"reference":null},"session":null}`, `{"source":"dispatch"}`, `{"source":7}`, `{"source":[]}`, `{"source":null}`, `{"source":true}`,
		`{"source":{"properties":[]}}`, `{"source":{"properties":"[]"}}`, `{"source":{"properties":"{\"a\":1}"}}`, `{"source":{"properties":null,"type":null}}`, `{"theme":"","language":"","redirect_url":"","vin":"","year":""}`} {
		s.call("POST", "/v1/sessions", body).matches(200, `.*"redirect_url":null,.*"source":\{"type":"api","properties":\{.*\}\}\}`)
	}
	s.call("POST", "/v1/sessions", `{"theme":"PRO","language":"EN","source":"dispatch","reference":"R-1","reference_data":{"car_id":1}}`).matches(200, `.*"reference":"R-1".*`)
	s.call("POST", "/v1/sessions", `{"options":"{\"client_id\":\"C1\"}"}`).matches(200, `.*"client_id":"C1".*`)
	key := s.create("")
	for _, body := range []string{`null`, `[]`, ``, `{"session":[]}`} {
		s.call("PUT", "/v1/sessions/"+key, body).ok(200)
	}
	s.call("PUT", "/v1/sessions/"+key, `{"language":"pt-br"}`).matches(200, `.*"language":"pt-br".*`)
}

// A redirect may lead into an app, but never run what it holds.
func TestRedirectsMayOpenApps(t *testing.T) {
	s := start(t)
	key := s.create("")
	for _, redirect := range []string{"pave://", "myapp://inspection/done?x=1#y", "com.example.app:/cb", "MyApp://x", "https://a.example/x", "http://a.example:8080"} {
		for _, body := range []string{`{"session":{"redirect_url":"` + redirect + `"}}`, `{"redirect_url":"` + redirect + `"}`} {
			s.call("POST", "/v1/sessions", body).matches(200, `.*"redirect_url":"`+regexp.QuoteMeta(redirect)+`".*`)
			s.call("PUT", "/v1/sessions/"+key, body).matches(200, `.*"redirect_url":"`+regexp.QuoteMeta(redirect)+`".*`)
		}
	}
	for _, redirect := range []string{"javascript:alert(1)", " JavaScript://x/%0aalert(1)", "data:text/html,x", "DATA:,", "vbscript:x", "file:///etc/passwd", "/done", "done", "//a.example/", "https:", "https:///x", "http:x",
		`java\tscript:alert(1)`, `\u0001javascript:x`, ":x", "1app://x"} {
		s.call("POST", "/v1/sessions", `{"redirect_url":"`+redirect+`"}`).says(400, "redirect_url must ")
		s.call("PUT", "/v1/sessions/"+key, `{"session":{"redirect_url":"`+redirect+`"}}`).says(400, "redirect_url must ")
	}
}

// Real session keys have three or four letters.
func TestSessionKeysWithFourLettersAreFound(t *testing.T) {
	s := start(t)
	x := session.New(&s.key, session.Now())
	x.SessionKey = "ABCD-0123456789"
	if err := s.store.CreateSession(t.Context(), x, nil); err != nil {
		t.Fatal(err)
	}
	s.call("GET", "/v1/sessions/ABCD-0123456789", "").matches(200, `\{"session_key":"ABCD-0123456789",.*`)
}

func TestBadSessionsAreNamedAndLeaveNothing(t *testing.T) {
	s := start(t)
	long := strings.Repeat("x", callbackd.MaxSessionText+1)
	for body, says := range map[string]string{
		`[1]`: "must be a JSON object", `"x"`: "must be a JSON object", `"`: "ends in the middle", `{"options":"sms"}`: "options must be a JSON object", `{"vin":"short"}`: "vin must be 17 letters and digits", `{"vehicle":{"vin":12345678901234567890}}`: "vin must be 17",
		`{"vehicle":7}`: "vehicle must be a JSON object", `{"vehicle":{"year":"new"}}`: "year must be a year from 1886 to 2999, not", `{"year":2017.5}`: "year must be a year",
		`{"year":1}`: "year must be a year", `{"theme":"MAX"}`: "theme \"MAX\" is not supported. Use LITE, PRO or CAPT", `{"language":"x"}`: "language must be a language code",
		`{"language":"e n"}`: "language must be a language code", `{"redirect_url":"javascript:alert(1)"}`: "redirect_url must not have the scheme javascript:.",
		`{"redirect_url":"/x"}`: "redirect_url must be", `{"make":true}`: "make must be a string", `{"options":{"contact":{"first_name":"` + long + `"}}}`: "first_name is longer than 255 bytes",
		`{"options":{"sms":[1]}}`: "sms must be a JSON object", `{"source":{"type":"x"}}`: "source.type \"x\" is not supported. Use", `{"source":{"properties":[1]}}`: "source.properties must be",
		`{"options":{"reference":"` + strings.Repeat("x", callbackd.MaxReference) + `"}}`: "reference is larger than 16,384 bytes",
		`{"vehicle":{"vehicle_id":-1}}`: "vehicle_id must be",
	} {
		s.call("POST", "/v1/sessions", body).says(400, says)
	}
	s.call("GET", "/v1/sessions", "").is(200, `{"data":[],"next":null}`)
}

func TestUpdateAndItsFreezes(t *testing.T) { onBothStores(t, updateAndItsFreezes) }

func updateAndItsFreezes(t *testing.T, on func(*setup)) {
	s := start(t, on)
	key := s.create(`{"sms":{"to":"+1"}}`)
	path := "/v1/sessions/" + key
	s.call("PUT", path, `{"redirect_url":"https://a.example/","language":"fr","theme":"LITE"}`).matches(200, `.*"theme":"LITE",.*"redirect_url":"https://a.example/".*"language":"fr".*`)
	s.call("PUT", path, `{"session":{"redirect_url":"https://b.example/"}}`).matches(200, `.*"redirect_url":"https://b.example/".*`)
	s.call("PUT", path, `{}`).ok(200)
	s.call("PUT", path, `{"sms":{"to":"+2"}}`).says(400, "sms.to is frozen", "its state is waiting")
	s.step("POST", key, "sms", `{"status":"error"}`, callbackd.StatusIdle, "SMS_PROCESS")
	s.call("PUT", path, `{"options":{"sms":{"to":"+2"}}}`).matches(200, `.*"to":"\+2".*`)
	s.call("PUT", path, `{"theme":"x"}`).says(400, "theme \"x\" is not supported")
	s.call("PUT", path, `{"language":""}`).says(400, "language is missing.")
	s.step("POST", key, "start", "", callbackd.StatusStarted, "STATUS_CHANGE")
	s.call("PUT", path, `{"theme":"PRO","language":"DE"}`).says(400, "theme is frozen: it can be changed while the session is IDLE, and session "+key+" is STARTED.")
	s.call("GET", path, "").matches(200, `.*"language":"fr".*`) // nothing was half written
	s.call("PUT", path, `{"sms":{"to":"+3"}}`).says(400, "sms.to is frozen: it can be changed before the session is started")
}

func TestDeleteOnlyWhileIdle(t *testing.T) { onBothStores(t, deleteOnlyWhileIdle) }

func deleteOnlyWhileIdle(t *testing.T, on func(*setup)) {
	s := start(t, on)
	key := s.create("")
	s.call("DELETE", "/v1/sessions/"+key, "").is(200, `{"message":"Session `+key+` has been successfully removed."}`)
	s.call("DELETE", "/v1/sessions/"+key, "").is(404, `{"message":"Session `+key+` cannot be found."}`)
	key = s.create("")
	s.step("POST", key, "start", "", callbackd.StatusStarted, "STATUS_CHANGE")
	s.call("DELETE", "/v1/sessions/"+key, "").is(400, `{"message":"Session `+key+` has been started and cannot be deleted."}`)
}

func TestUnknownSessionsOnEveryPath(t *testing.T) {
	s := start(t)
	mine := s.create("")
	other := s.as(s.newKey("acme", false))
	for _, key := range []string{"ACM-0123456789", "x", "abc-0123456789", mine} {
		for _, c := range [][3]string{{"GET", "", ""}, {"PUT", "", "{}"}, {"DELETE", "", ""}, {"GET", "/photos", ""}, {"GET", "/notes", ""}, {"GET", "/results", ""}, {"GET", "/events", ""},
			{"POST", "/start", ""}, {"POST", "/photos", photoBody(4)}, {"POST", "/notes", `{"title":"x"}`}, {"POST", "/sms", `{"status":"error"}`}, {"PUT", "/results", "{}"},
			{"POST", "/complete", ""}, {"POST", "/invalidate", `{"reason":"x"}`}} {
			other.call(c[0], "/v1/sessions/"+key+c[1], c[2]).is(404, `{"message":"Session `+key+` cannot be found."}`)
		}
	}
}

func TestExpiryShowsAtOnceToWhoAsks(t *testing.T) { onBothStores(t, expiryShowsAtOnceToWhoAsks) }

func expiryShowsAtOnceToWhoAsks(t *testing.T, on func(*setup)) {
	s := start(t, on)
	k, err := s.store.CreateKey(t.Context(), callbackd.Key{Account: "acme", APIKey: "short", Secret: "s", TimeFrame: time.Hour, CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	s = s.as(k)
	key := s.create("")
	fired, _, err := session.Advance(t.Context(), s.store, session.Now().Add(59*time.Minute))
	if err != nil || fired != 0 {
		t.Fatalf("%d fired, %v", fired, err)
	}
	if fired, _, err = session.Advance(t.Context(), s.store, session.Now().Add(61*time.Minute)); err != nil || fired != 1 {
		t.Fatalf("%d fired, %v", fired, err)
	}
	s.call("GET", "/v1/sessions/"+key, "").matches(200, `.*"active":false,"status":"EXPIRED",.*`)
	s.call("POST", "/v1/sessions/"+key+"/start", "").says(409, "is EXPIRED: start is not possible")
}

// The search of sessions goes by value, whatever the client's JSON escapes.
func TestSessionsAreFoundByValue(t *testing.T) { onBothStores(t, sessionsAreFoundByValue) }

func sessionsAreFoundByValue(t *testing.T, on func(*setup)) {
	s := start(t, on)
	find := func(q string, want ...string) {
		t.Helper()
		var got []string
		for _, d := range decode[wire.SessionList](s.call("GET", "/v1/sessions?q="+escape(q), "").ok(200)).Data {
			got = append(got, d.SessionKey)
		}
		slices.Sort(got)
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Errorf("q=%s finds %v, want %v", q, got, want)
		}
	}
	a, b := s.create(`{"options":{"reference":"MÜNCHEN-77/x"}}`), s.create(`{"options":{"reference":"M\u00fcnchen-77\/x"}}`)
	c, d := s.create(`{"options":{"reference":{"n": 7123456}}}`), s.create(`{"options":{"reference":{"n":7123456.0}}}`)
	find("münchen-77/X", a, b)
	find("mu\u0308nchen", a, b)
	find("u00fc")
	find("7123456.00", c, d) // longer than what a random session key has by chance
}

// A callback's setting is the same setting however its JSON is spelled.
func TestSettingsAreComparedByValue(t *testing.T) { onBothStores(t, settingsAreComparedByValue) }

func settingsAreComparedByValue(t *testing.T, on func(*setup)) {
	s := start(t, on)
	post := func(payload string) reply {
		return s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://a.example/","payload":`+payload+`}`)
	}
	first := post(`{"a":"\u00e9/","n":[1,2.50,{"x":null}],"b":true}`).ok(200).body
	for _, same := range []string{`{"b":true,"n":[1.0,25e-1,{"x":null}],"a":"é\/"}`, `"{\"a\":\"\u00e9/\",\"n\":[1,2.5,{\"x\":null}],\"b\":true}"`} {
		post(same).is(200, strings.TrimSpace(strings.ReplaceAll(first, s.key.APIKey, "KEY")))
	}
	for _, other := range []string{`{"a":"e\u0301/","n":[1,2.5,{"x":null}],"b":true}`, `{"a":"é/","n":[2.5,1,{"x":null}],"b":true}`, `{"a":"é/","n":["1",2.5,{"x":null}],"b":true}`, `{"a":"é/","n":[1,2.5,{}],"b":true}`, `{}`} {
		post(other).ok(409)
	}
}

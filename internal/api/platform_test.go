package api_test

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"callbackd"
	"callbackd/wire"
)

func TestFaultsOfThePlatformsCalls(t *testing.T) {
	s := start(t)
	key := s.create("")
	s.step("POST", key, "start", "", callbackd.StatusStarted, "STATUS_CHANGE")
	for _, c := range [][4]string{
		{"POST", "photos", ``, "photo_code is missing"}, {"POST", "photos", `{"photo_code":14}`, "photo_code 14 is not a step. Use 1 (VIN), 2 (Interior)"},
		{"POST", "photos", `{"photo_code":"four"}`, "photo_code must be the number of a step: 1 (VIN), 2 (Interior)"}, {"POST", "photos", `{"photo_code":"4.5"}`, "photo_code must be the number of a step: 1 (VIN)"}, {"POST", "photos", `{"photo_code":-1}`, "photo_code -1 is not a step. Use 1 (VIN)"}, {"POST", "photos", `{"photo_code":4}`, "url is missing"},
		{"POST", "photos", `{"photo_code":4,"url":"x","approved":true}`, "url must be an absolute"}, {"POST", "photos", `{"photo_code":4,"url":"https://a.example/"}`, "approved is missing"},
		{"POST", "photos", `{"photo_code":4,"url":"https://a.example/","approved":"maybe"}`, "approved must be true or false"},
		{"POST", "photos", `{"photo_code":4,"url":"https://a.example/","approved":false}`, "approved_message must say why"},
		{"POST", "photos", `{"photo_code":4,"url":"https://a.example/","approved":false,"approved_message":"REJECTED: "}`, "approved_message must say why"},
		{"POST", "photos", `{"photo_code":4,"typed":"x"}`, "typed is allowed for the steps VIN and Cluster. A photo of Left must be captured"},
		{"POST", "photos", `{"photo_code":1,"typed":"x"}`, "typed must be 17"}, {"POST", "photos", `{"photo_code":3,"typed":"1","url":"https://a.example/"}`, "Leave out one of them"},
		{"POST", "notes", `{}`, "title and description are missing"}, {"POST", "notes", `{"note":{"title":[1]}}`, "title must be a string"},
		{"POST", "notes", `{"description":"` + strings.Repeat("x", callbackd.MaxNoteText+1) + `"}`, "description is longer than 8,192"},
		{"POST", "sms", `{}`, "status is missing"}, {"POST", "sms", `{"status":"sent"}`, "status \"sent\" is not supported. Use success or error"}, {"POST", "sms", `{"status":"error"}`, "phone is missing, and session " + key},
		{"PUT", "results", ``, "The body"}, {"PUT", "results", `[1]`, "must be a JSON object"}, {"PUT", "results", `null`, "The body is empty"}, {"PUT", "results", `{"vehicle":[1]}`, "vehicle must be a JSON object"},
		{"PUT", "results", `{"session":"x"}`, "session must be a JSON object"}, {"PUT", "results", `{"session":[1]}`, "session must be a JSON object"}, {"PUT", "results", `{"session":{"vehicle":7}}`, "vehicle must be a JSON object"},
		{"PUT", "results", `{"vehicle":{"vrm":[1]}}`, "vehicle.vrm must be a string or a number"}, {"PUT", "results", `{"vehicle":{"id":"` + strings.Repeat("x", 300) + `"}}`, "vehicle.id must be"},
		{"PUT", "results", `{"vehicle":{"vin":"x"}}`, "vin must be 17"},
		{"POST", "invalidate", ``, "reason is missing"},
	} {
		s.call(c[0], "/v1/sessions/"+key+"/"+c[1], c[2]).says(400, c[3])
	}
	s.call("PUT", "/v1/sessions/"+key+"/results", `{"x":"`+strings.Repeat("x", callbackd.MaxResults)+`"}`).says(413, "The results are larger than 163,840 bytes.")
	s.call("POST", "/v1/sessions/"+key+"/complete", "").is(409, `{"message":"Session `+key+` is STARTED: complete is not possible; possible now: photos, notes, sms."}`)
	s.call("GET", "/v1/sessions/"+key+"/results", "").is(400, `{"message":"Session is not yet completed."}`)
	if l := decode[wire.SessionEventList](s.call("GET", "/v1/sessions/"+key+"/events", "").ok(200)); len(l.Data) != 1 {
		t.Errorf("refused calls left events: %+v", l.Data)
	}
}

// What results say of the vehicle becomes the session's, wherever they say it.
func TestResultsTellTheSessionItsVehicle(t *testing.T) {
	s := start(t).loosely()
	for body, want := range map[string]string{
		`{"vehicle":{"id":77,"make":"VW","vrm":"AB12 CDE"}}`:                        `"vehicle":\{"vehicle_id":77,"vin":null,"year":null,"make":"VW",.*\}`,
		`{"vehicle":{"id":"77"}}`:                                                   `"vehicle":\{"vehicle_id":77,.*\}`,
		`{"vehicle":{"id":"a-b-c","make":"VW"}}`:                                    `"vehicle":\{"vehicle_id":null,.*"make":"VW",.*\}`,
		`{"session":{"vehicle":{"make":"VW","trim":"S"}}}`:                          `"vehicle":\{.*"make":"VW",.*"trim":"S",.*\}`,
		`{"vehicle":{"make":"VW"},"session":{"vehicle":{"make":"Kia","trim":"S"}}}`: `"vehicle":\{.*"make":"VW",.*"trim":"S",.*\}`,
		`[]`:               `.*`,
		`{"vehicle":[]}`:   `.*`,
		`{"session":[]}`:   `.*`,
		`{"session":null}`: `.*`,
	} {
		key := s.create("")
		s.confirm(key)
		s.step("PUT", key, "results", body, callbackd.StatusConfirm)
		s.call("GET", "/v1/sessions/"+key, "").matches(200, `\{.*`+want+`\}`)
		s.step("POST", key, "complete", "", callbackd.StatusComplete, "STATUS_CHANGE", "COMPLETE")
		s.call("GET", "/v1/sessions/"+key+"/results", "").matches(200, `.*\},"photos":\[.*\],"vehicle":\{.*"vin":.*\},"location":null,.*"landing_page":null\}`)
	}
}

func TestTwoClientsCompleteAtOnce(t *testing.T) { onBothStores(t, twoClientsCompleteAtOnce) }

func twoClientsCompleteAtOnce(t *testing.T, on func(*setup)) {
	s := start(t, on)
	key := s.create("")
	s.confirm(key)
	status := make([]int, 8)
	var wg sync.WaitGroup
	for i := range status {
		wg.Go(func() { status[i] = s.call("POST", "/v1/sessions/"+key+"/complete", "").status })
	}
	wg.Wait()
	slices.Sort(status)
	if !slices.Equal(status, []int{200, 409, 409, 409, 409, 409, 409, 409}) {
		t.Errorf("answered %v", status)
	}
	if l := decode[wire.EventList](s.call("GET", "/v1/events?event=SESSION:COMPLETE", "").ok(200)); len(l.Data) != 1 {
		t.Errorf("%d COMPLETE events", len(l.Data))
	}
}

func TestInvalidSessions(t *testing.T) {
	s := start(t)
	key := s.create("")
	s.step("POST", key, "start", "", callbackd.StatusStarted, "STATUS_CHANGE")
	s.step("POST", key, "photos", photoBody(4), callbackd.StatusProcess, "STAGE_CHANGE", "STATUS_CHANGE")
	s.step("POST", key, "invalidate", `{"reason":"Another vehicle"}`, callbackd.StatusInvalid, "STATUS_CHANGE")
	page := decode[wire.SessionEventList](s.call("GET", "/v1/sessions/"+key+"/events", "").ok(200))
	if got := string(page.Data[3].Data); !regexp.MustCompile(`^\{"status":"INVALID","timestamp":` + stamp + `,"previous_status":"PROCESS","reason":"Another vehicle"\}$`).MatchString(got) {
		t.Errorf("fired %s", got)
	}
	s.call("POST", "/v1/sessions/"+key+"/notes", `{"title":"x"}`).is(409, `{"message":"Session `+key+` is INVALID: notes is not possible, because the session has ended."}`)
}

package api_test

import (
	"net/http"
	"strings"
	"testing"

	"callbackd"
	"callbackd/internal/signature"
)

// What is refused before a route reads its call is refused on every route, and the
// document has the status and the body for each: s.call holds every answer against it.
func TestEveryRouteRefusesAsTheDocumentSays(t *testing.T) {
	s := start(t)
	tooLarge := `{"a":"` + strings.Repeat("x", callbackd.MaxBody) + `"}`
	for _, c := range []struct {
		name, query, body string
		change            []func(*http.Request)
		status            int
	}{
		{"a coding that nobody knows", "", "x", []func(*http.Request){idempotent("k"), set("Content-Encoding", "br")}, 415},
		{"a coding that the body does not have", "", "x", []func(*http.Request){idempotent("k"), set("Content-Encoding", "gzip")}, 400},
		{"a body over the limit", "", tooLarge, []func(*http.Request){idempotent("k")}, 413},
		{"an idempotency key over the limit", "", "", []func(*http.Request){idempotent(strings.Repeat("k", callbackd.MaxIdempotency+1))}, 400},
		{"an unknown parameter", "?nothing=1", "", nil, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := *s
			s.t = t
			for _, p := range document.patterns() {
				method, path, _ := strings.Cut(p, " ")
				if method == http.MethodGet || !strings.HasPrefix(path, "/v1/") && !strings.HasPrefix(path, "/v2/") {
					continue
				}
				want := c.status
				if p == "POST /v1/events" && c.body == "x" {
					want = http.StatusUnsupportedMediaType // an event is not unpacked
				}
				r := s.call(method, s.filled(path)+c.query, c.body, append(c.change, set(signature.HeaderAccessToken, s.key.APIKey))...)
				if r.status != want {
					t.Errorf("%s: status %d, want %d: %s", p, r.status, want, r.body)
				}
			}
		})
	}
}

// filled returns a path of the document with a value for each of its parameters.
func (s *server) filled(path string) string {
	if rest, ok := strings.CutPrefix(path, "/v1/admin/keys/{key}"); ok {
		path = "/v1/admin/keys/" + s.key.APIKey + rest
	}
	return strings.NewReplacer("{event}", "SESSION:COMPLETE", "{key}", "ACM-0123456789", "{id}", "x").Replace(path)
}

// A HEAD of what waits for events is answered at once. Its client would send the next
// request on the same connection, where a stream would never answer it.
func TestAHeadDoesNotWaitForEvents(t *testing.T) {
	s := start(t)
	for _, c := range []struct{ path, contentType string }{
		{"/v1/events/stream", "text/event-stream"},
		{"/v1/events?after=now&wait=30", "application/json"},
	} {
		for range 40 { // more than there are places for calls that wait
			answer, body := s.raw(signedHead(s, "HEAD "+c.path, "Connection: close"))
			if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != c.contentType || body != "" {
				t.Fatalf("HEAD %s: %d, %s, %q", c.path, answer.StatusCode, answer.Header.Get("Content-Type"), body)
			}
		}
	}
}

// What a platform reports may have numbers for texts, as the document says: s.call refuses
// a call that is answered otherwise than it describes.
func TestTextsOfAPlatformMayBeNumbers(t *testing.T) {
	s := start(t)
	key := s.create(`{"sms":{"to":"+15555550100"}}`)
	for _, step := range []struct{ path, body string }{
		{"sms", `{"status":"error","phone":15555550100,"message":21211}`},
		{"notes", `{"title":7,"description":8.5,"inserted_by":9}`},
		{"start", ``},
		{"photos", `{"photo_code":"4","url":"https://photos.example/4.jpg","approved":0,"approved_message":17}`},
		{"invalidate", `{"reason":5}`},
	} {
		s.call("POST", "/v1/sessions/"+key+"/"+step.path, step.body).ok(200)
	}
}

// What clients often get wrong is told with what to do instead.
func TestCommonMistakesAreToldWhatToDo(t *testing.T) {
	s := start(t)
	form := set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	event := `{"event":"SESSION:COMPLETE","session_key":"ACM-0123456789"`
	s.call("POST", "/v1/events", "event=SESSION%3ACOMPLETE&session_key=ACM-0123456789", form).says(400, "as JSON, not as a form")
	s.call("POST", "/v1/events", event+`}`, form).ok(202) // as curl names what is no form
	s.call("POST", "/v1/events", event+`,"x":1}`, form).says(400, `Unknown member "x"`)
	for _, path := range []string{"/v1/events", "/v1/callbacks"} {
		for _, body := range []string{"\xff\xfe{\x00}\x00", "{\x00}\x00", event + ",\"data\":{\"a\":\"\xe9\"}}"} {
			s.call("POST", path, body).says(400, "send it in UTF-8")
		}
	}
	s.call("GET", "/v1/events?since=2026-01-02T15:04:05+02:00", "").says(400, "since", "write + as %2B")
	s.call("GET", "/v1/events?since=2026-01-02T15:04:05%2B02:00", "").ok(200)
	s.call("GET", "/v1/events?since=2026-01-02+15:04:05", "").ok(200) // a space, as many write it
	s.call("GET", "/v1/events?since=the+day+before", "").says(400, "since must be a time such as")
}

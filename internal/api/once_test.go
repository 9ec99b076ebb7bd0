package api_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"callbackd/wire"

	"github.com/google/go-cmp/cmp"
)

func idempotent(key string) func(*http.Request) { return set("Idempotency-Key", key) }

// Every call that changes something happens once for its Idempotency-Key, and
// has the same answer each time.
func TestAnIdempotencyKeyCountsForEveryChange(t *testing.T) {
	onBothStores(t, anIdempotencyKeyCountsForEveryChange)
}

func anIdempotencyKeyCountsForEveryChange(t *testing.T, on func(*setup)) {
	s := start(t, on)
	recv := listen(t, nil)
	done := map[string]bool{"POST /v1/events": true} // has its own, see TestIdempotency
	n := 0
	// twice makes a call twice, and once more with another body.
	twice := func(pattern, path, body string, status int) reply {
		t.Helper()
		n++
		done[pattern] = true
		method, _, _ := strings.Cut(pattern, " ")
		key, token := idempotent(fmt.Sprint("key ", n)), set("API-Access-Token", s.key.APIKey)
		first := s.call(method, path, body, key, token).ok(status)
		second := s.call(method, path, body, key, token).ok(status)
		if diff := cmp.Diff(first.body, second.body); diff != "" {
			t.Errorf("%s (-first +second):\n%s", pattern, diff)
		}
		if first.header.Get("Idempotency-Replayed") != "" || second.header.Get("Idempotency-Replayed") != "true" && !strings.HasSuffix(path, "/test") {
			t.Errorf("%s: replayed %q, %q", pattern, first.header.Get("Idempotency-Replayed"), second.header.Get("Idempotency-Replayed"))
		}
		s.call(method, path, body+" ", key, token).says(409, "This idempotency key was used with another body")
		return first
	}
	callback := "/v1/callbacks/SESSION:NOTE_INSERT"
	twice("POST /v1/callbacks", "/v1/callbacks", `{"event":"SESSION:NOTE_INSERT","url":"`+recv.url+`"}`, 200)
	twice("PUT /v1/callbacks/{event}", callback, `{"url":"`+recv.url+`/2"}`, 200)
	secret := twice("POST /v1/callbacks/{event}/secret/rotate", callback+"/secret/rotate", `{}`, 200)
	s.call("GET", callback+"/secret", "").is(200, strings.TrimSpace(secret.body))
	twice("POST /v1/callbacks/{event}/test", callback+"/test", ``, 200)
	recv.next()

	created := decode[wire.Session](twice("POST /v1/sessions", "/v1/sessions", `{"vehicle":{"vin":"1HGCM82633A004352"}}`, 200))
	twice("POST /v1/session", "/v1/session", ``, 200)
	at := "/v1/sessions/" + created.SessionKey
	twice("PUT /v1/sessions/{key}", at, `{"language":"FR"}`, 200)
	twice("POST /v1/sessions/{key}/start", at+"/start", ``, 200)
	twice("POST /v1/sessions/{key}/photos", at+"/photos", `{"photo_code":4,"url":"https://a.example/4","approved":true}`, 200)
	twice("POST /v1/sessions/{key}/notes", at+"/notes", `{"title":"t"}`, 200)
	twice("POST /v1/sessions/{key}/sms", at+"/sms", `{"status":"error","phone":"+1"}`, 200)
	twice("POST /v2/capture/sessions/{key}/resend", "/v2/capture/sessions/"+created.SessionKey+"/resend", `{"phone":"+1"}`, 200)
	if notes := decode[[]wire.Note](s.call("GET", at+"/notes", "").ok(200)); len(notes) != 1 {
		t.Errorf("%d notes of one", len(notes))
	}
	sent := recv.next() // of one note, one event
	twice("POST /v1/sessions/{key}/invalidate", at+"/invalidate", `{"reason":"x"}`, 200)
	other := s.confirmed()
	twice("PUT /v1/sessions/{key}/results", "/v1/sessions/"+other+"/results", `{"grading":1}`, 200)
	twice("POST /v1/sessions/{key}/complete", "/v1/sessions/"+other+"/complete", ``, 200)
	twice("DELETE /v1/sessions/{key}", "/v1/sessions/"+s.create(""), ``, 200)

	id := ""
	s.until("the note's delivery", func() bool {
		l := s.deliveries("?state=delivered&event=SESSION:NOTE_INSERT&session_key=" + created.SessionKey)
		if len(l.Data) == 1 {
			id = l.Data[0].ID
		}
		return id != ""
	})
	twice("POST /v1/deliveries/{id}/retry", "/v1/deliveries/"+id+"/retry", ``, 202)
	if h := recv.next(); h.header.Get("webhook-id") != sent.header.Get("webhook-id") {
		t.Errorf("%v, want %v again", h.header, sent.header)
	}
	s.until("the retry", func() bool { return s.delivery(id).Attempts == 2 })

	replay := decode[wire.Replay](twice("POST /v1/replays", "/v1/replays", `{"states":["failed"]}`, 202)).ID
	paused := decode[wire.Replay](twice("POST /v1/replays", "/v1/replays", `{"states":["failed"],"event":"SESSION:COMPLETE"}`, 202))
	if l := decode[wire.ReplayList](s.call("GET", "/v1/replays", "").ok(200)); len(l.Data) != 2 {
		t.Errorf("%d replays of two", len(l.Data))
	}
	for _, step := range []string{"pause", "resume"} { // an empty one may have ended
		n++
		r := s.call("POST", "/v1/replays/"+paused.ID+"/"+step, "", idempotent(fmt.Sprint("key ", n)))
		if r.status == 200 {
			n--
			s.call("POST", "/v1/replays/"+paused.ID+"/"+step, "", idempotent(fmt.Sprint("key ", n+1))).is(200, strings.TrimSpace(r.body))
			n++
		}
		done["POST /v1/replays/{id}/"+step] = true
	}
	n++
	s.call("DELETE", "/v1/replays/"+replay, "", idempotent(fmt.Sprint("key ", n)))
	done["DELETE /v1/replays/{id}"] = true
	twice("POST /v1/callbacks/{event}/pause", callback+"/pause", ``, 200)
	twice("POST /v1/callbacks/{event}/resume", callback+"/resume", ``, 200)
	twice("DELETE /v1/callbacks/{event}", callback, ``, 200)
	if len(recv.hits) != 0 {
		t.Errorf("%d requests too many", len(recv.hits))
	}
	for _, p := range s.api.Patterns() {
		if !strings.HasPrefix(p, "GET ") && !done[p] {
			t.Errorf("%s was not tried", p)
		}
	}
}

// confirmed is a session that has results.
func (s *server) confirmed() string {
	s.t.Helper()
	key := s.create("")
	s.call("POST", "/v1/sessions/"+key+"/start", "").ok(200)
	for _, code := range []int{1, 2, 3, 4, 10, 5, 11, 7, 12, 8, 13, 9, 6} {
		s.call("POST", "/v1/sessions/"+key+"/photos", photoBody(code)).ok(200)
	}
	return key
}

// A key counts for its API key, method and path, and only for what was done.
func TestWhatAnIdempotencyKeyCountsFor(t *testing.T) { onBothStores(t, whatAnIdempotencyKeyCountsFor) }

func whatAnIdempotencyKeyCountsFor(t *testing.T, on func(*setup)) {
	s := start(t, on)
	other := s.as(s.newKey("other", false))
	one := idempotent("one")
	a := decode[wire.Session](s.call("POST", "/v1/sessions", "", one).ok(200)).SessionKey
	b := decode[wire.Session](s.call("POST", "/v1/session", "", one).ok(200)).SessionKey
	c := decode[wire.Session](other.call("POST", "/v1/sessions", "", one).ok(200)).SessionKey
	if a == b || a == c {
		t.Errorf("%s, %s, %s", a, b, c)
	}
	s.call("POST", "/v1/sessions//", "", one).ok(200)
	if l := decode[wire.SessionList](s.call("GET", "/v1/sessions", "", one).ok(200)); len(l.Data) != 2 {
		t.Errorf("%d sessions, want 2", len(l.Data))
	}
	// What was refused was not done: the next call is judged anew.
	s.call("POST", "/v1/sessions/"+a+"/notes", `{}`, one).ok(400)
	s.call("POST", "/v1/sessions/"+a+"/complete", ``, one).ok(409)
	s.call("POST", "/v1/sessions/"+a+"/start", ``, one).ok(200)
	s.call("POST", "/v1/sessions/"+a+"/notes", `{"title":"t"}`, one).ok(200)
	s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://a.example/"}`, one).ok(200)
	s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://b.example/"}`, idempotent("two")).says(409, "another callback setting")
	s.call("PUT", "/v1/callbacks/SESSION:COMPLETE", `{"url":"https://b.example/"}`).ok(200)
	s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://b.example/"}`, idempotent("two")).ok(200)
	s.call("POST", "/v1/callbacks", `{"event":"SESSION:COMPLETE","url":"https://a.example/"}`, one).is(200, `{"api_key":"KEY","event":"SESSION:COMPLETE","url":"https://a.example/","method":"POST","headers":{},"payload":{}}`)
	s.call("POST", "/v1/callbacks/SESSION:COMPLETE/pause", "", one).ok(200)
	s.call("POST", "/v1/callbacks/SESSION:COMPLETE/pause?name=default", "", one).says(409, "another body")
	s.call("POST", "/v1/sessions", "", idempotent(strings.Repeat("x", 256))).says(400, "Idempotency-Key is longer than 255 bytes")
	s.call("POST", "/v1/sessions", "", one, without("API-Token")).ok(401)
}

// A body that is packed anew, or put into a form anew, has other bytes and says
// the same.
func TestARepeatIsComparedByTheTextOfItsBody(t *testing.T) {
	s := start(t).loosely()
	repeat := func(key string, body string, with ...func(*http.Request)) reply {
		return s.call("POST", "/v1/sessions", body, append(with, idempotent(key))...)
	}
	gzipped := func(text string, at time.Time) string {
		return pack(t, func(w io.Writer) io.WriteCloser {
			z := gzip.NewWriter(w)
			z.ModTime = at
			return z
		}, text)
	}
	form := func(boundary, theme string) (string, func(*http.Request)) {
		return "--" + boundary + "\r\nContent-Disposition: form-data; name=\"theme\"\r\n\r\n" + theme + "\r\n--" + boundary + "--\r\n", set("Content-Type", "multipart/form-data; boundary="+boundary)
	}
	packed := set("Content-Encoding", "gzip")
	first := repeat("packed", gzipped(`{"theme":"LITE"}`, time.Unix(1, 0)), packed).ok(200)
	for name, again := range map[string]reply{
		"packed anew": repeat("packed", gzipped(`{"theme":"LITE"}`, time.Unix(2, 0)), packed),
		"not packed":  repeat("packed", `{"theme":"LITE"}`),
	} {
		if again.ok(200); again.body != first.body || again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: %s, want %s", name, again.body, first.body)
		}
	}
	repeat("packed", gzipped(`{"theme":"CAPT"}`, time.Unix(1, 0)), packed).says(409, "another body")

	body, typ := form("one", "LITE")
	first = repeat("form", body, typ).ok(200)
	body, typ = form("two", "LITE")
	if again := repeat("form", body, typ).ok(200); again.body != first.body {
		t.Errorf("another boundary: %s, want %s", again.body, first.body)
	}
	body, typ = form("one", "CAPT")
	repeat("form", body, typ).says(409, "another body")
}

func TestCallsAtOnceWithOneIdempotencyKeyAreOne(t *testing.T) {
	onBothStores(t, callsAtOnceWithOneIdempotencyKeyAreOne)
}

func callsAtOnceWithOneIdempotencyKeyAreOne(t *testing.T, on func(*setup)) {
	s := start(t, on)
	key := s.create("")
	s.call("POST", "/v1/sessions/"+key+"/start", "").ok(200)
	var all sync.WaitGroup
	for _, path := range []string{"/v1/sessions", "/v1/sessions/" + key + "/notes"} {
		answers := make([]string, 8)
		for i := range answers {
			all.Go(func() { answers[i] = s.call("POST", path, `{"title":"t"}`, idempotent("k")).ok(200).body })
		}
		all.Wait()
		if slices.Sort(answers); len(slices.Compact(answers)) != 1 {
			t.Errorf("%s has the answers %q", path, answers)
		}
	}
	if notes := decode[[]wire.Note](s.call("GET", "/v1/sessions/"+key+"/notes", "").ok(200)); len(notes) != 1 {
		t.Errorf("%d notes of one", len(notes))
	}
	if l := decode[wire.SessionList](s.call("GET", "/v1/sessions", "").ok(200)); len(l.Data) != 2 {
		t.Errorf("%d sessions, want 2", len(l.Data))
	}
}

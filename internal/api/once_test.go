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
)

func idempotent(key string) func(*http.Request) { return set("Idempotency-Key", key) }

// Every call that changes something happens once for its Idempotency-Key, and
// has the same answer each time.
func TestAnIdempotencyKeyCountsForEveryChange(t *testing.T) {
	onBothStores(t, anIdempotencyKeyCountsForEveryChange)
}

func anIdempotencyKeyCountsForEveryChange(t *testing.T, on func(*setup)) {
	s := start(t, on)
	r := &repeater{server: s, recv: listen(t, nil), done: map[string]bool{
		"POST /v1/events":                true, // has its own, see TestIdempotency
		"POST /v1/callbacks/filter/test": true, // changes nothing
		"PUT /log-level":                 true, // another handler answers it
	}}
	r.callbacks()
	note := r.sessions()
	r.deliveries(note)
	r.replays()
	r.pauses()
	r.operatorTokens()
	r.admin()
	r.incidents()
	if n := len(r.recv.hits); n != 0 {
		t.Errorf("the receiver got %d requests more, want none", n)
	}
	for _, p := range s.api.Patterns() {
		if !strings.HasPrefix(p, "GET ") && !r.done[p] {
			t.Errorf("%s was not tried", p)
		}
	}
}

// repeater makes every call that changes something more than once.
type repeater struct {
	*server
	recv *receiver
	done map[string]bool // by pattern
	keys int             // so far
}

// key is a new idempotency key.
func (r *repeater) key() func(*http.Request) {
	r.keys++
	return idempotent(fmt.Sprint("key ", r.keys))
}

// twice makes a call twice, and once more with another body.
func (r *repeater) twice(pattern, path, body string, status int) reply {
	r.t.Helper()
	r.done[pattern] = true
	method, _, _ := strings.Cut(pattern, " ")
	key, token := r.key(), set("API-Access-Token", r.server.key.APIKey)
	first := r.call(method, path, body, key, token).ok(status)
	second := r.call(method, path, body, key, token).ok(status)
	equal(r.t, pattern+": the second answer", second.body, first.body)
	equal(r.t, pattern+": Idempotency-Replayed", first.header.Get("Idempotency-Replayed"), "")
	if !strings.HasSuffix(path, "/test") {
		equal(r.t, pattern+": the second Idempotency-Replayed", second.header.Get("Idempotency-Replayed"), "true")
	}
	r.call(method, path, body+" ", key, token).says(409, "This idempotency key was used with another body")
	return first
}

func (r *repeater) operatorTokens() {
	made := r.twice("POST /v1/admin/tokens", "/v1/admin/tokens", `{"name":"repeated","role":"read"}`, 201)
	r.twice("DELETE /v1/admin/tokens/{id}", "/v1/admin/tokens/"+decode[wire.OperatorToken](made).ID, "", 200)
}

// admin repeats the calls of the management API that change something.
func (r *repeater) admin() {
	made := decode[wire.Key](r.twice("POST /v1/admin/keys", "/v1/admin/keys", `{"account":"beta"}`, 201))
	const key = "/v1/admin/keys/{key}"
	path := "/v1/admin/keys/" + made.APIKey
	r.twice("PUT "+key, path, `{"name":"n"}`, 200)
	r.twice("POST "+key+"/rotate", path+"/rotate", `{"keep":"1h"}`, 200)
	r.twice("POST "+key+"/link", path+"/link", `{"role":"viewer"}`, 201)
	r.twice("POST "+key+"/revoke", path+"/revoke", ``, 200)

	r.twice("POST /v1/admin/erases", "/v1/admin/erases", `{"vin":"1HGCM82633A004352"}`, 202)
	r.twice("POST /v1/admin/settings/apply", "/v1/admin/settings/apply", `{"settings":{"version":1,"keys":[{"account":"gamma","name":"g"}]}}`, 200)

	path = "/v1/admin/keys/" + r.server.key.APIKey
	r.register("SESSION:COMPLETE", r.recv.url, "")
	r.call("POST", "/v1/events", `{"event":"SESSION:COMPLETE","session_key":"S-admin"}`).ok(202)
	r.recv.next()
	var d wire.Delivery
	r.until("the delivery", func() bool {
		d = decode[wire.DeliveryList](r.call("GET", "/v1/deliveries?session_key=S-admin", "").ok(200)).Data[0]
		return d.State == "delivered"
	})
	r.twice("POST "+key+"/deliveries/{id}/retry", path+"/deliveries/"+d.ID+"/retry", ``, 202)
	r.recv.next()
	r.twice("POST "+key+"/callbacks/{event}/pause", path+"/callbacks/SESSION:COMPLETE/pause", ``, 200)
	r.twice("POST "+key+"/deliveries/cancel", path+"/deliveries/cancel", `{"session_key":"S-none"}`, 202)
	r.twice("POST "+key+"/erases", path+"/erases", `{"session_key":"S-erased"}`, 202)
	r.twice("POST /v1/erases", "/v1/erases", `{"session_key":"S-erased"}`, 202)
	replay := decode[wire.Replay](r.twice("POST "+key+"/replays", path+"/replays", `{"session_key":"S-none"}`, 202))
	for _, pattern := range []string{"POST " + key + "/replays/{id}/pause", "POST " + key + "/replays/{id}/resume", "DELETE " + key + "/replays/{id}"} {
		r.done[pattern] = true // an empty one may have ended
		method, at, _ := strings.Cut(strings.NewReplacer(key, path, "{id}", replay.ID).Replace(pattern), " ")
		once := r.key()
		if answer := r.call(method, at, "", once); answer.status == 200 {
			r.call(method, at, "", once).is(200, strings.TrimSpace(answer.body))
		}
	}
	r.twice("DELETE /v1/sessions/{key}/data", "/v1/sessions/S-admin/data", ``, 202)
	r.twice("POST "+key+"/callbacks/{event}/resume", path+"/callbacks/SESSION:COMPLETE/resume", ``, 200)
}

const callbackPath = "/v1/callbacks/SESSION:NOTE_INSERT"

func (r *repeater) callbacks() {
	r.twice("POST /v1/callbacks", "/v1/callbacks", `{"event":"SESSION:NOTE_INSERT","url":"`+r.recv.url+`"}`, 200)
	r.twice("PUT /v1/callbacks/{event}", callbackPath, `{"url":"`+r.recv.url+`/2"}`, 200)
	secret := r.twice("POST /v1/callbacks/{event}/secret/rotate", callbackPath+"/secret/rotate", `{}`, 200)
	// Not with is, which would replace KEY within the secret or the API key.
	equal(r.t, "the signing secret", r.call("GET", callbackPath+"/secret", "").ok(200).body, secret.body)
	r.twice("POST /v1/callbacks/{event}/auth/rotate", callbackPath+"/auth/rotate", `{"bearer":{"token":"t0"}}`, 200)
	r.done["POST /v1/callbacks/{event}/auth/test"] = true // it changes nothing
	r.twice("POST /v1/callbacks/{event}/test", callbackPath+"/test", ``, 200)
	r.recv.next()
}

func (r *repeater) incidents() {
	at := "/v1/incidents/" + r.incident(1).String()
	r.twice("POST /v1/incidents/{id}/acknowledge", at+"/acknowledge", ``, 200)
	r.twice("POST /v1/incidents/{id}/mute", at+"/mute", `{"for":"1h"}`, 200)
	at = "/v1/admin/incidents/" + r.incident(1).String()
	r.twice("POST /v1/admin/incidents/{id}/acknowledge", at+"/acknowledge", ``, 200)
	r.twice("POST /v1/admin/incidents/{id}/mute", at+"/mute", `{"for":"1h"}`, 200)
}

// sentNote is the one note of a session, as the receiver got it.
type sentNote struct{ session, id string }

func (r *repeater) sessions() sentNote {
	key := decode[wire.Session](r.twice("POST /v1/sessions", "/v1/sessions", `{"vehicle":{"vin":"1HGCM82633A004352"}}`, 200)).SessionKey
	r.twice("POST /v1/session", "/v1/session", ``, 200)
	at := "/v1/sessions/" + key
	r.twice("PUT /v1/sessions/{key}", at, `{"language":"FR"}`, 200)
	r.twice("POST /v1/sessions/{key}/start", at+"/start", ``, 200)
	r.twice("POST /v1/sessions/{key}/photos", at+"/photos", `{"photo_code":4,"url":"https://a.example/4","approved":true}`, 200)
	r.twice("POST /v1/sessions/{key}/notes", at+"/notes", `{"title":"t"}`, 200)
	r.twice("POST /v1/sessions/{key}/sms", at+"/sms", `{"status":"error","phone":"+1"}`, 200)
	r.twice("POST /v2/capture/sessions/{key}/resend", "/v2/capture/sessions/"+key+"/resend", `{"phone":"+1"}`, 200)
	equal(r.t, "the notes of the session", len(decode[[]wire.Note](r.call("GET", at+"/notes", "").ok(200))), 1)
	note := r.recv.next()
	r.twice("POST /v1/sessions/{key}/invalidate", at+"/invalidate", `{"reason":"x"}`, 200)
	other := "/v1/sessions/" + r.confirmed()
	r.twice("PUT /v1/sessions/{key}/results", other+"/results", `{"grading":1}`, 200)
	r.twice("POST /v1/sessions/{key}/complete", other+"/complete", ``, 200)
	r.twice("DELETE /v1/sessions/{key}", "/v1/sessions/"+r.create(""), ``, 200)
	return sentNote{key, note.header.Get("webhook-id")}
}

func (r *repeater) deliveries(note sentNote) {
	id := ""
	r.until("the note's delivery", func() bool {
		l := r.server.deliveries("?state=delivered&event=SESSION:NOTE_INSERT&session_key=" + note.session)
		if len(l.Data) == 1 {
			id = l.Data[0].ID
		}
		return id != ""
	})
	r.twice("POST /v1/deliveries/{id}/retry", "/v1/deliveries/"+id+"/retry", ``, 202)
	equal(r.t, "webhook-id of the retry", r.recv.next().header.Get("webhook-id"), note.id)
	r.until("the retry", func() bool { return r.delivery(id).Attempts == 2 })
}

func (r *repeater) replays() {
	first := decode[wire.Replay](r.twice("POST /v1/replays", "/v1/replays", `{"states":["failed"]}`, 202)).ID
	second := decode[wire.Replay](r.twice("POST /v1/replays", "/v1/replays", `{"states":["failed"],"event":"SESSION:COMPLETE"}`, 202)).ID
	equal(r.t, "the replays", len(decode[wire.ReplayList](r.call("GET", "/v1/replays", "").ok(200)).Data), 2)
	r.twice("POST /v1/deliveries/cancel", "/v1/deliveries/cancel", `{"reason":"x"}`, 202)
	for _, step := range []string{"pause", "resume"} { // an empty one may have ended
		r.done["POST /v1/replays/{id}/"+step] = true
		key := r.key()
		if answer := r.call("POST", "/v1/replays/"+second+"/"+step, "", key); answer.status == 200 {
			r.call("POST", "/v1/replays/"+second+"/"+step, "", key).is(200, strings.TrimSpace(answer.body))
		}
	}
	r.done["DELETE /v1/replays/{id}"] = true
	r.call("DELETE", "/v1/replays/"+first, "", r.key())
}

func (r *repeater) pauses() {
	r.twice("POST /v1/callbacks/{event}/pause", callbackPath+"/pause", ``, 200)
	r.twice("POST /v1/callbacks/{event}/resume", callbackPath+"/resume", ``, 200)
	r.twice("DELETE /v1/callbacks/{event}", callbackPath, ``, 200)
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
	// What was refused was not done: the next call is a new one.
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

// A body that is compressed again, or put into a form again, has other bytes and says the
// same.
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

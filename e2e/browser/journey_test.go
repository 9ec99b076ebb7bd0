package browser

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"callbackd"
)

// journey is a person at the console, and the receiver of their callbacks.
type journey struct {
	*browser
	recv *receiver
}

// TestAPersonsWay goes through the console as a key holder does.
func TestAPersonsWay(t *testing.T) { onBothStores(t, aPersonsWay) }

func aPersonsWay(t *testing.T, s *site) {
	j := &journey{s.browser(t), newReceiver(t)}
	j.signsIn()
	j.createsACallback()
	j.watchesADelivery()
	j.changesTheCallback()
	j.replays()
	j.readsASession()
	j.leaves()
	j.clean()
}

// signsIn: the person comes in, and not with a wrong secret.
func (j *journey) signsIn() {
	j.open("/console/")
	j.sees("Sign in")
	j.pictures("sign-in")
	j.fill("#api_key", j.site.Key.APIKey)
	j.fill("#secret", "not the secret")
	j.button("Sign in")
	j.sees("do not belong together")
	j.fill("#secret", j.site.Key.Secret.Reveal())
	j.button("Sign in")
}

// createsACallback: the person registers a callback, and sends it a test.
func (j *journey) createsACallback() {
	j.open("/console/callbacks")
	j.sees("No callback yet")
	j.pictures("callbacks-empty")
	j.button("New callback")
	j.fill("#url", "ftp://nowhere.example")
	j.button("Create callback")
	j.sees("http")
	j.choose("#event", string(callbackd.StatusChange))
	j.fill("#url", j.recv.URL+"/hook")
	j.fill("#headers", "Authorization: Bearer receiver-secret\nX-Tenant: blue")
	j.fill("#payload", `{"source":"tour"}`)
	j.unfold()
	j.fill("#retry", "0s, 1s, 1s, 2s")
	j.pictures("callback-new")
	j.button("Create callback")
	j.sees("The callback was created")
	j.pictures("callback-fresh")

	j.button("Send a test")
	j.sees("webhook-signature")
	j.sees(`"source":"tour"`)
	if text := j.text("main"); strings.Contains(text, "receiver-secret") {
		j.t.Error("the preview shows a secret of the receiver")
	}
	j.pictures("callback-test")
	j.button("Send it")
	j.sees("Delivered with 1 attempt")
	j.pictures("delivery-test")
	j.waits(`document.querySelector("main time").title.endsWith("local time")`) // the browser's own time, on hover
}

// watchesADelivery: the person sees one fail and succeed, and sends it again.
func (j *journey) watchesADelivery() {
	j.recv.Answers(func(n int, w http.ResponseWriter, r *http.Request) {
		if n <= 2 {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "the database is away", http.StatusServiceUnavailable)
		}
	})
	j.site.Publish(j.site.Key, callbackd.StatusChange, "ACM-0123456789", map[string]any{"status": "STARTED", "previous_status": "IDLE"})
	j.open("/console/deliveries")
	j.pictures("deliveries")
	j.press("tbody tr:first-child .main-link")
	j.sees("503 Service Unavailable")
	j.sees("Delivered with 3 attempts")
	j.unfold()
	j.pictures("delivery")

	j.button("Resend")
	j.sees("resent, attempt 4")

	j.open("/console/deliveries/live")
	j.sees("Listening")
	j.site.Publish(j.site.Key, callbackd.StatusChange, "ACM-0000000002", map[string]any{"status": "PROCESS"})
	j.sees("ACM-0000000002 127.0.0.1")
	j.pictures("live")
}

// changesTheCallback: the person pauses, resumes, edits, and rotates secrets.
func (j *journey) changesTheCallback() {
	j.open("/console/callbacks")
	j.pictures("callbacks")
	j.press("tbody .main-link")
	j.pictures("callback")
	j.button("Pause")
	j.sees("has been paused for")
	j.pictures("callback-paused")
	j.button("Resume")
	j.button("Edit")
	if text := j.text("#headers"); !strings.Contains(text, "Authorization: [redacted]") {
		j.t.Errorf("the form shows %q", text)
	}
	j.fill("#retry", "0s")
	j.button("Save")
	j.sees("The callback was saved")

	j.button("Show, verify, rotate")
	old := j.text("#secret")
	j.pictures("callback-secret")
	j.button("Rotate the secret")
	j.sees("An older secret stays valid until")
	if now := j.text("#secret"); now == old || !strings.HasPrefix(now, "whsec_") {
		j.t.Errorf("the secret was %q and is %q", old, now)
	}

	j.open("/console/keys")
	j.sees(j.site.Key.APIKey)
	j.pictures("keys")
	j.press(`a[href$="/rotate"]`)
	j.button("Rotate the secret")
	j.sees("The old secret stays valid until")
	rotated := j.site.Key
	rotated.Secret = callbackd.Secret(j.text("#new-secret"))
	for _, k := range []callbackd.Key{j.site.Key, rotated} { // both sign
		j.site.Publish(k, callbackd.NoteInsert, "ACM-ROTATED001", map[string]any{"note": map[string]any{"title": "t"}})
	}
}

// replays: the person sends again what failed for good: fewer than open the breaker.
func (j *journey) replays() {
	const failing = 6
	j.recv.Answers(func(n int, w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no", http.StatusInternalServerError)
	})
	for i := range failing {
		j.site.Publish(j.site.Key, callbackd.StatusChange, fmt.Sprintf("ACM-00000001%02d", i), map[string]any{"status": "STARTED"})
	}
	j.open("/console/deliveries?state=failed&status=5xx&fault=status")
	j.waits(`document.querySelectorAll("tbody tr").length === 6`)
	j.pictures("deliveries-filtered")
	j.open("/console/callbacks")
	j.sees("failing")
	j.open("/console/")
	j.sees("the receiver answered 500 Internal Server Error")
	j.pictures("overview")
	j.recv.Answers(nil)
	j.open("/console/replays")
	j.sees("No replay yet")
	j.button("New replay")
	j.button("Count")
	j.sees("6 deliveries would be replayed")
	j.pictures("replay-new")
	j.button("Start the replay")
	j.sees("100 % of 6 deliveries")
	j.sees("delivered 6")
	j.pictures("replay")
	j.open("/console/replays")
	j.sees("done")
	j.pictures("replays")
}

// readsASession: the person finds a session and what was told of it.
func (j *journey) readsASession() {
	for _, d := range []struct {
		t    callbackd.EventType
		data string
	}{
		{callbackd.SMSRequested, `{"phone":"+15555550100","name":"Jane","link":"javascript:alert(1)"}`},
		{callbackd.Complete, `{"session":{},"photos":[{},{}],"vehicle":{"vin":"1HGCM82633A004352","year":2017,"make":"Honda","model":"Accord"},"condition_report":"https://reports.example/x"}`},
		{callbackd.SMSProcess, `{"phone":"+15555550100","status":"success"}`},
		{callbackd.StatusChange, `{"status":"STARTED","previous_status":"IDLE"}`},
		{callbackd.StageChange, `{"photo_code":4,"photo_label":"Left","photo_status":"REJECTED: blurry"}`},
		{callbackd.StatusChange, `{"status":"PROCESS","previous_status":"STARTED"}`},
		{callbackd.NoteInsert, `{"note":{"title":"Scratch","description":"Left door, 4 cm"}}`},
	} {
		j.site.Publish(j.site.Key, d.t, "ACM-STORY00001", json.RawMessage(d.data))
	}
	j.open("/console/sessions")
	j.sees("ACM-STORY00001")
	j.pictures("sessions")
	j.fill("#q", "ACM-STORY00001")
	j.button("Search")
	j.press("tbody .main-link")
	j.sees("STARTED → PROCESS")
	j.sees("Left REJECTED: blurry")
	j.sees("SMS to be sent to +15555550100")
	j.sees("2017 Honda Accord 1HGCM82633A004352, 2 photos, a condition report")
	j.sees("1 attempt")
	j.pictures("session")
	j.press(".timeline .main-link")
	j.sees("so it was not sent")
	j.pictures("event")

	j.open("/console/logs")
	j.waits(`document.querySelectorAll("tbody tr").length > 0`)
	j.sees("/v1/events")
	j.pictures("logs")
}

// leaves: the person deletes the callback and signs out.
func (j *journey) leaves() {
	j.open("/console/callbacks")
	j.press("tbody .main-link")
	j.button("Delete callback")
	j.pictures("callback-delete")
	j.button("Delete callback")
	j.sees("The callback was deleted")

	j.button("Sign out")
	j.sees("You are signed out")
	j.open("/console/callbacks")
	j.sees("API secret")
}

// TestTheOperatorsWay goes through what only the operator sees.
func TestTheOperatorsWay(t *testing.T) { onBothStores(t, theOperatorsWay) }

func theOperatorsWay(t *testing.T, s *site) {
	b := s.browser(t)
	link := s.Link()
	b.open(link)
	b.sees("This link works once.")
	b.button("Sign in")
	b.sees("Overview")
	b.button("Sign out")
	b.open(link)
	b.button("Sign in")
	b.sees("was used already")
	b.open(s.Link())
	b.button("Sign in")
	b.open("/console/keys")
	b.fill("#account", "a b")
	b.button("Create key")
	b.sees("account must be")
	b.fill("#account", "blue")
	b.fill("#name", "staging")
	b.choose("#kind", "test")
	b.button("Create key")
	b.sees("The secret is shown only once")
	b.pictures("keys-operator")
	made, secret := b.text("#new-key"), b.text("#new-secret")

	b.open("/console/callbacks/new")
	b.fill("#url", "https://example.com/hook")
	b.button("Create callback")
	b.sees("Choose an API key")
	b.choose("#key", made)
	b.button("Create callback")
	b.sees("The callback was created")
	b.open("/console/callbacks")
	b.sees("blue / staging")
	b.pictures("callbacks-operator")
	b.open("/console/tokens")
	b.sees("No operator token yet")
	b.fill("#name", "terraform")
	b.choose("#role", "full")
	b.button("Create token")
	b.sees("The token is shown only once")
	b.pictures("tokens")
	b.press(`a[href$="/revoke"]`)
	b.sees("Revoke this token?")
	b.button("Revoke token")
	b.sees("The operator token was revoked")
	b.open("/console/nodes")
	b.sees("this one")
	b.pictures("nodes")
	b.open("/console/?over=week")
	b.pictures("overview-operator")

	b.button("Sign out")
	b.open("/console/sign-in")
	b.fill("#api_key", made)
	b.fill("#secret", secret)
	b.button("Sign in")
	b.sees("Overview")
	b.button("Sign out")

	b.open("/console/sign-in?as=operator")
	b.fill("#token", operatorToken)
	b.button("Sign in")
	b.open("/console/keys")
	b.press(`a[href$="` + made + `/revoke"]`)
	b.button("Revoke key")
	b.sees("The API key was revoked")
	b.open("/console/no-such-page")
	b.sees("no such page")
	b.pictures("error")
	b.clean()
}

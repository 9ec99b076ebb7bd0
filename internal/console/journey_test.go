package console_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"callbackd"
)

// TestAPersonsWay goes through the console as a key holder does.
func TestAPersonsWay(t *testing.T) {
	s := startSite(t)
	recv := newReceiver(t)
	b := s.browser(t)

	b.open("/console/")
	b.sees("Sign in")
	b.pictures("sign-in")
	b.fill("#api_key", s.key.APIKey)
	b.fill("#secret", "not the secret")
	b.button("Sign in")
	b.sees("do not belong together")
	b.fill("#secret", s.key.Secret.Reveal())
	b.button("Sign in")

	b.open("/console/webhooks")
	b.sees("No webhook yet")
	b.pictures("webhooks-empty")
	b.button("New webhook")
	b.fill("#url", "ftp://nowhere.example")
	b.button("Create webhook")
	b.sees("http")
	b.choose("#event", string(callbackd.StatusChange))
	b.fill("#url", recv.URL+"/hook")
	b.fill("#headers", "Authorization: Bearer receiver-secret\nX-Tenant: blue")
	b.fill("#payload", `{"source":"tour"}`)
	b.unfold()
	b.fill("#retry", "0s, 1s, 1s, 2s")
	b.pictures("webhook-new")
	b.button("Create webhook")
	b.sees("The webhook was created")
	b.pictures("webhook-fresh")

	b.button("Send a test")
	b.sees("webhook-signature")
	b.sees(`"source":"tour"`)
	if text := b.text("main"); strings.Contains(text, "receiver-secret") {
		t.Error("the preview shows a secret of the receiver")
	}
	b.pictures("webhook-test")
	b.button("Send it")
	b.sees("Delivered with 1 attempt")
	b.pictures("delivery-test")

	// A delivery that fails and then succeeds, while somebody looks.
	recv.answers(func(n int, w http.ResponseWriter, r *http.Request) {
		if n <= 2 {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "the database is away", http.StatusServiceUnavailable)
		}
	})
	s.publish(s.key, callbackd.StatusChange, "ACM-0123456789", map[string]any{"status": "STARTED", "previous_status": "IDLE"})
	b.open("/console/deliveries")
	b.pictures("deliveries")
	b.press("tbody tr:first-child .main-link")
	b.sees("503 Service Unavailable")
	b.sees("Delivered with 3 attempts")
	b.unfold()
	b.pictures("delivery")

	b.button("Send again")
	b.sees("repeat, attempt 4")

	b.open("/console/deliveries/live")
	b.sees("Listening")
	s.publish(s.key, callbackd.StatusChange, "ACM-0000000002", map[string]any{"status": "PROCESS"})
	b.sees("ACM-0000000002")
	b.pictures("live")

	b.open("/console/webhooks")
	b.pictures("webhooks")
	b.press("tbody .main-link")
	b.pictures("webhook")
	b.button("Pause")
	b.sees("Paused since")
	b.pictures("webhook-paused")
	b.button("Resume")
	b.button("Edit")
	if text := b.text("#headers"); !strings.Contains(text, "Authorization: [redacted]") {
		t.Errorf("the form shows %q", text)
	}
	b.fill("#retry", "0s")
	b.button("Save")
	b.sees("The webhook was saved")

	b.button("Show, verify, rotate")
	old := b.text("#secret")
	b.pictures("webhook-secret")
	b.button("Rotate the secret")
	b.sees("signs along until")
	if now := b.text("#secret"); now == old || !strings.HasPrefix(now, "whsec_") {
		t.Errorf("the secret was %q and is %q", old, now)
	}

	b.open("/console/keys")
	b.sees(s.key.APIKey)
	b.pictures("keys")
	b.press(`a[href$="/rotate"]`)
	b.button("Rotate the secret")
	b.sees("The old one signs along until")
	rotated := s.key
	rotated.Secret = callbackd.Secret(b.text("#new-secret"))
	for _, k := range []callbackd.Key{s.key, rotated} { // both sign
		s.publish(k, callbackd.NoteInsert, "ACM-ROTATED001", map[string]any{"note": map[string]any{"title": "t"}})
	}

	// Some that fail for good, fewer than open the breaker, and a replay.
	const failing = 6
	recv.answers(func(n int, w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no", http.StatusInternalServerError)
	})
	for i := range failing {
		s.publish(s.key, callbackd.StatusChange, fmt.Sprintf("ACM-00000001%02d", i), map[string]any{"status": "STARTED"})
	}
	b.open("/console/deliveries?state=failed&status=5xx&fault=status")
	b.waits(`document.querySelectorAll("tbody tr").length === 6`)
	b.pictures("deliveries-filtered")
	b.open("/console/webhooks")
	b.sees("failing")
	b.open("/console/")
	b.sees("has been failing for a minute: it last answered 500")
	b.pictures("overview")
	recv.answers(nil)
	b.open("/console/replays")
	b.sees("No replay yet")
	b.button("New replay")
	b.button("Count them")
	b.sees("6 deliveries would be sent")
	b.pictures("replay-new")
	b.button("Start the replay")
	b.sees("100 % of 6 deliveries")
	b.sees("delivered 6")
	b.pictures("replay")
	b.open("/console/replays")
	b.sees("done")
	b.pictures("replays")

	// One session's story.
	for _, d := range []struct {
		t    callbackd.EventType
		data string
	}{
		{callbackd.SMSProcess, `{"phone":"+15555550100","status":"success"}`},
		{callbackd.StatusChange, `{"status":"STARTED","previous_status":"IDLE"}`},
		{callbackd.StageChange, `{"photo_code":4,"photo_label":"Left","photo_status":"REJECTED: blurry"}`},
		{callbackd.StatusChange, `{"status":"PROCESS","previous_status":"STARTED"}`},
		{callbackd.NoteInsert, `{"note":{"title":"Scratch","description":"Left door, 4 cm"}}`},
	} {
		s.publish(s.key, d.t, "ACM-STORY00001", json.RawMessage(d.data))
	}
	b.open("/console/sessions")
	b.sees("ACM-STORY00001")
	b.pictures("sessions")
	b.fill("#q", "ACM-STORY00001")
	b.button("Search")
	b.press("tbody .main-link")
	b.sees("STARTED → PROCESS")
	b.sees("Left REJECTED: blurry")
	b.sees("1 attempt")
	b.pictures("session")
	b.press(".story .main-link")
	b.sees("nobody was told")
	b.pictures("event")

	b.open("/console/logs")
	b.waits(`document.querySelectorAll("tbody tr").length > 0`)
	b.sees("/v1/events")
	b.pictures("logs")

	b.open("/console/webhooks")
	b.press("tbody .main-link")
	b.button("Delete webhook")
	b.pictures("webhook-delete")
	b.button("Delete webhook")
	b.sees("The webhook was deleted")

	b.button("Sign out")
	b.sees("You are signed out")
	b.open("/console/webhooks")
	b.sees("API secret")
	b.clean()
}

// TestTheOperatorsWay goes through what only the operator sees.
func TestTheOperatorsWay(t *testing.T) {
	s := startSite(t)
	b := s.browser(t)
	link := s.link()
	b.open(link)
	b.sees("This link works once.")
	b.button("Sign in")
	b.sees("Overview")
	b.button("Sign out")
	b.open(link)
	b.button("Sign in")
	b.sees("was used already")
	b.open(s.link())
	b.button("Sign in")
	b.open("/console/keys")
	b.fill("#account", "a b")
	b.button("Create key")
	b.sees("account must be")
	b.fill("#account", "blue")
	b.fill("#name", "staging")
	b.choose("#kind", "test")
	b.button("Create key")
	b.sees("The secret is shown this once")
	b.pictures("keys-operator")
	made, secret := b.text("#new-key"), b.text("#new-secret")

	b.open("/console/webhooks/new")
	b.fill("#url", "https://example.com/hook")
	b.button("Create webhook")
	b.sees("Choose the API key")
	b.choose("#key", made)
	b.button("Create webhook")
	b.sees("The webhook was created")
	b.open("/console/webhooks")
	b.sees("blue / staging")
	b.pictures("webhooks-operator")
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

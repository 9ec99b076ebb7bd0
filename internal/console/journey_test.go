package console_test

import (
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

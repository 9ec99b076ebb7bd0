package browser

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"callbackd/client"
	"callbackd/wire"

	"github.com/chromedp/chromedp"
)

// A person edits the callback of a session, rotates its secret, and replays for it.
func TestTheCallbackOfASession(t *testing.T) {
	s := startSite(t)
	made, err := s.Client(s.Key).CreateSession(context.Background(), client.NewSession{Callback: &client.NewSessionCallback{URL: "http://127.0.0.1:9/hook", Events: []string{"SESSION:COMPLETE"}}})
	if err != nil {
		t.Fatal(err)
	}
	b := s.browser(t)
	b.signIn(s.Key)
	b.open("/console/sessions/" + made.SessionKey)
	b.button("http://127.0.0.1:9/hook")
	b.pictures("session-callback")
	b.button("Edit")
	b.pictures("session-callback-form")
	b.do(chromedp.Click(chromedp.CSS(`input[value="SESSION:NOTE_INSERT"]`)))
	b.fill("#url", "http://127.0.0.1:9/other")
	b.button("Save")
	b.sees("COMPLETE, NOTE_INSERT")
	b.sees("http://127.0.0.1:9/other")
	b.button("rotate it")
	b.sees("was shown once")
	b.button("Rotate the secret")
	b.sees("Copy it now: it is not shown again.")
	if secret := b.text("#secret"); !strings.HasPrefix(secret, "whsec_") || secret == made.Callback.Secret {
		t.Errorf("the page shows the secret %q, and that of the session was %q", secret, made.Callback.Secret)
	}
	b.pictures("session-callback-secret")
	b.open(fmt.Sprint("/console/callbacks/", made.Callback.ID, "/secret"))
	b.sees("was shown once")
	b.open(fmt.Sprint("/console/callbacks/", made.Callback.ID))
	b.button("replay")
	b.waits(fmt.Sprintf(`document.querySelector("#callback").value === "%d" && document.querySelector("#session").value === %q`, made.Callback.ID, made.SessionKey))
	b.button("Count")
	b.sees("0 deliveries would be replayed")

	// A person types the session: its callback is offered before the form is sent. No list has it.
	offered := func(sel string) string {
		return fmt.Sprintf(`document.querySelector('%s option[value="%d"]')`, sel, made.Callback.ID)
	}
	for path, sel := range map[string]string{"/console/replays/new": "#target", "/console/deliveries/cancel": "#callback"} {
		b.open(path)
		b.waits("!" + offered(sel))
		b.fill("#session", made.SessionKey)
		b.do(chromedp.Blur(chromedp.CSS("#session")))
		b.waits("!!" + offered(sel))
		b.fill("#session", "another")
		b.do(chromedp.Blur(chromedp.CSS("#session")))
		b.waits("!" + offered(sel))
	}
	b.clean()
}

// A person tries how a callback signs in, gives it other credentials, and tries those.
func TestASignInIsTriedAndRotated(t *testing.T) {
	s := startSite(t)
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, secret, _ := r.BasicAuth(); secret != "new-secret" {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"error": "invalid_client", "error_description": "the secret has ended"}`)
			return
		}
		io.WriteString(w, `{"access_token": "not-to-be-shown", "token_type": "Bearer", "expires_in": 3600}`)
	}))
	t.Cleanup(tokens.Close)
	if _, err := s.Client(s.Key).CreateCallback(context.Background(), client.NewCallback{Event: "SESSION:COMPLETE", URL: "http://127.0.0.1:9/",
		Policy: &client.Policy{Auth: &wire.Auth{OAuth2: &wire.OAuth2{TokenURL: tokens.URL, ClientID: "me", ClientSecret: "old-secret"}}}}); err != nil {
		t.Fatal(err)
	}
	b := s.browser(t)
	b.signIn(s.Key)
	b.open("/console/callbacks/1")
	b.button("Try, rotate")
	b.button("Try the sign-in")
	b.sees("answered 401: invalid_client: the secret has ended")
	b.pictures("sign-in-refused")
	b.fill("#oauth2_client_secret", "new-secret")
	b.button("Rotate the credentials")
	b.sees("The credentials before are tried too until")
	b.button("Try the sign-in")
	b.sees("issued, valid for 1 h")
	if strings.Contains(b.text("main"), "not-to-be-shown") {
		t.Error("the page has the access token")
	}
	b.pictures("sign-in-works")
	b.tabsThrough()
	b.clean()
}

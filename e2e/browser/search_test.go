package browser

import (
	"context"
	"testing"

	"callbackd"
	"callbackd/client"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// A person finds a session, a callback and an API key from the search box, by the keyboard.
func TestOneSearch(t *testing.T) {
	s := startSite(t)
	ctx := context.Background()
	for _, c := range []client.NewCallback{
		{Event: "SESSION:COMPLETE", Name: "warehouse", URL: "https://acme-hooks.example/in"},
		{Event: "SESSION:NOTE_INSERT", URL: "https://other.example/"},
	} {
		if _, err := s.Client(s.Key).CreateCallback(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	s.Publish(s.Key, callbackd.NoteInsert, "ACME-0000000001", map[string]any{"x": 1})
	reference := map[string]string{"dealer": "acme-hooks"}
	if _, err := s.Client(s.Key).CreateSession(ctx, client.NewSession{Options: &client.SessionOptions{Reference: reference}}); err != nil {
		t.Fatal(err)
	}
	b := s.browser(t)
	find := func(text string) {
		t.Helper()
		b.presses("/", `document.activeElement.id === "find"`)
		b.fill("#find", text)
		b.press(".find button")
	}
	b.signIn(s.Key)
	b.open("/console/")
	find("acme-HOOKS")
	b.sees("What was found for “acme-HOOKS”")
	b.waits(`document.querySelectorAll("#found-sessions, #found-callbacks").length === 2 && !document.querySelector("#found-keys")`)
	b.pictures("search")
	b.tabsThrough()
	b.button("COMPLETE warehouse")
	b.sees("https://acme-hooks.example/in")
	find("acme-0000000001")
	b.sees("NOTE_INSERT")
	find("nothing has this")
	b.sees("Nothing was found")
	b.pictures("search-nothing")
	b.do(chromedp.KeyEvent(kb.Escape))
	b.clean()

	op := s.browser(t)
	op.open(s.Link())
	op.button("Sign in")
	op.open("/console/search?q=acme")
	op.waits(`document.querySelectorAll("#found-callbacks, #found-keys").length === 2`)
	op.pictures("search-operator")
	op.choose("#key", s.Key.APIKey)
	op.press(".search button")
	op.waits(`document.querySelector("#key").value !== "" && document.querySelector("#found-callbacks") !== null && document.querySelector("#find").value === "acme"`)
	op.clean()
}

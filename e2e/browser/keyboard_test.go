package browser

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"callbackd"
	"callbackd/client"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// The keys / and ? work outside of fields, and can be turned off.
func TestTheKeyboard(t *testing.T) {
	s := startSite(t)
	b := s.browser(t)
	b.signIn(s.Key)
	b.open("/console/")
	b.presses("?", `document.getElementById("help").open`)
	b.pictures("keyboard")
	b.presses(kb.Escape, `!document.getElementById("help").open`)
	b.presses("/", `document.activeElement.id === "find"`)
	b.do(chromedp.KeyEvent("/?"))
	b.waits(`document.activeElement.value.endsWith("/?") && !document.getElementById("help").open`)

	b.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("find").blur(); document.getElementById("help-open").click()`))
	b.waits(`document.getElementById("help").open`)
	b.do(chromedp.Evaluate[chromedp.Void](`document.getElementById("help-keys").click(); document.getElementById("help").close()`))
	b.open("/console/callbacks")
	b.do(chromedp.KeyEvent("?/"))
	b.waits(`!document.getElementById("help").open && document.activeElement.id !== "find"`)
	b.clean()
}

// The form of a callback shows the body of the event that is chosen.
func TestTheBodiesBesideTheForm(t *testing.T) {
	s := startSite(t)
	b := s.browser(t)
	b.signIn(s.Key)
	b.open("/console/callbacks/new")
	b.do(chromedp.Evaluate[chromedp.Void](`(() => { const e = document.getElementById("event"); e.value = "SESSION:NOTE_INSERT"; e.dispatchEvent(new Event("change", { bubbles: true })) })()`))
	b.waits(`[...document.querySelectorAll("[data-sample][open]")].map((d) => d.dataset.sample).join() === "SESSION:NOTE_INSERT"`)
	b.pictures("form-bodies")
	b.clean()
}

// The live tail shows the failures of one callback only.
func TestTheLiveTailOfFailures(t *testing.T) {
	s := startSite(t)
	recv := newReceiver(t)
	good := make(chan struct{})
	recv.Answers(func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			close(good)
			return
		}
		w.WriteHeader(http.StatusInternalServerError)
	})
	for _, event := range []callbackd.EventType{callbackd.StatusChange, callbackd.Complete} {
		if _, err := s.Client(s.Key).CreateCallback(context.Background(), client.NewCallback{Event: string(event), URL: recv.URL, Retry: []string{"0s"}}); err != nil {
			t.Fatal(err)
		}
	}
	b := s.browser(t)
	b.signIn(s.Key)
	b.open("/console/deliveries/live")
	b.choose("#callback", "1")
	b.choose("#failures", "yes")
	b.button("Apply")
	b.sees("Listening")
	publish := func(event callbackd.EventType, session string) {
		s.Publish(s.Key, event, session, map[string]any{"status": "STARTED"})
	}
	publish(callbackd.StatusChange, "ACM-GOOD000001")
	<-good
	publish(callbackd.Complete, "ACM-BAD0000002")
	publish(callbackd.StatusChange, "ACM-BAD0000003")
	b.sees("ACM-BAD0000003 127.0.0.1")
	publish(callbackd.StatusChange, "ACM-BAD0000004")
	b.sees("ACM-BAD0000004 127.0.0.1")
	if text := b.text("#tail"); strings.Contains(text, "GOOD") || strings.Contains(text, "0000002") {
		t.Errorf("the tail shows %q", text)
	}
	b.pictures("live-failures")
	b.clean()
}

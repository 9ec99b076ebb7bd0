package browser

import (
	"net/http"
	"testing"

	"callbackd"
)

// A new key is led from nothing to a receiver that verifies.
func TestTheFirstRun(t *testing.T) {
	s := startSite(t)
	recv := newReceiver(t)
	recv.Answers(func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			w.WriteHeader(http.StatusNotFound)
		}
	})
	b := s.browser(t)
	b.signIn(s.Key)
	b.open("/console/")
	b.sees("Your first callback")
	b.pictures("first-run-1")
	b.tabsThrough()
	b.open("/console/")
	b.button("New callback")
	b.choose("#event", string(callbackd.Complete))
	b.fill("#url", recv.URL+"/hook")
	b.button("Create callback")
	b.sees("Your first callback")
	b.pictures("first-run-2")
	b.button("Send a test")
	b.button("Send it")
	b.sees("The last test did not arrive: the receiver answered 404 Not Found")
	b.pictures("first-run-3-failed")
	b.button("Send another test")
	b.button("Send it")
	b.sees("Verify the signature Whoever knows the URL")
	b.pictures("first-run-4")
	b.button("Secret and code")
	b.sees("Code that verifies a request")
	b.pictures("first-run-5")
	b.clean()
}
